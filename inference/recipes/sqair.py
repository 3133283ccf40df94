"""SQAIR on moving digits: objects that appear, move, overlap and leave."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from inference.recipes.digit_videos import SMALL, MovingDigitVideos
from inference.recipes.recipe import Recipe
from inference.recipes.sqair_parts import SQAIRPair, SQAIRTraining
from inference.recipes.tracked_digits import SMALL_TRACKED, TrackedDigitVideos
from inference.scores.score import Evaluated
from inference.scores.tracking import Tracking
from pyro_models.components.glimpse_networks import GlimpseNetworks
from videos import VideoBatch

LEAST_FOUND = 0.1  # minimum identity F1 to continue a run
MOST_LATE = 0.5  # maximum late discoveries per video to continue; videos have one object on average


@dataclass(frozen=True, kw_only=True)
class DigitSQAIRPair(SQAIRPair):
    """SQAIR with square glimpses.

    Attributes:
        glimpse_size: height and width of a glimpse, pixels.
    """

    glimpse_size: int = 20

    def looks(self) -> tuple[tuple[int, int], GlimpseNetworks]:
        """See `DiscoveryPair.looks`."""
        return (self.glimpse_size, self.glimpse_size), GlimpseNetworks(self.network, self.units)


@dataclass(frozen=True, kw_only=True)
class CheckedSQAIRTraining(SQAIRTraining):
    """Training with an early health check.

    Attributes:
        check_epochs: epochs after which `complaint` checks whether objects are tracked.
    """

    check_epochs: int = 25

    def check_step(self, recipe: Recipe[Any, Any, Any]) -> int | None:
        """See `Training.check_step`."""
        return self.check_epochs * recipe.steps_per_epoch

    def complaint(self, model: nn.Module, guide: nn.Module, videos: VideoBatch) -> str | None:
        """Two failures that seldom recover: nothing is found, or objects are rediscovered in later frames.

        Where the true objects are unknown, only the first is noticed.
        """
        evaluated = Evaluated(model, guide, videos)
        scores = Tracking().compute(evaluated)
        if scores is None:
            scene = evaluated.scene
            found = scene is not None and scene.presence is not None and bool((scene.presence > 0.5).any())
            return None if found else "objects are not found"
        if scores.idf1 < LEAST_FOUND:
            return f"objects are not found (identity F1 {scores.idf1:.2f})"
        if scores.late_discoveries > MOST_LATE:
            return f"objects are not tracked ({scores.late_discoveries:.1f} late discoveries per video)"
        return None


SMALL_LOOKS: dict[str, Any] = {
    "num_slots": 2,
    "what_dim": 16,
    "glimpse_size": 10,
    "units": 96,
    "where_scale_mean": -0.5,
}
SMALL_OBJECTS: dict[str, Any] = {**SMALL, **SMALL_LOOKS}
SQAIR = Recipe(
    name="sqair-mlp",
    paper="Kosiorek et al. 2018, table 1 (moving multi-MNIST)",
    videos=MovingDigitVideos(),
    pair=DigitSQAIRPair(),
    training=CheckedSQAIRTraining(),
)
TRACKED = Recipe(
    name="sqair-tracked",
    paper="Akhundov et al. 2019, figures 6 and 7 (SQAIR on digits that stay)",
    videos=TrackedDigitVideos(world="moving-mnist", prefix=3, num_frames=10, first_frames=3, num_train=60_000),
    pair=DigitSQAIRPair(),
    training=CheckedSQAIRTraining(),
)
RECIPES = (
    SQAIR,
    TRACKED,
    TRACKED.named(
        "sqair-tracked-small",
        **SMALL_TRACKED,
        **SMALL_LOOKS,
        growth_epochs=10,
        learning_rate=0.0005,
        decay="cosine",
        optimization="adam",
        clip_norm=1000.0,
        epochs=60,
        residual=True,
        search="map",
        check_epochs=20,
    ),
    SQAIR.named("sqair-conv", network="conv", units=128),
    SQAIR.named("sqair-small", **SMALL_OBJECTS, residual=True, check_epochs=10),
)
