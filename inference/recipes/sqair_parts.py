"""SQAIR's model, guide and training, for any videos."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from pyro.infer import ELBO
from pyro.nn import PyroModule

from guides.discovery_propagation.guide import DiscoveryPropagationGuide
from inference.estimators import FIVO, VIMCO, OwnWeightVIMCO, WakeSleep
from inference.recipes.growing_videos import LengtheningVideos
from inference.recipes.object_training import ObjectTraining
from inference.recipes.options import OptionError
from inference.recipes.recipe import Pair, Recipe
from pyro_models.components.glimpse_networks import GlimpseNetworks
from pyro_models.sqair.model import SequentialAttendInferRepeat

Estimator = Literal["vimco", "vimco-steps", "own-weight", "wake-sleep", "fivo"]
LOSSES: dict[Estimator, Callable[[int], ELBO]] = {
    "vimco": VIMCO,
    "vimco-steps": partial(VIMCO, credit="steps"),
    "own-weight": OwnWeightVIMCO,
    "wake-sleep": WakeSleep,
    "fivo": FIVO,
}
START_SEED, NUM_START = 4_000_000, 200  # seed and number of the videos for the initial mean image


@dataclass(frozen=True, kw_only=True)
class DiscoveryPair(Pair):
    """What SQAIR shares with its single-frame baseline.

    Attributes:
        num_slots: largest number of objects.
        what_dim: size of an object's appearance latent.
        network: "mlp" or "conv".
        units: units of all networks.
        where_scale_mean: prior mean of the logit of a new window's scale.
        where_scale_spread: its standard deviation, for windows that are not chained; None = 1.
        scale_bias: initial bias of the guide's logit of a new window's scale.
        search: what places new windows: a network, as in the paper, or a map of the frame.
        chained: whether new windows depend on one another.
        mean_image: whether the decoder has a mean image.
        frame_scale: standard deviation of a pixel under the model.
        order: whether presence is drawn "first" or "last".
        discovery_bias: initial bias of the guide's logit of a new object.
    """

    num_slots: int = 3
    what_dim: int = 50
    network: Literal["mlp", "conv"] = "mlp"
    units: int = 256
    where_scale_mean: float = -2.0
    where_scale_spread: float | None = None
    scale_bias: float = 0.0
    search: Literal["network", "map"] = "network"
    chained: bool = True
    mean_image: bool = True
    frame_scale: float = 0.3
    order: Literal["first", "last"] = "last"
    discovery_bias: float = 1.0

    @abstractmethod
    def looks(self) -> tuple[tuple[int, int], GlimpseNetworks]:
        """Height and width of a glimpse, pixels; and the networks that process pixels."""

    def check(self, recipe: Recipe[Any, Any, Any]) -> None:
        """Refuse a spread of what is learned, and numbers that are no standard deviations."""
        if not self.frame_scale > 0:
            raise OptionError(f"--frame-scale: expected a positive number, got {self.frame_scale}")
        spread = self.where_scale_spread
        if spread is not None and (self.chained or not spread > 0):
            raise OptionError(
                "--where-scale-spread: expected a positive number, with --no-chained, since the spread of chained "
                f"windows is learned, got {spread} with {'--chained' if self.chained else '--no-chained'}"
            )

    def build(self, recipe: Recipe[LengtheningVideos, Any, Any]) -> tuple[PyroModule, PyroModule]:
        """Model and guide, freshly initialised; the mean image starts as the mean of some training videos."""
        generator = torch.Generator().manual_seed(START_SEED)
        frames = recipe.videos.examples(NUM_START, generator)
        glimpse_size, networks = self.looks()
        spread = self.where_scale_spread
        model = SequentialAttendInferRepeat(
            recipe.videos.frame_shape,
            num_slots=self.num_slots,
            what_dim=self.what_dim,
            glimpse_size=glimpse_size,
            networks=networks,
            units=self.units,
            where_mean=(self.where_scale_mean, self.where_scale_mean, 0.0, 0.0),
            chained=self.chained,
            where_scale=None if spread is None else (spread, spread, 1.0, 1.0),
            mean_image=self.mean_image,
            frame_scale=self.frame_scale,
            **self.propagation(),
        )
        model.start_from(frames)
        guide = DiscoveryPropagationGuide(
            model,
            order=self.order,
            discovery_bias=self.discovery_bias,
            scale_bias=self.scale_bias,
            search=self.search,
            **self.guide_propagation(),
        )
        return model, guide

    def propagation(self) -> dict[str, Any]:
        """The model's propagation options; without effect on single frames."""
        return {}

    def guide_propagation(self) -> dict[str, Any]:
        """The guide's propagation options; without effect on single frames."""
        return {"correlated": True}


@dataclass(frozen=True, kw_only=True)
class SQAIRPair(DiscoveryPair):
    """SQAIR and its guide: how objects are discovered and propagated.

    Attributes:
        residual: whether propagated means are predicted as changes.
        masked: whether propagation masks its glimpses.
        correlated: whether the guide's window parameters are correlated in propagation.
        propagation_bias: initial bias of the guide's logit of propagation.
        gate_bias: initial bias of the gates of propagated appearances; larger = objects look as they did before.
        propagation_offset: offset of the prior logit of propagation.
        later_offset: offset of the prior logit of no discovery after the first frame.
    """

    residual: bool = False
    masked: bool = True
    correlated: bool = True
    propagation_bias: float = 5.0
    gate_bias: float = 1.0
    propagation_offset: float = 10.0
    later_offset: float = 10.0

    @property
    def label(self) -> str:
        """Name of the model in the paper's figures and tables."""
        return {"mlp": "MLP-SQAIR", "conv": "CONV-SQAIR"}[self.network]

    def propagation(self) -> dict[str, Any]:
        """The model's propagation options."""
        return {
            "residual": self.residual,
            "propagation_offset": self.propagation_offset,
            "later_offset": self.later_offset,
        }

    def guide_propagation(self) -> dict[str, Any]:
        """The guide's propagation options."""
        return {
            "masked": self.masked,
            "correlated": self.correlated,
            "propagation_bias": self.propagation_bias,
            "gate_bias": self.gate_bias,
        }


@dataclass(frozen=True, kw_only=True)
class SQAIRTraining(ObjectTraining):
    """Training by an estimator for discrete presence.

    Attributes:
        estimator: gradient estimator: vimco; vimco-steps (credit by time step); own-weight (the authors' code);
            wake-sleep; fivo (particles are resampled between frames).
    """

    estimator: Estimator = "vimco"

    def loss(self, recipe: Recipe[Any, Any, Any]) -> ELBO:
        """The bound and its gradient."""
        return LOSSES[self.estimator](self.num_particles)
