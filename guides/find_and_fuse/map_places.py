"""Where objects are in a single frame, read off a map: one place after the other, each away from those before."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from guides.find_and_fuse.convolutions import Convolution
from guides.find_and_fuse.correlation_finder import places_of
from guides.find_and_fuse.places import Places, size_heads
from pyro_models.components.frame_networks import mlp
from pyro_models.components.initial_weights import glorot
from pyro_models.vtssi.gaussians import Gaussian, GaussianHeads, raw_scale
from pyro_models.vtssi.object_scenes import ObjectScenes

MAP_LAYERS = (Convolution(8, 5, 2), Convolution(16, 5))
LARGEST_CORRECTION = 0.2  # of a position, in halves of a frame
STRENGTH = 8.0  # nats by which a place that is taken is less attractive, at first
REACH = 0.25  # standard deviation of that, in halves of a frame, at first


class MapPlaces(nn.Module):
    """Attends to the best place of a learned map, then to the best one that is not taken::

        E, F = CNN(x);   a_i = softmax(E - strength sum_{j<i} exp(-|u - m_j|^2 / (2 reach^2)));   m_i = sum_u a_i(u) u
        h_i = sum_u a_i(u) F(u);   p_i ~ N(m_i + 0.2 tanh(b(h_i)), scale^2);   s_i ~ N(sigmoid(a(h_i)), scale^2)

    A picture that moves moves its places with it, and two objects start apart: a fully connected layer has to learn
    both. Strength and reach are learned. With `counts`, the number of objects is inferred from the places as well, from
    h_1 ... h_N and the largest evidence left for each, instead of by another network on the frame.

    Args:
        scenes: the model's.
        layers: convolutions, padded so that the map covers the frame.
        units: of a hidden layer that h passes through.
        head_units: hidden units of each of the four heads.
        counts: see above.

    Raises:
        ValueError: if a kernel is even.
    """

    def __init__(
        self,
        scenes: ObjectScenes,
        *,
        layers: Sequence[Convolution] = MAP_LAYERS,
        units: int = 64,
        head_units: int = 64,
        counts: bool = False,
    ) -> None:
        super().__init__()
        if even := [layer.kernel for layer in layers if layer.kernel % 2 == 0]:
            raise ValueError(
                f"layers: expected odd kernels, got {even[0]}; the middle of an even kernel lies between pixels"
            )
        self.num_objects = scenes.num_objects
        modules: list[nn.Module] = []
        channels = 1
        for layer in layers:
            modules.append(nn.Conv2d(channels, layer.channels, layer.kernel, padding=layer.kernel // 2))
            modules += [nn.MaxPool2d(layer.pool)] * (layer.pool > 1)
            modules.append(nn.ReLU())
            channels = layer.channels
        self.features = nn.Sequential(*modules).apply(glorot)
        self.evidence = nn.Conv2d(channels, 1, 1).apply(glorot)
        self.log_strength = nn.Parameter(torch.tensor(math.log(STRENGTH)))
        self.log_reach = nn.Parameter(torch.tensor(math.log(REACH)))
        self.body = mlp(channels, (units,))
        self.scale = size_heads(scenes, units, head_units)
        self.position = GaussianHeads(units, head_units, 2, nn.ReLU, initial_scale=0.1)
        self.counts = counts
        self.count = mlp((units + 1) * scenes.num_objects, (units,), 2) if counts else None
        if self.count is not None:
            with torch.no_grad():
                self.count[-1].get_parameter("bias")[1] = raw_scale(0.5)

    def forward(self, images: Float[Tensor, "frames sequences height width"]) -> Places:
        """Places in frames."""
        features = self.features(images.flatten(0, 1).unsqueeze(1))
        evidence = self.evidence(features).flatten(1)
        points = grid_points(features)
        features = features.flatten(2)
        means, seen, peaks = [], [], []
        for _ in range(self.num_objects):
            attention = evidence.softmax(-1)
            peaks.append(evidence.amax(-1))
            mean = attention @ points
            means.append(mean)
            seen.append((features @ attention.unsqueeze(-1)).squeeze(-1))
            apart = (points - mean.unsqueeze(1)).square().sum(-1)
            evidence = evidence - self.log_strength.exp() * (-0.5 * apart * (-2 * self.log_reach).exp()).exp()
        batch = images.shape[:2]
        middles = torch.stack(means, 1).unflatten(0, batch).transpose(1, 2)
        hidden = self.body(torch.stack(seen, 1))
        count = None
        if self.count is not None:
            count = self.count(torch.cat([hidden.flatten(1), torch.stack(peaks, 1)], 1)).unflatten(0, batch)
        hidden = hidden.unflatten(0, batch).transpose(1, 2)
        scale, position = self.scale(hidden), self.position(hidden)
        loc = (middles + LARGEST_CORRECTION * position.loc.tanh()).clamp(-1, 1)
        return Places(Gaussian(scale.loc.sigmoid(), scale.scale), Gaussian(loc, position.scale), count)


def grid_points(maps: Float[Tensor, "*batch height width"]) -> Float[Tensor, "points 2"]:
    """Middles (x, y) of a map's cells, row by row, measured from the edges of the frame.

    Args:
        maps: of the whole frame.
    """
    rows, columns = (places_of(size, maps) for size in maps.shape[-2:])
    return torch.stack(torch.broadcast_tensors(columns, rows[:, None]), -1).flatten(0, 1)
