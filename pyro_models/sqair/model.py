"""SQAIR: objects that appear, move, overlap and leave (Kosiorek et al. 2018)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from pyro_models.components.arguments import check_video
from pyro_models.components.frame_networks import mlp
from pyro_models.components.glimpse_networks import GlimpseNetworks, Shape
from pyro_models.components.glimpses import Windows, cover, paste_and_add, paste_glimpses
from pyro_models.components.isotropic_gaussian import IsotropicGaussian
from pyro_models.components.layout import merge_particles, to_time_plate
from pyro_models.components.markov_video import VideoContext
from pyro_models.components.scene import Scene
from pyro_models.components.stepwise import StepwiseModel
from pyro_models.sqair.discovery_prior import DiscoveryPrior
from pyro_models.sqair.object_slots import EMPTY, Identities, ObjectSlots, packed_order, take_slots
from pyro_models.sqair.propagation_prior import PropagatedLaws, PropagationPrior
from videos.typed import Count, FrameShape, Positive, typed

LIT = 0.5  # light from which on a pixel shows an object; white is 1
Draw = Callable[[str, Any, Tensor], Tensor]
"""Turns the name of a site, its distribution and whether it counts (1 or 0) into a value."""


class TrackedObjects(NamedTuple):
    """The state after a frame: its objects, packed to the front of the slots, and the model's memory of each.

    Attributes:
        slots: the objects.
        memory: hidden states of the propagation prior, (*batch, slots, units).
        identities: names of the objects.
    """

    slots: ObjectSlots
    memory: Float[Tensor, "*batch slots units"]
    identities: Identities


class SequentialAttendInferRepeat(StepwiseModel):
    """Objects of the previous frame stay or leave, new ones appear, and every object adds its patch to the frame::

        p(x, z) = prod_t prod_i p(z^P_ti | z_{<t,i}) p(D_t, z^D_t | z^P_t) p(x_t | z_t)
        x_t ~ N(sum_i present_ti paste(g decoder(what_ti), where_ti) + m_t mean_image, frame_scale^2)
        m_t = sigm(20 sum_i present_ti paste(1, where_ti) - 10)

    (Kosiorek et al. 2018, eqs. 2 to 10). In frame t and slot i, from 1 on, sites are `prop_pres_t_i`, `prop_where_t_i`
    and `prop_what_t_i` of objects that were there (from frame 2 on), `disc_pres_t_i`, `disc_where_t_i` and
    `disc_what_t_i` of new ones, all in the plate `sequences`; and `frames`, in the plate `time` as well. An object that
    has left never comes back: one that reappears is a new object. Sites of absent objects are masked, and so are
    discoveries for which no slot is left: the distribution of their number is truncated there (the authors' code draws
    them, counts their density, and drops them). Objects of a frame are packed to the front of the slots before the
    next; `scene` gives them persistent identities. Guide: `DiscoveryPropagationGuide`.

    Windows are logits as in `Windows.from_logits`, with a scale for each axis. The paper's frames are grey; those in
    colour (an extension) have patches and a mean image in colour, and their density is the product over channels. The
    sum over objects, which is the paper's, lets an object in front of another darken it only by a patch below zero.

    Args:
        frame_shape: (channels, height, width) of a frame; one channel, or three in colour.
        num_slots: N, the largest number of objects in a frame.
        what_dim: size of an appearance.
        glimpse_size: height and width of a patch, pixels.
        networks: sizes of the networks that read and draw pixels.
        units: hidden units of the other networks.
        context_units: size of the context of chained windows.
        where_mean: prior means of a new window: scales, x, y.
        chained: let new windows depend on one another; see `DiscoveryPrior`.
        where_scale: standard deviations of a new window if windows are not chained; None = 1.
        residual: propagated means are changes; see `PropagationPrior`.
        propagation_offset: offset of the prior logit of staying.
        later_offset: offset of the prior logit of no discovery after the first frame.
        mean_image: whether to learn a mean image; it starts black, see `start_from`.
        patch_gain: initial g.
        frame_scale: standard deviation of a pixel.

    Raises:
        ValueError: if frames have neither one nor three channels, `where_scale` is given for chained windows or is not
            positive, or frames, observed or controls have the wrong shape.
    """

    @typed
    def __init__(
        self,
        frame_shape: FrameShape = (1, 50, 50),
        *,
        num_slots: Count = 3,
        what_dim: Count = 50,
        glimpse_size: tuple[Count, Count] = (20, 20),
        networks: GlimpseNetworks | None = None,
        units: Count = 256,
        context_units: Count = 128,
        where_mean: tuple[float, float, float, float] = (-2.0, -2.0, 0.0, 0.0),
        chained: bool = True,
        where_scale: tuple[Positive, Positive, Positive, Positive] | None = None,
        residual: bool = False,
        propagation_offset: float = 10.0,
        later_offset: float = 10.0,
        mean_image: bool = True,
        patch_gain: Positive = 0.25,
        frame_scale: Positive = 0.3,
    ) -> None:
        super().__init__()
        if frame_shape[0] not in (1, 3):
            raise ValueError(
                f"frame_shape: expected 1 channel (grey) or 3 (colour) before height and width, got {frame_shape}"
            )
        self.frame_shape = frame_shape
        self.control_dim = 0
        self.num_slots = num_slots
        self.what_dim = what_dim
        self.where_dim = len(where_mean)
        self.glimpse_size = glimpse_size
        self.networks = networks or GlimpseNetworks()
        self.units = units
        self.frame_scale = frame_scale
        self.decoder = self.networks.decoder(what_dim, self.shape_of(glimpse_size))
        self.patch_gain = nn.Parameter(torch.tensor(patch_gain))
        self.mean_image = nn.Parameter(torch.zeros(self.shape_of(frame_shape[1:]))) if mean_image else None
        self.set_code = mlp(what_dim + self.where_dim, (units, units), activation=nn.ELU)
        self.propagation = PropagationPrior(self.where_dim, what_dim, units, propagation_offset, residual)
        self.discovery = DiscoveryPrior(
            num_slots,
            where_mean,
            units,
            units=context_units,
            chained=chained,
            where_scale=where_scale,
            later_offset=later_offset,
        )

    @property
    def in_colour(self) -> bool:
        """Whether frames have several channels."""
        return self.frame_shape[0] > 1

    def shape_of(self, size: tuple[int, int]) -> Shape:
        """Shape of a picture of this height and width: with channels if frames are in colour."""
        return (self.frame_shape[0], *size) if self.in_colour else size

    @torch.no_grad()
    def start_from(self, frames: Tensor) -> None:
        """Initialise the mean image as the mean of these frames, (..., channels, height, width).

        Raises:
            ValueError: if frames are not of the model's shape.
        """
        if tuple(frames.shape[-3:]) != self.frame_shape:
            raise ValueError(f"frames: expected (..., *{self.frame_shape}), got {tuple(frames.shape)}")
        if self.mean_image is not None:
            self.mean_image.copy_(frames.flatten(0, -4).mean(0).reshape(self.mean_image.shape))

    def prepare(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> VideoContext:
        """See `StepwiseModel.prepare`."""
        frames, seen = check_video(frames, observed, controls, self.frame_shape, self.control_dim, self)
        return VideoContext(frames, seen, None)

    def step(self, index: int, state: TrackedObjects | None, context: VideoContext) -> TrackedObjects:
        """See `StepwiseModel.step`."""
        return self.advance(index, state, context.frames[:, 0, 0, 0, 0], pyro_draw)

    def emit(self, states: Sequence[TrackedObjects], context: VideoContext, first: int = 0) -> Tensor:
        """Frames of consecutive steps; returns their means, (*particles, sequences, time, height, width).

        In colour, channels come before the height.
        """
        slots = [state.slots for state in states]
        canvas = self.canvas(
            ObjectSlots(
                merge_particles(torch.stack([one.presence for one in slots], -2), 2),
                merge_particles(torch.stack([one.where for one in slots], -3), 3),
                merge_particles(torch.stack([one.what for one in slots], -3), 3),
            )
        )
        means = canvas if self.in_colour else canvas.unsqueeze(-3)
        law = IsotropicGaussian(dist.Normal(to_time_plate(means, 3), self.frame_scale), 3)
        steps = slice(first, first + len(states))
        with pyro.plate("time", len(states), dim=-2):
            pyro.sample("frames", law.mask(context.seen[:, steps].T), obs=to_time_plate(context.frames[:, steps], 3))
        return canvas

    def canvas(self, slots: ObjectSlots) -> Float[Tensor, "*batch height width"]:
        """Mean of a frame with these objects; in colour, channels come before the height."""
        slots, size = _blank_absent(slots), self.frame_shape[1:]
        windows = Windows.from_logits(slots.where)
        canvas = paste_and_add(self._patches(slots), windows, size, channels=self.in_colour)
        if self.mean_image is None:
            return canvas
        covered = cover(20 * slots.presence, windows, self.glimpse_size, size)
        covered = covered.unsqueeze(-3) if self.in_colour else covered
        return canvas + (covered - 10).sigmoid() * self.mean_image

    def _patches(self, slots: ObjectSlots) -> Float[Tensor, "*batch slots height width"]:
        """What each object adds to a frame, within its window; zero where there is none."""
        patches = self.decoder(slots.what)
        there = slots.presence.reshape(*slots.presence.shape, *[1] * (patches.dim() - slots.presence.dim()))
        return there * self.patch_gain * patches

    def nothing(self, like: Float[Tensor, " sequences"]) -> TrackedObjects:
        """The state before the first frame: no objects."""
        size = (*like.shape, self.num_slots)
        return TrackedObjects(
            ObjectSlots(
                like.new_zeros(size), like.new_zeros(*size, self.where_dim), like.new_zeros(*size, self.what_dim)
            ),
            self.propagation.start.expand(*size, -1),
            Identities(torch.full(size, EMPTY, device=like.device), torch.full(like.shape, EMPTY, device=like.device)),
        )

    def propagated_laws(self, state: TrackedObjects) -> tuple[PropagatedLaws, Tensor]:
        """Prior of the propagated objects, and their memories."""
        return self.propagation(state.slots.where, state.slots.what, state.memory)

    def survivors(self, state: TrackedObjects, laws: PropagatedLaws | None) -> Float[Tensor, "*batch"]:
        """The expected share of slots whose objects stay, minus a half; `laws` None = first frame."""
        if laws is None:
            return torch.full_like(state.slots.presence[..., 0], -0.5)
        return (state.slots.presence * laws.presence.sigmoid()).mean(-1) - 0.5

    def code_of(self, slots: ObjectSlots) -> Float[Tensor, "*batch units"]:
        """A code of a set of objects, the sum of codes of its members (Kosiorek et al. 2018, eq. 6)."""
        slots = _blank_absent(slots)
        return (slots.presence.unsqueeze(-1) * self.set_code(torch.cat([slots.what, slots.where], -1))).sum(-2)

    def what_law(self, like: Tensor) -> dist.Independent:
        """Prior of the appearance of a new object."""
        zeros = like.new_zeros(self.what_dim)
        return dist.Normal(zeros, torch.ones_like(zeros)).to_event(1)

    def join(
        self, state: TrackedObjects, tracked: ObjectSlots, memory: Tensor, found: ObjectSlots
    ) -> tuple[TrackedObjects, Tensor]:
        """The objects that stayed and those that were found, packed; also the order, to pack a guide's memory.

        Args:
            state: state after the previous frame.
            tracked: its objects, propagated.
            memory: hidden state of each object.
            found: new objects.

        Returns:
            The state, and for each of the N slots its index among the 2 N, tracked ones first.
        """
        presence = join_slots(tracked.presence, found.presence, 0)
        order = packed_order(presence, self.num_slots)
        identities = state.identities.follow(tracked.presence, found.presence)
        slots = ObjectSlots(
            take_slots(presence, order, 0),
            take_slots(join_slots(tracked.where, found.where, 1), order, 1),
            take_slots(join_slots(tracked.what, found.what, 1), order, 1),
        )
        fresh = self.propagation.start.expand(self.num_slots, -1)
        return (
            TrackedObjects(
                slots,
                take_slots(join_slots(memory, fresh, 1), order, 1),
                Identities(take_slots(identities.names, order, 0), identities.latest),
            ),
            order,
        )

    def advance(self, index: int, state: TrackedObjects | None, like: Tensor, draw: Draw) -> TrackedObjects:
        """One step, with any way of drawing.

        Args:
            index: index of the frame, from 0.
            state: state after the previous frame.
            like: (sequences,), gives dtype and device.
            draw: gives values to sites.
        """
        step = index + 1
        first = state is None
        state = self.nothing(like) if state is None else state
        laws, memory, tracked = None, state.memory, state.slots
        if not first:
            laws, memory = self.propagated_laws(state)
            drawn = []
            each = zip(state.slots.presence.unbind(-1), laws.unbind(), strict=True)
            for slot, (alive, law) in enumerate(each, 1):
                presence = alive * draw(f"prop_pres_{step}_{slot}", dist.Bernoulli(logits=law.presence), alive)
                where = draw(f"prop_where_{step}_{slot}", dist.Normal(*law.where).to_event(1), presence)
                what = draw(f"prop_what_{step}_{slot}", dist.Normal(*law.what).to_event(1), presence)
                drawn.append((presence, where, what))
            tracked = stack_slots(drawn)
        survivors = self.survivors(state, laws)
        room = self.num_slots - tracked.presence.sum(-1)
        discovery = self.discovery  # once: PyroModule walks every parameter on each attribute access
        logits = discovery.presence_logits(first, survivors, room)
        context = discovery.where_context(self.code_of(tracked), survivors)
        before, allowed, found = None, torch.ones_like(room), []
        for slot, logit in enumerate(logits.unbind(-1)):
            allowed = allowed * (slot < room)
            presence = allowed * draw(f"disc_pres_{step}_{slot + 1}", dist.Bernoulli(logits=logit), allowed)
            law = dist.Normal(*discovery.where_law(before, context)).to_event(1)
            where = draw(f"disc_where_{step}_{slot + 1}", law, presence)
            what = draw(f"disc_what_{step}_{slot + 1}", self.what_law(room), presence)
            found.append((presence, where, what))
            before, allowed = where, presence
        return self.join(state, tracked, memory, stack_slots(found))[0]

    @torch.no_grad()
    def scene(self, latents: Mapping[str, Tensor]) -> Scene:
        """The objects for given values of the latent sites.

        Args:
            latents: values of all latent sites, (*particles, 1, sequences, ...) or (sequences, ...).
        """
        states = self._replayed(latents)

        def over_time(values: list[Tensor], event_dims: int) -> Tensor:
            return merge_particles(torch.stack(values, -2 - event_dims), 2 + event_dims)

        windows = Windows.from_logits(over_time([one.slots.where for one in states], 1))
        return Scene(
            presence=over_time([one.slots.presence for one in states], 0),
            positions=windows.middles(*self.frame_shape[1:]),
            box_sizes=windows.sizes(*self.frame_shape[1:]),
            appearance=over_time([one.slots.what for one in states], 1),
            identities=over_time([one.identities.names for one in states], 0),
        )

    @torch.no_grad()
    def object_masks(
        self, latents: Mapping[str, Tensor], size: tuple[int, int] | None = None
    ) -> Bool[Tensor, "*batch time slots height width"]:
        """See `ShowsObjects.object_masks`.

        A pixel shows the object that adds most light to it, if that is at least 0.5. The light of an object is that of
        its brightest channel.
        """
        masks = []
        for state in self._replayed(latents):
            slots = _blank_absent(state.slots)
            windows = Windows.from_logits(slots.where)
            if self.in_colour:
                windows = Windows(windows.scale.unsqueeze(-2), windows.shift.unsqueeze(-2))
            light = paste_glimpses(self._patches(slots), windows, self.frame_shape[1:])
            if size is not None and size != self.frame_shape[1:]:
                flat = light.flatten(0, -4)
                light = interpolate(flat, size, mode="bilinear").reshape(*light.shape[:-2], *size)
            light = light.amax(-3) if self.in_colour else light
            most, first = light.max(-3, keepdim=True)
            places = torch.arange(self.num_slots, device=light.device)[:, None, None]
            masks.append((first == places) & (most >= LIT))
        return merge_particles(torch.stack(masks, -4), 4)

    def _replayed(self, latents: Mapping[str, Tensor]) -> list[TrackedObjects]:
        """The state after each frame, for given values of the latent sites."""
        num_frames = sum(name.startswith("disc_pres_") for name in latents) // self.num_slots
        state, states = None, []
        for index in range(num_frames):
            like = latents["disc_pres_1_1"]
            like = like.reshape(-1, like.shape[-1])[0]
            state = self.advance(index, state, like, lambda name, law, alive: latents[name])
            states.append(state)
        return states


def pyro_draw(name: str, law: Any, alive: Tensor) -> Tensor:
    """A sample site, masked where it does not count."""
    return pyro.sample(name, law.mask(alive > 0))


def stack_slots(drawn: Sequence[tuple[Tensor, Tensor, Tensor]]) -> ObjectSlots:
    """Slots from presence, where and what of each."""
    presence, where, what = (torch.broadcast_tensors(*values) for values in zip(*drawn, strict=True))
    return ObjectSlots(torch.stack(presence, -1), torch.stack(where, -2), torch.stack(what, -2))


def _blank_absent(slots: ObjectSlots) -> ObjectSlots:
    """Zeros for absent objects, whose values are arbitrary: 0 x NaN is NaN."""
    there = slots.presence.unsqueeze(-1) > 0
    return slots._replace(where=torch.where(there, slots.where, 0.0), what=torch.where(there, slots.what, 0.0))


def join_slots(tracked: Tensor, found: Tensor, event_dims: int) -> Tensor:
    """Slots of two kinds concatenated, batch dims broadcast."""
    place = -1 - event_dims
    batch = torch.broadcast_shapes(tracked.shape[:place], found.shape[:place])
    return torch.cat([value.expand(*batch, *value.shape[place:]) for value in (tracked, found)], place)
