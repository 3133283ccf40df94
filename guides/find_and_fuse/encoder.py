"""Proposals from single frames: how many objects, where, how large, and what they look like."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from guides.find_and_fuse.convolutions import Convolution, convolutions
from guides.find_and_fuse.places import Places, RecurrentPlaces
from pyro_models.components.frame_networks import mlp
from pyro_models.components.glimpses import read_glimpses
from pyro_models.vtssi.gaussians import Gaussian, floored_scale, raw_scale
from pyro_models.vtssi.geometry import edge_windows
from pyro_models.vtssi.object_scenes import ObjectScenes
from videos.typed import Count, typed

MARGIN = 3  # zeros around a frame before objects are counted, pixels
COUNT_LAYERS = (Convolution(16, 5, 2), Convolution(16, 4, 2), Convolution(16, 3))


class FrameProposals(NamedTuple):
    """What is proposed for each of some frames, as functions of the frame alone.

    Attributes:
        images: the frames.
        count: mean and standard deviation of c, (frames, 1, sequences).
        scale: of sizes, (frames, objects, sequences, 2).
        position: of positions, the same.
    """

    images: Float[Tensor, "frames sequences height width"]
    count: Gaussian
    scale: Gaussian
    position: Gaussian


class AIREncoder(nn.Module):
    """A count, places, and what is seen there, without a feedback of draws (Akhundov et al. 2019, algorithm 1)::

        c ~ N(CNN_cnt(x));   s_i, p_i ~ N(places(x));   d_i ~ N(VAE_enc(read(x; s_i, p_i)))

    Only the reading of a glimpse depends on draws. Where places tell the count, there is no CNN_cnt.

    Args:
        scenes: the model's.
        places: proposes sizes and positions; by default the paper's `RecurrentPlaces`.
        count_layers: convolutions of CNN_cnt.
        count_units: units of the fully connected layers after them.
        glimpse_units: units of the hidden layers of VAE_enc.

    Raises:
        ValueError: if a frame is too small for the convolutions, or places have the wrong shape.
        TypeError: if `places` does not say whether it counts.
    """

    @typed
    def __init__(
        self,
        scenes: ObjectScenes,
        places: nn.Module | None = None,
        *,
        count_layers: Sequence[Convolution] = COUNT_LAYERS,
        count_units: tuple[Count, ...] = (256, 128),
        glimpse_units: tuple[Count, ...] = (256, 128),
    ) -> None:
        super().__init__()
        if places is not None and not isinstance(getattr(places, "counts", None), bool):
            raise TypeError(
                f"places: expected a module with the attribute counts, True or False, got {type(places).__name__} "
                "without it; see RecurrentPlaces"
            )
        _, height, width = scenes.frame_shape
        self.num_objects = scenes.num_objects
        self.glimpse_size = scenes.glimpse_size
        self.what_dim = scenes.what_dim
        self.count_maps: Any = None
        self.count: Any = None
        if places is None or not places.counts:
            padded = (height + 2 * MARGIN, width + 2 * MARGIN)
            self.count_maps, features = convolutions(count_layers, padded, "count_layers")
            self.count = mlp(features, count_units, 2)
        self.places: Any = RecurrentPlaces(scenes) if places is None else places
        self.what = mlp(self.glimpse_size**2, glimpse_units, 2 * scenes.what_dim)
        with torch.no_grad():
            if self.count is not None:
                self.count[-1].get_parameter("bias")[1] = raw_scale(0.5)
            self.what[-1].get_parameter("bias")[scenes.what_dim :] = raw_scale(0.5)

    def forward(self, images: Float[Tensor, "frames sequences height width"]) -> FrameProposals:
        """Proposals for frames."""
        scale, position, count = self._checked(self.places(images), images)
        if count is None:
            flat = nn.functional.pad(images.flatten(0, 1).unsqueeze(1), (MARGIN,) * 4)
            count = self.count(self.count_maps(flat)).unflatten(0, images.shape[:2])
        loc, raw = count.unsqueeze(1).unbind(-1)
        return FrameProposals(images, Gaussian(loc, floored_scale(raw)), scale, position)

    def _checked(self, places: Places, images: Tensor) -> Places:
        """Refuse what would broadcast unnoticed."""
        objects, frames = (len(images), self.num_objects, images.shape[1], 2), (*images.shape[:2], 2)
        shapes = [tuple(values.shape) for one in places[:2] for values in one]
        counted = None if places.count is None else tuple(places.count.shape)
        expected = None if self.count is not None else frames
        if shapes != [objects] * 4 or counted != expected:
            raise ValueError(
                f"places: expected sizes and positions (frames, objects, sequences, 2) = {objects} and count "
                f"{expected}, got {', '.join(map(str, shapes))} and {counted}; see Places"
            )
        return places

    def look(
        self,
        images: Float[Tensor, "frames sequences height width"],
        scale: Float[Tensor, "*#plates objects sequences 2"],
        position: Float[Tensor, "*#plates objects sequences 2"],
    ) -> Gaussian:
        """Appearances of what is in windows of frames, (*plates, frames, objects, sequences, what).

        Args:
            images: frames; `frames` may be missing from the plates of the windows if there is one.
            scale: sizes of the windows.
            position: their positions.
        """
        windows = edge_windows(scale, position, self.glimpse_size, (images.shape[-2], images.shape[-1]))
        # objects to the left of frames and sequences: no frame is copied for each of its objects
        windows = type(windows)(windows.scale.movedim(-3, 0), windows.shift.movedim(-3, 0))
        images = images if windows.scale.dim() > 3 else images[0]
        glimpses = read_glimpses(images, windows, (self.glimpse_size, self.glimpse_size)).movedim(0, -4)
        loc, raw = self.what(glimpses.flatten(-2)).chunk(2, -1)
        return Gaussian(loc, floored_scale(raw))
