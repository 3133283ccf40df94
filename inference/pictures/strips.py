"""A video as one image: frames in a strip, or all frames overlaid with time as shade."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from inference.pictures.theme import (
    LARGE,
    MISSING,
    NORMAL,
    QUIET,
    SMALL,
    as_rgb,
    check_observed,
    check_outlines,
    check_videos,
    colours_of,
    light_of,
    new_figure,
)

GAP = 0.1  # between frames, as a share of their width
LETTER = 0.085  # width of a letter of a name, inches


def draw_strips(
    videos: Mapping[str, Tensor],
    observed: Tensor | None = None,
    *,
    every: int = 1,
    outlines: Mapping[str, str] | None = None,
    imputed: str | None = None,
    columns: Sequence[str] = (),
    across: str = "frame",
    title: str = "",
) -> Figure:
    """Strips of frames, one below the other: the truth, and reconstructions or imputations.

    Frames that were missing are outlined in orange in the first strip; in the others, those are the imputed ones.

    Args:
        videos: name of a strip -> (time, 1 or 3, height, width) in [0, 1], the truth first; grey ones and coloured
            ones may be mixed.
        observed: bool (time,), None = all seen.
        every: show every n-th frame.
        outlines: name of a strip -> colour of the outline of all its frames, seen or not.
        imputed: colour of the outlines of missing frames in all but the first strip; None = by name.
        columns: names of the frames; numbers unless given.
        across: what they are, below all.
        title: above all.

    Raises:
        ValueError: if shapes differ, `every` is below 1, columns are too few or too many, or an outline has no strip.
    """
    checked = check_videos("videos", videos)
    outlines = check_outlines(outlines, checked)
    num_frames, _, height, width = next(iter(checked.values())).shape
    seen = check_observed(observed, num_frames)
    if every < 1:
        raise ValueError(f"every: expected at least 1, got {every}")
    numbers = columns or [str(time + 1) for time in range(num_frames)]
    if len(numbers) != num_frames:
        raise ValueError(f"columns: expected one for each of {num_frames} frames, got {len(columns)}")
    shown = range(0, num_frames, every)
    names, colours = list(checked), colours_of(checked)
    cell = min(0.62, 9.0 / len(shown))
    aspect = height / width
    figure = new_figure(
        max(1.3, LETTER * max(map(len, names))) + cell * (1 + GAP) * len(shown),
        0.55 + cell * aspect * 1.22 * len(names) + 0.3 * bool(title),
    )
    axes = figure.subplots()
    axes.set_xlim(-GAP, (1 + GAP) * len(shown))
    axes.set_ylim((aspect + 2 * GAP) * len(names) - GAP, -GAP)
    axes.set_aspect("equal", anchor="W")  # the layout then makes room for the names
    for row, name in enumerate(names):
        top = row * (aspect + 2 * GAP)
        for column, time in enumerate(shown):
            left = column * (1 + GAP)
            axes.imshow(
                as_rgb(checked[name])[time].numpy(), extent=(left, left + 1, top + aspect, top), interpolation="nearest"
            )
            edge = MISSING if row == 0 else imputed or colours[name]
            colour, line = (QUIET, 0.5) if seen[time] else (edge, 2.0)
            colour, line = (outlines[name], 2.0) if name in outlines else (colour, line)
            outline = Rectangle((left, top), 1, aspect, fill=False, edgecolor=colour, linewidth=line, joinstyle="miter")
            axes.add_patch(outline)
    axes.set_yticks([row * (aspect + 2 * GAP) + aspect / 2 for row in range(len(names))], names, fontsize=NORMAL)
    axes.set_xticks([column * (1 + GAP) + 0.5 for column in range(len(shown))], [numbers[time] for time in shown])
    axes.tick_params(length=0, labelsize=SMALL, pad=2)
    axes.tick_params(axis="y", labelsize=NORMAL)
    axes.set_xlabel(across if all(seen) else f"{across} (outlined: missing, so imputed)", fontsize=SMALL)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=LARGE, loc="left")
    return figure


def draw_shaded_videos(videos: Mapping[str, Tensor], *, columns: int = 4, title: str = "") -> Figure:
    """Each video as one panel, with all its frames overlaid, early frames light and late frames dark.

    As in figures 4d and 5 of Fraccaro et al. (2017). Whatever is in every frame (walls) is grey. Colour means time
    here; of a colour video only the difference of each frame from the median of all frames is shown, in the channel
    where it is largest.

    Args:
        videos: name of a panel -> (time, 1 or 3, height, width) in [0, 1].
        columns: panels in a row.
        title: above all.

    Raises:
        ValueError: if shapes differ.
    """
    checked = check_videos("videos", videos)
    num_frames = next(iter(checked.values())).shape[0]
    columns = min(columns, len(checked))
    rows = -(-len(checked) // columns)
    figure = new_figure(2.1 * columns + 0.8, 2.3 * rows + 0.3 * bool(title))
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, (name, video) in zip(panels.flat, checked.items(), strict=False):
        axes.imshow(shade(video).numpy(), interpolation="nearest")
        axes.set_axis_on()
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_color(QUIET)
        axes.set_title(name, fontsize=NORMAL)
    bar = figure.colorbar(
        ScalarMappable(Normalize(1, num_frames), _shades()), ax=panels, label="frame", shrink=0.8, aspect=25, pad=0.02
    )
    bar.ax.tick_params(labelsize=SMALL)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    if title:
        figure.suptitle(title, fontsize=LARGE, x=0.01, ha="left")
    return figure


def shade(video: Tensor) -> Tensor:
    """A video (time, 1 or 3, height, width) as one image (height, width, 3): later frames lie over earlier ones."""
    coloured = video.shape[1] == 3
    # In grey things are brighter than what stays. In colour they may be darker in one channel and brighter in another.
    still = video.median(0).values if coloured else video.amin(0)
    image = torch.ones(*still.shape[1:], 3)
    grey, ground = torch.full_like(image, 0.6), light_of(still)[..., None]
    if coloured:  # under what moves, which a bright background would hide
        image = torch.lerp(image, grey, ground)
    shades = torch.tensor(_shades()(torch.linspace(0, 1, len(video)).numpy())[:, :3], dtype=image.dtype)
    for moving, colour in zip(light_of((video - still).abs()), shades, strict=True):
        image = torch.lerp(image, colour.expand_as(image), moving[..., None])
    return image if coloured else torch.lerp(image, grey, ground)


def _shades() -> Colormap:
    """From a light to a dark end; the palest part of the map would vanish on white."""
    return ListedColormap(colormaps["viridis_r"](torch.linspace(0.05, 1, 256).numpy()))
