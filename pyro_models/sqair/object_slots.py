"""Objects that come and go in a fixed number of slots: masks and gathers instead of lists."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

NEVER = -1e4  # log probability of what cannot be: finite, so that gradients are
EMPTY = -1  # identity of a slot without an object


class ObjectSlots(NamedTuple):
    """Objects of one frame, dims (*batch, slots, ...); those that exist may be anywhere among the slots.

    Attributes:
        presence: 1 if a slot holds an object, else 0.
        where: its window, as logits; of no meaning without presence.
        what: its appearance; of no meaning without presence.
    """

    presence: Float[Tensor, "*batch slots"]
    where: Float[Tensor, "*batch slots where"]
    what: Float[Tensor, "*batch slots what"]


class Identities(NamedTuple):
    """Names of the objects in the slots.

    Attributes:
        names: (*batch, slots), 0, 1, ... in the order of discovery, -1 in empty slots; no name is given twice.
        latest: (*batch), the last name that was given; -1 = none yet.
    """

    names: Int[Tensor, "*batch slots"]
    latest: Int[Tensor, "*batch"]

    def follow(self, tracked: Tensor, found: Tensor) -> "Identities":
        """Names of tracked and then found objects, (*batch, slots + slots): the former keep theirs, the latter get new.

        Args:
            tracked: presence of the objects that have names, (*batch, slots).
            found: presence of new ones, (*batch, slots).
        """
        kept = torch.where(tracked > 0, self.names, EMPTY)
        number = found.long().cumsum(-1)
        given = torch.where(found > 0, self.latest.unsqueeze(-1) + number, EMPTY)
        batch = torch.broadcast_shapes(kept.shape[:-1], given.shape[:-1])
        names = torch.cat([kept.expand(*batch, -1), given.expand(*batch, -1)], -1)
        return Identities(names, (self.latest + number[..., -1]).expand(batch))


def packed_order(presence: Float[Tensor, "*batch slots"], num_slots: int) -> Int[Tensor, "*batch num_slots"]:
    """The slots that hold objects, in their order, then as many of the others as there is room for.

    Args:
        presence: of more slots than are kept.
        num_slots: how many are kept; objects beyond are lost.
    """
    places = torch.arange(presence.shape[-1], device=presence.device)
    keys = torch.where(presence > 0, 0, presence.shape[-1]) + places
    return keys.argsort(-1)[..., :num_slots]


def take_slots(values: Tensor, order: Int[Tensor, "*batch num_slots"], event_dims: int) -> Tensor:
    """Values (*batch, slots, *event) of the slots in an order, (*batch, num_slots, *event).

    Args:
        values: batch dims broadcast against those of the order.
        order: indices of slots.
        event_dims: number of event dims of a value.
    """
    event = values.shape[values.dim() - event_dims :]
    slots = values.shape[values.dim() - event_dims - 1]
    batch = torch.broadcast_shapes(values.shape[: values.dim() - event_dims - 1], order.shape[:-1])
    index = order.expand(*batch, -1).reshape(*batch, order.shape[-1], *[1] * event_dims)
    index = index.expand(*batch, order.shape[-1], *event)
    return values.expand(*batch, slots, *event).gather(len(batch), index)


def hazard_logits(
    log_probs: Float[Tensor, "*batch counts"], room: Float[Tensor, "*batch"] | None = None
) -> Float[Tensor, "*batch slots"]:
    """A distribution of the number of objects as a chain of presences: logits of P(n >= i | n >= i - 1), i = 1 ... N::

        logit_i = log sum_{n >= i} c_n - log c_{i-1}

    so that sum_i presence_i, each Bernoulli where the one before is 1, has the distribution c (specs of SQAIR, section
    2.6).

    Args:
        log_probs: log c_0 ... log c_N, up to a constant; minus infinity is allowed.
        room: how many objects there can be; larger numbers have no probability. Beyond it logits mean nothing: mask
            them.
    """
    log_probs = log_probs.clamp(min=NEVER)
    if room is not None:
        counts = torch.arange(log_probs.shape[-1], device=log_probs.device)
        log_probs = torch.where(counts <= room.unsqueeze(-1), log_probs, NEVER)
    at_least = log_probs.flip(-1).logcumsumexp(-1).flip(-1)
    return at_least[..., 1:] - log_probs[..., :-1]
