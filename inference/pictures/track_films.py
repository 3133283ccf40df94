"""Films of a clip with the boxes of its tracks, drawn frame by frame, and pictures of their paths."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from inference.pictures.theme import IDENTITIES, LARGE, SMALL, TRUTH, new_figure
from videos.clips import Clip, frame_rate, opencv, read_frames
from videos.tracks import Tracks

_CODECS = {".mp4": "mp4v", ".avi": "MJPG"}
_DEFAULT_RATE = 10.0  # frames per second of frames in memory
_GIF_WIDTH, _GIF_FRAMES = 384, 200  # largest


def check_film(path: str | Path) -> Path:
    """The path, if a film can be written there.

    Raises:
        ValueError: if it ends in anything but .mp4, .avi or .gif.
    """
    path = Path(path)
    kinds = (*_CODECS, ".gif")
    if path.suffix not in kinds:
        raise ValueError(f"film: expected a file ending in {', '.join(kinds)}, got {path}")
    return path


def film_tracks(path: str | Path, clip: Clip, tracks: Tracks) -> Path:
    """Write the clip with a box and a number for each track, in a colour of its own; after ten, colours repeat.

    One frame is in memory at a time, except for a GIF, which is at most 384 pixels wide and shows every n-th frame,
    about 200.

    Args:
        path: output file: .mp4 and .avi are encoded by OpenCV, .gif needs no codec; parent folders are created.
        clip: a video file, or frames in memory, uint8 (time, height, width, 3), red-green-blue.
        tracks: boxes with identities.

    Returns:
        The path.

    Raises:
        FileNotFoundError: if there is no such clip.
        ValueError: if the clip cannot be read, the file has another ending, or OpenCV lacks the encoder.
        ImportError: without OpenCV, which the extra `video` installs, unless frames in memory become a GIF.
    """
    path = check_film(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    rate = frame_rate(clip) or _DEFAULT_RATE
    if path.suffix == ".gif":
        _write_gif(
            path, _drawn_frames(clip, tracks, _GIF_WIDTH), rate, last=int(tracks.frames.max()) if len(tracks) else 0
        )
        return path
    cv2 = opencv()
    writer = None
    for page in _drawn_frames(clip, tracks):
        if writer is None:
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*_CODECS[path.suffix]), rate, page.size)
            if not writer.isOpened():
                raise ValueError(f"film: expected a kind of film that this OpenCV can encode, got {path}; write a .gif")
        writer.write(np.asarray(page)[..., ::-1])
    assert writer is not None  # a clip has at least one frame
    writer.release()
    return path


def draw_paths(background: UInt8[Tensor, "height width 3"], tracks: Tracks, *, title: str = "") -> Figure:
    """The paths of all tracks over the scene: where the middle of each box's lower edge went.

    A number stands where a track ends. Colours are those of `film_tracks`.

    Args:
        background: the scene, red-green-blue, see `videos.clips.background_of`.
        tracks: boxes with identities.
        title: above all.
    """
    height, width, _ = background.shape
    figure = new_figure(8.0, 8.0 * height / width + 0.3 * bool(title))
    axes = figure.subplots()
    pale = 255 - (255 - background.float()) * 0.6  # so that paths stand out
    axes.imshow(pale.round().byte().numpy(), extent=(0, width, height, 0))
    for identity in tracks.identities.unique().tolist():
        left, top, wide, tall = tracks.boxes[tracks.identities == identity].unbind(-1)
        x, y, colour = (left + wide / 2).tolist(), (top + tall).tolist(), _colour(identity)
        axes.plot(x, y, color=TRUTH, linewidth=2.6, solid_capstyle="round")
        axes.plot(x, y, color=colour, linewidth=1.6, solid_capstyle="round")
        axes.plot(x[-1], y[-1], marker="o", markersize=4, color=colour, markeredgecolor=TRUTH)
        axes.annotate(
            str(identity),
            (x[-1], y[-1]),
            xytext=(3, 3),
            textcoords="offset points",
            fontsize=SMALL,
            bbox={"boxstyle": "round,pad=0.15", "facecolor": colour, "edgecolor": "none", "alpha": 0.85},
        )
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    axes.set_title(title, fontsize=LARGE, loc="left")
    return figure


def _drawn_frames(clip: Clip, tracks: Tracks, largest: int | None = None) -> Iterator[Image.Image]:
    """Frames with boxes, first reduced to the largest width."""
    rows = iter(zip(tracks.frames.tolist(), tracks.identities.tolist(), tracks.boxes.tolist(), strict=True))
    coming = next(rows, None)
    for number, frame in enumerate(read_frames(clip)):
        page = Image.fromarray(frame)
        scale = 1.0 if largest is None else min(1.0, largest / page.width)
        if scale < 1:
            page = page.resize((round(page.width * scale), round(page.height * scale)), Image.Resampling.LANCZOS)
        pen, font = ImageDraw.Draw(page), ImageFont.load_default(max(10, page.width // 55))
        while coming is not None and coming[0] == number:
            _, identity, box = coming
            left, top, width, height = (scale * edge for edge in box)
            colour, label = _colour(identity), str(identity)
            pen.rectangle((left, top, left + width, top + height), outline=colour, width=max(1, page.width // 350))
            label_box = pen.textbbox((left, top), label, font=font, anchor="lb")
            pen.rectangle(label_box, fill=colour)
            pen.text((left, top), label, fill=TRUTH, font=font, anchor="lb")
            coming = next(rows, None)
        yield page


def _write_gif(path: Path, frames: Iterator[Image.Image], rate: float, *, last: int) -> None:
    stride = 1 + last // _GIF_FRAMES
    pages = []
    for number, page in enumerate(frames):
        if number % stride == 0:
            pages.append(page.quantize(128, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE))
    pages[0].save(path, save_all=True, append_images=pages[1:], duration=max(20, round(1000 * stride / rate)), loop=0)


def _colour(identity: int) -> str:
    return IDENTITIES[identity % len(IDENTITIES)]
