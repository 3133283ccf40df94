"""A search for new objects on a map of the frame: the best place that no known object has taken."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from pyro_models.components.initial_weights import glorot
from pyro_models.sqair.object_slots import ObjectSlots

SEEN = 32  # pixels: frames are reduced by the largest whole factor that leaves their shorter side at least as long
STRIDE = 2  # reduced pixels from one place of the map to the next
KERNELS = (5, 3)
STRENGTH = 20.0  # evidence that a known object takes away at its middle, at first
REACH = 0.2  # standard deviation of that, in halves of a frame, at first
NEIGHBOURHOOD = 0.15  # standard deviation of the places around the best one that are averaged, in halves of a frame
SURROUNDINGS = 0.1  # R, in halves of a frame
FIRST_CHANGES = 0.1  # size of the weights that change what is found, relative to the usual start
OUTERMOST = 0.99  # largest coordinate of a middle: that of windows is a hyperbolic tangent


class PlaceMap(NamedTuple):
    """What a frame shows at every place, computed once for all particles.

    Attributes:
        evidence: of an object.
        features: of its surroundings.
    """

    evidence: Float[Tensor, "*batch rows columns"]
    features: Float[Tensor, "*batch channels rows columns"]


class Look(NamedTuple):
    """One frame, as a guide of objects sees it.

    Attributes:
        images: (sequences, height, width); in colour, channels come before the height.
        features: (sequences, feature).
        places: its map; None without a search.
    """

    images: Tensor
    features: Tensor
    places: PlaceMap | None


class PlaceSearch(nn.Module):
    """Looks for one object after the other where a map of the frame has most evidence of one that is not yet known::

        F = CNN(x);   E = w . F;   E_i = E - strength sum_j present_j exp(-|u - m_j|^2 / (2 reach^2))
        u_i = argmax_u E_i(u);   a_i = softmax_u(E_i(u) - |u - u_i|^2 / (2 r^2));   m_i = sum_u a_i(u) u

    where j runs over the objects of this frame that are known already, with middles m_j. What is seen there is
    h_i = (sum_u a_i(u) F(u), E_i(u_i)). An object of the previous frame is looked for near the place at which it is
    expected, o: then E_i also has -|u - o|^2 / (2 R^2). A picture that moves moves its places with it, and two objects
    start apart: a fully connected layer has to learn both. The weights w start positive and F is not negative, so the
    search starts where there is light. Strength and reach are learned; u_i is piecewise constant and has no gradient.
    The network sees frames that are reduced to 32 pixels, or not much more.

    This is not in SQAIR's paper; `guides.find_and_fuse.MapPlaces` averages over the whole map instead of around u_i, so
    that it first looks between two objects that are alike.

    Args:
        frame_shape: (channels, height, width).
        channels: of the map.
    """

    def __init__(self, frame_shape: tuple[int, int, int], channels: int = 16) -> None:
        super().__init__()
        first, second = KERNELS
        self.network = nn.Sequential(
            nn.Conv2d(frame_shape[0], channels, first, stride=STRIDE, padding=first // 2),
            nn.ReLU(),
            nn.Conv2d(channels, channels, second, padding=second // 2),
            nn.ReLU(),
        ).apply(glorot)
        self.weights = nn.Parameter(torch.ones(channels))
        self.log_strength = nn.Parameter(torch.tensor(math.log(STRENGTH)))
        self.log_reach = nn.Parameter(torch.tensor(math.log(REACH)))
        self.feature_dim = channels + 1
        self.factor = max(1, min(frame_shape[1:]) // SEEN)
        for name, size in zip(("rows", "columns"), frame_shape[1:], strict=True):
            middles = self.factor * torch.arange(0, size // self.factor, STRIDE) + 0.5 * (self.factor - 1)
            self.register_buffer(name, 2 * middles / (size - 1) - 1, persistent=False)

    rows: Tensor
    columns: Tensor

    def survey(self, frames: Float[Tensor, "sequences time channels height width"]) -> PlaceMap:
        """The maps of frames."""
        reduced = avg_pool2d(frames.flatten(0, 1), self.factor)
        features = self.network(reduced).unflatten(0, frames.shape[:2])
        return PlaceMap(torch.einsum("...chw,c->...hw", features, self.weights), features)

    def taken(self, objects: ObjectSlots) -> Float[Tensor, "*batch rows columns"]:
        """Evidence that objects take away.

        Args:
            objects: those of a frame; absent ones take none.
        """
        middles = torch.where(objects.presence.unsqueeze(-1) > 0, objects.where[..., -2:], 0.0).tanh()
        across, down = (
            (-0.5 * ((places - middles[..., axis, None]) * (-self.log_reach).exp()).square()).exp()
            for axis, places in ((0, self.columns), (1, self.rows))
        )
        return self.log_strength.exp() * (objects.presence.unsqueeze(-1) * down).mT @ across

    def look(
        self,
        places: PlaceMap,
        taken: Float[Tensor, "*batch rows columns"],
        expected: Float[Tensor, "*#batch 2"] | None = None,
    ) -> tuple[Float[Tensor, "*batch 2"], Float[Tensor, "*batch feature"]]:
        """Middle of the next object, (x, y) as the logits of a window, and what is seen there.

        Args:
            places: map of the frame, (sequences, ...).
            taken: evidence that known objects take away.
            expected: o, as logits; None = anywhere.
        """
        evidence = places.evidence - taken
        if expected is not None:
            across, down = (
                -0.5 * ((line - expected[..., axis, None].tanh()) / SURROUNDINGS).square()
                for axis, line in ((0, self.columns), (1, self.rows))
            )
            evidence = evidence + down.unsqueeze(-1) + across.unsqueeze(-2)
        flat = evidence.flatten(-2)
        best = flat.detach().argmax(-1, keepdim=True)
        number = len(self.columns)
        near = [
            (-0.5 * ((line - line[index]) / NEIGHBOURHOOD).square())
            for line, index in ((self.columns, best % number), (self.rows, best // number))
        ]
        local = evidence + near[1].unsqueeze(-1) + near[0].unsqueeze(-2)
        attention = local.flatten(-2).softmax(-1).unflatten(-1, local.shape[-2:])
        middle = torch.stack([attention.sum(-2) @ self.columns, attention.sum(-1) @ self.rows], -1)
        seen = torch.einsum("sca,...sa->...sc", places.features.flatten(-2), attention.flatten(-2))
        return middle.clamp(-OUTERMOST, OUTERMOST).atanh(), torch.cat([seen, flat.gather(-1, best)], -1)


@torch.no_grad()
def start_near_search(network: nn.Sequential) -> None:
    """Let a fresh network, whose output is added to what a search finds, change little of it at first."""
    network[-1].get_parameter("weight").mul_(FIRST_CHANGES)


class SearchOfFrame:
    """The search of one frame, which remembers the places that are taken.

    Args:
        search: the network.
        places: its map of the frame, (sequences, ...).
        known: objects whose places are taken from the start.
    """

    def __init__(self, search: PlaceSearch, places: PlaceMap, known: ObjectSlots) -> None:
        self.search, self.places = search, places
        self.taken = search.taken(known)

    @classmethod
    def of(cls, search: PlaceSearch | None, look: Look, known: ObjectSlots) -> "SearchOfFrame | None":
        """The search of this frame; None without one."""
        return None if search is None or look.places is None else cls(search, look.places, known)

    def look(self, expected: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The best place that is not taken; see `PlaceSearch.look`."""
        return self.search.look(self.places, self.taken, expected)

    def take(self, found: ObjectSlots) -> None:
        """Remember the places of objects that were found."""
        self.taken = self.taken + self.search.taken(found)
