"""Pictures of several moving objects: their paths in the image plane, and predicted frames over true ones."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from inference.pictures.theme import (
    LARGE,
    NORMAL,
    QUIET,
    SMALL,
    TRUTH,
    check_channels,
    colours_of,
    light_of,
    new_figure,
)

LEAST_LIGHT = 0.12  # of the true frames behind the paths


def draw_trajectories(
    frames: Tensor,
    paths: Mapping[str, Tensor],
    presence: Tensor,
    observed: Tensor | None = None,
    *,
    columns: int = 4,
    title: str = "",
) -> Figure:
    """Paths of objects over the traces that they leave in the frames, one panel per sequence.

    As in figures 3, 5, 8 and 9 of Chiappa and Paquet (2019). The first paths, the truth, are broad; the others have a
    dot in each frame, a ring where the frame was missing, and a square at the start.

    Args:
        frames: (sequences, time, 1 or 3, height, width) in [0, 1]; only brightness is shown, since colours mark paths.
        paths: name -> positions (sequences, time, objects, 2), pixels, the truth first.
        presence: bool (sequences, objects).
        observed: bool (sequences, time), None = all seen.
        columns: panels in a row.
        title: above all.

    Raises:
        ValueError: if a shape is wrong.
    """
    if frames.dim() != 5:
        raise ValueError(f"frames: expected (sequences, time, channels, height, width), got {tuple(frames.shape)}")
    check_channels("frames", frames)
    sequences, time, _, height, width = frames.shape
    objects = presence.shape[-1]
    for name, path in paths.items():
        if tuple(path.shape) != (sequences, time, objects, 2):
            raise ValueError(
                f"paths: expected (sequences, time, objects, 2) = {(sequences, time, objects, 2)}, "
                f"got {tuple(path.shape)} for {name!r}"
            )
    seen = torch.ones(sequences, time, dtype=torch.bool) if observed is None else observed.cpu()
    columns = min(columns, sequences)
    rows = -(-sequences // columns)
    figure = new_figure(2.4 * columns, 2.4 * rows + 0.75)
    panels = figure.subplots(rows, columns, squeeze=False)
    colours = colours_of(paths)
    truth = next(iter(paths))
    for sequence, axes in enumerate(panels.flat):
        axes.set_xticks([])
        axes.set_yticks([])
        if sequence >= sequences:
            axes.set_axis_off()
            continue
        trace = light_of(frames[sequence]).amax(0).cpu()
        axes.imshow((1 - LEAST_LIGHT * trace).numpy(), cmap="gray", vmin=0, vmax=1)
        axes.set_xlim(-0.5, width - 0.5)
        axes.set_ylim(height - 0.5, -0.5)
        axes.spines[:].set_color(QUIET)
        dots = seen[sequence].numpy()
        for name, positions in paths.items():
            for index in presence[sequence].nonzero()[:, 0].tolist():
                x, y = positions[sequence, :, index].detach().cpu().numpy().T
                colour = colours[name]
                if name == truth:
                    axes.plot(x, y, color=colour, linewidth=3, alpha=0.25)
                    continue
                axes.plot(x, y, color=colour, linewidth=0.8)
                axes.plot(x[dots], y[dots], "o", color=colour, markersize=2.4)
                axes.plot(x[~dots], y[~dots], "o", color=colour, markerfacecolor="white", markersize=3)
                axes.plot(x[:1], y[:1], "s", color=colour, markersize=5)
    handles = [_handle(name, colours[name], name == truth) for name in paths]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(paths), fontsize=SMALL, frameon=False)
    if title:
        figure.suptitle(title, fontsize=LARGE, color=TRUTH)
    return figure


def draw_overlays(truth: Tensor, predicted: Mapping[str, Tensor], observed: Tensor, *, every: int = 3) -> Figure:
    """Predicted frames in red over true ones in blue-green, white where they agree; one row per prediction.

    Colour frames are compared by brightness, the largest channel: the picture is about positions.

    Args:
        truth: (time, 1 or 3, height, width) in [0, 1].
        predicted: name -> frames of the same shape, in [0, 1].
        observed: bool (time,): frames that were seen are outlined in grey, the others in the colour of the method.
        every: which frames are shown.

    Raises:
        ValueError: if a shape is wrong.
    """
    if truth.dim() != 4:
        raise ValueError(f"truth: expected (time, channels, height, width), got {tuple(truth.shape)}")
    check_channels("truth", truth)
    for name, frames in predicted.items():
        if frames.shape != truth.shape:
            raise ValueError(f"predicted: expected {tuple(truth.shape)}, got {tuple(frames.shape)} for {name!r}")
    times: Sequence[int] = range(0, truth.shape[0], every)
    figure = new_figure(0.95 * len(times) + 1.2, 1.05 * len(predicted) + 0.4)
    panels = figure.subplots(len(predicted), len(times), squeeze=False)
    colours = colours_of(predicted)
    for row, (name, frames) in enumerate(predicted.items()):
        for column, time in enumerate(times):
            axes = panels[row][column]
            real, ours = light_of(truth[time]).cpu(), light_of(frames[time]).detach().cpu()
            axes.imshow(torch.stack([ours, real, real], -1).clamp(0, 1).numpy())
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_color(QUIET if observed[time] else colours[name])
            axes.spines[:].set_linewidth(1 if observed[time] else 2)
            if row == 0:
                axes.set_title(str(time + 1), fontsize=SMALL, color=TRUTH)
        panels[row][0].set_ylabel(name, fontsize=NORMAL, color=colours[name])
    return figure


def _handle(name: str, colour: str, broad: bool) -> Line2D:
    if broad:
        return Line2D([], [], color=colour, label=name, linewidth=3, alpha=0.25)
    return Line2D([], [], color=colour, label=name, linewidth=0.8, marker="o", markersize=3)
