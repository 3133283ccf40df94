"""How guides of objects that come and go draw one object: presence first, or last as in SQAIR's code."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

ORDERS = ("first", "last")


@runtime_checkable
class Draws(Protocol):
    """Gives values to sites.

    Attributes:
        keeps: whether objects that are followed never go.
    """

    keeps: bool

    def draw(self, name: str, law: Any, alive: Tensor) -> Tensor:
        """A value of a site, scored where `alive` is 1."""
        ...

    def forget(self, name: str, log_prob: Tensor, absent: Tensor) -> None:
        """Cancel a density that was scored, where `absent` is 1."""
        ...


class PyroDraws:
    """Sample sites of a guide."""

    keeps = False

    def draw(self, name: str, law: Any, alive: Tensor) -> Tensor:
        """A masked sample site."""
        return pyro.sample(name, law.mask(alive > 0))

    def forget(self, name: str, log_prob: Tensor, absent: Tensor) -> None:
        """A factor: log q of an absent object's window and appearance is in neither model nor guide."""
        pyro.factor(name, -torch.where(absent > 0, log_prob, 0.0), has_rsample=True)


class CompletionDraws:
    """Values without sites, kept by name.

    Args:
        num_samples: number of draws; None = the most likely presences, and means.
        num_sequences: number of sequences in the batch.
        keeps: whether objects that are followed never go.
    """

    def __init__(self, num_samples: int | None, num_sequences: int, keeps: bool = False) -> None:
        self.keeps = keeps
        self.values: dict[str, Tensor] = {}
        self.drawn = num_samples is not None
        self.batch = torch.Size([num_sequences] if num_samples is None else [num_samples, 1, num_sequences])

    def draw(self, name: str, law: Any, alive: Tensor) -> Tensor:
        """A draw, or the most likely value of a presence and the mean of all else."""
        law = law.expand(self.batch)
        value = law.sample() if self.drawn else law.mean if law.event_shape else (law.mean > 0.5).to(law.mean)
        self.values[name] = value
        return value

    def forget(self, name: str, log_prob: Tensor, absent: Tensor) -> None:
        """Nothing was counted."""


def draw_object(
    draws: Draws,
    names: tuple[str, str, str, str],
    alive: Tensor,
    where_law: Any,
    what_law: Callable[[Tensor], Any],
    presence_logit: Callable[[Tensor | None], Tensor],
    order: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw presence, window and appearance of one object.

    With "last", presence may depend on the appearance. Window and appearance are then drawn first, and their log q is
    cancelled where the object turns out to be absent. This extends the model by p(where, what | absent) =
    q(where, what | absent) and leaves the weights valid.

    Args:
        draws: gives values to sites.
        names: names of the sites presence, where and what, and of the factor that cancels densities.
        alive: 1 where there can be an object.
        where_law: distribution of the window.
        what_law: distribution of the appearance, given the window that was drawn.
        presence_logit: logit given the appearance, or None if presence comes first.
        order: "first" or "last".
    """
    presence_name, where_name, what_name, forget_name = names
    if order == "first":
        chance = dist.Bernoulli(logits=presence_logit(None))
        alive = alive * draws.draw(presence_name, chance, alive)
    where = draws.draw(where_name, where_law, alive)
    law = what_law(where)
    what = draws.draw(what_name, law, alive)
    if order == "first":
        return alive, where, what
    presence = alive * draws.draw(presence_name, dist.Bernoulli(logits=presence_logit(what)), alive)
    log_prob = where_law.log_prob(where) + law.log_prob(what)
    draws.forget(forget_name, log_prob, alive * (1 - presence))
    return presence, where, what
