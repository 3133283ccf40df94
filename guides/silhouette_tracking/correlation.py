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

        map(x, y) = sum_i m_(x, y, 0)(i) (log p(x_i | covered) - log p(x_i | as it is))

    Exact for silhouettes of zeros and ones, too small for soft ones, as the log probability is concave in the cover.

    Args:
        model: the model, with silhouettes as they are now.
    """

    def __init__(self, model: WalkingPeople) -> None:
        _, height, width = model.frame_shape
        self._model = model
        silhouette = model.silhouette
        columns = silhouette.columns
        self.rows = torch.arange(
            0, math.ceil((1 + BELOW) * height), ROW_STEP, dtype=columns.dtype, device=columns.device
        )
        self.columns = columns
        self.cell = float(ROW_STEP)  # area of the grid's cells, pixels
        none = columns.new_zeros(())
        self.grid = torch.stack(torch.broadcast_tensors(columns, self.rows[:, None], none, none), -1)
        self._length = 2 * width  # no wrapping around
        places = torch.stack([0 * self.rows, self.rows, 0 * self.rows, 0 * self.rows], -1)
        # columns of a circle: to the right of the feet, then to their left
        circle = torch.arange(self._length, dtype=columns.dtype, device=columns.device)
        circle = torch.where(circle < width, circle, circle - self._length)
        spectra = torch.fft.rfft(silhouette(places, circle)).conj().resolve_conj()
        self._templates = spectra.movedim(-1, 0).contiguous()  # (frequency, rows of feet, rows of the frame)

    def gain(
        self, image: Float[Tensor, "... height width"], without: Float[Tensor, "*batch height width"]
    ) -> Float[Tensor, "*batch rows width"]:
        """The map.

        Args:
            image: a mask of zeros and ones.
            without: product of 1 - w m over the people there are.
        """
        pixels = self._model.pixels
        ratio = pixels.log_prob(torch.ones_like(without), image) - pixels.log_prob(1 - without, image)
        spectrum = torch.fft.rfft(ratio, self._length).movedim(-1, 0)
        columns = spectrum.reshape(len(spectrum), -1, spectrum.shape[-1]).mT
        both = (self._templates @ columns).mT.reshape(*spectrum.shape[:-1], len(self.rows)).movedim(0, -1)
        return torch.fft.irfft(both, self._length)[..., : len(self.columns)]

    def best(self, score: Float[Tensor, "*batch rows width"]) -> Float[Tensor, "*batch 4"]:
        """The place with the largest score."""
        index = score.flatten(-2).argmax(-1)
        width = len(self.columns)
        row, column = index.div(width, rounding_mode="floor"), index % width
        x, y = self.columns[column], self.rows[row]
        return torch.stack([x, y, torch.zeros_like(x), torch.zeros_like(x)], -1)
