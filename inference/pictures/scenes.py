"""Objects that a model found, as boxes on frames and as masks."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from inference.pictures.masks import UNMATCHED, match_masks, numbers_of, paint_masks
from inference.pictures.theme import MISSING, QUIET, SMALL, check_channels, new_figure, show_frame
from pyro_models.components.scene import Scene

_SLOTS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#F0E442", "#0072B2")


def draw_scenes(
    frames: Tensor,
    reconstructions: Tensor | None,
    scene: Scene,
    truth: Tensor | None = None,
    true_masks: Tensor | None = None,
    *,
    columns: int = 8,
) -> Figure:
    """Frames above their reconstructions, with a box around each object found, and masks below.

    Boxes and masks have the colour of their slot, true masks that of the mask matched to them, see `mask_videos`.
    A title gives the number of objects found, and the true one if it differs.

    Args:
        frames: (scenes, height, width), or (scenes, 1 or 3, height, width), in [0, 1].
        reconstructions: expected frames, shaped as the frames; None leaves their row out.
        scene: presence, positions and box sizes, or masks, or all of them; leading dims (scenes,).
        truth: (scenes,) true number of objects, or None.
        true_masks: (scenes, objects, height, width), another row; as in `VideoBatch.masks`.
        columns: scenes in a row.

    Raises:
        ValueError: if the scene lacks presence, positions or box sizes and has no masks, lacks presence where a number
            of objects is given, or a shape is wrong.
    """
    pictures = {"frame": _with_channels("frames", frames)}
    frames = pictures["frame"]
    if reconstructions is not None:
        pictures["model"] = _with_channels("reconstructions", reconstructions)
        if (shape := pictures["model"].shape) != frames.shape:
            raise ValueError(
                f"reconstructions: expected the shape of frames, {tuple(frames.shape)}, got {tuple(shape)}"
            )
    boxes = None
    if scene.masks is None or scene.positions is not None or scene.box_sizes is not None:
        if scene.presence is None or scene.positions is None or scene.box_sizes is None:
            raise ValueError("scene: expected presence, positions and box sizes, one of them is None")
        boxes = (scene.presence, scene.positions, scene.box_sizes)
    if truth is not None and scene.presence is None:
        raise ValueError(
            "truth: expected no number of objects for a scene without presence, which counts none; leave it out"
        )
    size = (frames.shape[-2], frames.shape[-1])
    numbers = None
    if scene.masks is not None:
        numbers = numbers_of("scene.masks", scene.masks, (len(frames),), size, scene.presence)
        pictures["masks"] = paint_masks(scene.masks, numbers, _SLOTS)
    if true_masks is not None:
        colours = numbers_of("true_masks", true_masks, (len(frames),), size) % len(_SLOTS)
        if scene.masks is not None and numbers is not None:  # each scene is a video of one frame
            pairs = (value.unsqueeze(1) for value in (true_masks, colours, scene.masks, numbers))
            colours = match_masks(*pairs, num_colours=len(_SLOTS)).squeeze(1)
        pictures["true masks"] = paint_masks(true_masks, colours, (*_SLOTS, UNMATCHED))
    rows, deep = -(-len(frames) // columns), len(pictures)
    figure = new_figure(1.15 * columns, 1.275 * deep * rows)
    panels = figure.subplots(deep * rows, columns, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for index in range(len(frames)):
        row, column = deep * (index // columns), index % columns
        for line, (name, pages) in enumerate(pictures.items()):
            axes = panels[row + line, column]
            axes.set_axis_on()
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_color(QUIET)
            show_frame(axes, pages[index])
            if deep > 1 and column == 0:
                axes.set_ylabel(name, fontsize=SMALL)
            if boxes is not None and name in ("frame", "model"):
                _draw_boxes(axes, *(values[index] for values in boxes))
        if scene.presence is None:
            continue
        found = int((scene.presence[index] > 0.5).sum())
        wrong = truth is not None and int(truth[index]) != found
        title = f"{found}, not {int(truth[index])}" if truth is not None and wrong else str(found)
        panels[row, column].set_title(title, fontsize=SMALL, color=MISSING if wrong else "black")
    return figure


def _draw_boxes(axes: Axes, presence: Tensor, positions: Tensor, box_sizes: Tensor) -> None:
    """A box around each object of one scene."""
    for slot in torch.nonzero(presence > 0.5)[:, 0].tolist():
        (x, y), (width, height) = positions[slot].tolist(), box_sizes[slot].tolist()
        colour = _SLOTS[slot % len(_SLOTS)]
        corner = (x - width / 2, y - height / 2)
        axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=colour, linewidth=1.2))


def _with_channels(name: str, frames: Tensor) -> Tensor:
    """(scenes, 1 or 3, height, width)."""
    if frames.dim() not in (3, 4):
        raise ValueError(
            f"{name}: expected (scenes, height, width) or (scenes, channels, height, width), "
            f"got {tuple(frames.shape)}; choose one frame of each video"
        )
    frames = frames.unsqueeze(1) if frames.dim() == 3 else frames
    check_channels(name, frames)
    return frames
