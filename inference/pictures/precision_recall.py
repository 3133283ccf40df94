"""Precision against recall over the threshold of confidence."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from inference.metrics.precision_recall import PrecisionRecall
from inference.pictures.theme import LARGE, NORMAL, SMALL, colours_of, new_figure, tidy

_MARKED = 0.5  # threshold with a ring


def draw_precision_recall(curves: Mapping[str, PrecisionRecall], *, title: str = "") -> Figure:
    """A curve of steps for each tracker, with its average precision, the area below it.

    Where confidences are probabilities, a ring marks the smallest of at least 0.5: what is more likely than not there.

    Args:
        curves: name -> curve, see `inference.metrics.precision_recall`.
        title: above all.

    Raises:
        ValueError: if there is no curve.
    """
    if not curves:
        raise ValueError("curves: expected at least one, got none")
    figure = new_figure(5.2, 4.2 + 0.3 * bool(title))
    axes = figure.subplots()
    tidy(axes)
    colours = colours_of(curves)
    for name, curve in curves.items():
        recall, precision = curve.recall.tolist(), curve.precision.tolist()
        label = f"{name}: average precision {100 * curve.average_precision:.1f} %"
        # the precision of a threshold holds from the recall of the one before it
        axes.step([0.0, *recall], [precision[0], *precision], where="pre", color=colours[name], label=label)
        above = int((curve.thresholds >= _MARKED).sum())
        if above and curve.thresholds[0] <= 1:
            place = recall[above - 1], precision[above - 1]
            axes.plot(*place, "o", color=colours[name], markerfacecolor="white", markersize=6)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("recall: share of true boxes that are found", fontsize=NORMAL)
    axes.set_ylabel("precision: share of boxes that are true", fontsize=NORMAL)
    axes.legend(frameon=False, fontsize=SMALL, loc="lower left")
    axes.set_title(title, fontsize=LARGE, loc="left")
    return figure
