"""Propagation: follow the objects of the previous frame into this one."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import pyro.distributions as dist
import torch
from jaxtyping import Float
from torch import Tensor, nn

from guides.discovery_propagation.glimpse_reader import GlimpseReader
from guides.discovery_propagation.object_draws import Draws, draw_object
from guides.discovery_propagation.place_search import Look, PlaceSearch, SearchOfFrame, start_near_search
from pyro_models.components.frame_networks import mlp
from pyro_models.components.initial_weights import glorot
from pyro_models.components.layout import concatenate
from pyro_models.components.recurrent_cells import step_cell
from pyro_models.components.scales import scale_of
from pyro_models.sqair.model import stack_slots
from pyro_models.sqair.object_slots import ObjectSlots
from pyro_models.sqair.propagation_prior import PropagatedLaws

PROPOSAL_STEP = 0.1  # scale of the shift from the previous window to the first look
LARGEST_GATE = 0.9999
SURE = 100.0  # logit of what is certain
SURER = -1.0  # added to raw scales of windows, besides the learned offset


class Propagation(nn.Module):
    """Follows objects one after the other (Kosiorek et al. 2018, section 3 and appendix A, as in their code)::

        e_i = read(x, where'_i + 0.1 f(h_i)) through a mask of h_i              a first look near where it was
        r_i = RNN(r_{i-1}; e_i, what_{i-1}, where_{i-1}, present_{i-1}, what'_i, where'_i, present'_i, h_i)
        where_i ~ N(where'_i + d(r_i, where'_i, h_i), S_i)
        g_i, s_i = read(x, where_i) through the mask;   h_i <- GRU(h_i; r_i, where_i, g_i, s_i);   t_i, u_i of h_i
        what_i ~ N(F what'_i + (1 - I) g_i + (1 - U) t_i, (1 - I) s_i + (1 - U) u_i)    with gates F, I, U of h_i
        present_i ~ Bernoulli(p(r_i, h_i before, what_i))

    Primes mark the previous frame; h_i remembers object i, r the objects already followed in this frame. S_i is
    diagonal or, with `correlated`, D L L' D with one learned lower triangular L for all. With a `search`, the middle of
    the window is what the search finds near that of the first look, plus that of d, and r_i sees what is found there.

    Args:
        reader: reads glimpses; shared with discovery.
        num_slots: number of slots of the model.
        where_dim: size of a window.
        what_dim: size of an appearance.
        units: hidden units of all networks but two.
        glance_units: hidden units of the networks for the first look and for the mask.
        order: drawing order, see `draw_object`; with "first", e_i stands in for what_i.
        masked: whether glimpses are masked.
        correlated: see above.
        presence_bias: initial bias of the logit of p; 5 = objects stay.
        where_offset: initial value of the learned offset of the windows' raw scales.
        search: finds the places of windows, shared with discovery; None = a network does.
        gate_bias: initial bias of the gates; 1 as in their code, larger = objects look as they did before.
    """

    def __init__(
        self,
        reader: GlimpseReader,
        num_slots: int,
        where_dim: int,
        what_dim: int,
        units: int = 256,
        *,
        glance_units: int = 128,
        order: str = "last",
        masked: bool = True,
        correlated: bool = False,
        presence_bias: float = 5.0,
        where_offset: float = -3.0,
        search: PlaceSearch | None = None,
        gate_bias: float = 1.0,
    ) -> None:
        super().__init__()
        self.reader = reader
        self.num_slots = num_slots
        self.order = order
        self.search = search
        pixels = reader.glimpse_size[0] * reader.glimpse_size[1]
        self.proposal = mlp(units, (glance_units,), where_dim, nn.ELU)
        self.mask = mlp(units, (glance_units,), pixels, nn.ELU, 1.0) if masked else None
        self.first_relation = nn.Parameter(torch.zeros(units))
        seen_dim = 0 if search is None else search.feature_dim
        self.relation = nn.RNNCell(3 * what_dim + 2 * where_dim + 2 + units + seen_dim, units)
        self.where = mlp(2 * units + where_dim, (units, units), 2 * where_dim, nn.ELU)
        self.where_offset = nn.Parameter(torch.tensor(where_offset))
        self.correlation = nn.Parameter(torch.zeros(where_dim * (where_dim + 1) // 2)) if correlated else None
        self.first_memory = nn.Parameter(torch.zeros(units))
        self.memory = nn.GRUCell(units + where_dim + 2 * what_dim, units)
        self.temporal = nn.Linear(units, 2 * what_dim).apply(glorot)
        self.gates = nn.Linear(units, 3 * what_dim).apply(glorot)
        self.presence = mlp(2 * units + what_dim, (units // 2,), 1, nn.ELU, presence_bias)
        nn.init.constant_(self.gates.bias, gate_bias)
        if search is not None:
            start_near_search(self.where)

    def forward(
        self,
        step: int,
        slots: ObjectSlots,
        memory: Float[Tensor, "*batch slots units"],
        look: Look,
        draws: Draws,
        prior: PropagatedLaws | None = None,
        seen: Tensor | None = None,
    ) -> tuple[ObjectSlots, Float[Tensor, "*batch slots units"]]:
        """Draw the objects in this frame, and update their memories.

        Args:
            step: number of the frame, from 1.
            slots: objects of the previous frame.
            memory: hidden state of each object.
            look: the frame.
            draws: gives values to sites.
            prior: the model's distributions, used where the frame is missing; None = no frame is missing.
            seen: bool (sequences,), False = missing.
        """
        objects = self._glance(slots, memory, look.images)
        before = objects[0].nothing()
        search = SearchOfFrame.of(self.search, look, stack_slots([before]))
        relation, drawn, memories = self.first_relation, [], []
        laws: list[_PriorOfOne | None] = [None] * self.num_slots
        if prior is not None and seen is not None:
            laws = [_PriorOfOne(seen, law.presence, *law.where, *law.what) for law in prior.unbind()]
        for index, (one, law) in enumerate(zip(objects, laws, strict=True), 1):
            place = f"{step}_{index}"
            known = (before, relation)
            relation, remembered, before = self._follow(place, one, known, look.images, draws, law, search)
            if search is not None:
                search.take(stack_slots([before]))
            drawn.append(before)
            memories.append(remembered)
        return stack_slots(drawn), torch.stack(torch.broadcast_tensors(*memories), -2)

    def _glance(self, slots: ObjectSlots, memory: Tensor, images: Tensor) -> list["_Object"]:
        """The objects, and the inputs for each that do not depend on the order of following."""
        where, what, memory = (value.movedim(-2, 0) for value in (slots.where, slots.what, memory))
        mask = None if self.mask is None else self.mask(memory).sigmoid().unflatten(-1, self.reader.glimpse_size)
        aim = where + PROPOSAL_STEP * self.proposal(memory)
        glance, _ = self.reader(images, aim, mask)
        values = (slots.presence.unbind(-1), where, what, memory, aim, glance)
        masks = [None] * self.num_slots if mask is None else mask
        return [_Object(*one) for one in zip(*values, masks, strict=True)]

    def _follow(
        self,
        place: str,
        one: "_Object",
        known: tuple[tuple[Tensor, Tensor, Tensor], Tensor],
        images: Tensor,
        draws: Draws,
        prior: "_PriorOfOne | None",
        search: SearchOfFrame | None,
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
        """Draw one object: relation state, memory, presence, window and appearance.

        Args:
            place: numbers that end the names of its sites.
            one: the object in the previous frame.
            known: presence, window and appearance of the object followed before it; the relation state after that.
            images: the frame.
            draws: gives values to sites.
            prior: the model's distributions, where the frame is missing.
            search: of the frame.
        """
        (presence, where, what), relation = known
        others = (what, where, presence[..., None])
        own = (one.what, one.where, one.presence[..., None], one.memory)
        start, found = one.where, ()
        if search is not None:
            middle, seen = search.look(one.aim[..., -2:])
            start, found = concatenate(one.where[..., :-2], middle), (seen,)
        relation = step_cell(self.relation, concatenate(one.glance, *others, *own, *found), relation)
        where_law = self._where_law(concatenate(relation, one.where, one.memory), start)
        remembered = one.memory

        def what_law(where: Tensor) -> dist.Independent:
            nonlocal remembered
            seen_mean, seen_scale = self.reader(images, where, one.mask)
            remembered = step_cell(self.memory, concatenate(relation, where, seen_mean, seen_scale), one.memory)
            mean, raw = self.temporal(remembered).chunk(2, -1)
            keep, blind, forget = (LARGEST_GATE * self.gates(remembered).sigmoid()).chunk(3, -1)
            mean = keep * one.what + (1 - blind) * seen_mean + (1 - forget) * mean
            scale = (1 - blind) * seen_scale + (1 - forget) * scale_of(raw)
            if prior is not None:
                mean, scale = prior.what(mean, scale)
                remembered = torch.where(prior.seen.unsqueeze(-1), remembered, one.memory)
            return dist.Normal(mean, scale).to_event(1)

        def presence_logit(what: Tensor | None) -> Tensor:
            logit = self.presence(concatenate(relation, one.memory, one.glance if what is None else what)).squeeze(-1)
            if draws.keeps:
                return torch.full_like(logit, SURE)
            return logit if prior is None else prior.presence(logit)

        where_law = where_law if prior is None else prior.where(where_law)
        names = (f"prop_pres_{place}", f"prop_where_{place}", f"prop_what_{place}", f"prop_absent_{place}")
        drawn = draw_object(draws, names, one.presence, where_law, what_law, presence_logit, self.order)
        return relation, remembered, drawn

    def _where_law(self, inputs: Tensor, before: Tensor) -> Any:
        change, raw = self.where(inputs).chunk(2, -1)
        scale = scale_of(raw + self.where_offset + SURER)
        if self.correlation is None:
            return dist.Normal(before + change, scale).to_event(1)
        size = scale.shape[-1]
        rows, columns = torch.tril_indices(size, size)
        lower = self.correlation.new_zeros(size, size).index_put((rows, columns), self.correlation)
        factor = lower.tril(-1) + torch.diag_embed(lower.diagonal().exp())
        return dist.MultivariateNormal(before + change, scale_tril=scale.unsqueeze(-1) * factor)


class _Object(NamedTuple):
    """One object of the previous frame, window and result of the first look for it, and the mask of its glimpses."""

    presence: Tensor
    where: Tensor
    what: Tensor
    memory: Tensor
    aim: Tensor
    glance: Tensor
    mask: Tensor | None

    def nothing(self) -> tuple[Tensor, Tensor, Tensor]:
        """Presence, window and appearance of an absent object."""
        return torch.zeros_like(self.presence), torch.zeros_like(self.where), torch.zeros_like(self.what)


@dataclass(frozen=True)
class _PriorOfOne:
    """The model's distributions of one object, for frames that are missing: `seen`, (sequences,), is False there."""

    seen: Tensor
    logit: Tensor
    where_mean: Tensor
    where_scale: Tensor
    what_mean: Tensor
    what_scale: Tensor

    def presence(self, logit: Tensor) -> Tensor:
        """Distribution of presence, from the guide's logit."""
        return torch.where(self.seen, logit, self.logit)

    def where(self, law: Any) -> Any:
        """Distribution of the window, from the guide's."""
        there = self.seen.unsqueeze(-1)
        if isinstance(law, dist.MultivariateNormal):
            factor = torch.where(there.unsqueeze(-1), law.scale_tril, torch.diag_embed(self.where_scale))
            return dist.MultivariateNormal(torch.where(there, law.loc, self.where_mean), scale_tril=factor)
        mean = torch.where(there, law.mean, self.where_mean)
        return dist.Normal(mean, torch.where(there, law.stddev, self.where_scale)).to_event(1)

    def what(self, mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Distribution of the appearance, from the guide's mean and standard deviation."""
        there = self.seen.unsqueeze(-1)
        return torch.where(there, mean, self.what_mean), torch.where(there, scale, self.what_scale)
