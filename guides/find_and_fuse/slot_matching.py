"""Slots of several frames in one order."""

from itertools import permutations
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pyro_models.vtssi.gaussians import Gaussian


class Looks(NamedTuple):
    """Proposals for what is constant in a video: count (..., 1, sequences), sizes and appearances of objects."""

    count: Gaussian
    scale: Gaussian
    what: Gaussian


def match_slots(proposals: Looks) -> Looks:
    """The same proposals, slots of each frame in the order in which they look most like those of the first frame.

    The order is that of the permutation with the least sum of squared differences of mean appearances; all N! are
    tried. It passes no gradient on.

    Args:
        proposals: of each frame, (frames, 1, sequences) and (frames, objects, sequences, ...).
    """
    order = best_order(proposals.what.loc)

    def sort(values: Tensor) -> Tensor:
        return values.gather(1, order.unsqueeze(-1).expand_as(values))

    return Looks(
        proposals.count,
        Gaussian(sort(proposals.scale.loc), sort(proposals.scale.scale)),
        Gaussian(sort(proposals.what.loc), sort(proposals.what.scale)),
    )


def best_order(
    what: Float[Tensor, "frames objects sequences what"],
) -> Int[Tensor, "frames objects sequences"]:
    """For each slot of the first frame the slot of each frame that goes there.

    Args:
        what: mean appearances.
    """
    what = what.detach()
    every = torch.tensor(list(permutations(range(what.shape[1]))), device=what.device)
    distances = (what[:1].unsqueeze(2) - what.unsqueeze(1)).square().sum(-1)  # (frames, slot, candidate, sequences)
    slots = torch.arange(what.shape[1], device=what.device)
    costs = distances[:, slots, every].sum(2)  # (frames, permutations, sequences)
    return every[costs.argmin(1)].transpose(1, 2)
