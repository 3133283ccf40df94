"""A finder that reads positions off a map of where an object's kernels respond."""

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
EMPTY = 1e-6  # added to a map's mass: nothing is found in a frame without a response
READINGS = 5  # of a map: mean and spread along both axes, and its peak


class CorrelationFinder(nn.Module):
    """Finds objects by a soft-argmax, with the methods of `Finder`::

        R_c = relu(x_t * k_c),   k = MLP_ker(d);   m_c, spread_c = mean and spread of u under exp(R_c(u)) - 1
        p_t ~ N(sum_c a_c m_c + 0.2 tanh(h), scale^2),   a, h, scale of all m_c - p_{t-1}, spread_c and max R_c

    A picture that moves by some pixels moves the position by as many, wherever it is: nothing has to be learned about
    places, as a fully connected layer has to. Where nothing responds, a map weighs nothing and its mean is the middle
    of the frame.

    Args:
        model: the model.
        channels: number of an object's kernels.
        side: height and width of a kernel, odd.
        kernel_units: units of the hidden layers of MLP_ker.
        hidden: units of the hidden layers that lead to a, h and the scale.
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
        self.gain = gain_of(model)
        self.kernel = mlp(model.scenes.what_dim, kernel_units, channels * side**2)
        self.body = mlp(READINGS * channels, hidden, activation=nn.Tanh)
        self.choice = mlp(hidden[-1], (), channels)
        self.heads = GaussianHeads(hidden[-1], head_units, 2, nn.Tanh)

    def look(
        self, images: Float[Tensor, "frames sequences height width"], what: Float[Tensor, "*plates objects sequences d"]
    ) -> Float[Tensor, "*plates objects sequences frames feature"]:
        """Readings of every object's maps in every frame.

        Args:
            images: frames.
            what: appearances.
        """
        kernels = self.kernel(what).unflatten(-1, (self.channels, self.side, self.side))
        batch = kernels.shape[:-3]
        margin = self.side // 2
        framed = nn.functional.pad(images, (margin,) * 4)
        read = read_maps(correlate(framed, kernels.reshape(-1, *kernels.shape[-4:])).relu())
        return torch.cat([read.mean, read.spread, read.peak], -1).flatten(-2).reshape(*batch, len(images), -1)

    def forward(self, features: Float[Tensor, "*#batch feature"], previous: Float[Tensor, "*#batch 2"]) -> Gaussian:
        """Positions in a frame.

        Args:
            features: of that frame, from `look`.
            previous: positions in the frame before it.
        """
        readings = features.unflatten(-1, (self.channels, READINGS))
        means, others = readings[..., :2], readings[..., 2:]
        moved = means - previous.unsqueeze(-2)
        hidden = self.body(concatenate(moved.flatten(-2), others.flatten(-2)))
        chosen = (self.choice(hidden).softmax(-1).unsqueeze(-1) * means).sum(-2)
        found = self.heads(hidden)
        loc = chosen + LARGEST_CORRECTION * found.loc.tanh()
        return Gaussian(loc.clamp(-self.gain, self.gain), found.scale)


class MapReadings(NamedTuple):
    """What is read off a map; positions are measured from the edges of the frame."""

    mean: Float[Tensor, "*batch 2"]
    spread: Float[Tensor, "*batch 2"]
    peak: Float[Tensor, "*batch 1"]


def read_maps(maps: Float[Tensor, "*batch height width"]) -> MapReadings:
    """Means and standard deviations of places under exp(R) - 1, and the largest R.

    Args:
        maps: R, not negative, a value for each pixel of the frame.
    """
    peak = maps.amax((-2, -1))
    top = peak[..., None, None]
    weights = (maps - top).exp() - (-top).exp()  # zero where nothing responds, and no overflow
    weights = weights / (weights.sum((-2, -1), keepdim=True) + EMPTY)
    means, spreads = [], []
    for sums in (weights.sum(-2), weights.sum(-1)):  # of columns: x, of rows: y
        size = sums.shape[-1]
        places = (2 * torch.arange(size, dtype=maps.dtype, device=maps.device) + 1) / size - 1
        means.append((sums * places).sum(-1))
        spreads.append((sums * (places - means[-1].unsqueeze(-1)).square()).sum(-1).add(EMPTY).sqrt())
    return MapReadings(torch.stack(means, -1), torch.stack(spreads, -1), peak.unsqueeze(-1))
