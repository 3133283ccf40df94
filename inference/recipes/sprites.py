"""SQAIR on Sprites-MOT: coloured shapes that enter, cross the frame and leave."""

from dataclasses import dataclass
from typing import Any

from inference.gallery.objects import TrackPictures
from inference.gallery.picture import Picture
from inference.recipes.growing_videos import LengtheningVideos
from inference.recipes.recipe import Recipe, Splits
from inference.recipes.sqair import DigitSQAIRPair
from inference.recipes.sqair_parts import SQAIRTraining
from inference.scores.counting import Counting
from inference.scores.mask_tracking import MaskTracking
from inference.scores.score import Score
from inference.scores.tracking import Tracking
from videos import MovingSprites


@dataclass(frozen=True, kw_only=True)
class SpriteVideos(LengtheningVideos):
    """Up to three sprites, new videos at every step; see `MovingSprites`."""

    world: str = "sprites"
    frame_size: int = 64
    num_frames: int = 10
    num_train: int = 9600
    num_test: int = 1000

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """See `Videos.frame_shape`."""
        return (3, self.frame_size, self.frame_size)

    def simulator(self, split: str) -> MovingSprites:
        """Simulator of a split; only test videos have masks."""
        return MovingSprites(self.num_frames, self.frame_size, masks=split == "test")

    def splits(self, recipe: Recipe[Any, Any, Any]) -> Splits:
        """Validation and test videos, and one batch of training videos."""
        self.check_world("sprites")
        num_train = min(recipe.training.batch_size, self.num_train)
        return self.simulated(
            self.simulator, f"sprites: {self.simulator('train')}", seed=recipe.seed, num_train=num_train
        )

    def scores(self, recipe: Recipe[Any, Any, Any]) -> tuple[Score, ...]:
        """Counting and tracking, by boxes and by masks."""
        return Counting(), Tracking(), MaskTracking()

    def pictures(self, recipe: Recipe[Any, Any, Any]) -> tuple[Picture, ...]:
        """Tracked objects."""
        return (TrackPictures(),)


# A single frame teaches discovery within a few hundred steps, when propagation has learned nothing. If that draws
# objects worse than discovery, they are dropped and found again in every frame, and it never learns (identity F1 of 0.5
# on two frames). So objects look as they did before, at first (`gate_bias`), where the map has them, and a late
# discovery costs 80 nats: F1 is 0.96 after 300 steps on single frames, before the first video of two. With a lower
# `discovery_bias` some seeds stop looking for objects before they can draw them; after 500 steps with 100 nats objects
# that entered were ignored, with 60 nats objects were still dropped after two frames and found again.
SPRITES = Recipe(
    name="sqair-sprites",
    paper="Weis et al. 2021, Sprites-MOT (where SQAIR was not entered)",
    videos=SpriteVideos(frame_size=32, num_train=3200, first_frames=1, growth_epochs=2),
    pair=DigitSQAIRPair(
        num_slots=3,
        what_dim=16,
        glimpse_size=10,
        units=96,
        where_scale_mean=-1.25,
        where_scale_spread=0.2,
        scale_bias=-1.25,
        chained=False,
        mean_image=False,
        search="map",
        discovery_bias=7.0,
        residual=True,
        later_offset=80.0,
        propagation_offset=2.0,
        propagation_bias=6.0,
        gate_bias=4.0,
    ),
    training=SQAIRTraining(
        epochs=40,
        learning_rate=0.001,
        decay="cosine",
        optimization="adam",
        clip_norm=1000.0,
    ),
)
RECIPES = (SPRITES,)
