"""Mixture weights of the dynamics, at the codes that they are computed from."""

from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from inference.pictures.theme import NORMAL, QUIET, SMALL, new_figure, tidy


def draw_weights_at_codes(weights: Float[Tensor, "*batch component"], codes: Float[Tensor, "*batch 2"]) -> Figure:
    """Weight of each of K dynamics at step t as a colour at the code of step t - 1, one panel per dynamics.

    For mixtures that depend on more than one code, whose weights are not a function on the plane; `draw_weight_maps` is
    for those that depend on one.

    Args:
        weights: alpha_t, each in [0, 1].
        codes: a_{t-1}.

    Raises:
        ValueError: if codes are not planar.
    """
    if codes.shape[-1] != 2:
        raise ValueError(f"codes: expected (*batch, 2), got {tuple(codes.shape)}")
    count = weights.shape[-1]
    columns = min(count, 4)
    rows = -(-count // columns)
    figure = new_figure(2.5 * columns + 0.7, 2.6 * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    points = codes.detach().cpu().reshape(-1, 2)
    values = weights.detach().cpu().reshape(-1, count)
    dots = None
    for component, axes in enumerate(panels.flat):
        if component >= count:
            axes.set_axis_off()
            continue
        tidy(axes)
        dots = axes.scatter(
            points[:, 0], points[:, 1], c=values[:, component], s=2, vmin=0, vmax=1, cmap="cividis", linewidths=0
        )
        axes.set_title(f"dynamics {component + 1}", fontsize=NORMAL)
        axes.set_xlabel("first code", fontsize=SMALL)
    for axes in panels[:, 0]:
        axes.set_ylabel("second code", fontsize=SMALL)
    if dots is not None:
        bar = figure.colorbar(dots, ax=panels, shrink=0.9, aspect=25, pad=0.02)
        bar.set_label("weight of the next step", fontsize=SMALL)
        bar.ax.tick_params(labelsize=SMALL, color=QUIET)
    return figure
