"""Summary of a static-camera clip as training data: number of accepted windows, and their object counts."""

from collections.abc import Mapping
from dataclasses import dataclass

from videos import Surveillance, VideoBatch

WIDTH = 11  # of a column


@dataclass(frozen=True)
class ClipSummary:
    """Summary of a split of a clip.

    Attributes:
        frames: number of frames in the split.
        windows: number of possible windows, over all frames and places.
        accepted: number of windows whose fullest frame has an allowed number of objects.
        counts: share of frames with 0, 1, 2, ... objects, in sampled sequences.
    """

    frames: int
    windows: int
    accepted: int
    counts: tuple[float, ...]


def summarize_clip(source: Surveillance, videos: VideoBatch) -> ClipSummary:
    """Count windows and objects.

    Args:
        source: a split of the clip.
        videos: videos drawn from it.

    Raises:
        ValueError: if the clip cannot be read, too few windows are accepted, or videos have no presence.
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
    """One row per split: frames, windows, share of windows accepted, and object counts of frames."""
    numbers = range(max(len(summary.counts) for summary in summaries.values()))
    lines = [_row("", ["frames", "windows", "accepted", *(f"{number} seen" for number in numbers)])]
    for name, summary in summaries.items():
        shares = [f"{share:.1%}" for share in (summary.accepted / summary.windows, *summary.counts)]
        lines.append(_row(name, [str(summary.frames), str(summary.windows), *shares]))
    return "\n".join(lines)


def fullest(videos: VideoBatch) -> int:
    """Index of the video with the most objects.

    Raises:
        ValueError: if videos have no presence.
    """
    if videos.presence is None:
        raise ValueError("videos: expected presence, got a batch without; take them from source.simulate")
    return int(videos.presence.flatten(1).sum(-1).argmax())


def _row(name: str, cells: list[str]) -> str:
    return f"{name:10}" + "".join(f"{cell:>{WIDTH}}" for cell in cells)
