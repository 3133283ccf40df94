"""Objects that come and go in a fixed number of slots: masks and gathers instead of lists."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

NEVER = -1e4  # log probability of the impossible, finite so that gradients are finite
EMPTY = -1  # identity of a slot without an object


class ObjectSlots(NamedTuple):
    """Objects of one frame, dims (*batch, slots, ...); those that exist may be anywhere among the slots.

    Attributes:
        presence: 1 if a slot holds an object, else 0.
        where: its window, as logits; meaningless without presence.
        what: its appearance; meaningless without presence.
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
        """Names of tracked, then of found objects, (*batch, slots + slots); tracked objects keep their names.

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
    """The slots that hold objects, in order, then others up to `num_slots`.

    Args:
        presence: presence in more slots than are kept.
        num_slots: number of slots kept; objects beyond are lost.
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

    so that sum_i presence_i, each Bernoulli where the previous one is 1, has the distribution c.

    Args:
        log_probs: log c_0 ... log c_N, up to a constant; minus infinity is allowed.
        room: largest number of objects; larger numbers have no probability. Logits beyond it mean nothing and must be
            masked.
    """
    log_probs = log_probs.clamp(min=NEVER)
    if room is not None:
        counts = torch.arange(log_probs.shape[-1], device=log_probs.device)
        log_probs = torch.where(counts <= room.unsqueeze(-1), log_probs, NEVER)
    at_least = log_probs.flip(-1).logcumsumexp(-1).flip(-1)
    return at_least[..., 1:] - log_probs[..., :-1]
