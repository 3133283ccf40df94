"""Shared style of all pictures: consistent colours, and sizes that stay readable in a README."""

from collections.abc import Iterable, Mapping

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

TRUTH = "#222222"
MISSING = "#D55E00"
QUIET = "#9A9A9A"
GRID = "#E6E6E6"

# Okabe & Ito's colours, which colour-blind readers tell apart
_NAMED = {
    "smooth": "#0072B2",
    "filter": "#E69F00",
    "generat": "#009E73",
    "forecast": "#009E73",
    "ae-rnn": "#CC79A7",
    "vae-rnn": "#8C564B",
    "last frame": QUIET,
    "truth": TRUTH,
    "encoded": TRUTH,
    "seen": TRUTH,
}
_OTHERS = ("#56B4E9", "#D55E00", "#6A3D9A", "#B2A100", "#1B6B4A", "#7F7F7F")

# Of objects: bright enough for black frames, and none of them the orange of missing frames
IDENTITIES = (
    "#56B4E9",
    "#F0E442",
    "#FF6FB5",
    "#2EDC96",
    "#B79BFF",
    "#FFB07C",
    "#00C8C8",
    "#B5E61D",
    "#7F9BFF",
    "#D9B36C",
)

SMALL, NORMAL, LARGE = 8.5, 10.0, 11.5


def colours_of(names: Iterable[str]) -> dict[str, str]:
    """A colour for each name: that of the method it starts with, else an unused one.

    "smoothing", "KVAE smoothing" and "smoothed" are all blue, whichever picture they are in; another model's smoothing
    is not.
    """
    colours: dict[str, str] = {}
    spare = iter(_OTHERS * 10)
    for name in names:
        method = name.lower().removeprefix("kvae ")
        known = [colour for word, colour in _NAMED.items() if method.startswith(word)]
        colours[name] = known[0] if known else next(spare)
    return colours


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, without global state."""
    figure = Figure(figsize=(width, height), dpi=150)
    figure.set_layout_engine("constrained", h_pad=0.08)
    return figure


def tidy(axes: Axes) -> None:
    """Remove superfluous lines: keep two spines, and a pale grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(QUIET)
    axes.tick_params(labelsize=SMALL, color=QUIET)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def check_videos(name: str, videos: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Videos of one shape (time, channels, height, width), grey or in colour, on the CPU, clipped to [0, 1].

    Raises:
        ValueError: if there are none, or a shape differs.
    """
    if not videos:
        raise ValueError(f"{name}: expected at least one video, got none")
    shape = next(iter(videos.values())).shape
    for key, video in videos.items():
        same = video.dim() == len(shape) == 4 and (len(video), *video.shape[2:]) == (shape[0], *shape[2:])
        if not same or video.shape[1] not in (1, 3):
            raise ValueError(
                f"{name}: expected one shape (time, channels, height, width) with 1 or 3 channels, "
                f"got {tuple(video.shape)} for {key!r} beside {tuple(shape)}"
            )
    return {key: video.detach().cpu().float().clamp(0, 1) for key, video in videos.items()}


def check_observed(observed: Tensor | None, num_frames: int) -> list[bool]:
    """Which frames are seen, as a list; None = all.

    Raises:
        ValueError: if it is not bool (time,).
    """
    if observed is None:
        return [True] * num_frames
    if observed.dtype != torch.bool or tuple(observed.shape) != (num_frames,):
        raise ValueError(
            f"observed: expected bool (time,) = ({num_frames},), got {observed.dtype} {tuple(observed.shape)}"
        )
    return observed.tolist()


def check_outlines(outlines: Mapping[str, str] | None, videos: Mapping[str, Tensor]) -> Mapping[str, str]:
    """Colours of outlines, by name of a video; None = none.

    Raises:
        ValueError: if there is no such video.
    """
    outlines = {} if outlines is None else outlines
    if unknown := [name for name in outlines if name not in videos]:
        raise ValueError(f"outlines: expected names of videos ({', '.join(videos)}), got {', '.join(unknown)}")
    return outlines


def as_rgb(frames: Tensor) -> Tensor:
    """(time, 1 or 3, height, width) -> (time, height, width, 3)."""
    return frames.expand(-1, 3, -1, -1).permute(0, 2, 3, 1)


def check_channels(name: str, frames: Tensor) -> None:
    """Refuse frames (..., channels, height, width) that are neither grey nor red-green-blue.

    Raises:
        ValueError: if there are other than 1 or 3 channels.
    """
    if frames.shape[-3] not in (1, 3):
        raise ValueError(
            f"{name}: expected 1 channel (grey) or 3 (red, green, blue), got {frames.shape[-3]} in a shape of "
            f"{tuple(frames.shape)}; channels come before height and width"
        )


def light_of(frames: Tensor) -> Tensor:
    """Brightness of each pixel, its largest channel: (..., 1 or 3, height, width) -> (..., height, width)."""
    return frames.amax(-3)


def show_frame(axes: Axes, frame: Tensor) -> None:
    """Draw one frame (1 or 3, height, width) in [0, 1], in grey or in its colours."""
    picture = frame.detach().cpu()
    if len(picture) == 1:
        axes.imshow(picture[0].numpy(), cmap="gray", vmin=0, vmax=1)
    else:
        axes.imshow(picture.clamp(0, 1).movedim(0, -1).numpy())
