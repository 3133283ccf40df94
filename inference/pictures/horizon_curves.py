"""Curves of position errors by horizon: what a model observed, what it predicts, and where training ended."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from inference.metrics.distance_means import DistanceCurve
from inference.pictures.theme import GRID, LARGE, NORMAL, QUIET, SMALL, TRUTH, colours_of, new_figure, tidy

_Style = str | tuple[int, tuple[int | float, ...]]  # of a line: its name, or dashes in points

_BAND = 0.2  # opacity of one standard error
_NEAR = 0.2  # share of the axis below which the words over two lines would collide
_DASHES = ((0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))


def draw_horizon_curves(
    curves: Mapping[str, DistanceCurve],
    baselines: Mapping[str, DistanceCurve] | None = None,
    *,
    tracking: bool = False,
    training_length: int | None = None,
    title: str = "",
) -> Figure:
    """Mean distance from the true positions in each frame, with a band of one standard error.

    As in figures 5 to 7 of Akhundov et al. (2019). The prefix has a grey background, which ends in a line; a second
    line is where frames beyond the length of the training videos begin.

    Args:
        curves: by name, from `PrefixMatches.error_by_frame`, all in pixels or all in widths of the frame. Lengths may
            differ; frames without objects leave a gap.
        baselines: the same for predictors such as `hold_last`, drawn in grey with dashes.
        tracking: whether all frames were observed: errors of inference, where the prefix only matches objects.
        training_length: number of frames of the training videos; None = unknown.
        title: above all.

    Raises:
        ValueError: if there is no curve, prefixes or frame widths differ, a name is given twice, or the training
            length is not a positive number.
    """
    baselines = baselines or {}
    prefix, width = _common(curves, baselines)
    if training_length is not None and training_length < 1:
        raise ValueError(
            f"training_length: expected a positive number of frames, got {training_length}; give None if unknown"
        )
    length = max(len(curve.means) for curve in [*curves.values(), *baselines.values()])
    figure = new_figure(7.2, 3.8 + 0.3 * bool(title))
    axes: Axes = figure.subplots()
    tidy(axes)
    axes.axvspan(0.5, prefix + 0.5, color=GRID, alpha=0.7, linewidth=0, zorder=0)
    if prefix < length:
        _mark(axes, prefix + 0.5, "" if tracking else "predicted", "-")
    if training_length is not None and training_length < length:
        near = abs(training_length - prefix) < _NEAR * length
        _mark(axes, training_length + 0.5, "beyond training", (0, (4, 3)), raised=near)
    for name, colour in colours_of(curves).items():
        _draw(axes, name, curves[name], colour, "-", zorder=3)
    for (name, curve), dashes in zip(baselines.items(), _DASHES * len(baselines), strict=False):
        _draw(axes, name, curve, QUIET, dashes, zorder=2)
    axes.set_xlim(0.5, length + 0.5)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlabel(f"frame (grey: {'objects are matched' if tracking else 'observed'})", fontsize=NORMAL)
    unit = "widths of the frame" if width == 1 else "pixels"
    axes.set_ylabel(f"position error, {unit}", fontsize=NORMAL)
    figure.legend(loc="outside right center", frameon=False, fontsize=SMALL)
    if title:
        figure.suptitle(title, fontsize=LARGE, x=0.01, ha="left", color=TRUTH)
    return figure


def _draw(axes: Axes, name: str, curve: DistanceCurve, colour: str, style: _Style, zorder: int) -> None:
    frames = range(1, len(curve.means) + 1)
    means, errors = curve.means.numpy(), curve.standard_errors.numpy()
    axes.fill_between(frames, means - errors, means + errors, color=colour, alpha=_BAND, linewidth=0, zorder=zorder)
    axes.plot(frames, means, color=colour, linestyle=style, linewidth=1.6, label=name, zorder=zorder)


def _mark(axes: Axes, place: float, text: str, style: _Style, *, raised: bool = False) -> None:
    """A vertical line, with a word above the axes on what begins there, if any."""
    axes.axvline(place, color=TRUTH, linestyle=style, linewidth=0.9, alpha=0.6)
    if text:
        axes.annotate(
            f"{text} \N{RIGHTWARDS ARROW}",
            (place, 1.0),
            xycoords=axes.get_xaxis_transform(),
            xytext=(2, 15 if raised else 3),
            textcoords="offset points",
            fontsize=SMALL,
            color=TRUTH,
        )


def _common(curves: Mapping[str, DistanceCurve], baselines: Mapping[str, DistanceCurve]) -> tuple[int, float]:
    """The prefix and the width of the frame of all curves."""
    if not curves and not baselines:
        raise ValueError("curves: expected at least one, got none; take PrefixMatches.error_by_frame()")
    twice = sorted(set(curves) & set(baselines))
    if twice:
        raise ValueError(f"baselines: expected other names than those of curves, got {twice[0]!r}; rename one of them")
    every = [*curves.values(), *baselines.values()]
    for name, values, remedy in (
        ("prefix", {curve.prefix for curve in every}, "observe the same number of frames with each"),
        ("frame width", {curve.frame_width for curve in every}, "take in_frame_widths of all to compare frame sizes"),
    ):
        if len(values) > 1:
            raise ValueError(f"curves, baselines: expected one {name} for all, got {sorted(values)}; {remedy}")
    return every[0].prefix, every[0].frame_width
