"""New videos at every step, of growing length."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inference.recipes.options import OptionError
from inference.recipes.recipe import Recipe, Videos
from videos import EndlessVideos, GrowingVideos, Simulator, VideoBatch, VideoSource


@dataclass(frozen=True, kw_only=True)
class LengtheningVideos(Videos):
    """New videos at every step, of growing length; an epoch is `num_train` of them.

    Attributes:
        frame_size: height and width of a frame, pixels.
        num_frames: final number of frames per video.
        first_frames: initial number of frames per video.
        growth_epochs: epochs after which videos become one frame longer.
    """

    frame_size: int = 50
    num_frames: int = 10
    first_frames: int = 3
    growth_epochs: int = 50
    num_train: int = 64_000

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """See `Videos.frame_shape`."""
        return (1, self.frame_size, self.frame_size)

    @property
    def length(self) -> int:
        """See `Videos.length`."""
        return self.num_frames

    @abstractmethod
    def simulator(self, split: str) -> Simulator:
        """Simulator of the videos of a split."""

    def examples(self, num_sequences: int, generator: torch.Generator) -> Tensor:
        """Frames of some training videos, (sequences, time, channels, height, width)."""
        return self.simulator("train").simulate(num_sequences, generator).frames

    def source(self, recipe: Recipe[Any, Any, Any], train: VideoBatch) -> VideoSource:
        """New videos at every step, of growing length."""
        return self.lengthening(EndlessVideos(self.simulator("train"), recipe.training.batch_size, recipe.seed), recipe)

    def lengthening(self, whole: VideoSource, recipe: Recipe[Any, Any, Any]) -> VideoSource:
        """The first frames of another source's videos, more and more of them.

        Args:
            whole: source of videos of the final length.
            recipe: the recipe with these videos.
        """
        if self.first_frames >= self.num_frames:
            return whole
        return GrowingVideos(whole, self.first_frames, self.growth_epochs * recipe.steps_per_epoch)

    def check(self, recipe: Recipe[Any, Any, Any]) -> None:
        """Refuse videos without a length."""
        if self.first_frames < 1 or self.growth_epochs < 1:
            raise OptionError(
                "--first-frames, --growth-epochs: expected positive numbers, "
                f"got {self.first_frames} and {self.growth_epochs}"
            )
