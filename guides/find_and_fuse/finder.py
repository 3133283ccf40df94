"""Where in a frame is an object of known appearance?"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d

from guides.find_and_fuse.convolutions import Convolution, convolutions, size_after
from pyro_models.components.frame_networks import mlp
from pyro_models.components.layout import concatenate
from pyro_models.vtssi.gaussians import Gaussian, GaussianNetwork
from pyro_models.vtssi.model import DisentangledStateSpaceModel
from videos.typed import Count, typed

KERNELS = Convolution(8, 10, 2)
LAYERS = (Convolution(16, 5, 2), Convolution(32, 3))


class Finder(nn.Module):
    """Finds objects with convolution kernels made from their appearance (Akhundov et al. 2019, algorithm 3)::

        k = MLP_ker(d);   f_t = CNN_find(x_t; k);   p_t ~ N(gain tanh(g([f_t, p_{t-1}])), scale([f_t, p_{t-1}])^2)

    with p_0 = 0. Features f do not depend on positions: those of all frames are computed at once. Another finder is a
    module with the same two methods.

    Args:
        model: the model; its `transition` has the gain, which is 1 without one.
        kernels: number and size of an object's kernels, and the pooling after them.
        kernel_units: units of the hidden layers of MLP_ker.
        layers: further convolutions of CNN_find.
        feature_units: units of the hidden layers after them.
        features: size of f.
        hidden: units of the hidden layers that lead to a position.
        head_units: hidden units of each head.
        gain: largest absolute mean of a position; None = that of the model's transition.

    Raises:
        ValueError: if a frame is too small for the convolutions.
    """

    @typed
    def __init__(
        self,
        model: DisentangledStateSpaceModel,
        *,
        kernels: Convolution = KERNELS,
        kernel_units: tuple[Count, ...] = (128, 256),
        layers: Sequence[Convolution] = LAYERS,
        feature_units: tuple[Count, ...] = (128, 64),
        features: Count = 50,
        hidden: tuple[Count, ...] = (64, 64),
        head_units: Count = 32,
        gain: float | None = None,
    ) -> None:
        super().__init__()
        size = (model.frame_shape[1], model.frame_shape[2])
        left = size_after(kernels, size, "kernels", size)
        self.kernels = kernels
        self.gain = gain_of(model) if gain is None else gain
        self.kernel = mlp(model.scenes.what_dim, kernel_units, kernels.channels * kernels.kernel**2)
        self.maps, found = convolutions(layers, left, "layers", kernels.channels)
        self.pool = nn.MaxPool2d(kernels.pool)
        self.feature = mlp(found, feature_units, features)
        self.position = GaussianNetwork(features + 2, 2, hidden, head_units)

    def look(
        self, images: Float[Tensor, "frames sequences height width"], what: Float[Tensor, "*plates objects sequences d"]
    ) -> Float[Tensor, "*plates objects sequences frames feature"]:
        """Features of every object in every frame.

        Args:
            images: frames.
            what: appearances.
        """
        side = self.kernels.kernel
        kernels = self.kernel(what).unflatten(-1, (self.kernels.channels, side, side))
        batch = kernels.shape[:-3]
        responses = correlate(images, kernels.reshape(-1, *kernels.shape[-4:]))
        maps = self.maps(self.pool(responses.flatten(0, 2)).relu())
        return self.feature(maps).reshape(*batch, len(images), -1)

    def forward(
        self, features: Float[Tensor, "*#batch feature"], previous: Float[Tensor, "*#batch 2"] | None
    ) -> Gaussian:
        """Positions in a frame.

        Args:
            features: of that frame, from `look`.
            previous: positions in the frame before it; None at first.
        """
        previous = torch.zeros_like(features[..., :2]) if previous is None else previous
        found = self.position(concatenate(features, previous))
        return Gaussian(self.gain * found.loc.tanh(), found.scale)


def gain_of(model: DisentangledStateSpaceModel) -> float:
    """Largest absolute mean of a position under the model's dynamics, 1 without them."""
    return 1.0 if model.transition is None else model.transition.gain


def correlate(
    images: Float[Tensor, "frames sequences height width"],
    kernels: Float[Tensor, "looks sequences channels side side"],
) -> Float[Tensor, "looks sequences frames channels _ _"]:
    """Responses of frames to kernels of their own: each frame of a sequence with all kernels of that sequence.

    Args:
        images: frames.
        kernels: for each object and particle.
    """
    looks, _, channels, _, _ = kernels.shape
    own = kernels.transpose(0, 1).flatten(1, 2).unsqueeze(2)
    # On a CPU, one convolution after the other takes a fifth of the time of one in groups.
    responses = (one_by_one if images.device.type == "cpu" else in_groups)(images, own)
    return responses.unflatten(2, (looks, channels)).permute(2, 0, 1, 3, 4, 5)


def one_by_one(
    images: Float[Tensor, "frames sequences height width"], kernels: Float[Tensor, "sequences channels 1 side side"]
) -> Float[Tensor, "sequences frames channels _ _"]:
    """Responses by a convolution for each sequence."""
    pairs = zip(images.unbind(1), kernels.unbind(0), strict=True)
    return torch.stack([conv2d(image.unsqueeze(1), kernel) for image, kernel in pairs])


def in_groups(
    images: Float[Tensor, "frames sequences height width"], kernels: Float[Tensor, "sequences channels 1 side side"]
) -> Float[Tensor, "sequences frames channels _ _"]:
    """The same by a single convolution, in which each sequence is a group."""
    sequences = images.shape[1]
    return conv2d(images, kernels.flatten(0, 1), groups=sequences).unflatten(1, (sequences, -1)).transpose(0, 1)
