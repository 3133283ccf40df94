"""SQAIR on moving digits: objects that appear, move, overlap and leave."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import pyro
import torch
from pyro.infer import ELBO
from pyro.nn import PyroModule
from torch import nn

from guides.discovery_propagation import DiscoveryPropagationGuide
from guides.object_draws import ORDERS
from inference.estimators import FIVO, VIMCO, OwnWeightVIMCO, WakeSleep
from inference.recipes.moving_digits import SMALL, MovingDigitsRecipe
from inference.recipes.recipe import Recipe
from inference.tracking_summary import summarize_tracking
from pyro_models.components.glimpse_networks import KINDS, GlimpseNetworks
from pyro_models.sqair import SequentialAttendInferRepeat
from videos import VideoBatch

LOSSES: dict[str, Callable[[int], ELBO]] = {
    "vimco": VIMCO,
    "vimco-steps": partial(VIMCO, credit="steps"),
    "own-weight": OwnWeightVIMCO,
    "wake-sleep": WakeSleep,
    "fivo": FIVO,
}

LEAST_FOUND = 0.1  # identity F1 of a run that goes on
MOST_LATE = 0.5  # objects that it finds after the first frame, a video; videos have one object on average


@dataclass(frozen=True, kw_only=True)
class DiscoveryRecipe(MovingDigitsRecipe):
    """What SQAIR shares with its part that looks at single frames.

    Attributes:
        estimator: of the gradient: vimco; vimco-steps (credit by time step); own-weight (what the authors' code does);
            wake-sleep; fivo (particles are resampled between frames).
        num_slots: largest number of objects.
        what_dim: size of an object's appearance.
        glimpse_size: height and width of a glimpse, pixels.
        network: "mlp" or "conv".
        units: of all networks.
        where_scale_mean: prior mean of the logit of a new window's scale.
        chained: let new windows depend on one another.
        mean_image: whether there is one.
        order: whether presence is drawn "first" or "last".
        discovery_bias: of the guide's logit of a new object, at the start.
    """

    estimator: str = "vimco"
    num_slots: int = 3
    what_dim: int = 50
    glimpse_size: int = 20
    network: str = "mlp"
    units: int = 256
    where_scale_mean: float = -2.0
    chained: bool = True
    mean_image: bool = True
    order: str = "last"
    discovery_bias: float = 1.0

    def loss(self) -> ELBO:
        """The bound and its gradient."""
        return LOSSES[self.estimator](self.num_particles)


@dataclass(frozen=True, kw_only=True)
class SQAIRRecipe(DiscoveryRecipe):
    """Moving digits that are found and followed.

    Attributes:
        residual: propagated means are changes.
        masked: let propagation mask its glimpses.
        correlated: let the numbers of a followed window be correlated.
        propagation_bias: of the guide's logit of going on, at the start.
        propagation_offset: of the prior logit of going on.
        later_offset: of the prior logit of no discovery after the first frame.
        check_epochs: epochs after which it shows whether objects are followed, see `complaint`.
    """

    paper: ClassVar[str] = "Kosiorek et al. 2018, table 1 (moving multi-MNIST)"

    @property
    def label(self) -> str:
        """Name of the model in the paper's figures and tables."""
        return {"mlp": "MLP-SQAIR", "conv": "CONV-SQAIR"}[self.network]

    residual: bool = False
    masked: bool = True
    correlated: bool = True
    propagation_bias: float = 5.0
    propagation_offset: float = 10.0
    later_offset: float = 10.0
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
        model = SequentialAttendInferRepeat(
            (1, self.frame_size, self.frame_size),
            num_slots=self.num_slots,
            what_dim=self.what_dim,
            glimpse_size=(self.glimpse_size, self.glimpse_size),
            networks=GlimpseNetworks(self.network, self.units),
            units=self.units,
            where_mean=(self.where_scale_mean, self.where_scale_mean, 0.0, 0.0),
            chained=self.chained,
            residual=self.residual,
            mean_image=self.mean_image,
            propagation_offset=self.propagation_offset,
            later_offset=self.later_offset,
        )
        model.start_from(self.simulator("train").simulate(200, torch.Generator().manual_seed(4_000_000)).frames)
        guide = DiscoveryPropagationGuide(
            model,
            order=self.order,
            masked=self.masked,
            correlated=self.correlated,
            propagation_bias=self.propagation_bias,
            discovery_bias=self.discovery_bias,
        )
        return model, guide


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
