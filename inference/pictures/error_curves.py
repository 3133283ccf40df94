"""Curves of imputation errors: by the number of missing frames, beside a paper's; and frame by frame."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from inference.pictures.theme import GRID, LARGE, NORMAL, SMALL, check_observed, colours_of, new_figure, tidy
from inference.scores.imputation_curves import ImputationCurve

_LABELS = {
    "random": ("missing at random", "probability that a frame is missing"),
    "gap": ("missing in a row", "number of missing frames"),
}


def draw_imputation_curves(
    curves: Sequence[ImputationCurve], published: Sequence[ImputationCurve] = (), *, title: str = ""
) -> Figure:
    """Fraction of incorrect pixels against the amount missing, one panel per pattern.

    As in figures 3a and 3b of Fraccaro et al. (2017): ours as lines with dots and error bars of one standard error, the
    paper's points as rings on dashed lines, a method in the same colour in both.

    Args:
        curves: ours.
        published: a paper's.
        title: above all.

    Raises:
        ValueError: if there is no curve.
    """
    if not curves and not published:
        raise ValueError("curves: expected at least one, got none")
    patterns = list(dict.fromkeys(curve.pattern for curve in [*curves, *published]))
    colours = colours_of(dict.fromkeys(curve.method for curve in [*curves, *published]))
    figure = new_figure(4.4 * len(patterns) + 0.3, 4.2 + 0.3 * bool(title))
    panels = figure.subplots(1, len(patterns), squeeze=False, sharey=True)[0]
    entries: dict[str, Any] = {}
    for axes, pattern in zip(panels, patterns, strict=True):
        tidy(axes)
        heading, label = _LABELS.get(pattern, (pattern, "level"))
        axes.set_title(heading, fontsize=NORMAL)
        axes.set_xlabel(label, fontsize=NORMAL)
        for curve in published:
            if curve.pattern == pattern:
                entries[f"{curve.method} (published)"] = axes.plot(
                    curve.levels,
                    curve.errors,
                    "o--",
                    color=colours[curve.method],
                    markerfacecolor="white",
                    markersize=4.5,
                    linewidth=1.0,
                    alpha=0.75,
                )[0]
        for curve in curves:
            if curve.pattern == pattern:
                entries[curve.method] = axes.errorbar(
                    curve.levels,
                    curve.errors,
                    curve.standard_errors,
                    fmt="o-",
                    color=colours[curve.method],
                    markersize=4.5,
                    linewidth=1.8,
                    elinewidth=1.2,
                )
    panels[0].set_ylim(bottom=0)
    panels[0].set_ylabel("fraction of incorrect pixels\nin missing frames", fontsize=NORMAL)
    names = sorted(entries, key=lambda name: (name.endswith("(published)"), list(entries).index(name)))
    figure.legend(
        [entries[name] for name in names],
        names,
        loc="outside lower center",
        ncols=min(4, len(names)),
        frameon=False,
        fontsize=SMALL,
    )
    if title:
        figure.suptitle(title, fontsize=LARGE, x=0.01, ha="left")
    return figure


def draw_errors_per_frame(curves: Mapping[str, Tensor], observed: Tensor | None = None, *, title: str = "") -> Figure:
    """Fraction of incorrect pixels at each frame; observed frames have a grey background.

    Args:
        curves: name -> (time,), as from `incorrect_pixels_per_frame`; NaN leaves a gap.
        observed: bool (time,), if one pattern holds for all sequences.
        title: above all.

    Raises:
        ValueError: if there is no curve, or a shape is wrong.
    """
    lengths = {tuple(curve.shape) for curve in curves.values()}
    if len(lengths) != 1 or len(next(iter(lengths))) != 1:
        raise ValueError(f"curves: expected at least one, all of one shape (time,), got shapes {sorted(lengths)}")
    num_frames = next(iter(lengths))[0]
    figure = new_figure(6.0, 3.4 + 0.3 * bool(title))
    axes: Axes = figure.subplots()
    tidy(axes)
    if observed is not None:
        for time, seen in enumerate(check_observed(observed, num_frames)):
            if seen:
                axes.axvspan(time + 0.5, time + 1.5, color=GRID, alpha=0.7, linewidth=0, zorder=0)
    colours = colours_of(curves)
    for name, curve in curves.items():
        axes.plot(range(1, num_frames + 1), curve.detach().cpu(), "o-", color=colours[name], markersize=4, label=name)
    axes.set_xlim(0.5, num_frames + 0.5)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("frame" if observed is None else "frame (grey: seen)", fontsize=NORMAL)
    axes.set_ylabel("fraction of incorrect pixels", fontsize=NORMAL)
    axes.legend(frameon=False, fontsize=SMALL)
    axes.set_title(title, fontsize=LARGE, loc="left")
    return figure
