"""Picture of how a training sequence is cut out of a clip: frame, foreground, window."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from inference.pictures.theme import LARGE, MISSING, NORMAL, QUIET, SMALL, new_figure, show_frame
from videos.batch import VideoBatch
from videos.clips import frames_at
from videos.surveillance import Surveillance

_BOX, _WINDOW = "#56B4E9", MISSING
_ROWS = ("frame", "foreground", "resized", "window")


def draw_clip(source: Surveillance, videos: VideoBatch, index: int = 0, *, title: str = "") -> Figure:
    """One sequence from a static-camera clip, step by step, with a column for each of its frames.

    From top to bottom: the clip's frame with its number; the connected components of moving pixels; their brightness,
    with a box around each component and the window's outline; the view through the window, with the counted objects and
    their number.

    Args:
        source: source of the videos; gives the clip and its foreground.
        videos: from `source.simulate`.
        index: index of the video to draw.
        title: above all.

    Raises:
        ValueError: if the videos are not from a `Surveillance`, or there is no such video.
        FileNotFoundError: if the clip is gone.
    """
    state, presence, positions, box_sizes = videos.state, videos.presence, videos.positions, videos.box_sizes
    if state is None or state.shape[-1] != 4 or presence is None or positions is None or box_sizes is None:
        raise ValueError(
            "videos: expected state (clip, frame, left, top), presence, positions and box sizes, got a batch without; "
            "take them from source.simulate"
        )
    if not 0 <= index < videos.num_sequences:
        raise ValueError(f"index: expected 0 to {videos.num_sequences - 1}, got {index}")
    place = state[index].long().tolist()
    clip = place[0][0]
    numbers = [number for _, number, _, _ in place]
    foreground = source.foregrounds[clip]
    times = torch.searchsorted(foreground.numbers, torch.tensor(numbers)).tolist()
    size, columns = videos.frames.shape[-1], len(times)
    height, width = foreground.light.shape[1:]
    heights = [foreground.clip_size[1] / foreground.clip_size[0], height / width, height / width, 1.0]
    figure = new_figure(1.9 * columns + 0.5, 1.9 * sum(heights) + 0.75 + 0.3 * bool(title))
    panels = figure.subplots(len(_ROWS), columns, squeeze=False, height_ratios=heights)
    for axes in panels.flat:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_color(QUIET)
    for axes, name in zip(panels[:, 0], _ROWS, strict=True):
        axes.set_ylabel(name, fontsize=NORMAL)
    for column, (original, time) in enumerate(zip(frames_at(source.clip(clip), numbers), times, strict=True)):
        frame, mask, resized, window = panels[:, column]
        frame.imshow(original.numpy())
        frame.set_title(str(numbers[column]), fontsize=SMALL)
        components = foreground.components[time]
        mask.imshow((components > 0).numpy(), cmap="gray", vmin=0, vmax=1)
        resized.imshow(foreground.light[time].numpy(), cmap="gray", vmin=0, vmax=255)
        for number in range(1, int(components.max()) + 1):
            rows, places = (components == number).nonzero().unbind(-1)
            left, top = float(places.min()) - 0.5, float(rows.min()) - 0.5
            _outline(resized, left, top, float(places.max()) + 0.5 - left, float(rows.max()) + 0.5 - top, _BOX)
        _, _, left, top = place[column]
        _outline(resized, left - 0.5, top - 0.5, float(size), float(size), _WINDOW)
        show_frame(window, videos.frames[index, column])
        present = presence[index, column].nonzero()[:, 0].tolist()
        for slot in present:
            (x, y), (wide, tall) = positions[index, column, slot].tolist(), box_sizes[index, column, slot].tolist()
            _outline(window, x - wide / 2, y - tall / 2, wide, tall, _BOX)
        window.set_title(str(len(present)), fontsize=SMALL)
    if title:
        figure.suptitle(title, fontsize=LARGE, x=0.01, ha="left")
    return figure


def _outline(axes: Axes, left: float, top: float, width: float, height: float, colour: str) -> None:
    axes.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=colour, linewidth=1.2))
