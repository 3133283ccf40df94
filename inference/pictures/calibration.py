"""Picture of a guide's calibration."""

import numpy as np
from matplotlib.figure import Figure

from inference.evidence.calibration import SIGNIFICANCE, Calibration
from inference.pictures.ecdf_band import simultaneous_band
from inference.pictures.theme import GRID, MISSING, NORMAL, QUIET, SMALL, new_figure, tidy

_GUIDE, _WEIGHED = "#0072B2", "#E69F00"


def draw_calibration(calibration: Calibration, *, num_bins: int = 20) -> Figure:
    """Ranks of the truth among draws, one row for each site.

    Left, the histogram of ranks over all videos and coordinates: flat for a calibrated guide, U-shaped if it is too
    narrow, a hill if too wide, a slope if biased. Then the empirical distribution function (ECDF) of the ranks minus
    the uniform one, a line for each coordinate, for the guide's draws and for the weighted ones, as in
    `arviz.plot_ecdf(..., difference=True)`. For a calibrated guide all lines stay inside the band in 99 % of pictures
    of a site (Säilynoja, Bürkner and Vehtari 2022, Bonferroni over coordinates); other lines are marked. The curve of a
    too narrow guide first rises and then falls, that of a too wide one first falls; a biased one has a single arc.

    Presence is tested by counts, see `BitCalibration`: its lines may stay inside although the verdict is negative.

    Args:
        calibration: from `calibrate`.
        num_bins: of the histograms.

    Raises:
        ValueError: if there is no site.
    """
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
        points, lower, upper = simultaneous_band(sequences, 1 - SIGNIFICANCE / coordinates)
        ends = np.concatenate([[0.0], points, [1.0]])
        for axes, shown, colour, title in (
            (row[1], ranks, _GUIDE, f"guide: {plain[name]}"),
            (row[2], calibration.weighted_ranks[name], _WEIGHED, f"weighted by p / q: {weighed[name]}"),
        ):
            tidy(axes)
            axes.fill_between(ends, np.pad(lower - points, 1), np.pad(upper - points, 1), color=GRID)
            for column in shown.T.numpy():
                below = np.searchsorted(np.sort(column), points, side="right") / sequences
                outside = ((below < lower) | (below > upper)).any()
                line = np.pad(below - points, 1)
                axes.plot(ends, line, color=MISSING if outside else colour, linewidth=0.8)
            axes.set_title(title, fontsize=SMALL)
            axes.set_xlim(0, 1)
    for axes in panels[-1]:
        axes.set_xlabel("share of draws below the truth", fontsize=SMALL)
    panels[0][1].set_ylabel("ECDF minus uniform", fontsize=SMALL)
    return figure
