"""Pictures of a two-dimensional code space: paths of codes, and weights of the dynamics."""

from collections.abc import Mapping

import torch
from matplotlib.figure import Figure
from torch import Tensor

from inference.pictures.theme import LARGE, NORMAL, QUIET, SMALL, TRUTH, colours_of, new_figure, tidy


def draw_code_trajectories(
    trajectories: Mapping[str, Tensor],
    observed: Mapping[str, Tensor] | None = None,
    *,
    columns: int = 4,
    title: str = "",
) -> Figure:
    """Paths of codes, one panel per sequence: encoded from the true frames, generated, smoothed.

    As in figure 3c of Fraccaro et al. (2017). A square marks the start of a path; dots are frames that were seen, rings
    frames that were missing. The first path, the truth, is a broad line under the others.

    Args:
        trajectories: name of a path -> (sequences, time, 2), the truth first.
        observed: name of a path -> bool (sequences, time), the frames it was inferred from; None or no entry = all.
        columns: panels in a row.
        title: above all.

    Raises:
        ValueError: if a shape is wrong.
    """
    paths = _check_codes(trajectories)
    num_sequences, num_frames, _ = next(iter(paths.values())).shape
    seen = {name: torch.ones(num_sequences, num_frames, dtype=torch.bool) for name in paths}
    for name, mask in (observed or {}).items():
        if name not in paths:
            raise ValueError(f"observed: expected names among {', '.join(paths)}, got {name!r}")
        if mask.dtype != torch.bool or tuple(mask.shape) != (num_sequences, num_frames):
            raise ValueError(
                f"observed: expected bool (sequences, time) = {(num_sequences, num_frames)}, "
                f"got {mask.dtype} {tuple(mask.shape)} for {name!r}"
            )
        seen[name] = mask.cpu()
    columns = min(columns, num_sequences)
    rows = -(-num_sequences // columns)
    figure = new_figure(2.6 * columns, 2.55 * rows + 0.75)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    colours = colours_of(paths)
    truth = next(iter(paths))
    for sequence, axes in enumerate(panels.flat):
        if sequence >= num_sequences:
            axes.set_axis_off()
            continue
        tidy(axes)
        axes.set_title(f"sequence {sequence + 1}", fontsize=NORMAL, color=TRUTH)
        axes.set_aspect("equal", adjustable="box")
        for name, codes in paths.items():
            x, y = codes[sequence, :, 0], codes[sequence, :, 1]
            dots, main = seen[name][sequence], name == truth
            colour, order, alpha = colours[name], 2 if main else 3, 0.45 if main else 1.0
            axes.plot(
                x, y, color=colour, linewidth=3.5 if main else 1.4, alpha=0.6 * alpha if main else alpha, zorder=order
            )
            axes.plot(x[dots], y[dots], "o", color=colour, markersize=3.2, alpha=alpha, zorder=order)
            axes.plot(x[~dots], y[~dots], "o", color=colour, markerfacecolor="white", markersize=4.2, zorder=order)
            axes.plot(x[:1], y[:1], "s", color=colour, markersize=9 if main else 6, zorder=order, label=name)
    for axes in panels.flat[max(0, num_sequences - columns) : num_sequences]:
        axes.set_xlabel("first code", fontsize=SMALL)
        axes.tick_params(labelbottom=True)
    for axes in panels[:, 0]:
        axes.set_ylabel("second code", fontsize=SMALL)
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=NORMAL)
    if title:
        figure.suptitle(title, fontsize=LARGE, x=0.01, ha="left")
    return figure


def code_grid(extent: tuple[float, float, float, float], size: int = 81) -> Tensor:
    """Codes on a grid, (size, size, 2): the first code grows along the columns, the second along the rows.

    Args:
        extent: least and greatest first code, least and greatest second code. The reference code of Fraccaro et al.
            (2017) spans (-16, 16, -16, 16), which is how far codes reach.
        size: points along each side.
    """
    left, right, bottom, top = extent
    first, second = torch.linspace(left, right, size), torch.linspace(bottom, top, size)
    return torch.stack(torch.meshgrid(first, second, indexing="xy"), -1)


def draw_weight_maps(
    weights: Tensor, extent: tuple[float, float, float, float], codes: Tensor | None = None, *, title: str = ""
) -> Figure:
    """Weight of each of K dynamics as a function of the last code, one panel per dynamics.

    As in figures 4a to 4c of Fraccaro et al. (2017); the numbering of the dynamics is arbitrary.

    Args:
        weights: (rows, columns, component), each in [0, 1], at the codes of `code_grid(extent)`.
        extent: least and greatest first code, least and greatest second code.
        codes: (*batch, 2), drawn as dots to show where actual codes are.
        title: above all.

    Raises:
        ValueError: if a shape is wrong.
    """
    if weights.dim() != 3:
        raise ValueError(f"weights: expected (rows, columns, component), got {tuple(weights.shape)}")
    if codes is not None and codes.shape[-1] != 2:
        raise ValueError(f"codes: expected (*batch, 2), got {tuple(codes.shape)}")
    num_components = weights.shape[-1]
    columns = min(num_components, 4)
    rows = -(-num_components // columns)
    figure = new_figure(2.5 * columns + 0.7, 2.6 * rows + 0.3 * bool(title))
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    image = None
    for component, axes in enumerate(panels.flat):
        if component >= num_components:
            axes.set_axis_off()
            continue
        tidy(axes)
        axes.grid(False)
        values = weights[..., component].detach().cpu().numpy()
        image = axes.imshow(values, extent=extent, origin="lower", vmin=0, vmax=1, cmap="cividis", aspect="auto")
        if codes is not None:
            points = codes.detach().cpu().reshape(-1, 2)
            axes.plot(points[:, 0], points[:, 1], ".", color="white", markersize=1.5, alpha=0.5, markeredgewidth=0)
            axes.set_xlim(extent[:2])
            axes.set_ylim(extent[2:])
        axes.set_title(f"dynamics {component + 1}", fontsize=NORMAL)
    for axes in panels.flat[max(0, num_components - columns) : num_components]:
        axes.set_xlabel("first code", fontsize=SMALL)
        axes.tick_params(labelbottom=True)
    for axes in panels[:, 0]:
        axes.set_ylabel("second code", fontsize=SMALL)
    if image is not None:
        bar = figure.colorbar(image, ax=panels, shrink=0.9, aspect=25, pad=0.02)
        bar.set_label("weight", fontsize=SMALL)
        bar.ax.tick_params(labelsize=SMALL, color=QUIET)
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    if title:
        figure.suptitle(title, fontsize=LARGE, x=0.01, ha="left")
    return figure


def _check_codes(trajectories: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if not trajectories:
        raise ValueError("trajectories: expected at least one, got none")
    shape = next(iter(trajectories.values())).shape
    for name, codes in trajectories.items():
        if codes.dim() != 3 or codes.shape != shape or codes.shape[-1] != 2:
            raise ValueError(
                f"trajectories: expected one shape (sequences, time, 2), got {tuple(codes.shape)} for {name!r} "
                f"beside {tuple(shape)}; for more codes, choose two"
            )
    return {name: codes.detach().cpu() for name, codes in trajectories.items()}
