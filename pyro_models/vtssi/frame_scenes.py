"""Between objects in their plates and the frames of a video: what both models of `ObjectScenes` do with time."""

import pyro
from jaxtyping import Float
from torch import Tensor

from pyro_models.components.layout import TIME_OF_OBJECTS
from pyro_models.components.markov_video import VideoContext
from pyro_models.components.scene import Scene
from pyro_models.vtssi.geometry import sizes_in_pixels, to_pixels
from pyro_models.vtssi.object_scenes import ObjectScenes


def emit_frames(
    scenes: ObjectScenes,
    glimpses: Float[Tensor, "*#plates objects sequences glimpse_height glimpse_width"],
    scale: Float[Tensor, "*#plates objects sequences 2"],
    positions: Float[Tensor, "*plates objects sequences 2"],
    context: VideoContext,
    steps: slice,
) -> Float[Tensor, "*plates one sequences height width"]:
    """Draw or score the site `frames`, inside the plates `sequences` and `time`; returns the means.

    Args:
        scenes: the picture.
        glimpses: of each object, times its opacity.
        scale: sizes.
        positions: with the dim of time.
        context: the video.
        steps: which of its frames.
    """
    canvas = scenes.canvas(glimpses, scale, positions).unsqueeze(-4)
    seen, frames = context.seen[:, steps].T.unsqueeze(-2), context.frames[:, steps].transpose(0, 1).unsqueeze(1)
    pyro.sample("frames", scenes.likelihood(canvas).mask(seen), obs=frames)
    return canvas


def scene_of(scenes: ObjectScenes, count: Tensor, scale: Tensor, what: Tensor, positions: Tensor) -> Scene:
    """The objects as a `Scene`; plates go from (time, objects, sequences) to (sequences, time, objects).

    Args:
        scenes: the picture.
        count: c, (*particles, time or 1, 1, sequences).
        scale: sizes; without the dim of time if they are constant.
        what: appearances; without the dim of time if they are constant.
        positions: (*particles, time, objects, sequences, 2).
    """
    batch = positions.shape[:-1]
    size = (scenes.frame_shape[1], scenes.frame_shape[2])

    def laid_out(values: Tensor, event_dims: int) -> Tensor:
        event = values.shape[values.dim() - event_dims :]
        return values.expand(*batch, *event).movedim(-1 - event_dims, TIME_OF_OBJECTS - event_dims)

    return Scene(
        presence=laid_out(scenes.presences(count), 0),
        positions=laid_out(to_pixels(positions, size), 1),
        box_sizes=laid_out(sizes_in_pixels(scale, size), 1),
        appearance=laid_out(what, 1),
    )
