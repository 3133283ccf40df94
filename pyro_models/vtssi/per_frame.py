"""Attend, infer, repeat with a continuous count: every frame a scene of its own (Akhundov et al. 2019)."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyro
import torch
from jaxtyping import Float
from torch import Tensor

from pyro_models.components.arguments import check_video
from pyro_models.components.layout import TIME_OF_OBJECTS
from pyro_models.components.markov_video import VideoContext
from pyro_models.components.scene import Scene
from pyro_models.components.stepwise import StepwiseModel
from pyro_models.vtssi.frame_scenes import emit_frames, scene_of
from pyro_models.vtssi.model import check_scenes
from pyro_models.vtssi.object_scenes import ObjectScenes
from videos.typed import typed


class StillObjects(NamedTuple):
    """The objects of one or all frames, dims (*plates, objects, sequences, ...)."""

    glimpse: Float[Tensor, "*plates objects sequences height width"]
    scale: Float[Tensor, "*plates objects sequences 2"]
    position: Float[Tensor, "*plates objects sequences 2"]


class ContinuousAttendInferRepeat(StepwiseModel):
    """`ObjectScenes` in every frame, independently: the baseline AIR of Akhundov et al. (2019).

    Sites: `count`, in the plates `sequences` and `time`; `z_scale`, `z_where` and `z_what`, in `objects` as well; and
    the observed `frames`. Guide: `FrameProposalGuide`. With the scenes of a `DisentangledStateSpaceModel` it is a
    second model of the same networks, whose bound trains them on single frames.

    Args:
        scenes: priors and picture; by default `ObjectScenes()`.

    Raises:
        ValueError: if frames, observed or controls have the wrong shape.
        TypeError: if `scenes` is of another kind.
    """

    @typed
    def __init__(self, scenes: ObjectScenes | None = None) -> None:
        super().__init__()
        check_scenes(scenes)
        self.scenes = ObjectScenes() if scenes is None else scenes
        self.frame_shape = self.scenes.frame_shape
        self.control_dim = 0

    @property
    def num_objects(self) -> int:
        """N, the largest number of objects."""
        return self.scenes.num_objects

    def forward(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> Tensor:
        """Draw or score one batch; returns the means of the frames, (*particles, time, 1, sequences, height, width).

        Args:
            frames: (sequences, time, 1, height, width) in [0, 1]; missing ones are never read.
            observed: bool (sequences, time), None = all.
            controls: None.
        """
        context = self.prepare(frames, observed, controls)
        with pyro.plate("sequences", frames.shape[0], dim=-1), pyro.plate("time", frames.shape[1], dim=TIME_OF_OBJECTS):
            return self._emit(self._draw(), context, slice(0, frames.shape[1]))

    def prepare(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> VideoContext:
        """See `StepwiseModel.prepare`."""
        frames, seen = check_video(frames, observed, controls, self.frame_shape, self.control_dim, self)
        return VideoContext(frames, seen, None)

    def step(self, index: int, state: StillObjects | None, context: VideoContext) -> StillObjects:
        """The objects of one frame, independent of earlier frames; sites as in `forward`, without `time`."""
        return self._draw()

    def emit(self, states: Sequence[StillObjects], context: VideoContext, first: int = 0) -> Tensor:
        """The frame of one step."""
        (objects,) = states
        with pyro.plate("time", 1, dim=TIME_OF_OBJECTS):
            return self._emit(objects, context, slice(first, first + 1))

    def _draw(self) -> StillObjects:
        scenes = self.scenes
        opacity = scenes.opacities(pyro.sample("count", scenes.count_law()))
        with scenes.objects(opacity):
            scale = pyro.sample("z_scale", scenes.scale_law())
            position = pyro.sample("z_where", scenes.standard_law(2))
            what = pyro.sample("z_what", scenes.what_law())
        return StillObjects(scenes.glimpses(what, opacity), scale, position)

    def _emit(self, objects: StillObjects, context: VideoContext, steps: slice) -> Tensor:
        return emit_frames(self.scenes, objects.glimpse, objects.scale, objects.position, context, steps)

    @torch.no_grad()
    def scene(self, latents: Mapping[str, Tensor]) -> Scene:
        """The objects for given values of the latent sites. Nothing connects the objects of two frames.

        Args:
            latents: values of all latent sites, (*particles, time, objects, sequences, ...).
        """
        return scene_of(self.scenes, *(latents[name] for name in ("count", "z_scale", "z_what", "z_where")))
