"""Calibration of a guide at a glance."""

import torch
from matplotlib.figure import Figure

from inference.calibration import SIGNIFICANCE, Calibration
from inference.pictures.theme import GRID, MISSING, NORMAL, QUIET, SMALL, new_figure, tidy

_GUIDE, _WEIGHED = "#0072B2", "#E69F00"


def draw_calibration(calibration: Calibration, *, num_bins: int = 20) -> Figure:
    """Where the truth lies among draws, one row for each site.

    Left, the histogram of ranks over all videos and coordinates: flat for a calibrated guide, a cup for a too narrow
    one, a hill for a too wide one, a slope for a biased one. Then the empirical distribution of the ranks minus the
    uniform one, a line for each coordinate, for the guide's draws and for the weighed ones; lines of a calibrated guide
    all stay inside the band in 99 % of all pictures (Kolmogorov's band, Bonferroni over coordinates).

    Args:
        calibration: from `calibrate`.
        num_bins: of the histograms.

    Raises:
        ValueError: if there is no site.
    """
    from scipy.stats import kstwo

    if not calibration.ranks:
        raise ValueError("calibration: expected at least one site, got none")
    figure = new_figure(9.6, 2.2 * len(calibration.ranks) + 0.4)
    panels = figure.subplots(len(calibration.ranks), 3, squeeze=False)
    plain, weighed = (calibration.verdicts(weighted) for weighted in (False, True))
    for row, (name, ranks) in zip(panels, calibration.ranks.items(), strict=True):
        sequences, coordinates = ranks.shape
        tidy(row[0])
        row[0].hist(ranks.flatten().numpy(), bins=num_bins, range=(0, 1), density=True, color=_GUIDE, alpha=0.8)
        row[0].axhline(1, color=QUIET, linewidth=1)
        row[0].set_ylabel(name, fontsize=NORMAL)
        row[0].set_title(f"ranks under the guide: {plain[name]}", fontsize=SMALL)
        band = kstwo.ppf(1 - SIGNIFICANCE / coordinates, sequences)
        grid = torch.arange(1, sequences + 1) / sequences
        for axes, shown, colour, title in (
            (row[1], ranks, _GUIDE, f"guide: {plain[name]}"),
            (row[2], calibration.weighted_ranks[name], _WEIGHED, f"weighed by p / q: {weighed[name]}"),
        ):
            tidy(axes)
            axes.fill_between([0, 1], -band, band, color=GRID)
            for column in shown.T:
                ordered = column.sort().values
                outside = (grid - ordered).abs().max() > band
                axes.step(ordered, grid - ordered, where="post", color=MISSING if outside else colour, linewidth=0.8)
            axes.set_title(title, fontsize=SMALL)
            axes.set_xlim(0, 1)
    for axes in panels[-1]:
        axes.set_xlabel("share of draws below the truth", fontsize=SMALL)
    panels[0][1].set_ylabel("ECDF minus uniform", fontsize=SMALL)
    return figure
