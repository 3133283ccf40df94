"""The parts of a frame's bound, which a loss of all refinements needs one by one."""

from typing import NamedTuple

import pyro.distributions as dist
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.distributions import kl_divergence

from pyro_models.distributions.pixel_mixture import PixelMixture


class RefinementTerm(NamedTuple):
    """The parts of a bound before a refinement, or after the last one, in nats for each sequence.

    Attributes:
        negative_log_likelihood: -log p(x_t | z), at one draw.
        divergence: KL(q(z) || p(z)), in closed form.
        entropy: of the masks.
    """

    negative_log_likelihood: Float[Tensor, "*batch sequences"]
    divergence: Float[Tensor, "*batch sequences"]
    entropy: Float[Tensor, "*batch sequences"]


def term_of(
    mixture: PixelMixture,
    frame: Float[Tensor, "sequences channels height width"],
    q: dist.Independent,
    prior: dist.Independent,
    seen: Bool[Tensor, " sequences"],
) -> RefinementTerm:
    """The parts of a frame's bound; 0 where it is missing.

    Args:
        mixture: decoded from a draw.
        frame: x_t.
        q: where the draw is from.
        prior: given what slots remember.
        seen: False where the frame is missing.
    """
    divergence = kl_divergence(q, prior).sum(-2)
    parts = (-mixture.log_prob(frame), divergence, mixture.mixing_entropy())
    return RefinementTerm(*(torch.where(seen, one, 0.0) for one in parts))
