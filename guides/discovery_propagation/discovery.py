"""Discovery: attend, infer, repeat for the objects in a frame that are not yet known."""

import pyro.distributions as dist
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from guides.discovery_propagation.glimpse_reader import GlimpseReader
from guides.discovery_propagation.object_draws import Draws, draw_object
from guides.discovery_propagation.place_search import Look, PlaceSearch, SearchOfFrame, start_near_search
from pyro_models.components.frame_networks import mlp
from pyro_models.components.layout import concatenate
from pyro_models.components.recurrent_cells import step_cell
from pyro_models.components.scales import scale_of
from pyro_models.sqair.discovery_prior import DiscoveryPrior
from pyro_models.sqair.model import stack_slots
from pyro_models.sqair.object_slots import ObjectSlots


class Discovery(nn.Module):
    """Finds objects one after the other (Kosiorek et al. 2018, section 3 and appendix A, as in their code)::

        d_i = RNN(d_{i-1}; features(x), l, what_{i-1}, where_{i-1}, present_{i-1})
        where_i ~ N(m(d_i), s(d_i)^2);   what_i ~ N(read(x, where_i));   present_i ~ Bernoulli(p(d_i, what_i))

    l is the model's code of the known objects. present_i is 0 if present_{i-1} is, or if no slot is left. With a
    `search`, d_i also sees what the search finds, h_i, and the middle of the window is m_i + m(d_i), in logits.

    Args:
        reader: reads glimpses; shared with propagation.
        feature_dim: size of the features of a frame.
        num_slots: number of slots of the model.
        where_dim: size of a window.
        what_dim: size of an appearance.
        units: hidden units of every network.
        order: drawing order, see `draw_object`; with "first", presence depends on d_i alone, as in the paper.
        presence_bias: initial bias of the logit of p; positive = look for objects first.
        where_offset: initial value of the learned offset of the windows' raw scales.
        scale_bias: initial bias of the means of a window's scales, which are logits; 0 = half of the frame.
        search: finds the places of windows; None = a network does, from the features alone.
    """

    def __init__(
        self,
        reader: GlimpseReader,
        feature_dim: int,
        num_slots: int,
        where_dim: int,
        what_dim: int,
        units: int = 256,
        *,
        order: str = "last",
        presence_bias: float = 1.0,
        where_offset: float = -3.0,
        scale_bias: float = 0.0,
        search: PlaceSearch | None = None,
    ) -> None:
        super().__init__()
        self.reader = reader
        self.num_slots = num_slots
        self.order = order
        self.search = search
        self.first_state = nn.Parameter(torch.zeros(units))
        if search is not None:
            feature_dim += search.feature_dim
        self.state = nn.RNNCell(feature_dim + units + what_dim + where_dim + 1, units)
        self.where = mlp(units, (units, units), 2 * where_dim, nn.ELU)
        if search is not None:
            start_near_search(self.where)
        with torch.no_grad():
            self.where[-1].get_parameter("bias")[: where_dim - 2] += scale_bias  # x and y are the last two
        self.where_offset = nn.Parameter(torch.tensor(where_offset))
        self.presence = mlp(units + (what_dim if order == "last" else 0), (units // 2,), 1, nn.ELU, presence_bias)

    def forward(
        self,
        step: int,
        look: Look,
        code: Float[Tensor, "*#batch units"],
        room: Float[Tensor, "*#batch"],
        known: ObjectSlots,
        draws: Draws,
        prior: "MissingDiscoveries | None" = None,
    ) -> ObjectSlots:
        """Draw new objects.

        Args:
            step: number of the frame, from 1.
            look: the frame.
            code: code of the known objects.
            room: number of free slots.
            known: the objects that were followed into this frame.
            draws: gives values to sites.
            prior: the model's distributions where the frame is missing; None = nowhere.
        """
        state, allowed = self.first_state, torch.ones_like(room)
        before = allowed, torch.zeros_like(known.where[..., 0, :]), torch.zeros_like(known.what[..., 0, :])
        search = SearchOfFrame.of(self.search, look, known)
        found = []
        for index in range(self.num_slots):
            presence, where, what = before
            seen, middle = (look.features,), None
            if search is not None:
                middle, there = search.look()
                seen = (look.features, there)
            state = step_cell(self.state, concatenate(*seen, code, what, where, presence[..., None]), state)
            allowed = allowed * (index < room)
            mean, raw = self.where(state).chunk(2, -1)
            mean = mean if middle is None else mean + pad(middle, (mean.shape[-1] - 2, 0))
            window = mean, scale_of(raw + self.where_offset)
            if prior is not None:
                window = prior.where(*window, where if index else None)
            before = self._find(f"{step}_{index + 1}", index, state, allowed, window, look.images, draws, prior)
            allowed = before[0]
            found.append(before)
            if search is not None:
                search.take(stack_slots([before]))
        return stack_slots(found)

    def _find(
        self,
        place: str,
        index: int,
        state: Tensor,
        allowed: Tensor,
        window: tuple[Tensor, Tensor],
        images: Tensor,
        draws: Draws,
        prior: "MissingDiscoveries | None",
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw presence, window and appearance of one object.

        Args:
            place: numbers that end the names of its sites.
            index: number of objects looked for before it.
            state: state of the network.
            allowed: 1 where there can be one more.
            window: mean and standard deviation of its window.
            images: the frame.
            draws: gives values to sites.
            prior: the model's distributions, where the frame is missing.
        """

        def what_law(where: Tensor) -> dist.Independent:
            mean, scale = self.reader(images, where)
            if prior is not None:
                mean, scale = prior.what(mean, scale)
            return dist.Normal(mean, scale).to_event(1)

        def presence_logit(what: Tensor | None) -> Tensor:
            logit = self.presence(state if what is None else concatenate(state, what)).squeeze(-1)
            return logit if prior is None else prior.presence(logit, index)

        names = (f"disc_pres_{place}", f"disc_where_{place}", f"disc_what_{place}", f"disc_absent_{place}")
        law = dist.Normal(*window).to_event(1)
        return draw_object(draws, names, allowed, law, what_law, presence_logit, self.order)


class MissingDiscoveries:
    """The model's distributions of new objects, where a frame is missing.

    Args:
        seen: bool (sequences,), False = missing.
        prior: discovery prior of the model.
        logits: its `presence_logits`.
        context: its `where_context`.
    """

    def __init__(self, seen: Tensor, prior: DiscoveryPrior, logits: Tensor, context: Tensor | None) -> None:
        self.seen, self.prior, self.logits, self.context = seen, prior, logits, context

    def where(self, mean: Tensor, scale: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        """Distribution of a window, given the one before."""
        prior_mean, prior_scale = self.prior.where_law(before, self.context)
        there = self.seen.unsqueeze(-1)
        return torch.where(there, mean, prior_mean), torch.where(there, scale, prior_scale)

    def what(self, mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Of appearances: N(0, I)."""
        there = self.seen.unsqueeze(-1)
        return torch.where(there, mean, 0.0), torch.where(there, scale, 1.0)

    def presence(self, logit: Tensor, index: int) -> Tensor:
        """Of presence."""
        return torch.where(self.seen, logit, self.logits[..., index])
