"""The course of training: bounds, gradient norm, learning rate and time of a step, of one run or of several."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from inference.pictures.theme import NORMAL, SMALL, new_figure, tidy

LEAST_RATIO = 5.0  # of the values of a logarithmic axis; below it a linear one reads better
FEW = 30  # points of a line; each of fewer has a dot
WARM_UP = 0.1  # share of the steps whose values, often thousands of nats lower, do not set the scale


@dataclass(frozen=True)
class History:
    """What a run recorded while it was trained.

    Attributes:
        metrics: records of metrics.jsonl: step, and what was measured there.
        timing: records of timing.jsonl: step, and seconds of training so far.
        loss_is_bound: whether the loss is a negative bound, nats per sequence.
    """

    metrics: Sequence[Mapping[str, Any]]
    timing: Sequence[Mapping[str, Any]] = ()
    loss_is_bound: bool = True

    def values(self, name: str) -> tuple[list[int], list[float]]:
        """Steps at which a number was recorded, and its values; those that are not finite are left out."""
        found = [(record["step"], record.get(name)) for record in self.metrics]
        finite = [(step, value) for step, value in found if isinstance(value, int | float) and math.isfinite(value)]
        return [step for step, _ in finite], [float(value) for _, value in finite]

    def seconds_per_step(self) -> tuple[list[int], list[float]]:
        """Time of a step between two records, validation and checkpoints included."""
        if len(self.timing) < 2:  # a total is no curve
            return [], []
        records = [{"step": 0, "seconds": 0.0}, *self.timing]
        pairs = [
            (later["step"], (later["seconds"] - earlier["seconds"]) / (later["step"] - earlier["step"]))
            for earlier, later in pairwise(records)
            if later["step"] > earlier["step"] and later["seconds"] >= earlier["seconds"]
        ]
        return [step for step, _ in pairs], [seconds for _, seconds in pairs]


@dataclass(frozen=True)
class Line:
    """One curve: steps and values; a dashed one is of training where another shows validation."""

    run: str
    steps: Sequence[int]
    values: Sequence[float]
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """Curves of one quantity over the steps of training.

    Attributes:
        title: the quantity, with its unit.
        lines: the curves, in the order of runs.
        logarithmic: whether its axis is logarithmic where the values differ enough.
        note: how to read it, in a sentence.
    """

    title: str
    lines: tuple[Line, ...]
    logarithmic: bool = False
    note: str = ""


def training_panels(histories: Mapping[str, History]) -> list[Panel]:
    """What runs recorded in training, a panel for each quantity that one of them has.

    Args:
        histories: by name of the run.
    """
    bounds: list[Line] = []
    losses: list[Line] = []
    for name, history in histories.items():
        steps, loss = history.values("loss")
        if history.loss_is_bound:
            bounds.append(Line(name, steps, [-value for value in loss], dashed=True))
        else:
            losses.append(Line(name, steps, loss))
        bounds.append(Line(name, *history.values("validation_bound")))
    panels = [
        Panel(
            "bound, nats per sequence",
            tuple(bounds),
            note="Solid: on validation videos, by which the best weights are chosen. Dashed: on training batches, "
            "under the site weights of that step. Higher is better.",
        ),
        Panel("loss, nats per sequence", tuple(losses), note="What training minimised, which is no negative bound."),
        Panel(
            "gradient norm, nats per sequence",
            _lines(histories, "gradient_norm"),
            logarithmic=True,
            note="Of all parameters together, before clipping.",
        ),
        Panel("learning rate", _lines(histories, "learning_rate"), note="As the schedule gave it."),
        Panel(
            "seconds per step",
            tuple(Line(name, *history.seconds_per_step()) for name, history in histories.items()),
            note="Validation and checkpoints included.",
        ),
    ]
    drawn = (
        Panel(panel.title, tuple(line for line in panel.lines if line.steps), panel.logarithmic, panel.note)
        for panel in panels
    )
    return [panel for panel in drawn if panel.lines]


def _lines(histories: Mapping[str, History], name: str) -> tuple[Line, ...]:
    return tuple(Line(run, *history.values(name)) for run, history in histories.items())


def draw_training_curves(panels: Sequence[Panel], colours: Mapping[str, str], *, columns: int = 2) -> Figure:
    """Panels beside one another.

    Args:
        panels: from `training_panels`.
        colours: by name of the run.
        columns: panels in a row.

    Raises:
        ValueError: if there is no panel.
    """
    if not panels:
        raise ValueError("panels: expected at least one, got none; the run has recorded nothing yet")
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(4.1 * columns, 2.5 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        draw_panel(axes, panel, colours)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    return figure


def draw_panel(axes: Axes, panel: Panel, colours: Mapping[str, str]) -> None:
    """Draw one panel.

    Args:
        axes: where.
        panel: what.
        colours: by name of the run.
    """
    tidy(axes)
    for line in panel.lines:
        style: dict[str, Any] = {"linewidth": 1.6, "marker": "o" if len(line.steps) < FEW else None, "markersize": 3}
        if line.dashed:
            style = {"linewidth": 1.1, "linestyle": (0, (3, 2)), "alpha": 0.75}
        axes.plot(line.steps, line.values, color=colours[line.run], **style)
    axes.set_title(panel.title, fontsize=NORMAL, loc="left")
    axes.set_xlabel("step", fontsize=SMALL)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    values = [value for line in panel.lines for value in line.values]
    if panel.logarithmic and min(values) > 0 and max(values) > LEAST_RATIO * min(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=6))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif (limits := _limits(panel.lines)) is not None:
        axes.set_ylim(*limits)
        axes.yaxis.set_major_locator(MaxNLocator(5))


def _limits(lines: Sequence[Line]) -> tuple[float, float] | None:
    """Range of the values after the warm-up, with a margin; None = whatever matplotlib chooses."""
    late = np.array(list(_late_values(lines)))
    if len(late) < 2 or late.min() == late.max():
        return None
    margin = 0.06 * (late.max() - late.min())
    return float(late.min() - margin), float(late.max() + margin)


def _late_values(lines: Sequence[Line]) -> Iterator[float]:
    for line in lines:
        first = line.steps[-1] * WARM_UP
        yield from (value for step, value in zip(line.steps, line.values, strict=True) if step >= first)
