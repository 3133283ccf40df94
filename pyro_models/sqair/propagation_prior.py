"""The dynamics of SQAIR: each object of the previous frame propagates independently."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pyro_models.components.initial_weights import glorot
from pyro_models.components.recurrent_cells import step_cell
from pyro_models.components.scales import scale_of


class PropagatedLaws(NamedTuple):
    """Distributions of propagated objects, dims (*batch, slots, ...).

    Attributes:
        presence: logit of staying.
        where: mean and standard deviation of the window.
        what: mean and standard deviation of the appearance.
    """

    presence: Float[Tensor, "*batch slots"]
    where: tuple[Float[Tensor, "*batch slots where"], Float[Tensor, "*batch slots where"]]
    what: tuple[Float[Tensor, "*batch slots what"], Float[Tensor, "*batch slots what"]]

    def unbind(self) -> list["PropagatedLaws"]:
        """The distributions of each object separately."""
        where, what = (zip(mean.unbind(-2), scale.unbind(-2), strict=True) for mean, scale in (self.where, self.what))
        return [PropagatedLaws(*one) for one in zip(self.presence.unbind(-1), where, what, strict=True)]


class PropagationPrior(nn.Module):
    """A recurrent network over each object's own past (Kosiorek et al. 2018, eqs. 9 and 10, as in their code)::

        m_t = GRU([what_{t-1}, where_{t-1}], m_{t-1})
        logit p(present_t), means, raw scales = W m_t + b;      scales = softplus(raw) + 0.01

    Objects do not see one another. With `residual`, means are the object's previous values plus 0.1 times the outputs.

    Args:
        where_dim: size of a window.
        what_dim: size of an appearance.
        units: units of the network.
        presence_offset: added to the logit of staying; 10 = leaving initially costs ten nats.
        residual: see above.
    """

    def __init__(
        self,
        where_dim: int,
        what_dim: int,
        units: int = 256,
        presence_offset: float = 10.0,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.sizes = [1, where_dim, what_dim, where_dim, what_dim]
        self.start = nn.Parameter(torch.zeros(units))
        self.cell = nn.GRUCell(where_dim + what_dim, units)
        self.laws = nn.Linear(units, sum(self.sizes)).apply(glorot)
        self.presence_offset = presence_offset
        self.residual = residual

    def forward(
        self,
        where: Float[Tensor, "*batch slots where"],
        what: Float[Tensor, "*batch slots what"],
        memory: Float[Tensor, "*batch slots units"],
    ) -> tuple[PropagatedLaws, Float[Tensor, "*batch slots units"]]:
        """Distributions of all objects, and their new memory.

        Args:
            where: windows in the previous frame.
            what: appearances there.
            memory: memory after the previous frame; `start` for an object found there.
        """
        memory = step_cell(self.cell, torch.cat([what, where], -1), memory)
        logit, where_mean, what_mean, where_raw, what_raw = self.laws(memory).split(self.sizes, -1)
        if self.residual:
            where_mean, what_mean = where + 0.1 * where_mean, what + 0.1 * what_mean
        laws = PropagatedLaws(
            logit.squeeze(-1) + self.presence_offset,
            (where_mean, scale_of(where_raw)),
            (what_mean, scale_of(what_raw)),
        )
        return laws, memory
