"""Objects that a model found, as boxes on frames."""

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from inference.pictures.theme import MISSING, QUIET, SMALL, new_figure
from pyro_models.components.scene import Scene

_SLOTS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#F0E442", "#0072B2")


def draw_scenes(
    frames: Float[Tensor, "scenes height width"],
    reconstructions: Float[Tensor, "scenes height width"],
    scene: Scene,
    truth: Tensor | None = None,
    *,
    columns: int = 8,
) -> Figure:
    """Frames above what a model makes of them, with a box around each object that it found.

    Boxes have the colour of their slot. A title gives the number of objects found, and the true one if it differs.

    Args:
        frames: in [0, 1].
        reconstructions: what the model expects.
        scene: presence, positions and box sizes; leading dims (scenes,).
        truth: (scenes,) true number of objects, or None.
        columns: scenes in a row.

    Raises:
        ValueError: if the scene lacks presence, positions or box sizes.
    """
    if scene.presence is None or scene.positions is None or scene.box_sizes is None:
        raise ValueError("scene: expected presence, positions and box sizes, one of them is None")
    rows = -(-len(frames) // columns)
    figure = new_figure(1.15 * columns, 2.55 * rows)
    panels = figure.subplots(2 * rows, columns, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for index, (frame, reconstruction) in enumerate(zip(frames, reconstructions, strict=True)):
        row, column = 2 * (index // columns), index % columns
        for axes, picture in ((panels[row, column], frame), (panels[row + 1, column], reconstruction)):
            axes.set_axis_on()
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_color(QUIET)
            axes.imshow(picture.cpu().numpy(), cmap="gray", vmin=0, vmax=1)
            for slot in torch.nonzero(scene.presence[index] > 0.5)[:, 0].tolist():
                (x, y), (width, height) = scene.positions[index, slot].tolist(), scene.box_sizes[index, slot].tolist()
                colour = _SLOTS[slot % len(_SLOTS)]
                corner = (x - width / 2, y - height / 2)
                axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=colour, linewidth=1.2))
        found = int((scene.presence[index] > 0.5).sum())
        wrong = truth is not None and int(truth[index]) != found
        title = f"{found}, not {int(truth[index])}" if truth is not None and wrong else str(found)
        panels[row, column].set_title(title, fontsize=SMALL, color=MISSING if wrong else "black")
    return figure
