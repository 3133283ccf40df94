"""From a trained run to a tracker of clips like the one that it was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inference.experiments.runs import load_run, recipe_of
from inference.experiments.sqair_tracker import SQAIRTracker
from inference.recipes.pedestrians import ClipVideos
from inference.recipes.recipe import Recipe
from inference.recipes.sqair_parts import SQAIRPair
from inference.runs.folder import RunFolder
from videos import Surveillance
from videos.clips import Clip, frame_rate, read_frames

_MOST_RATES_DIFFER = 0.1  # share of the trained frame rate


def tracker_of_run(path: str | Path, clip: Clip, **settings: Any) -> SQAIRTracker:
    """The tracker of a run of SQAIR on a clip, such as of the recipe `sqair-pedestrians-small`.

    Args:
        path: the run's folder.
        clip: the clip to track.
        settings: of `SQAIRTracker`, beside those that follow from the run.

    Raises:
        ValueError: if the folder is no run, or one of another model or of other videos; if the clip has another size
            than the trained one, or no frame rate near a multiple of that of training; or a setting is out of its
            range.
        FileNotFoundError: if the clip, or that of training, is not there.
        ImportError: without OpenCV, which the extra `video` installs.
    """
    recipe = recipe_of(RunFolder.open(path).config)
    source = _source_of(recipe)
    trained = _clips_of(source)
    _check_size(clip, trained)
    stride = _stride_of(clip, trained[0], source)
    run = load_run(path)
    model: Any = run.model
    guide: Any = run.guide
    return SQAIRTracker(model, guide, source.subtraction, stride, source.foregrounds[0].inverted, **settings)


def _source_of(recipe: Recipe) -> Surveillance:
    """The training videos."""
    if not isinstance(recipe.pair, SQAIRPair):
        raise ValueError(
            "run: expected one of SQAIR on a clip, such as of the recipe sqair-pedestrians-small, got a run of "
            f"{recipe.name!r}, which follows nobody through a clip"
        )
    if not isinstance(recipe.videos, ClipVideos):
        raise ValueError(
            "run: expected one that was trained on the moving regions of a clip, on black, such as of the recipe "
            f"sqair-pedestrians-small, got a run of {recipe.name!r} on whole frames in shades of grey"
        )
    return recipe.videos.simulator("train")


def _clips_of(source: Surveillance) -> tuple[Clip, ...]:
    return source.clips if isinstance(source.clips, tuple) else (source.clips,)


def _check_size(clip: Clip, trained: tuple[Clip, ...]) -> None:
    sizes = {_size_of(one) for one in trained}
    if (size := _size_of(clip)) not in sizes:
        expected = " or ".join(f"{width} x {height}" for width, height in sorted(sizes))
        raise ValueError(
            f"video: expected a clip of {expected} pixels, as the run was trained on, got {size[0]} x {size[1]}; "
            "people would have other sizes than the run has learned: resize the clip, or train on it"
        )


def _size_of(clip: Clip) -> tuple[int, int]:
    """Width and height."""
    height, width, _ = next(iter(read_frames(clip))).shape
    return width, height


def _stride_of(clip: Clip, trained: Clip, source: Surveillance) -> int:
    """The stride at which a clip has the frame rate of training."""
    stride, rate, new = source.subtraction.stride_of(trained), frame_rate(trained), frame_rate(clip)
    if rate is None or new is None:
        return stride
    seen = rate / stride
    stride = max(1, round(new / seen))
    if abs(new / stride - seen) > _MOST_RATES_DIFFER * seen:
        raise ValueError(
            f"video: expected a clip whose frame rate is near a multiple of {seen:.3g} per second, at which the run "
            f"was trained, got {new:.3g}; people would have other speeds than the run has learned: train on this clip"
        )
    return stride
