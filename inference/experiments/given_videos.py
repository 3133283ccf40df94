"""Scoring runs on videos from a file instead of their own test videos."""

import os
from dataclasses import replace

from torch import Tensor

from inference.experiments.runs import TrainedRun
from videos import load_videos


def with_test_videos(run: TrainedRun, path: str | os.PathLike[str]) -> TrainedRun:
    """The same run with the videos of a file as its test videos.

    Args:
        run: from `load_run`.
        path: an .npz file that `videos.load_videos` reads, with frames and controls as in the run's own test videos;
            only the number of sequences may differ.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no videos, or frames or controls do not match the run's own: other shapes, values
            outside [0, 1], or grey values where the run's are 0 and 1. Names the run.
    """
    videos = load_videos(path)
    for name in ("frames", "controls"):
        _check_shape(run, path, name, getattr(videos, name), getattr(run.test, name))
    seen = videos.frames if videos.observed is None else videos.frames[videos.observed]
    own = run.test.frames
    outside = seen[~((seen >= 0) & (seen <= 1))]  # nan among them
    if len(outside):
        raise ValueError(
            f"frames of {path}: expected values in [0, 1] where they are seen, got {outside[0].item():g} among others; "
            "divide bytes by 255, and mark missing frames in `observed`"
        )
    if _is_binary(own) and not _is_binary(seen):
        grey = seen[(seen != 0) & (seen != 1)]
        raise ValueError(
            f"frames of {path}: expected 0 and 1 only, as in the test videos of {run.folder.path.name!r}, got "
            f"{grey[0].item():g} among others; make them binary, or score a run that was trained on grey videos"
        )
    return replace(run, test=videos.to(own.device))


def _check_shape(
    run: TrainedRun, path: str | os.PathLike[str], name: str, given: Tensor | None, own: Tensor | None
) -> None:
    got, expected = (None if value is None else tuple(value.shape[1:]) for value in (given, own))
    if got == expected:
        return
    words = "time, channels, height, width" if name == "frames" else "time, control"
    got, expected = ("none" if sizes is None else f"(..., {', '.join(map(str, sizes))})" for sizes in (got, expected))
    raise ValueError(
        f"{name} of {path}: expected (sequences, {words}) = {expected}, as in the test videos of "
        f"{run.folder.path.name!r}, got {got}; give videos of the kind that the run was trained on"
    )


def _is_binary(values: Tensor) -> bool:
    return bool(((values == 0) | (values == 1)).all())
