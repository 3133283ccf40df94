"""People who walk past a static camera, as silhouettes in a foreground mask."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Float
from pyro import poutine
from torch import Tensor

from pyro_models.components.arguments import check_video
from pyro_models.components.layout import TIME_OF_OBJECTS, join_frames
from pyro_models.components.markov_video import VideoContext
from pyro_models.components.scene import Scene
from pyro_models.components.stepwise import StepwiseModel
from pyro_models.walking_people.foreground import ForegroundPixels, union
from pyro_models.walking_people.heights import blobs_like_people, fit_heights
from pyro_models.walking_people.motion import Walkers, WalkingMotion, nobody
from pyro_models.walking_people.silhouette import Silhouette
from videos.typed import Count, FrameShape, typed

_NARROWER = 0.7  # a person's mean half width over that of the box around arms and legs


class WalkingPeople(StepwiseModel):
    """Foreground masks of a static camera, explained by people on a plane::

        presence_t, visible_t, place_t, velocity_t ~ WalkingMotion           of each slot k: a Markov chain
        m_k(i) = Silhouette(place_tk)(i);   x_ti ~ ForegroundPixels(1 - prod_k (1 - visible_tk m_k(i)))

    The union of silhouettes that explains a background subtraction is that of the probabilistic occupancy map (Fleuret,
    Berclaz, Lengagne and Fua 2008, section 5); they have rectangles at places of a grid, several cameras, and no
    dynamics. Ours are continuous places, sizes and velocities with dynamics, soft silhouettes and the line of heights
    learned from masks, error rates of each pixel, and people who are there and not seen, so that somebody behind a
    sign, or standing until the background absorbs him, is the same person afterwards.

    Frames are masks of zeros and ones. Sites, in the plates `sequences` (dim -1) and `objects` (-2), carry the number
    of their frame: `presence_1`, `visible_1`, `place_1` (event 4: x and y of the feet, pixels from the centre of the
    top left pixel, log size and log width), `velocity_1` (event 2, pixels per frame), `presence_2`, ...; and `frames`,
    in the plate `time` (-3) instead of `objects`. All but presence are masked where there is nobody. Guide:
    `SilhouetteTrackingGuide`.

    Args:
        frame_shape: (1, height, width) of a frame.
        num_slots: K, the largest number of people in a frame.
        silhouette: says where a person is seen; by default one as tall as a fifth of the frame.
        pixels: error rates; by default `ForegroundPixels(frame_shape[1:])`.

    Raises:
        ValueError: if frames have more than one channel, `num_slots` is below 1, or frames, observed or controls have
            the wrong shape.
    """

    @typed
    def __init__(
        self,
        frame_shape: FrameShape = (1, 144, 192),
        *,
        num_slots: Count = 12,
        silhouette: Silhouette | None = None,
        pixels: ForegroundPixels | None = None,
    ) -> None:
        super().__init__()
        if frame_shape[0] != 1:
            raise ValueError(
                f"frame_shape: expected 1 channel, got {frame_shape[0]}; frames are masks of the foreground"
            )
        self.frame_shape = frame_shape
        self.control_dim = 0
        self.num_slots = num_slots
        size = frame_shape[1:]
        self.silhouette = silhouette or Silhouette(size, intercept=0.2 * size[0], slope=0.0)
        self.pixels = pixels or ForegroundPixels(size)
        self.motion = WalkingMotion(self.silhouette, size)

    @torch.no_grad()
    def start_from(self, frames: Float[Tensor, "... height width"]) -> None:
        """Start values for the heights and widths of people, from blobs of their shape in masks of the foreground.

        Args:
            frames: masks of zeros and ones, (..., height, width).

        Raises:
            ValueError: if there are fewer than ten such blobs.
        """
        feet, heights, widths = blobs_like_people(frames.reshape(-1, *self.frame_shape[1:]))
        intercept, slope = fit_heights(feet, heights)
        self.silhouette.line.copy_(torch.tensor([intercept, 100 * slope]))
        self.silhouette.log_half_width.fill_(math.log(_NARROWER * 0.5 * float((widths / heights).median())))

    def prepare(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> VideoContext:
        """See `StepwiseModel.prepare`."""
        frames, seen = check_video(frames, observed, controls, self.frame_shape, self.control_dim, self)
        return VideoContext(frames, seen, None)

    def step(self, index: int, state: Walkers | None, context: VideoContext) -> Walkers:
        """See `StepwiseModel.step`."""
        number, motion = index + 1, self.motion
        before = nobody(context.frames[:, 0, 0, 0, 0].expand(self.num_slots, -1)) if state is None else state
        with self.slots():
            presence = pyro.sample(f"presence_{number}", dist.Bernoulli(motion.presence_probability(before)))
            there = presence > 0
            visible = pyro.sample(f"visible_{number}", dist.Bernoulli(motion.visible_probability(before)).mask(there))
            place = pyro.sample(f"place_{number}", motion.place_distribution(before).mask(there))
            place = torch.where(there[..., None], place, 0.0)
            velocity = pyro.sample(f"velocity_{number}", motion.velocity_distribution(before, place).mask(there))
        return walkers(presence, visible, place, velocity)

    def slots(self) -> Any:
        """The plate `objects`, at dim -2."""
        # A plate is a site itself: created apart from all handlers, it may be entered in every step of one trace.
        with poutine.block():
            return pyro.plate("objects", self.num_slots, dim=-2)

    def emit(self, states: Sequence[Walkers], context: VideoContext, first: int = 0) -> Tensor:
        """Frames of consecutive steps; returns their means, (*particles, time, 1, sequences, 1, height, width)."""
        place = join_frames([state.place for state in states], 1)
        visible = join_frames([state.visible for state in states], 0)
        cover = union(self.silhouette(place), visible, -4).unsqueeze(-4)
        masks = self.pixels(cover)
        steps = slice(first, first + len(states))
        seen, images = context.seen[:, steps].T, context.frames[:, steps].transpose(0, 1)
        with pyro.plate("time", len(states), dim=TIME_OF_OBJECTS):
            pyro.sample("frames", masks.mask(seen[:, None]), obs=images[:, None])
        return masks.mean

    @torch.no_grad()
    def scene(self, latents: Mapping[str, Tensor]) -> Scene:
        """The people for given values of the latent sites; a slot that is filled again has a new identity.

        Args:
            latents: values of all latent sites, (*particles, 1, objects, sequences, ...) or (objects, sequences, ...).
        """
        num_frames = sum(name.startswith("presence_") for name in latents)
        numbers = range(1, num_frames + 1)
        presence, place = (
            join_frames([latents[f"{name}_{number}"] for number in numbers], event_dims)
            for name, event_dims in (("presence", 0), ("place", 1))
        )
        entered = presence.clone()
        entered[..., 1:, :, :] *= 1 - presence[..., :-1, :, :]
        names = entered.transpose(-3, -2).cumsum(-2).transpose(-3, -2) * self.num_slots
        names = names.long() - self.num_slots + torch.arange(self.num_slots, device=names.device)[:, None]
        middles, sizes = self.silhouette.box(place)
        identities = torch.where(presence > 0, names, -1)

        def arranged(value: Tensor, event_dims: int) -> Tensor:
            """(*particles, time, objects, sequences, *event) -> (*particles, sequences, time, objects, *event)."""
            return value.movedim(-1 - event_dims, -3 - event_dims)

        return Scene(
            presence=arranged(presence, 0),
            positions=arranged(middles, 1),
            box_sizes=arranged(sizes, 1),
            identities=arranged(identities, 0),
        )


def walkers(presence: Tensor, visible: Tensor, place: Tensor, velocity: Tensor) -> Walkers:
    """A state in which empty slots have no values of their own, which may be anything."""
    there = presence > 0
    return Walkers(
        presence,
        torch.where(there, visible, 0.0),
        torch.where(there[..., None], place, 0.0),
        torch.where(there[..., None], velocity, 0.0),
    )
