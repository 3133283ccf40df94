"""Where objects are in a single frame, and how large: the paper's recurrent attention."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from guides.aside import uniform_aside
from guides.find_and_fuse.convolutions import Convolution, convolutions
from pyro_models.components.initial_weights import glorot
from pyro_models.vtssi.gaussians import Gaussian, GaussianHeads
from pyro_models.vtssi.object_scenes import ObjectScenes

FRAME_LAYERS = (Convolution(16, 3, 2), Convolution(16, 3, 2))


class Places(NamedTuple):
    """Sizes and positions of all objects in each of some frames, (frames, objects, sequences, 2).

    Attributes:
        scale: of sizes.
        position: of positions.
        count: mean and raw standard deviation of c, (frames, sequences, 2); None = they do not tell.
    """

    scale: Gaussian
    position: Gaussian
    count: Tensor | None = None


class RecurrentPlaces(nn.Module):
    """Attention object by object (Akhundov et al. 2019, algorithm 1)::

        h_1 ... h_N = LSTM(f, ..., f),  f = CNN_pre(x)
        s_i ~ N(sigmoid(a(h_i)), scale(h_i)^2);   p_i ~ N(tanh(b(h_i)), scale(h_i)^2)

    Other places are a module with the same method and the attribute `counts`, whether its places have a count.

    Args:
        scenes: the model's.
        layers: convolutions of CNN_pre.
        units: of the LSTM.
        head_units: hidden units of each of its four heads.
        dropout: share of the LSTM's outputs set to zero in training.

    Raises:
        ValueError: if a frame is too small for the convolutions, or `dropout` is no share.
    """

    counts = False

    def __init__(
        self,
        scenes: ObjectScenes,
        *,
        layers: Sequence[Convolution] = FRAME_LAYERS,
        units: int = 256,
        head_units: int = 64,
        dropout: float = 0.4,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: expected a share from 0 to below 1, got {dropout}; 0 turns it off")
        size = (scenes.frame_shape[1], scenes.frame_shape[2])
        self.num_objects = scenes.num_objects
        self.dropout = dropout
        self.maps, features = convolutions(layers, size, "layers")
        self.recurrence = nn.LSTM(features, units, batch_first=True).apply(glorot)
        self.scale = size_heads(scenes, units, head_units)
        self.position = GaussianHeads(units, head_units, 2, nn.ReLU, initial_scale=0.1)

    def forward(self, images: Float[Tensor, "frames sequences height width"]) -> Places:
        """Places in frames."""
        features = self.maps(images.flatten(0, 1).unsqueeze(1))
        outputs = self.recurrence(features.unsqueeze(1).expand(-1, self.num_objects, -1))[0]
        if self.training and self.dropout > 0:
            outputs = outputs * (uniform_aside(outputs) >= self.dropout) / (1 - self.dropout)
        outputs = outputs.unflatten(0, images.shape[:2]).transpose(1, 2)
        scale, position = self.scale(outputs), self.position(outputs)
        return Places(Gaussian(scale.loc.sigmoid(), scale.scale), Gaussian(position.loc.tanh(), position.scale))


def size_heads(scenes: ObjectScenes, units: int, head_units: int) -> GaussianHeads:
    """Heads whose means, after a sigmoid, start at the model's prior mean of a size.

    Args:
        scenes: the model's.
        units: size of the input.
        head_units: hidden units of each head.
    """
    loc = tuple(scenes.size_mean.logit().tolist())
    return GaussianHeads(units, head_units, 2, nn.ReLU, initial_loc=loc, initial_scale=0.1)
