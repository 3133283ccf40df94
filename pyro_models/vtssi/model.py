"""Disentangled state-space models of objects: constant looks, moving positions (Akhundov et al. 2019)."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Float
from torch import Tensor

from pyro_models.components.arguments import check_video
from pyro_models.components.layout import TIME_OF_OBJECTS, join_frames
from pyro_models.components.markov_video import VideoContext
from pyro_models.components.scene import Scene
from pyro_models.components.stepwise import StepwiseModel
from pyro_models.vtssi.frame_scenes import emit_frames, scene_of
from pyro_models.vtssi.object_scenes import ObjectScenes
from pyro_models.vtssi.transition import MotionTransition
from videos.typed import Count, Positive, typed


class MovingObjects(NamedTuple):
    """The state after a frame, dims (*plates, objects, sequences, ...).

    Attributes:
        opacity: o of each object.
        scale: its size.
        glimpse: its decoded appearance, times opacity and centring mask; decoded once for all frames.
        position: where it is.
        motion: how it moves; None before the first motion variable.
    """

    opacity: Float[Tensor, "*plates objects sequences"]
    scale: Float[Tensor, "*plates objects sequences 2"]
    glimpse: Float[Tensor, "*plates objects sequences height width"]
    position: Float[Tensor, "*plates objects sequences 2"]
    motion: Float[Tensor, "*plates objects sequences motion"] | None


class DisentangledStateSpaceModel(StepwiseModel):
    """A fixed set of objects whose number, sizes and appearances are constant, and whose positions move::

        p_1 ~ N(0, I);   p_t ~ N(p_{t-1}, position_step^2)      for t = 2 ... M, or at all later times without motion
        m_M ~ N(0, I);   p_t, m_t ~ transition(p_{t-1}, m_{t-1})                                     for t = M+1 ... T

    (Akhundov et al. 2019, section 3 and appendix A), for each object; counts, sizes, appearances and frames are those
    of `ObjectScenes`. (p, m) is the whole state: the generator has no hidden memory, so that a forecast needs nothing
    but the last position and motion.

    Sites carry the number of the step that draws them: `count_1`, in the plate `sequences`; `z_scale_1`, `z_what_1`,
    `z_where_1` ... `z_where_T` and `z_motion_M` ... `z_motion_T`, in `sequences` and `objects`; and `frames`, in
    `sequences` and `time`. Objects that are not in play are masked, see `ObjectScenes`. A video of fewer than M frames
    has no motion variable. Guide: `FindAndFuseGuide`.

    Args:
        scenes: what is constant, and the picture; by default `ObjectScenes()`.
        first_motion: M, the number of the frame with the first motion variable, at least the order of the dynamics;
            None = no motion, a random walk.
        transition: dynamics after frame M; by default `MotionTransition()`.
        position_step: standard deviation of the random walk.
        detach_previous: whether the mean of the random walk passes no gradient on, as in the paper: a position is drawn
            to the one before it and does not pull that one along. Values are the same.

    Raises:
        ValueError: if `first_motion` is below 1, if there is a transition without motion, or if frames, observed or
            controls have the wrong shape.
        TypeError: if `scenes` is of another kind.
    """

    @typed
    def __init__(
        self,
        scenes: ObjectScenes | None = None,
        *,
        first_motion: Count | None = 5,
        transition: MotionTransition | None = None,
        position_step: Positive = 0.1,
        detach_previous: bool = True,
    ) -> None:
        super().__init__()
        check_scenes(scenes)
        if first_motion is None and transition is not None:
            raise ValueError(
                "transition: expected None for a model without motion, got one; give first_motion the number of the "
                "frame from which on objects have a motion, or leave the transition out"
            )
        self.scenes = ObjectScenes() if scenes is None else scenes
        self.frame_shape = self.scenes.frame_shape
        self.control_dim = 0
        self.first_motion = first_motion
        self.transition = MotionTransition() if transition is None and first_motion is not None else transition
        self.motion_dim = 0 if self.transition is None else self.transition.motion_dim
        self.position_step = position_step
        self.detach_previous = detach_previous

    @property
    def num_objects(self) -> int:
        """N, the largest number of objects."""
        return self.scenes.num_objects

    def prepare(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> VideoContext:
        """See `StepwiseModel.prepare`."""
        frames, seen = check_video(frames, observed, controls, self.frame_shape, self.control_dim, self)
        return VideoContext(frames, seen, None)

    def step(self, index: int, state: MovingObjects | None, context: VideoContext) -> MovingObjects:
        """See `StepwiseModel.step`."""
        scenes, number = self.scenes, index + 1
        if state is None:
            opacity = scenes.opacities(pyro.sample("count_1", scenes.count_law()))
        else:
            opacity = state.opacity
        with scenes.objects(opacity):
            if state is None:
                scale = pyro.sample("z_scale_1", scenes.scale_law())
                glimpse = scenes.glimpses(pyro.sample("z_what_1", scenes.what_law()), opacity)
                before = None
            else:
                scale, glimpse, before = state.scale, state.glimpse, (state.position, state.motion)
            where_law, motion_law = self.next_laws(index, before)
            position = pyro.sample(f"z_where_{number}", where_law)
            motion = None if motion_law is None else pyro.sample(f"z_motion_{number}", motion_law)
        return MovingObjects(opacity, scale, glimpse, position, motion)

    def next_laws(
        self, index: int, before: tuple[Tensor, Tensor | None] | None
    ) -> tuple[dist.Independent, dist.Independent | None]:
        """Distributions of position and motion in a frame; None for motion if it has no such variable.

        Args:
            index: index of the frame, from 0.
            before: position and motion in the frame before it; None at the first frame.
        """
        number, first = index + 1, self.first_motion
        if first is not None and number > first and before is not None and before[1] is not None:
            transition = self.transition
            assert transition is not None
            prediction = transition(before[0], before[1])
            return prediction.position.distribution(), prediction.motion.distribution()
        motion = self.scenes.standard_law(self.motion_dim) if number == first else None
        if before is None:
            return self.scenes.standard_law(2), motion
        previous = before[0].detach() if self.detach_previous else before[0]
        return dist.Normal(previous, torch.full_like(previous, self.position_step)).to_event(1), motion

    def emit(self, states: Sequence[MovingObjects], context: VideoContext, first: int = 0) -> Tensor:
        """Frames of consecutive steps; returns their means, (*particles, time, 1, sequences, height, width)."""
        positions = join_frames([state.position for state in states], 1)
        steps = slice(first, first + len(states))
        with pyro.plate("time", len(states), dim=TIME_OF_OBJECTS):
            return emit_frames(self.scenes, states[0].glimpse, states[0].scale, positions, context, steps)

    @torch.no_grad()
    def scene(self, latents: Mapping[str, Tensor]) -> Scene:
        """The objects for given values of the latent sites; each has its slot and its identity for the whole video.

        Presence is 1 for the first round(N sigmoid(c)) objects.

        Args:
            latents: values of all latent sites, (*particles, 1, objects, sequences, ...) or (objects, sequences, ...).
        """
        num_frames = sum(name.startswith("z_where_") for name in latents)
        positions = join_frames([latents[f"z_where_{number}"] for number in range(1, num_frames + 1)], 1)
        count = join_frames([latents["count_1"]], 0)
        scene = scene_of(self.scenes, count, latents["z_scale_1"], latents["z_what_1"], positions)
        assert scene.presence is not None
        names = torch.arange(self.num_objects, device=positions.device).expand_as(scene.presence)
        return Scene(
            presence=scene.presence,
            positions=scene.positions,
            box_sizes=scene.box_sizes,
            appearance=scene.appearance,
            identities=torch.where(scene.presence > 0, names, -1),
        )


def check_scenes(scenes: object) -> None:
    """Refuse what is no `ObjectScenes`, such as the shape of a frame.

    Raises:
        TypeError: says what came.
    """
    if scenes is not None and not isinstance(scenes, ObjectScenes):
        raise TypeError(
            f"scenes: expected an ObjectScenes, got {type(scenes).__name__}; write ObjectScenes((1, height, width))"
        )
