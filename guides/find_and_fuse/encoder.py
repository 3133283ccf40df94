"""Proposals from single frames: how many objects, where, how large, and what they look like."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from guides.aside import uniform_aside
from guides.find_and_fuse.convolutions import Convolution, convolutions
from pyro_models.components.frame_networks import mlp
from pyro_models.components.glimpses import read_glimpses
from pyro_models.components.initial_weights import glorot
from pyro_models.vtssi.gaussians import Gaussian, GaussianHeads, floored_scale, raw_scale
from pyro_models.vtssi.geometry import edge_windows
from pyro_models.vtssi.object_scenes import ObjectScenes

MARGIN = 3  # zeros around a frame before objects are counted, pixels
COUNT_LAYERS = (Convolution(16, 5, 2), Convolution(16, 4, 2), Convolution(16, 3))
FRAME_LAYERS = (Convolution(16, 3, 2), Convolution(16, 3, 2))


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
    """Attention object by object, without a feedback of draws (Akhundov et al. 2019, algorithm 1)::

        c ~ N(CNN_cnt(x));   h_1 ... h_N = LSTM(f, ..., f),  f = CNN_pre(x)
        s_i ~ N(sigmoid(a(h_i)), scale(h_i)^2);   p_i ~ N(tanh(b(h_i)), scale(h_i)^2)
        d_i ~ N(VAE_enc(read(x; s_i, p_i)))

    Only the reading of a glimpse depends on draws.

    Args:
        scenes: the model's.
        count_layers: convolutions of CNN_cnt.
        count_units: units of the fully connected layers after them.
        frame_layers: convolutions of CNN_pre.
        units: of the LSTM.
        head_units: hidden units of each of its four heads.
        glimpse_units: units of the hidden layers of VAE_enc.
        dropout: share of the LSTM's outputs set to zero in training.

    Raises:
        ValueError: if a frame is too small for the convolutions, or `dropout` is no share.
    """

    def __init__(
        self,
        scenes: ObjectScenes,
        *,
        count_layers: Sequence[Convolution] = COUNT_LAYERS,
        count_units: tuple[int, ...] = (256, 128),
        frame_layers: Sequence[Convolution] = FRAME_LAYERS,
        units: int = 256,
        head_units: int = 64,
        glimpse_units: tuple[int, ...] = (256, 128),
        dropout: float = 0.4,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: expected a share from 0 to below 1, got {dropout}; 0 turns it off")
        _, height, width = scenes.frame_shape
        self.num_objects = scenes.num_objects
        self.glimpse_size = scenes.glimpse_size
        self.what_dim = scenes.what_dim
        self.dropout = dropout
        padded = (height + 2 * MARGIN, width + 2 * MARGIN)
        self.count_maps, features = convolutions(count_layers, padded, "count_layers")
        self.count = mlp(features, count_units, 2)
        self.frame_maps, features = convolutions(frame_layers, (height, width), "frame_layers")
        self.recurrence = nn.LSTM(features, units, batch_first=True).apply(glorot)
        self.scale = GaussianHeads(
            units, head_units, 2, nn.ReLU, initial_loc=tuple(scenes.size_mean.logit().tolist()), initial_scale=0.1
        )
        self.position = GaussianHeads(units, head_units, 2, nn.ReLU, initial_scale=0.1)
        self.what = mlp(self.glimpse_size**2, glimpse_units, 2 * scenes.what_dim)
        with torch.no_grad():
            self.count[-1].get_parameter("bias")[1] = raw_scale(0.5)
            self.what[-1].get_parameter("bias")[scenes.what_dim :] = raw_scale(0.5)

    def forward(self, images: Float[Tensor, "frames sequences height width"]) -> FrameProposals:
        """Proposals for frames."""
        batch = images.shape[:2]
        flat = images.flatten(0, 1).unsqueeze(1)
        count = self.count(self.count_maps(nn.functional.pad(flat, (MARGIN,) * 4)))
        loc, raw = count.unflatten(0, batch).unsqueeze(1).unbind(-1)
        features = self.frame_maps(flat)
        outputs = self.recurrence(features.unsqueeze(1).expand(-1, self.num_objects, -1))[0]
        if self.training and self.dropout > 0:
            outputs = outputs * (uniform_aside(outputs) >= self.dropout) / (1 - self.dropout)
        outputs = outputs.unflatten(0, batch).transpose(1, 2)
        scale, position = self.scale(outputs), self.position(outputs)
        return FrameProposals(
            images,
            Gaussian(loc, floored_scale(raw)),
            Gaussian(scale.loc.sigmoid(), scale.scale),
            Gaussian(position.loc.tanh(), position.scale),
        )

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
