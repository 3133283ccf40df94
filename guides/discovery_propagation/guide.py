"""The guide of SQAIR: follow the objects of the previous frame, then look for new ones."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from guides.discovery_propagation.discovery import Discovery, MissingDiscoveries
from guides.discovery_propagation.glimpse_reader import GlimpseReader
from guides.discovery_propagation.object_draws import ORDERS, CompletionDraws, Draws, PyroDraws
from guides.discovery_propagation.place_search import Look, PlaceMap, PlaceSearch
from guides.discovery_propagation.propagation import Propagation
from guides.guide_of import GuideOf
from guides.stepwise import StepwiseGuide
from pyro_models.sqair.model import SequentialAttendInferRepeat, TrackedObjects, join_slots
from pyro_models.sqair.object_slots import take_slots
from videos.typed import Count, typed

SEARCHES = ("network", "map")
LARGEST_OFFSET = 50.0


class FrameReadings(NamedTuple):
    """A checked batch of videos and the features of its frames, computed once for all particles.

    Attributes:
        images: frames, zero where missing; in colour, channels come before the height.
        features: features of the images.
        observed: bool, or None = all.
        places: maps of the images, for a search; None = there is none.
    """

    images: Float[Tensor, "sequences time ..."]
    features: Float[Tensor, "sequences time feature"]
    observed: Tensor | None
    places: PlaceMap | None

    def look(self, index: int) -> Look:
        """One frame."""
        places = None if self.places is None else PlaceMap(*(value[:, index] for value in self.places))
        return Look(self.images[:, index], self.features[:, index], places)


class Followed(NamedTuple):
    """The state after a frame: the model's state of its objects, and the guide's memory of each."""

    objects: TrackedObjects
    memory: Float[Tensor, "*batch slots units"]


class DiscoveryPropagationGuide(GuideOf[SequentialAttendInferRepeat], StepwiseGuide):
    """Objects of the previous frame are followed by `Propagation`, then new ones are found by `Discovery`::

        q(z | x) = prod_t prod_i q(z^P_ti | x_t, z_{t-1}, z^P_t1 ... z^P_t,i-1) q(D_t, z^D_t | x_t, z^P_t)

    (Kosiorek et al. 2018, eqs. 4 and 11). It uses only past and present frames. Where a frame is missing, every
    distribution is the model's prior and the guide's memories do not change: a forecast is the model's own.

    Args:
        model: the model served.
        order: whether the presence of an object is drawn "first" or "last", see `draw_object`.
        glance_units: hidden units of the networks for first looks, see `Propagation`.
        masked: mask the glimpses of propagation.
        correlated: use a full covariance for a followed window.
        propagation_bias: initial bias of the logit that an object stays.
        discovery_bias: initial bias of the logit of a new object.
        where_offset: initial offset of the windows' raw scales; smaller = more certain positions.
        scale_bias: initial bias of the scales of new windows, as logits; 0 = half of the frame.
        gate_bias: initial bias of the gates of propagated appearances, see `Propagation`.
        search: what places windows: "network", as in the paper, or "map", see `PlaceSearch`.

    Raises:
        ValueError: if the order or the search is unknown, or frames, observed or controls have the wrong shape.
        TypeError: if the model is of another kind.
    """

    serves = SequentialAttendInferRepeat
    completion_methods = ("modes", "kept")

    @typed(left=("model",))
    def __init__(
        self,
        model: SequentialAttendInferRepeat,
        *,
        order: str = "last",
        glance_units: Count = 128,
        masked: bool = True,
        correlated: bool = False,
        propagation_bias: float = 5.0,
        discovery_bias: float = 1.0,
        where_offset: float = -3.0,
        scale_bias: float = 0.0,
        search: str = "network",
        gate_bias: float = 1.0,
    ) -> None:
        super().__init__(model)
        if order not in ORDERS:
            raise ValueError(f"order: expected one of {', '.join(ORDERS)}, got {order!r}")
        if search not in SEARCHES:
            raise ValueError(f"search: expected one of {', '.join(SEARCHES)}, got {search!r}")
        if not abs(where_offset) <= LARGEST_OFFSET:
            raise ValueError(
                f"where_offset: expected from -{LARGEST_OFFSET:g} to {LARGEST_OFFSET:g}, beyond which windows "
                f"spread nowhere or everywhere, got {where_offset}"
            )
        shapes = (model.shape_of(model.frame_shape[1:]), model.shape_of(model.glimpse_size))
        self.image_encoder, glimpse_encoder = model.networks.encoders(*shapes)
        self.reader = GlimpseReader(
            glimpse_encoder, model.networks.units, model.what_dim, model.glimpse_size, model.in_colour
        )
        placing = PlaceSearch(model.frame_shape) if search == "map" else None
        sizes = (model.num_slots, model.where_dim, model.what_dim, model.units)
        self.propagation = Propagation(
            self.reader,
            *sizes,
            glance_units=glance_units,
            order=order,
            masked=masked,
            correlated=correlated,
            presence_bias=propagation_bias,
            where_offset=where_offset,
            search=placing,
            gate_bias=gate_bias,
        )
        self.discovery = Discovery(
            self.reader,
            model.networks.units,
            *sizes,
            order=order,
            presence_bias=discovery_bias,
            where_offset=where_offset,
            scale_bias=scale_bias,
            search=placing,
        )

    def prepare(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> FrameReadings:
        """See `StepwiseGuide.prepare`."""
        frames, _ = self.check_video(frames, observed, controls)
        images = frames if self.model.in_colour else frames[:, :, 0]
        search = self.discovery.search
        places = None if search is None else search.survey(frames)
        return FrameReadings(images, self.image_encoder(images), observed, places)

    def step(self, index: int, state: Followed | None, context: FrameReadings) -> Followed:
        """See `StepwiseGuide.step`."""
        return self._advance(index, state, context, PyroDraws())

    @torch.no_grad()
    def complete(
        self,
        frames: Tensor,
        observed: Tensor | None = None,
        controls: Tensor | None = None,
        *,
        method: str = "modes",
        num_samples: int | None = None,
    ) -> dict[str, Tensor]:
        """Objects of all frames: present if that is more likely than not, with the mean window and appearance.

        Args:
            frames: (sequences, time, channels, height, width).
            observed: bool (sequences, time), None = all.
            controls: None.
            method: "modes"; or "kept", in which no object goes that was there.
            num_samples: number of draws; None = the above, each object given those before it.

        Returns:
            A value (sequences, ...) for each site of the model; with draws (num_samples, 1, sequences, ...).

        Raises:
            ValueError: if the method is neither.
        """
        self.check_method(method)
        context = self.prepare(frames, observed, controls)
        draws, state = CompletionDraws(num_samples, frames.shape[0], keeps=method == "kept"), None
        for index in range(frames.shape[1]):
            state = self._advance(index, state, context, draws)
        return draws.values

    def _advance(self, index: int, state: Followed | None, context: FrameReadings, draws: Draws) -> Followed:
        """One step, with either way of drawing."""
        model, step, look = self.model, index + 1, context.look(index)
        propagation = self.propagation  # once: PyroModule walks every parameter on each attribute access
        # the model's distributions are needed only where frames may be missing
        seen = None if context.observed is None else context.observed[:, index]
        first = state is None
        if first:
            nothing = model.nothing(look.images.flatten(1)[:, 0])
            state = Followed(nothing, propagation.first_memory.expand_as(nothing.memory))
        objects, memory = state.objects, state.memory
        laws, model_memory, tracked = None, objects.memory, objects.slots
        if not first:
            if seen is not None:
                laws, model_memory = model.propagated_laws(objects)
            tracked, memory = propagation(step, objects.slots, memory, look, draws, laws, seen)
        room = model.num_slots - tracked.presence.sum(-1)
        code = model.code_of(tracked)
        prior = None
        if seen is not None:
            survivors = model.survivors(objects, laws)
            logits = model.discovery.presence_logits(first, survivors, room)
            prior = MissingDiscoveries(seen, model.discovery, logits, model.discovery.where_context(code, survivors))
        found = self.discovery(step, look, code, room, tracked, draws, prior)
        joined, order = model.join(objects, tracked, model_memory, found)
        fresh = propagation.first_memory.expand(model.num_slots, -1)
        return Followed(joined, take_slots(join_slots(memory, fresh, 1), order, 1))
