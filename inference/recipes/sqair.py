"""SQAIR on moving digits: objects that appear, move, overlap and leave."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pyro
import torch
from pyro.infer import ELBO
from pyro.nn import PyroModule
from torch import nn

from guides.discovery_propagation.object_draws import ORDERS
from inference.recipes.moving_digits import SMALL, MovingDigitsRecipe
from inference.recipes.recipe import Recipe
from inference.recipes.sqair_options import LOSSES, DiscoveryOptions, SQAIROptions
from inference.scores.tracking import summarize_tracking
from pyro_models.components.glimpse_networks import KINDS, GlimpseNetworks
from videos import VideoBatch

LEAST_FOUND = 0.1  # identity F1 of a run that goes on
MOST_LATE = 0.5  # objects that it finds after the first frame, a video; videos have one object on average


@dataclass(frozen=True, kw_only=True)
class DiscoveryRecipe(DiscoveryOptions, MovingDigitsRecipe):
    """What SQAIR shares with its part that looks at single frames.

    Attributes:
        glimpse_size: height and width of a glimpse, pixels.
    """

    glimpse_size: int = 20

    def loss(self) -> ELBO:
        """The bound and its gradient."""
        return LOSSES[self.estimator](self.num_particles)


@dataclass(frozen=True, kw_only=True)
class SQAIRRecipe(SQAIROptions, DiscoveryRecipe):
    """Moving digits that are found and followed.

    Attributes:
        check_epochs: epochs after which it shows whether objects are followed, see `complaint`.
    """

    paper: ClassVar[str] = "Kosiorek et al. 2018, table 1 (moving multi-MNIST)"

    check_epochs: int = 25

    @property
    def check_step(self) -> int | None:
        """See `Recipe.check_step`."""
        return self.check_epochs * self.steps_per_epoch

    def complaint(self, model: nn.Module, guide: nn.Module, videos: VideoBatch) -> str | None:
        """Two wrong turns that seldom lead back: nothing is found, or all is found anew in later frames."""
        scores = summarize_tracking(model, guide, videos)
        assert scores is not None
        if scores.idf1 < LEAST_FOUND:
            return f"objects are not found (identity F1 {scores.idf1:.2f})"
        if scores.late_discoveries > MOST_LATE:
            return f"objects are not followed ({scores.late_discoveries:.1f} late discoveries a video)"
        return None

    def build(self) -> tuple[PyroModule, PyroModule]:
        """Model and guide, freshly initialised from the seed."""
        self.check(estimator=LOSSES, network=KINDS, order=ORDERS)
        pyro.set_rng_seed(self.seed)
        videos = self.simulator("train").simulate(200, torch.Generator().manual_seed(4_000_000))
        glimpse_size = (self.glimpse_size, self.glimpse_size)
        return self.pair(videos.frames, glimpse_size, GlimpseNetworks(self.network, self.units))


SMALL_OBJECTS: dict[str, Any] = {
    **SMALL,
    "num_slots": 2,
    "what_dim": 16,
    "glimpse_size": 10,
    "units": 96,
    "where_scale_mean": -0.5,
}
_SQAIR = SQAIRRecipe()
RECIPES: dict[str, Recipe] = {
    "sqair-mlp": _SQAIR,
    "sqair-conv": replace(_SQAIR, network="conv", units=128),
    "sqair-small": replace(_SQAIR, **SMALL_OBJECTS, residual=True, check_epochs=10),
}
