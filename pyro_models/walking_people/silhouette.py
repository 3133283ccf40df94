"""Silhouettes of standing people: how tall a person is where, and how likely a pixel is covered."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

SMALLEST_HEIGHT = 1.0  # pixels; far above the horizon the line of heights would be negative
_REACH = math.log(3)  # softnesses from one half to one quarter
_BLUNT = 1e-3  # of the height: makes the distance from the middle line smooth there


class Slopes(NamedTuple):
    """A silhouette and its derivatives by the place of the person.

    Attributes:
        cover: m, how likely each pixel is covered.
        x: its derivative by the x of the feet, 1 / pixel.
        y: by the y of the feet, 1 / pixel.
        log_size: by the log size.
        log_width: by the log width.
    """

    cover: Float[Tensor, "*people height width"]
    x: Float[Tensor, "*people height width"]
    y: Float[Tensor, "*people height width"]
    log_size: Float[Tensor, "*people height width"]
    log_width: Float[Tensor, "*people height width"]


class Silhouette(nn.Module):
    """Probability m that a pixel is covered by a person with the feet at (x, y), log size a and log width b::

        h(y) = intercept + slope y                       height of a person of mean size, pixels
        u = (column - x) / (h(y) e^(a + b));   v = (y - row) / (h(y) e^a)
        m = solid(v) sigm(v / edge) sigm((1 - v) / edge) sigm((half_width(v) - |u|) / softness(v))

    h is linear in the row of the feet for people on a plane in front of a camera that is not tilted sideways. `solid`,
    `half_width` and `softness` are learned curves, linear between `knots` heights, constant beyond the outermost ones:
    legs are softer and less solid than the trunk.

    Args:
        frame_size: height and width of a frame, pixels.
        intercept: h at y = 0, pixels.
        slope: growth of h with y.
        knots: number of heights at which the curves are given.
        half_width: initial half width, in heights of the person.

    Raises:
        ValueError: if `knots` is below 2 or `half_width` is not positive.
    """

    columns: Tensor
    rows: Tensor
    levels: Tensor

    def __init__(
        self,
        frame_size: tuple[int, int],
        *,
        intercept: float,
        slope: float,
        knots: int = 12,
        half_width: float = 0.15,
    ) -> None:
        super().__init__()
        if knots < 2:
            raise ValueError(f"knots: expected at least 2 heights, got {knots}")
        if not half_width > 0:
            raise ValueError(f"half_width: expected a positive share of the height, got {half_width}")
        height, width = frame_size
        self.register_buffer("columns", torch.arange(width, dtype=torch.float32), persistent=False)
        self.register_buffer("rows", torch.arange(height, dtype=torch.float32), persistent=False)
        self.register_buffer("levels", (torch.arange(knots) + 0.5) / knots, persistent=False)
        self.line = nn.Parameter(torch.tensor([intercept, 100 * slope]))  # of a hundred rows: like numbers learn alike
        self.log_half_width = nn.Parameter(torch.full((knots,), half_width).log())
        self.log_softness = nn.Parameter(torch.full((knots,), 0.04).log())
        self.solid_logit = nn.Parameter(torch.full((knots,), 3.0))
        self.log_edge = nn.Parameter(torch.tensor(0.02).log())

    @property
    def slope(self) -> Tensor:
        """Growth of the height with the row of the feet."""
        return self.line[1] / 100

    def mean_height(self, y: Float[Tensor, "*people"]) -> Float[Tensor, "*people"]:
        """Height h(y) of mean size, pixels, at least 1."""
        return (self.line[0] + self.slope * y).clamp(min=SMALLEST_HEIGHT)

    def height(self, place: Float[Tensor, "*people 4"]) -> Float[Tensor, "*people"]:
        """Height h(y) e^a, pixels."""
        return self.mean_height(place[..., 1]) * place[..., 2].exp()

    def box(self, place: Float[Tensor, "*people 4"]) -> tuple[Float[Tensor, "*people 2"], Float[Tensor, "*people 2"]]:
        """Middle and size of the box around a person: as far as a pixel is covered in one of four cases.

        Arms and legs that move make a silhouette soft, and are in the box in most frames.
        """
        height = self.height(place)
        ends = _REACH * self.log_edge.exp()
        broadest = 2 * (self.log_half_width.exp() + _REACH * self.log_softness.exp()).amax()
        middle = torch.stack([place[..., 0], place[..., 1] - 0.5 * height], -1)
        size = torch.stack([broadest * height * place[..., 3].exp(), (1 + 2 * ends) * height], -1)
        return middle, size

    def forward(
        self, place: Float[Tensor, "*people 4"], columns: Float[Tensor, " width"] | None = None
    ) -> Float[Tensor, "*people height width"]:
        """How likely each pixel is covered by each person.

        Args:
            place: x and y of the feet, pixels from the centre of the top left pixel, log size and log width.
            columns: those of the pixels; None = of a frame.
        """
        height = self.height(place)[..., None]
        up, across = self._coordinates(place, height, self.columns if columns is None else columns)
        half_width, softness, solid = self._curves(up)
        inside = solid * self._ends(up)
        return (
            inside[..., None] * ((half_width[..., None] - _blunt(across)[..., None, :]) / softness[..., None]).sigmoid()
        )

    def with_slopes(self, place: Float[Tensor, "*people 4"]) -> Slopes:
        """The silhouette and its derivatives, in closed form; see `forward`."""
        height = self.height(place)[..., None]
        up, across = self._coordinates(place, height, self.columns)
        half_width, softness, solid = self._curves(up)
        ends = self._ends(up)
        edge = self.log_edge.exp()
        rises = [self._rises(up, curve) for curve in (self.log_half_width, self.log_softness, self.solid_logit)]
        half_width_rise, softness_rise = half_width * rises[0], softness * rises[1]
        # solid' / solid + ends' / ends
        inside_rise = (1 - solid) * rises[2] + ((-up / edge).sigmoid() - ((up - 1) / edge).sigmoid()) / edge
        distance = _blunt(across)
        steep = 1 / softness[..., None]
        level = (half_width[..., None] - distance[..., None, :]) * steep
        side = level.sigmoid()
        cover = (solid * ends)[..., None] * side
        # the logarithm of cover by u and by v
        beyond = cover * (1 - side) * steep
        by_across = -beyond * (across / distance)[..., None, :]
        by_up = cover * inside_rise[..., None] + beyond * (
            half_width_rise[..., None] - level * softness_rise[..., None]
        )
        by_log_width = -across[..., None, :] * by_across
        by_log_size = by_log_width - up[..., None] * by_up
        tall = height[..., None]
        broad = tall * place[..., 3, None, None].exp()
        grows = torch.where(self.mean_height(place[..., 1]) > SMALLEST_HEIGHT, self.slope, 0.0)
        grows = (grows / self.mean_height(place[..., 1]))[..., None, None]
        return Slopes(cover, -by_across / broad, by_up / tall + grows * by_log_size, by_log_size, by_log_width)

    def _coordinates(self, place: Tensor, height: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """The coordinates v of each row and u of each column."""
        return (place[..., 1:2] - self.rows) / height, (columns - place[..., 0:1]) / (height * place[..., 3:].exp())

    def _ends(self, up: Tensor) -> Tensor:
        edge = self.log_edge.exp()
        return (up / edge).sigmoid() * ((1 - up) / edge).sigmoid()

    def _curves(self, up: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Half width, softness and solidity at given heights."""
        curves = torch.stack([self.log_half_width, self.log_softness, self.solid_logit], -1)
        half_width, softness, solid = self._between(up, curves).unbind(-1)
        return half_width.exp(), softness.exp(), solid.sigmoid()

    def _between(self, up: Tensor, curves: Tensor) -> Tensor:
        """Curves (knots, curve), linear between knots, at given heights."""
        knots = len(self.levels)
        place = (up * knots - 0.5).clamp(0, knots - 1)
        hats = (1 - (place[..., None] - torch.arange(knots, dtype=up.dtype, device=up.device)).abs()).clamp(min=0)
        return hats @ curves

    def _rises(self, up: Tensor, curve: Tensor) -> Tensor:
        """Derivative of a curve by height."""
        knots = len(self.levels)
        place = up * knots - 0.5
        steps = (curve[1:] - curve[:-1]) * knots
        within = (place > 0) & (place < knots - 1)
        below = place.clamp(0, knots - 1.5).long().clamp(0, knots - 2)  # NaN has no knot below, and is not within
        return torch.where(within, steps[below], 0.0)


def _blunt(across: Tensor) -> Tensor:
    """|u|, smooth at 0."""
    return (across.square() + _BLUNT**2).sqrt()
