"""A finder that reads positions off a map of where an object's kernels respond."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from guides.find_and_fuse.finder import correlate, gain_of
from pyro_models.components.frame_networks import mlp
from pyro_models.components.layout import concatenate
from pyro_models.vtssi.gaussians import Gaussian, GaussianHeads
from pyro_models.vtssi.model import DisentangledStateSpaceModel

LARGEST_CORRECTION = 0.2  # of a position, in halves of a frame
EMPTY = 1e-6  # mass of the previous position: an object of which nothing is found stays there
READINGS = 5  # of a map: mean and spread along both axes, and its peak
REACH = 0.25  # standard deviation of the window around the previous position at first, in halves of a frame


class CorrelationFinder(nn.Module):
    """Finds objects by a soft-argmax near where they were, with the methods of `Finder`::

        R = relu(sum_c b_c relu(x_t * k_c)),   k = MLP_ker(d)
        m, spread = mean and spread of u under (exp(R(u)) - 1) exp(-|u - p_{t-1}|^2 / (2 reach^2))
        p_t ~ N(m + 0.2 tanh(h), scale^2),   h, scale of m - p_{t-1}, spread and max R

    and without the window in the first frame. A picture that moves by some pixels moves the position by as many,
    wherever it is: nothing has to be learned about places, as a fully connected layer has to. The window keeps an
    object from another one of like appearance; its reach is learned. Where nothing responds the object stays.

    Args:
        model: the model.
        channels: number of an object's kernels.
        side: height and width of a kernel, odd.
        kernel_units: units of the hidden layers of MLP_ker.
        hidden: units of the hidden layers that lead to h and the scale.
        head_units: hidden units of each head.

    Raises:
        ValueError: if the side of a kernel is even.
    """

    def __init__(
        self,
        model: DisentangledStateSpaceModel,
        *,
        channels: int = 4,
        side: int = 11,
        kernel_units: tuple[int, ...] = (128, 256),
        hidden: tuple[int, ...] = (64, 64),
        head_units: int = 32,
    ) -> None:
        super().__init__()
        if side % 2 == 0:
            raise ValueError(
                f"side: expected an odd number, got {side}; the middle of an even kernel lies between pixels"
            )
        self.channels = channels
        self.side = side
        self.frame_size = (model.frame_shape[1], model.frame_shape[2])
        self.gain = gain_of(model)
        self.kernel = mlp(model.scenes.what_dim, kernel_units, channels * side**2)
        self.mix = nn.Parameter(torch.ones(channels))
        self.log_reach = nn.Parameter(torch.tensor(math.log(REACH)))
        self.body = mlp(READINGS, hidden, activation=nn.Tanh)
        self.heads = GaussianHeads(hidden[-1], head_units, 2, nn.Tanh)

    def look(
        self, images: Float[Tensor, "frames sequences height width"], what: Float[Tensor, "*plates objects sequences d"]
    ) -> Float[Tensor, "*plates objects sequences frames feature"]:
        """Every object's map R in every frame, flattened.

        Args:
            images: frames.
            what: appearances.
        """
        kernels = self.kernel(what).unflatten(-1, (self.channels, self.side, self.side))
        batch = kernels.shape[:-3]
        framed = nn.functional.pad(images, (self.side // 2,) * 4)
        responses = correlate(framed, kernels.reshape(-1, *kernels.shape[-4:])).relu()
        maps = (responses * self.mix[:, None, None]).sum(-3).relu()
        return maps.flatten(-2).reshape(*batch, len(images), -1)

    def forward(
        self, features: Float[Tensor, "*#batch feature"], previous: Float[Tensor, "*#batch 2"] | None
    ) -> Gaussian:
        """Positions in a frame.

        Args:
            features: of that frame, from `look`.
            previous: positions in the frame before it; None at first.
        """
        maps = features.unflatten(-1, self.frame_size)
        read = read_maps(maps, previous, self.log_reach.exp())
        moved = read.mean if previous is None else read.mean - previous
        found = self.heads(self.body(concatenate(moved, read.spread, read.peak)))
        loc = read.mean + LARGEST_CORRECTION * found.loc.tanh()
        return Gaussian(loc.clamp(-self.gain, self.gain), found.scale)


class MapReadings(NamedTuple):
    """What is read off a map; positions are measured from the edges of the frame."""

    mean: Float[Tensor, "*batch 2"]
    spread: Float[Tensor, "*batch 2"]
    peak: Float[Tensor, "*batch 1"]


def read_maps(
    maps: Float[Tensor, "*#batch height width"], previous: Float[Tensor, "*#batch 2"] | None, reach: Tensor
) -> MapReadings:
    """Means and standard deviations of places under (exp(R) - 1) times a window, and the largest R.

    Args:
        maps: R, not negative, a value for each pixel of the frame.
        previous: middle of the window, None = no window.
        reach: its standard deviation.
    """
    peak = maps.amax((-2, -1))
    top = peak[..., None, None]
    # Zero where nothing responds, and no overflow. Compiled, the two exponentials of one number may differ by rounding:
    # where nothing is found a negative sum of weights would be left.
    weights = ((maps - top).exp() - (-top).exp()).clamp(min=0)
    lines = [places_of(size, maps) for size in reversed(maps.shape[-2:])]  # x of columns, y of rows
    if previous is not None:
        windows = [
            (-0.5 * ((line - previous[..., axis, None]) / reach).square()).exp() for axis, line in enumerate(lines)
        ]
        weights = weights * windows[1].unsqueeze(-1) * windows[0].unsqueeze(-2)
    total = weights.sum((-2, -1)) + EMPTY
    means, spreads = [], []
    for axis, line in enumerate(lines):
        sums = weights.sum(-2 + axis)
        stay = 0.0 if previous is None else previous[..., axis]
        means.append(((sums * line).sum(-1) + EMPTY * stay) / total)
        apart = (line - means[-1].unsqueeze(-1)).square()
        spreads.append(((sums * apart).sum(-1) / total + EMPTY).sqrt())
    shape = means[0].shape
    return MapReadings(torch.stack(means, -1), torch.stack(spreads, -1), peak.expand(shape).unsqueeze(-1))


def places_of(size: int, like: Tensor) -> Float[Tensor, " size"]:
    """Middles of pixels on a line, measured from the edges of the frame."""
    return (2 * torch.arange(size, dtype=like.dtype, device=like.device) + 1) / size - 1
