"""Whether given videos fit a recipe, before it is trained on them."""

from typing import Any, get_args

import torch
from pyro.nn import PyroModule
from torch import Tensor, nn

from inference.programs.violations import SupportError
from inference.recipes import OptionError, Recipe, Splits
from inference.recipes.given_videos import GivenVideos
from inference.recipes.options import hints_of
from inference.runtime.generators import preserved_generators
from inference.scores.score import Evaluated
from inference.svi.evaluation import evaluate_loss
from videos import VideoBatch

DARK = 0.1  # brightness of a pixel up to which it counts as dark
LEAST_LIGHT = 0.002  # share of brighter pixels
NUM_LOOKED_AT = 50  # validation videos in which objects are looked for


def check_fit(recipe: Recipe[Any, Any, Any], model: nn.Module, guide: nn.Module, splits: Splits) -> None:
    """Evaluate the bound of one video that is grey, if any is: whatever does not fit is refused before training.

    Args:
        recipe: on given videos.
        model: of the recipe.
        guide: of the recipe.
        splits: of the recipe.

    Raises:
        OptionError: if frames are grey and the model's are black and white, or model and guide refuse the video; names
            options that help.
    """
    video = _example(splits)
    device = next(model.parameters(), torch.empty(0)).device
    source = recipe.videos.data
    try:
        with preserved_generators():
            evaluate_loss(recipe.loss(), model, guide, *video.to(device).arguments)
    except SupportError as error:
        if error.site != "frames":
            raise
        raise OptionError(
            f"--videos: expected frames that are black and white, 0 and 1 alone, as {recipe.name} models them, got "
            f"shades of grey in {source}; {_remedy_of_grey(recipe)}"
        ) from error
    except (ValueError, RuntimeError, IndexError) as error:
        time, channels, height, width = video.frames.shape[1:]
        raise OptionError(
            f"--videos: expected videos that {recipe.name} takes, got {time} frames of {channels} x {height} x "
            f"{width} values from {source}: {_first_line(error)}; --num-frames, --frame-size and --colour change them"
        ) from error


def build_for_videos(recipe: Recipe[Any, Any, Any]) -> tuple[PyroModule, PyroModule]:
    """Model and guide of a recipe.

    Raises:
        OptionError: if an option has an invalid value, or given videos have frames that the networks do not take.
    """
    try:
        return recipe.build()
    except OptionError:
        raise
    except ValueError as error:
        if not isinstance(recipe.videos, GivenVideos) or "frame_shape" not in str(error):
            raise
        raise OptionError(
            f"--frame-size: expected one that the networks of {recipe.name} take, got {recipe.videos.frame_size}, "
            f"colour {recipe.videos.colour}: {error}; give another --frame-size, to which frames are resized"
        ) from error


def darkness(recipe: Recipe[Any, Any, Any], videos: VideoBatch) -> str | None:
    """A sentence on training videos that are nearly all dark, with the remedy; None for others."""
    share = (videos.frames > DARK).double().mean().item()
    if share >= LEAST_LIGHT:
        return None
    remedy = "give brighter videos"
    if "invert" in recipe.options:
        remedy = "--invert yes is for dark things on a bright background, no for bright ones on a dark one"
    return (
        f"{recipe.videos.data}: nearly all dark, {share:.2%} of the pixels of training videos are brighter than "
        f"{DARK:g} (1 = white), and there may be nothing to learn; {remedy}"
    )


def nothing_found(recipe: Recipe[Any, Any, Any], model: nn.Module, guide: nn.Module) -> str | None:
    """A sentence on a trained model of objects that finds none in validation videos, with remedies; or None.

    Args:
        recipe: on given videos.
        model: trained by it.
        guide: trained with it.
    """
    videos = recipe.splits().validation.select(slice(0, NUM_LOOKED_AT))
    device = next(model.parameters()).device
    scene = Evaluated(model, guide, videos.to(device)).scene
    if scene is None or scene.presence is None or bool((scene.presence > 0.5).any()):
        return None
    bright = videos.frames.median().item() > 0.5
    reason = "frames are bright, and the model paints objects on black: --invert yes" if bright else "train for longer"
    return (
        f"no object was found in {videos.num_sequences} validation videos; {reason}, look at the pictures of kinema "
        "render, or give videos with fewer, brighter things on a dark background"
    )


def _example(splits: Splits) -> VideoBatch:
    for part in (splits.train, splits.validation, splits.test):
        grey = is_grey(part.frames).flatten(1).any(1).nonzero()[:1, 0]
        if len(grey):
            return part.select(grey)
    return splits.train.select([0])


def is_grey(frames: Tensor) -> Tensor:
    """Whether pixels are neither 0 nor 1."""
    return (frames != 0) & (frames != 1)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]  # Pyro appends a table of all sites


def _remedy_of_grey(recipe: Recipe[Any, Any, Any]) -> str:
    sharp = "--threshold 0.5 makes them black and white"
    words = get_args(hints_of(type(recipe.pair)).get("likelihood"))
    return f"--likelihood gaussian models grey ones, {sharp}" if "gaussian" in words else sharp
