"""What recipes of moving digits share: what makes their videos, which grow."""

from dataclasses import dataclass
from typing import Any

from inference.recipes.digits import DigitsRecipe
from inference.recipes.growing_videos import GrowingVideosRecipe
from videos import MovingDigits


@dataclass(frozen=True, kw_only=True)
class MovingDigitsRecipe(GrowingVideosRecipe, DigitsRecipe):
    """Moving digits, new videos at every step; videos begin short and grow.

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
        """Videos of the digits of a split."""
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
"""Videos for CPUs, and how long models are trained on them."""
