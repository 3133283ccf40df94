"""What a clip of a static camera holds for training: how many windows are accepted, and how many objects they show."""

from collections.abc import Mapping
from dataclasses import dataclass

from videos import Surveillance, VideoBatch

WIDTH = 11  # of a column


@dataclass(frozen=True)
class ClipSummary:
    """What a split of a clip holds.

    Attributes:
        frames: of the split.
        windows: all that there are, from every frame and at every place.
        accepted: those with a wanted number of objects in their fullest frame.
        counts: share of the frames of some sequences that show 0, 1, 2, ... objects.
    """

    frames: int
    windows: int
    accepted: int
    counts: tuple[float, ...]


def summarize_clip(source: Surveillance, videos: VideoBatch) -> ClipSummary:
    """Count.

    Args:
        source: of a split.
        videos: drawn from it.

    Raises:
        ValueError: if the clip cannot be read, too few windows are accepted, or videos do not know their objects.
    """
    if videos.presence is None:
        raise ValueError("videos: expected presence, got a batch without; take them from source.simulate")
    counts = videos.presence.sum(-1).flatten().bincount(minlength=source.max_objects + 1).double()
    windows = source.num_windows
    return ClipSummary(
        frames=source.num_frames_used,
        windows=int(windows.sum()),
        accepted=int(windows[source.min_objects : source.max_objects + 1].sum()),
        counts=tuple((counts / counts.sum()).tolist()),
    )


def clip_table(summaries: Mapping[str, ClipSummary]) -> str:
    """A row for each split: its frames, its windows, the share that is accepted, and how many objects a frame shows."""
    numbers = range(max(len(summary.counts) for summary in summaries.values()))
    lines = [_row("", ["frames", "windows", "accepted", *(f"{number} seen" for number in numbers)])]
    for name, summary in summaries.items():
        shares = [f"{share:.1%}" for share in (summary.accepted / summary.windows, *summary.counts)]
        lines.append(_row(name, [str(summary.frames), str(summary.windows), *shares]))
    return "\n".join(lines)


def fullest(videos: VideoBatch) -> int:
    """Which video shows most objects.

    Raises:
        ValueError: if videos do not know their objects.
    """
    if videos.presence is None:
        raise ValueError("videos: expected presence, got a batch without")
    return int(videos.presence.flatten(1).sum(-1).argmax())


def _row(name: str, cells: list[str]) -> str:
    return f"{name:10}" + "".join(f"{cell:>{WIDTH}}" for cell in cells)
