"""Where another person would explain a frame best: silhouettes of every row correlated with what is unexplained."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from pyro_models.walking_people import WalkingPeople

ROW_STEP = 2  # pixels between rows of the map; refinement does the rest
BELOW = 0.25  # of the frame's height: feet may be below it


class CorrelationMap:
    """Gain in log probability of a frame by one more person of mean size, for places on a grid, by Fourier transforms::

        map(x, y) = sum_i f(m_(x, y)(i)) (log p(x_i | covered) - log p(x_i | as it is))

    with f(m) the share of the whole gain that a cover m has: another function where x_i is 0 and where it is 1, in both
    cases with the mean error rates over pixels and nobody else there. Exact where that is so.

    Args:
        model: the model, with silhouettes and rates as they are now.
    """

    def __init__(self, model: WalkingPeople) -> None:
        _, height, width = model.frame_shape
        self._pixels = model.pixels
        columns = model.silhouette.columns
        bottom = math.ceil((1 + BELOW) * height)
        self.rows = torch.arange(0, bottom, ROW_STEP, dtype=columns.dtype, device=columns.device)
        self.columns = columns
        self.cell = float(ROW_STEP)  # area of the grid's cells, pixels
        none = columns.new_zeros(())
        self.grid = torch.stack(torch.broadcast_tensors(columns, self.rows[:, None], none, none), -1)
        self._length = 2 * width  # no wrapping around
        # columns of a circle: to the right of the feet, then to their left
        circle = torch.arange(self._length, dtype=columns.dtype, device=columns.device)
        circle = torch.where(circle < width, circle, circle - self._length)
        places = torch.stack([0 * self.rows, self.rows, 0 * self.rows, 0 * self.rows], -1)
        cover = model.silhouette(places, circle)
        false, seen = model.pixels.mean_rates()
        shares = (
            _log_growth(cover, (1 - seen) / (1 - false)),
            _log_growth(cover, seen / false),
        )
        self._templates = [self._transformed(share) for share in shares]

    def gain(
        self, image: Float[Tensor, "... height width"], without: Float[Tensor, "*batch height width"]
    ) -> Float[Tensor, "*batch rows width"]:
        """The map.

        Args:
            image: a mask of zeros and ones.
            without: product of 1 - w m over the people there are.
        """
        pixels = self._pixels
        ratio = pixels.log_prob(torch.ones_like(without), image) - pixels.log_prob(1 - without, image)
        off, on = torch.where(image > 0.5, 0.0, ratio), torch.where(image > 0.5, ratio, 0.0)
        both = self._correlated(self._templates[0], off) + self._correlated(self._templates[1], on)
        return torch.fft.irfft(both, self._length)[..., : len(self.columns)]

    def best(self, score: Float[Tensor, "*batch rows width"]) -> Float[Tensor, "*batch 4"]:
        """The place with the largest score."""
        index = score.flatten(-2).argmax(-1)
        width = len(self.columns)
        row, column = index.div(width, rounding_mode="floor"), index % width
        x, y = self.columns[column], self.rows[row]
        return torch.stack([x, y, torch.zeros_like(x), torch.zeros_like(x)], -1)

    def _transformed(self, share: Tensor) -> Tensor:
        """(rows of feet, rows of the frame, columns) -> (frequency, rows of feet, rows of the frame)."""
        return torch.fft.rfft(share).conj().resolve_conj().movedim(-1, 0).contiguous()

    def _correlated(self, templates: Tensor, ratio: Tensor) -> Tensor:
        """The transform of a map, (*batch, rows of feet, frequency)."""
        spectrum = torch.fft.rfft(ratio, self._length).movedim(-1, 0)
        columns = spectrum.reshape(len(spectrum), -1, spectrum.shape[-1]).mT
        return (templates @ columns).mT.reshape(*spectrum.shape[:-1], len(self.rows)).movedim(0, -1)


def _log_growth(cover: Tensor, ratio: Tensor) -> Tensor:
    """Logarithm of 1 + (ratio - 1) m, as a share of that at m = 1."""
    return torch.log1p((ratio - 1) * cover) / ratio.log()
