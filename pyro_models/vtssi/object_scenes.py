"""Scenes of objects whose number is continuous: priors of what is drawn once, and the picture."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Bool, Float
from pyro import poutine
from torch import Tensor, nn

from pyro_models.components.frame_networks import mlp
from pyro_models.components.glimpses import paste_and_add
from pyro_models.components.isotropic_gaussian import IsotropicGaussian
from pyro_models.vtssi.geometry import edge_windows
from videos.typed import Count, FrameShape, Positive, typed

COUNTING = ("masked", "always_on")
SMALLEST_SIZE = 0.05  # of a rendered window: a Gaussian size may be negative
DARKNESS = -2.0  # initial bias of a pixel's logit: glimpses start dark
BELL_WIDTH = 0.5  # standard deviation of the centring mask


class ObjectScenes(nn.Module):
    """Up to N objects, each with an opacity, a size, an appearance and a position (Akhundov et al. 2019)::

        c ~ N(count_mean, 1);   n = N sigmoid(c);   o_i = clamp(n - (i - 1), 0, 1)
        s_i ~ N(size_mean, size_scale^2);   d_i ~ N(0, I);   p_i ~ N(0, I) at first
        x ~ N(sum_i paste(o_i mask decoder(d_i); s_i, p_i), frame_scale^2)

    n is a real number of objects: for n = 2.4 opacities are 1, 1 and 0.4. Objects with o_i > 0 are in play; the first
    always is. Nothing is discrete, every draw is reparameterised. Sizes are shares of the frame's width and height,
    positions are measured from its edges, see `geometry`.

    In training mode glimpses are multiplied by a centring mask, (bell + bell_offset) / (1 + bell_offset), with the
    bell exp(-2 |u|^2) on [-1, 1]^2. A schedule of the buffer `bell_offset` from 0 to 100, say, keeps objects in the
    middle of their glimpses at first. In evaluation mode, and by default, there is no mask: one that stayed in training
    would make another model of it than the one that is evaluated.

    Args:
        frame_shape: (1, height, width) of a frame.
        num_objects: N, the largest number of objects.
        what_dim: size of an appearance d.
        glimpse_size: height and width of a glimpse, pixels.
        hidden: units of each hidden layer of the decoder.
        counting: "masked": latents of objects that are not in play have no density; "always_on": all N have one, at a
            looser bound. With "masked" the gradient of a bound misses what switching on an object costs; see
            `inference.CountBoundary`.
        count_mean: initial value of the buffer of that name; training may anneal it.
        bell_offset: initial value of the buffer of that name; infinite = no mask.
        size_mean: prior means of a size, width and height.
        size_scale: prior standard deviation of a size.
        frame_scale: standard deviation of a pixel.

    Attributes:
        count_mean: buffer, prior mean of c.
        bell_offset: buffer, offset of the centring mask.

    Raises:
        ValueError: if frames have more than one channel, `num_objects` is below 1, or `counting` is unknown.
    """

    count_mean: Tensor
    bell_offset: Tensor
    bell: Tensor
    size_mean: Tensor
    size_scale: Tensor

    @typed
    def __init__(
        self,
        frame_shape: FrameShape = (1, 50, 50),
        *,
        num_objects: Count = 2,
        what_dim: Count = 20,
        glimpse_size: Count = 25,
        hidden: tuple[Count, ...] = (128, 256),
        counting: str = "masked",
        count_mean: float = -2.0,
        bell_offset: float = math.inf,
        size_mean: tuple[float, float] = (0.3, 0.4),
        size_scale: Positive = 0.1,
        frame_scale: Positive = 0.3,
    ) -> None:
        super().__init__()
        if frame_shape[0] != 1:
            raise ValueError(
                f"frame_shape: expected 1 channel, got {frame_shape[0]}; glimpses are grey, so average colours first"
            )
        if counting not in COUNTING:
            raise ValueError(
                f"counting: expected one of {', '.join(COUNTING)}, got {counting!r}; the gradient of the boundary "
                "between counts is no property of the model, the loss inference.CountBoundary adds it"
            )
        if not bell_offset >= 0:
            raise ValueError(f"bell_offset: expected at least 0, got {bell_offset}; math.inf leaves the mask out")
        self.frame_shape = frame_shape
        self.num_objects = num_objects
        self.what_dim = what_dim
        self.glimpse_size = glimpse_size
        self.counting = counting
        self.frame_scale = frame_scale
        self.decoder = mlp(what_dim, hidden, glimpse_size**2, output_bias=DARKNESS)
        self.register_buffer("count_mean", torch.tensor(count_mean))
        self.register_buffer("bell_offset", torch.tensor(bell_offset))
        self.register_buffer("bell", bell(glimpse_size))
        self.register_buffer("size_mean", torch.tensor(size_mean))
        self.register_buffer("size_scale", torch.tensor(size_scale))

    @contextmanager
    def objects(self, opacity: Float[Tensor, "... objects sequences"]) -> Iterator[None]:
        """The plate `objects`, at dim -2, in which only objects in play have densities; for model and guide alike.

        Args:
            opacity: o of each object.
        """
        # A plate is a site itself: created apart from all handlers, it may be entered in every step of one trace.
        with poutine.block():
            plate = pyro.plate("objects", self.num_objects, dim=-2)
        mask: Any = self.in_play(opacity)
        with plate, poutine.mask(mask=mask) if self.counting == "masked" else nullcontext():
            yield

    def count_law(self) -> dist.Normal:
        """Prior of c."""
        return dist.Normal(self.count_mean, torch.ones_like(self.count_mean))

    def scale_law(self) -> dist.Independent:
        """Prior of a size."""
        return dist.Normal(self.size_mean, self.size_scale).to_event(1)

    def what_law(self) -> dist.Independent:
        """Prior of an appearance."""
        return self.standard_law(self.what_dim)

    def standard_law(self, size: int) -> dist.Independent:
        """N(0, I) with one event dim."""
        zeros = self.count_mean.new_zeros(size)
        return dist.Normal(zeros, torch.ones_like(zeros)).to_event(1)

    def opacities(self, count: Float[Tensor, "... sequences"]) -> Float[Tensor, "... objects sequences"]:
        """o_i of each object.

        Args:
            count: values of c, drawn inside `sequences` and outside `objects`: (sequences,) or (..., 1, sequences).
        """
        return (self.num_objects * count.sigmoid() - self._numbers(count)).clamp(0, 1)

    def presences(self, count: Float[Tensor, "... sequences"]) -> Float[Tensor, "... objects sequences"]:
        """1 for the first round(N sigmoid(c)) objects, 0 for the others."""
        number = (self.num_objects * count.sigmoid()).round()
        return (self._numbers(count) < number).to(count)

    def _numbers(self, like: Tensor) -> Tensor:
        return torch.arange(self.num_objects, dtype=like.dtype, device=like.device).unsqueeze(-1)

    def in_play(self, opacity: Tensor) -> Bool[Tensor, "*plates objects sequences"]:
        """Which objects have densities."""
        return opacity > 0 if self.counting == "masked" else torch.ones_like(opacity, dtype=torch.bool)

    def count_thresholds(self) -> list[float]:
        """The values of c above which the second, third, ... object is in play."""
        return count_thresholds(self.num_objects)

    def glimpses(
        self, what: Float[Tensor, "*#plates what"], opacity: Float[Tensor, "*#plates"]
    ) -> Float[Tensor, "*plates height width"]:
        """Glimpses of objects, each times its opacity and, in training mode, times the centring mask."""
        side = self.glimpse_size
        glimpses = self.decoder(what).sigmoid().unflatten(-1, (side, side)) * opacity[..., None, None]
        return glimpses * self.centring_mask() if self.training else glimpses

    def centring_mask(self) -> Float[Tensor, "height width"]:
        """The mask of training at the current `bell_offset`."""
        return 1 - (1 - self.bell) / (1 + self.bell_offset)

    def canvas(
        self,
        glimpses: Float[Tensor, "*#plates objects sequences height width"],
        scale: Float[Tensor, "*#plates objects sequences 2"],
        position: Float[Tensor, "*#plates objects sequences 2"],
    ) -> Float[Tensor, "*plates sequences frame_height frame_width"]:
        """Sum of the glimpses, each in its window."""
        size = (self.frame_shape[1], self.frame_shape[2])
        windows = edge_windows(
            scale.clamp(min=SMALLEST_SIZE).transpose(-3, -2), position.transpose(-3, -2), self.glimpse_size, size
        )
        return paste_and_add(glimpses.transpose(-4, -3), windows, size)

    def likelihood(self, canvas: Float[Tensor, "*plates height width"]) -> IsotropicGaussian:
        """Distribution of frames with these means, event (1, height, width)."""
        return IsotropicGaussian(dist.Normal(canvas.unsqueeze(-3), self.frame_scale), 3)


def count_thresholds(num_objects: int) -> list[float]:
    """logit((i - 1) / N) for objects i = 2, ..., N: the values of c above which they are in play."""
    shares = torch.arange(1, num_objects, dtype=torch.float64) / num_objects
    return torch.logit(shares).tolist()


def bell(size: int) -> Float[Tensor, "size size"]:
    """exp(-(u^2 + v^2) / (2 0.5^2)) on a grid over [-1, 1]^2, divided by its maximum."""
    line = torch.linspace(-1, 1, size).square()
    values = (-(line[:, None] + line) / (2 * BELL_WIDTH**2)).exp()
    return values / values.max()
