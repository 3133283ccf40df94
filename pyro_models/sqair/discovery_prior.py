"""Prior of the number of objects that appear in a frame, and of their windows."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import elu

from pyro_models.components.frame_networks import mlp
from pyro_models.components.initial_weights import glorot
from pyro_models.components.layout import concatenate
from pyro_models.components.scales import scale_of
from pyro_models.sqair.object_slots import hazard_logits


class DiscoveryPrior(nn.Module):
    """The distribution of new objects (Kosiorek et al. 2018, eqs. 7 and 8, as in their code)::

        log p(n) = log softmax(elu(b + 1[t > 1] c + f(e)))_n,    n = 0 ... N,   truncated at the number of free slots
        where_i ~ N(mean_i, scale_i^2)

    e is the expected share of objects that stay, minus a half for each slot. With `chained`, each window depends on the
    previous one through u_i = tanh(W where_{i-1} + V s), s = elu(U [w, l, e]), where l is a code of the objects that
    stayed; otherwise they are independent, N(where_mean, where_scale^2).

    Args:
        num_slots: N.
        where_mean: initial means of a window.
        code_dim: size of l.
        units: size of s.
        chained: see above.
        where_scale: standard deviations of a window that depends on no other; None = 1. Small ones for the scales say
            that objects are of one size.
        later_offset: initial offset of the logit of no new object after the first frame; 10 = a late discovery costs
            ten nats.

    Raises:
        ValueError: if `where_scale` is given for chained windows, or has a number that is not positive.
    """

    where_mean: Tensor
    where_scale: Tensor

    def __init__(
        self,
        num_slots: int,
        where_mean: tuple[float, ...],
        code_dim: int,
        *,
        units: int = 128,
        chained: bool = True,
        where_scale: tuple[float, ...] | None = None,
        later_offset: float = 10.0,
    ) -> None:
        super().__init__()
        where_dim = len(where_mean)
        if where_scale is not None:
            if chained:
                raise ValueError(
                    f"where_scale: expected None for chained windows, whose spread is learned, got {where_scale}; set "
                    "chained=False"
                )
        self.num_slots = num_slots
        self.count = nn.Parameter(torch.zeros(num_slots + 1))
        self.later_count = nn.Parameter(torch.tensor([later_offset, *[0.0] * num_slots]))
        self.from_survivors = mlp(1, (10,), num_slots + 1, activation=nn.ELU)
        self.register_buffer("where_mean", torch.tensor(where_mean), persistent=not chained)
        self.register_buffer("where_scale", torch.tensor(where_scale or [1.0] * where_dim), persistent=False)
        self.chained = chained
        if chained:
            self.context_start = nn.Parameter(torch.zeros(where_dim))
            self.first_where = nn.Parameter(torch.zeros(where_dim))
            self.context = nn.Linear(where_dim + code_dim + 1, units).apply(glorot)
            self.from_before = nn.Linear(where_dim, where_dim).apply(glorot)
            self.from_context = nn.Linear(units, where_dim).apply(glorot)
            self.where = nn.Linear(where_dim, 2 * where_dim).apply(glorot)
            with torch.no_grad():
                self.where.bias.copy_(torch.cat([self.where_mean, torch.ones(where_dim)]))

    def presence_logits(
        self, first: bool, survivors: Float[Tensor, "*batch"], room: Float[Tensor, "*batch"]
    ) -> Float[Tensor, "*batch slots"]:
        """Logits of one more object, given all before it; see `hazard_logits`.

        Args:
            first: whether this is the first frame.
            survivors: e.
            room: number of free slots.
        """
        logits = self.count + self.from_survivors(survivors.unsqueeze(-1))
        if not first:
            logits = logits + self.later_count
        return hazard_logits(elu(logits).log_softmax(-1), room)

    def where_context(self, code: Float[Tensor, "*#batch code"], survivors: Float[Tensor, "*#batch"]) -> Tensor | None:
        """What windows depend on besides the previous one; None if they are independent."""
        if not self.chained:
            return None
        return elu(self.context(concatenate(self.context_start, code, survivors.unsqueeze(-1))))

    def where_law(self, before: Tensor | None, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of a window.

        Args:
            before: the window of the object found before it; None for the first.
            context: result of `where_context`.
        """
        if context is None:
            return self.where_mean, self.where_scale
        before = self.first_where if before is None else before
        mean, raw = self.where((self.from_before(before) + self.from_context(context)).tanh()).chunk(2, -1)
        return mean, scale_of(raw)
