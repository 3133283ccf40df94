"""Comparison of models by log evidence."""

from matplotlib.figure import Figure

from inference.evidence.tables import LOWER_BOUND, Comparison
from inference.pictures.theme import MISSING, NORMAL, QUIET, SMALL, TRUTH, new_figure, tidy


def draw_comparison(comparison: Comparison) -> Figure:
    """Log evidence of each model, the best on top, in the style of ArviZ's `plot_compare`.

    Dots with a bar: log evidence, one standard error over sequences to each side. Rings: the ELBO. Triangles with a
    bar, below each dot: the difference to the best model with its confidence interval, filled if it is significant
    after correction; the dashed line is no difference. A model whose estimate is only a lower bound is drawn in the
    warning colour.

    Args:
        comparison: from `compare`.
    """
    models = comparison.models
    figure = new_figure(7.2, 0.62 * len(models) + 1.3)
    axes = figure.subplots()
    tidy(axes)
    best = models[0]
    axes.axvline(best.log_evidence, color=QUIET, linestyle="--", linewidth=1)
    for row, model in enumerate(models):
        colour = MISSING if model.is_lower_bound else TRUTH
        axes.errorbar(model.log_evidence, row, xerr=model.standard_error, fmt="o", color=colour, capsize=3)
        axes.plot(model.elbo, row, "o", markerfacecolor="none", color=colour)
        if model is not best:
            low, high = model.interval
            sides = [[model.difference - low], [high - model.difference]]
            face = QUIET if model.significant else "none"
            place = best.log_evidence + model.difference
            axes.errorbar(place, row + 0.3, xerr=sides, fmt="^", color=QUIET, markerfacecolor=face, capsize=2)
    axes.set_yticks(range(len(models)), [model.name for model in models], fontsize=NORMAL)
    axes.set_ylim(len(models) - 0.4, -0.6)
    axes.set_xlabel(f"nats per sequence over {comparison.num_sequences} sequences", fontsize=NORMAL)
    note = "dot: log evidence   ring: ELBO"
    if len(models) > 1:
        note += f"   triangle: difference to the best, {100 * comparison.level:g} % (filled: significant)"
    if any(model.is_lower_bound for model in models):
        note += f"\norange: {LOWER_BOUND}, as k-hat > 0.7 or other signs say"
    axes.set_title(note, fontsize=SMALL, loc="left")
    return figure
