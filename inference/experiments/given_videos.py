"""Scoring runs on given videos instead of their own test videos."""

import os
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from inference.experiments.runs import TrainedRun
from inference.recipes import OptionError
from inference.recipes.given_videos import GivenVideos
from inference.recipes.pedestrians import ClipVideos
from videos import VideoBatch, VideoFormat, load_videos
from videos.sources import Source


def with_test_videos(run: TrainedRun, path: str | os.PathLike[str]) -> TrainedRun:
    """The same run with given videos as its test videos.

    Clips of video files and folders of images are cut into sequences as long as the run's own test videos, without
    overlap, and resized to their frames. Arrays have to fit: only the number of sequences may differ.

    Args:
        run: from `load_run`.
        path: anything that `videos.load_videos` reads.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        ValueError: if it holds no videos, or frames or controls do not match the run's own: other shapes, values
            outside [0, 1], or grey values where the run's are 0 and 1. Names the run.
        OptionError: for a run on the moving regions of a clip.
    """
    if isinstance(run.recipe.videos, ClipVideos):
        raise OptionError(
            f"--test: expected none for {run.folder.path.name!r}, which learned from the moving regions of a clip, got "
            f"{path}; give --test to kinema train"
        )
    videos = _read(run, Path(path))
    for name in ("frames", "controls"):
        _check_shape(run, path, name, getattr(videos, name), getattr(run.test, name))
    seen = videos.frames if videos.observed is None else videos.frames[videos.observed]
    own = run.test.frames
    if _is_binary(own) and not _is_binary(seen):
        grey = seen[(seen != 0) & (seen != 1)]
        raise ValueError(
            f"frames of {path}: expected 0 and 1 only, as in the test videos of {run.folder.path.name!r}, got "
            f"{grey[0].item():g} among others; make them binary, or score a run that was trained on grey videos"
        )
    return replace(run, test=videos.to(own.device))


def _read(run: TrainedRun, path: Path) -> VideoBatch:
    if isinstance(run.recipe.videos, GivenVideos):
        return run.recipe.videos.read(path)
    if Source.of(path).kind == "arrays":
        return load_videos(path)
    _, time, channels, height, width = run.test.frames.shape
    form = VideoFormat(num_frames=time, stride=time, frame_size=(height, width), grey=channels == 1)
    return load_videos(path, form)


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
