"""Videos of balls that collide, to be taken apart into objects."""

from dataclasses import dataclass
from typing import Any

from inference.gallery.objects import TrackPictures
from inference.gallery.picture import Picture
from inference.gallery.slots import LatentWalkPicture, SlotPictures
from inference.recipes.growing_videos import LengtheningVideos
from inference.recipes.options import OptionError
from inference.recipes.recipe import Recipe, Splits
from inference.scores.score import Score
from inference.scores.segmentation import Segmentation
from videos import MassiveBalls


@dataclass(frozen=True, kw_only=True)
class MassiveBallVideos(LengtheningVideos):
    """Light and heavy balls, in black and white or in colours; see `MassiveBalls`.

    Attributes:
        world: massive-balls.
        balls: smallest and largest number of balls in training.
        test_balls: the same in test videos.
        colour: whether balls have colours.
        palette_size: colours of test videos, 4 or 8; training knows the first four.
        test_frames: frames of validation and test videos.
        followed: frames observed before a forecast.
    """

    world: str = "massive-balls"
    frame_size: int = 64
    num_frames: int = 40
    first_frames: int = 4
    growth_epochs: int = 20
    num_train: int = 50_000
    num_test: int = 200
    num_validation: int = 32
    balls: tuple[int, int] = (4, 4)
    test_balls: tuple[int, int] = (4, 4)
    colour: bool = False
    palette_size: int = 4
    test_frames: int = 40
    followed: int = 20

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return (3 if self.colour else 1, self.frame_size, self.frame_size)

    def simulator(self, split: str) -> MassiveBalls:
        """Simulator of a split; only test videos have masks."""
        training = split == "train"
        low, high = self.balls if training else self.test_balls
        return MassiveBalls(
            self.num_frames if training else self.test_frames,
            self.frame_size,
            max_balls=high,
            min_balls=low,
            colour=self.colour,
            palette_size=4 if training else self.palette_size,
            masks=split == "test",
        )

    def splits(self, recipe: Recipe[Any, Any, Any]) -> Splits:
        """Validation and test videos; training videos are drawn step by step."""
        num_train = min(recipe.training.batch_size, self.num_train)
        return self.simulated(self.simulator, "massive-balls", seed=recipe.seed, num_train=num_train)

    def check(self, recipe: Recipe[Any, Any, Any]) -> None:
        """Refuse another world, and a forecast of nothing."""
        self.check_world("massive-balls")
        super().check(recipe)
        if not 0 < self.followed < self.test_frames:
            raise OptionError(
                f"--followed: expected 1 to {self.test_frames - 1}, fewer than the frames of test videos, got "
                f"{self.followed}"
            )

    def scores(self, recipe: Recipe[Any, Any, Any]) -> tuple[Score, ...]:
        """Masks and reconstructions."""
        return (Segmentation(),)

    def pictures(self, recipe: Recipe[Any, Any, Any]) -> tuple[Picture, ...]:
        """Reconstructions with masks, forecasts, slots apart, and walks along the latent of one of them."""
        return TrackPictures(followed=self.followed, switches=False), SlotPictures(), LatentWalkPicture()


SMALL_BALLS: dict[str, Any] = {
    "frame_size": 32,
    "num_frames": 10,
    "balls": (1, 3),
    "test_balls": (3, 3),
    "num_train": 3200,
}
"""Options of small videos for CPUs. Where training has single balls too, slots learn to show one ball each."""
