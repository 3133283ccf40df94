"""Videos of still or moving digits: new ones at every step, tested on digits that training never sees."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from inference.gallery.objects import ScenePictures, TrackPictures
from inference.gallery.picture import Picture
from inference.recipes.growing_videos import LengtheningVideos
from inference.recipes.recipe import Recipe, Splits, Videos
from inference.scores.addition import Addition
from inference.scores.counting import Counting, VisibleCounting
from inference.scores.score import Score
from inference.scores.tracking import Tracking
from videos import SIMULATORS, EndlessVideos, MovingDigits, SingleFrames, StillDigits, VideoBatch, VideoSource
from videos.digits import name_of_digits
from videos.moving_digits import DigitScenes


@dataclass(frozen=True, kw_only=True)
class StillDigitVideos(Videos):
    """Scenes of zero to two digits, one frame each, new ones at every step; an epoch is `num_train` of them.

    `data`, if given, is a folder with the MNIST files.

    Attributes:
        frame_size: height and width of a scene, pixels.
        digit_scale: size of digits; 1 = MNIST's 20 pixels.
    """

    world: str = "multi-mnist"
    frame_size: int = 50
    digit_scale: float = 1.0
    num_train: int = 64_000
    num_validation: int = 500

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """See `Videos.frame_shape`."""
        return (1, self.frame_size, self.frame_size)

    @property
    def length(self) -> int:
        """One frame."""
        return 1

    def simulator(self, split: str) -> StillDigits:
        """Simulator of scenes with the digits of a split."""
        return StillDigits(size=self.frame_size, digit_scale=self.digit_scale, split=split, folder=self.data)

    def data_set(self) -> str:
        """MNIST, or without a network what stands in for it."""
        return name_of_digits(self.data)

    def splits(self, recipe: Recipe[Any, Any, Any]) -> Splits:
        """See `digit_splits`."""
        return digit_splits(self, self.simulator, recipe)

    def source(self, recipe: Recipe[Any, Any, Any], train: VideoBatch) -> VideoSource:
        """New scenes at every step."""
        return EndlessVideos(self.simulator("train"), recipe.training.batch_size, recipe.seed)

    def scores(self, recipe: Recipe[Any, Any, Any]) -> tuple[Score, ...]:
        """Counting and digit addition."""
        return Counting(), VisibleCounting(visibility=self.simulator("test").visibility), Addition()

    def pictures(self, recipe: Recipe[Any, Any, Any]) -> tuple[Picture, ...]:
        """Scenes."""
        return (ScenePictures(),)


@dataclass(frozen=True, kw_only=True)
class MovingDigitVideos(LengtheningVideos):
    """Moving digits. `data`, if given, is a folder with the MNIST files.

    Attributes:
        max_digits: largest number of digits.
        digit_scale: size of digits; 1 = MNIST's 20 pixels.
        max_speed: pixels per frame and axis.
        max_acceleration: pixels per squared frame and axis.
    """

    world: str = "moving-mnist"
    max_digits: int = 2
    digit_scale: float = 1.0
    max_speed: float = 10.0
    max_acceleration: float = 3.0

    def simulator(self, split: str) -> MovingDigits:
        """Simulator of videos with the digits of a split."""
        return MovingDigits(
            num_frames=self.num_frames,
            size=self.frame_size,
            max_digits=self.max_digits,
            digit_scale=self.digit_scale,
            max_speed=self.max_speed,
            max_acceleration=self.max_acceleration,
            split=split,
            folder=self.data,
        )

    def data_set(self) -> str:
        """MNIST, or without a network what stands in for it."""
        return name_of_digits(self.data)

    def splits(self, recipe: Recipe[Any, Any, Any]) -> Splits:
        """See `digit_splits`."""
        return digit_splits(self, self.simulator, recipe)

    def scores(self, recipe: Recipe[Any, Any, Any]) -> tuple[Score, ...]:
        """Counting, tracking and digit addition."""
        visibility = self.simulator("test").visibility
        return Counting(), VisibleCounting(visibility=visibility), Tracking(), Addition()

    def pictures(self, recipe: Recipe[Any, Any, Any]) -> tuple[Picture, ...]:
        """Tracked objects."""
        return (TrackPictures(),)


@dataclass(frozen=True, kw_only=True)
class DigitFrames(MovingDigitVideos):
    """Every frame of moving digits as a separate video; a step sees all frames of `batch_size` videos.

    Frames are ordered by video: all of the first, then all of the second.

    Attributes:
        first_frames: initial number of frames of whole videos.
    """

    first_frames: int = 10

    @property
    def length(self) -> int:
        """One frame."""
        return 1

    def splits(self, recipe: Recipe[Any, Any, Any]) -> Splits:
        """As for moving digits, frame by frame."""
        whole = super().splits(recipe)
        parts = {name: getattr(whole, name).single_frames() for name in ("train", "validation", "test")}
        return replace(whole, **parts)

    def source(self, recipe: Recipe[Any, Any, Any], train: VideoBatch) -> VideoSource:
        """All frames of new videos at every step."""
        return SingleFrames(super().source(recipe, train))

    def pictures(self, recipe: Recipe[Any, Any, Any]) -> tuple[Picture, ...]:
        """Frames as still scenes."""
        return (ScenePictures(),)


def digit_splits(videos: Videos, simulator: Callable[[str], DigitScenes], recipe: Recipe[Any, Any, Any]) -> Splits:
    """Validation and test videos of digits that training never sees, and one batch of training videos.

    Args:
        videos: the recipe's videos.
        simulator: maps the name of a split to its simulator.
        recipe: the recipe with these videos.

    Raises:
        OptionError: if another world or missing frames are requested.
        FileNotFoundError: if `data` lacks a file.
    """
    train = simulator("train")
    world = next(name for name, kind in SIMULATORS.items() if kind is type(train))
    videos.check_world(world, ", as a scene is one frame" if train.num_frames == 1 else "")
    num_train = min(recipe.training.batch_size, videos.num_train)
    return videos.simulated(simulator, f"digits: {train}", seed=recipe.seed, num_train=num_train)


SMALL: dict[str, Any] = {
    "frame_size": 28,
    "num_frames": 5,
    "digit_scale": 0.5,
    "max_speed": 4.0,
    "max_acceleration": 1.0,
    "num_train": 6400,
    "epochs": 50,
    "growth_epochs": 10,
    "learning_rate": 0.0005,
    "decay": "cosine",
    "optimization": "adam",
    "clip_norm": 1000.0,
}
"""Options of small moving digits for CPUs, and of training on them."""
