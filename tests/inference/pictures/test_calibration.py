"""The band of the picture of a calibration, and which lines are marked."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from scipy.stats import binom

from inference import Calibration
from inference.pictures import draw_calibration
from inference.pictures.ecdf_band import simultaneous_band
from inference.pictures.theme import MISSING


@pytest.mark.parametrize(("number", "level"), [(20, 0.95), (300, 0.95), (300, 0.99)])
def test_uniform_numbers_stay_in_the_band_as_often_as_it_says(number, level):
    points, lower, upper = simultaneous_band(number, level)
    draws = np.random.default_rng(0).random((4000, number))
    ecdf = np.stack([(draws <= point).mean(1) for point in points], 1)
    left = ((ecdf < lower - 1e-12) | (ecdf > upper + 1e-12)).any(1).sum()
    assert left <= binom.ppf(1 - 1e-6, 4000, 1 - level)
    assert left >= binom.ppf(1e-6, 4000, 0.6 * (1 - level))  # counts are whole numbers, so a band is a little too wide


@pytest.mark.slow  # it compiles
def test_the_band_is_that_of_arviz():
    from arviz.stats.ecdf_utils import ecdf_confidence_band

    points, lower, upper = simultaneous_band(200, 0.95)
    theirs = ecdf_confidence_band(200, points, points, prob=0.95, method="optimized")
    assert np.abs(200 * (np.stack(theirs) - np.stack([lower, upper]))).max() < 1.5  # counts


def test_lines_that_leave_the_band_are_marked():
    uniform = torch.linspace(0, 1, 302, dtype=torch.float64)[1:-1]
    narrow = (0.5 + 0.7 * torch.tan(torch.pi * (uniform - 0.5)) / 7).clamp(0.001, 0.999)  # piles up at both ends
    ranks = {"z": torch.stack([uniform, narrow], 1)}
    figure = draw_calibration(Calibration(ranks, ranks, 100, torch.ones(300)))
    colours = [to_hex(line.get_color()) for line in figure.axes[1].lines]
    assert len(colours) == 2
    assert colours[0] != to_hex(MISSING)
    assert colours[1] == to_hex(MISSING)
    figure.canvas.draw()
