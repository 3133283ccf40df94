"""Tracked objects, as boxes and masks in the colour of their identity: as rows of frames, and as a film."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from PIL import Image, ImageDraw
from torch import Tensor

from inference.pictures.films import write_film
from inference.pictures.masks import MaskVideo, mask_videos
from inference.pictures.strips import GAP
from inference.pictures.theme import (
    IDENTITIES,
    LARGE,
    MISSING,
    NORMAL,
    QUIET,
    SMALL,
    as_rgb,
    check_channels,
    check_observed,
    check_videos,
    new_figure,
)
from pyro_models.components.scene import Scene

TRUE_BOX = "#E0E0E0"
DASHED = (0, (3, 2))  # points, of a figure
DASH = 4  # screen pixels, of a film

Box = tuple[float, float, float, float]


class _Objects(NamedTuple):
    """Drawn fields of a scene, leading dims (sequences, time) or (time,); identities are None for true objects."""

    presence: Tensor
    positions: Tensor
    box_sizes: Tensor
    identities: Tensor | None = None


def draw_tracks(
    frames: Tensor,
    scene: Scene | None = None,
    truth: Scene | None = None,
    observed: Tensor | None = None,
    reconstructions: Tensor | None = None,
    *,
    every: int = 1,
    title: str = "",
    names: Sequence[str] = (),
) -> Figure:
    """A row of frames for each video, with a box around each object that a model tracks.

    An identity has the same colour in all frames, videos and pictures; after ten, colours repeat. True boxes are
    dashed. Missing frames are outlined in orange. Masks of either scene get a separate row below the frames, see
    `mask_videos` for their colours; a scene with masks need not have boxes.

    Args:
        frames: (sequences, time, 1 or 3, height, width) in [0, 1].
        scene: presence, above 0.5 where there is an object; identities, of which -1 draws nothing; positions and box
            sizes, pixels; leading dims (sequences, time). Or masks, (sequences, time, slots, height, width), with or
            without all that. None for a model without objects.
        truth: presence, positions and box sizes of the true objects, or masks, or both, in the same layout.
        observed: bool (sequences, time), None = all seen.
        reconstructions: what the model expects, shaped as the frames: another row under each, with the same boxes.
        every: show every n-th frame.
        title: above all.
        names: of the videos; numbers unless given.

    Raises:
        ValueError: if a field is missing, a shape is wrong, `every` is below 1, or names are too few or too many.
    """
    if frames.dim() != 5:
        raise ValueError(f"frames: expected (sequences, time, channels, height, width), got {tuple(frames.shape)}")
    if reconstructions is not None and reconstructions.shape != frames.shape:
        raise ValueError(
            f"reconstructions: expected the shape of frames, {tuple(frames.shape)}, got {tuple(reconstructions.shape)}"
        )
    if every < 1:
        raise ValueError(f"every: expected at least 1, got {every}")
    check_channels("frames", frames)
    sequences, time, _, height, width = frames.shape
    objects = _check_scenes(scene, truth, (sequences, time))
    masks = mask_videos(scene, truth, (sequences, time), (height, width))
    if observed is not None and tuple(observed.shape) != (sequences, time):
        raise ValueError(f"observed: expected (sequences, time) = {(sequences, time)}, got {tuple(observed.shape)}")
    seen = [check_observed(None if observed is None else observed[index], time) for index in range(sequences)]
    labels = list(names) or [f"video {index + 1}" for index in range(sequences)]
    if len(labels) != sequences:
        raise ValueError(f"names: expected one for each of {sequences} videos, got {len(labels)}: {', '.join(labels)}")
    rows: list[tuple[str, int, Tensor, list[_Objects]]] = []
    for index in range(sequences):
        rows.append((labels[index], index, frames[index], objects))
        if reconstructions is not None:
            rows.append(("expected", index, reconstructions[index], objects))
        rows += [(mask.name, index, mask.video[index], []) for mask in masks]

    times, gap = range(0, time, every), GAP * width
    handles = _legend(objects, masks, [(index, moment) for index in range(sequences) for moment in times])
    across, down = width + gap, height + 2 * gap
    cell = min(1.0, 9.0 / len(times)) / width
    wide = 1.4 + cell * across * len(times)
    columns = int(wide / 1.2)
    tall = 0.7 + cell * down * len(rows) + 0.22 * math.ceil(len(handles) / columns) + 0.3 * bool(title)
    figure = new_figure(wide, tall)
    axes = figure.subplots()
    axes.set_xlim(-0.5 - gap, across * len(times) - 0.5)
    axes.set_ylim(down * len(rows) - 0.5 - gap, -0.5 - gap)
    axes.set_aspect("equal")
    for row, (name, index, video, boxed) in enumerate(rows):
        pictures = as_rgb(check_videos(name, {name: video})[name])
        for column, moment in enumerate(times):
            left, top = column * across, row * down
            extent = (left - 0.5, left + width - 0.5, top + height - 0.5, top - 0.5)
            axes.imshow(pictures[moment].numpy(), extent=extent, interpolation="nearest")
            colour, line = (QUIET, 0.5) if seen[index][moment] else (MISSING, 2.0)
            edge = Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor=colour, linewidth=line)
            axes.add_patch(edge)
            for (x, y, *size), colour, identity in _boxes(boxed, (index, moment)):
                box = Rectangle((left + x, top + y), *size, fill=False, edgecolor=colour, linewidth=1.4)
                if identity is None:
                    box.set(linestyle=DASHED, linewidth=0.7)
                axes.add_patch(box)
                box.set_clip_path(edge)
    axes.set_yticks([row * down + (height - 1) / 2 for row in range(len(rows))], [name for name, *_ in rows])
    axes.set_xticks(
        [column * across + (width - 1) / 2 for column in range(len(times))], [str(moment + 1) for moment in times]
    )
    axes.tick_params(length=0, labelsize=SMALL, pad=2)
    axes.tick_params(axis="y", labelsize=NORMAL)
    axes.set_xlabel("frame" if all(map(all, seen)) else "frame (outlined: missing, so imputed)", fontsize=SMALL)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=LARGE, loc="left")
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=SMALL, frameon=False)
    return figure


def animate_tracks(
    path: str | Path,
    frames: Tensor,
    scene: Scene | None = None,
    truth: Scene | None = None,
    observed: Tensor | None = None,
    reconstructions: Tensor | None = None,
    *,
    scale: int = 5,
    frames_per_second: float = 6.0,
) -> Path:
    """Write one video with the boxes of `draw_tracks` as a GIF, beside its reconstruction and masks.

    Args:
        path: output file; parent folders are created.
        frames: (time, 1 or 3, height, width) in [0, 1].
        scene: as in `draw_tracks`, with leading dims (time,).
        truth: as in `draw_tracks`, with leading dims (time,).
        observed: bool (time,), None = all seen.
        reconstructions: shaped as the frames.
        scale: screen pixels per pixel.
        frames_per_second: speed; GIF players take at most 50.

    Returns:
        The path.

    Raises:
        ValueError: if a field is missing, a shape is wrong, the scale is below 1 or the speed is not in (0, 50].
    """
    if scale < 1:
        raise ValueError(f"scale: expected at least 1, got {scale}")
    videos = {"frames": frames} if reconstructions is None else {"frames": frames, "expected": reconstructions}
    checked = check_videos("frames, reconstructions", videos)
    objects = _check_scenes(scene, truth, (len(frames),))
    masks = mask_videos(scene, truth, (len(frames),), (frames.shape[-2], frames.shape[-1]))
    drawn = {name: _with_boxes(video, objects, scale) for name, video in checked.items()}
    drawn |= {mask.name: _with_boxes(mask.video, [], scale) for mask in masks}
    return write_film(path, drawn, observed, imputed=MISSING, scale=1, frames_per_second=frames_per_second)


def _legend(objects: list[_Objects], masks: list[MaskVideo], frames: list[tuple[int, int]]) -> list[Line2D | Patch]:
    """Legend of the colours of boxes and masks in these frames."""
    colours = {identity: colour for frame in frames for _, colour, identity in _boxes(objects, frame)}
    dashed = [Line2D([], [], color=QUIET, linewidth=1, linestyle=DASHED, label="true box")] if None in colours else []
    named = sorted(identity for identity in colours if identity is not None)
    lines = {f"identity {name}": colours[name] for name in named}
    painted = {label: colour for mask in masks for label, colour in mask.labels.items() if label not in lines}
    return [
        *(Line2D([], [], color=colour, linewidth=3, label=label) for label, colour in lines.items()),
        *dashed,
        *(Patch(color=colour, label=label) for label, colour in painted.items()),
    ]


def _with_boxes(video: Tensor, objects: list[_Objects], scale: int) -> Tensor:
    """The video, enlarged, with boxes drawn into it: (time, 3, scale * height, scale * width)."""
    pages = []
    for time, picture in enumerate((as_rgb(video) * 255).round().to(torch.uint8)):
        height, width, _ = picture.shape
        page = Image.fromarray(picture.numpy()).resize((width * scale, height * scale), Image.Resampling.NEAREST)
        pen = ImageDraw.Draw(page)
        for (x, y, wide, tall), colour, identity in _boxes(objects, (time,)):
            # a pixel's centre is at an integer, its left edge half a pixel before
            left, top = round((x + 0.5) * scale), round((y + 0.5) * scale)
            right = max(left, round((x + wide + 0.5) * scale) - 1)
            bottom = max(top, round((y + tall + 0.5) * scale) - 1)
            if identity is None:
                _dash(pen, (left, top, right, bottom), colour)
            else:
                pen.rectangle((left, top, right, bottom), outline=colour, width=max(1, round(0.4 * scale)))
        pages.append(torch.from_numpy(np.array(page)))
    return torch.stack(pages).permute(0, 3, 1, 2).float() / 255


def _dash(pen: ImageDraw.ImageDraw, box: tuple[int, int, int, int], colour: str) -> None:
    left, top, right, bottom = box
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    for (x, y), (to_x, to_y) in pairwise(corners):
        length = max(abs(to_x - x), abs(to_y - y), 1)
        along = ((to_x - x) / length, (to_y - y) / length)
        for start in range(0, length, 2 * DASH):
            stop = min(start + DASH - 1, length)
            pen.line([(x + along[0] * at, y + along[1] * at) for at in (start, stop)], fill=colour)


def _boxes(objects: list[_Objects], frame: tuple[int, ...]) -> Iterator[tuple[Box, str, int | None]]:
    """Left, top, width and height of each box of a frame, its colour, and its identity, None of a true one."""
    for presence, positions, box_sizes, identities in objects:
        for slot in (presence[frame] > 0.5).nonzero()[:, 0].tolist():
            (x, y), (wide, tall) = positions[frame][slot].tolist(), box_sizes[frame][slot].tolist()
            box = (x - wide / 2, y - tall / 2, wide, tall)
            if identities is None:
                yield box, TRUE_BOX, None
            elif (identity := int(identities[frame][slot])) >= 0:
                yield box, IDENTITIES[identity % len(IDENTITIES)], identity


def _check_scenes(scene: Scene | None, truth: Scene | None, leading: tuple[int, ...]) -> list[_Objects]:
    """Objects of both scenes, true ones last, which draws their boxes on top."""
    objects = []
    fields = {"presence": (), "positions": (2,), "box_sizes": (2,)}
    for name, source, wanted in (("scene", scene, fields | {"identities": ()}), ("truth", truth, fields)):
        if source is None:
            continue
        if source.masks is not None and source.positions is None and source.box_sizes is None:
            continue  # masks alone
        values = {field: getattr(source, field) for field in wanted}
        if any(value is None for value in values.values()):
            raise ValueError(f"{name}: expected a scene with {', '.join(wanted)}, one of them is None")
        slots = values["presence"].shape[-1:]
        for field, value in values.items():
            if value.shape != (*leading, *slots, *wanted[field]):
                raise ValueError(
                    f"{name}.{field}: expected {(*leading, *slots, *wanted[field])}, one for each frame and slot, "
                    f"got {tuple(value.shape)}"
                )
        objects.append(_Objects(**{field: value.detach().cpu() for field, value in values.items()}))
    return objects
