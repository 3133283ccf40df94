"""Learning curves of several runs."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from inference.pictures.theme import NORMAL, SMALL, colours_of, new_figure, tidy


def draw_learning_curves(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, label: str, title: str = ""
) -> Figure:
    """A score against time, one line for each run, labelled at its end.

    Args:
        curves: by name of the run: minutes, and the score at these times.
        label: name of the score.
        title: above the picture.

    Raises:
        ValueError: if there is no curve, or one lacks a score for some time.
    """
    if not curves:
        raise ValueError("curves: expected at least one, got none")
    for name, (minutes, scores) in curves.items():
        if len(minutes) != len(scores) or not minutes:
            raise ValueError(f"curves[{name!r}]: expected a score for each time, got {len(scores)} for {len(minutes)}")
    figure = new_figure(7.2, 3.8)
    axes = figure.subplots()
    tidy(axes)
    colours = colours_of(curves)
    for name, (minutes, scores) in curves.items():
        axes.plot(minutes, scores, marker="o", markersize=3, color=colours[name], label=name)
    axes.set_xlabel("minutes of training", fontsize=NORMAL)
    axes.set_ylabel(label, fontsize=NORMAL)
    axes.set_title(title, fontsize=NORMAL, loc="left")
    figure.legend(loc="outside right center", frameon=False, fontsize=SMALL)
    return figure
