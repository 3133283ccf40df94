"""SQAIR on moving digits: objects that appear, move, overlap and leave."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import pyro
import torch
from pyro.infer import ELBO
from pyro.nn import PyroModule

from guides.discovery_propagation import DiscoveryPropagationGuide
from guides.object_draws import ORDERS
from inference.estimators import FIVO, VIMCO, OwnWeightVIMCO, WakeSleep
from inference.recipes.digits import DigitsRecipe
from inference.recipes.recipe import OptionError, Recipe
from inference.rmsprop import TensorFlowRMSprop
from inference.schedules import Constant, CosineRamp, Piecewise, Schedule
from inference.stages import Stage
from pyro_models.components.glimpse_networks import KINDS, GlimpseNetworks
from pyro_models.sqair import SequentialAttendInferRepeat
from videos import GrowingVideos, MovingDigits, VideoBatch, VideoSource

LOSSES: dict[str, Callable[[int], ELBO]] = {
    "vimco": VIMCO,
    "vimco-steps": partial(VIMCO, credit="steps"),
    "own-weight": OwnWeightVIMCO,
    "wake-sleep": WakeSleep,
    "fivo": FIVO,
}
DECAYS = ("paper", "cosine", "constant")
OPTIMIZERS = ("rmsprop", "adam")


@dataclass(frozen=True, kw_only=True)
class SQAIRRecipe(DigitsRecipe):
    """Moving digits, new videos at every step; videos begin short and grow.

    Attributes:
        frame_size: height and width of a frame, pixels.
        num_frames: frames of a video, in the end.
        max_digits: largest number of digits.
        digit_scale: size of digits; 1 = MNIST's 20 pixels.
        max_speed: pixels per frame and axis.
        max_acceleration: pixels per squared frame and axis.
        first_frames: frames of a video at the start.
        growth_epochs: epochs after which videos are one frame longer.
        estimator: of the gradient: vimco; vimco-steps (credit by time step); own-weight (what the authors' code does);
            wake-sleep; fivo (particles are resampled between frames).
        num_particles: of the estimator.
        num_slots: largest number of objects.
        what_dim: size of an object's appearance.
        glimpse_size: height and width of a glimpse, pixels.
        network: "mlp" or "conv".
        units: of all networks.
        where_scale_mean: prior mean of the logit of a new window's scale.
        chained: let new windows depend on one another.
        residual: propagated means are changes.
        mean_image: whether there is one.
        order: whether presence is drawn "first" or "last".
        masked: let propagation mask its glimpses.
        correlated: let the numbers of a followed window be correlated.
        propagation_bias: of the guide's logit of going on, at the start.
        discovery_bias: of its logit of a new object, at the start.
        propagation_offset: of the prior logit of going on.
        later_offset: of the prior logit of no discovery after the first frame.
        decay: of the learning rate: "paper" (a third of it after a fifth of all steps, a ninth after half), "cosine" to
            zero, or "constant".
        optimization: "rmsprop" (TensorFlow's) or "adam".
    """

    paper: ClassVar[str] = "Kosiorek et al. 2018, table 1 (moving multi-MNIST)"

    @property
    def label(self) -> str:
        """Name of the model in the paper's figures and tables."""
        return {"mlp": "MLP-SQAIR", "conv": "CONV-SQAIR"}[self.network]

    world: str = "moving-mnist"
    frame_size: int = 50
    num_frames: int = 10
    max_digits: int = 2
    digit_scale: float = 1.0
    max_speed: float = 10.0
    max_acceleration: float = 3.0
    first_frames: int = 3
    growth_epochs: int = 50
    estimator: str = "vimco"
    num_particles: int = 5
    num_slots: int = 3
    what_dim: int = 50
    glimpse_size: int = 20
    network: str = "mlp"
    units: int = 256
    where_scale_mean: float = -2.0
    chained: bool = True
    residual: bool = False
    mean_image: bool = True
    order: str = "last"
    masked: bool = True
    correlated: bool = True
    propagation_bias: float = 5.0
    discovery_bias: float = 1.0
    propagation_offset: float = 10.0
    later_offset: float = 10.0
    decay: str = "paper"
    optimization: str = "rmsprop"
    num_train: int = 64_000
    num_validation: int = 200
    num_test: int = 1000
    batch_size: int = 32
    epochs: int = 1000
    learning_rate: float = 1e-5
    clip_norm: float | None = None

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

    def training_source(self, train: VideoBatch) -> VideoSource:
        """New videos at every step, of a length that grows."""
        endless = super().training_source(train)
        if self.first_frames >= self.num_frames:
            return endless
        return GrowingVideos(endless, self.first_frames, self.growth_epochs * self.steps_per_epoch)

    def build(self) -> tuple[PyroModule, PyroModule]:
        """Model and guide, freshly initialised from the seed."""
        for option, value, known in (
            ("estimator", self.estimator, LOSSES),
            ("network", self.network, KINDS),
            ("order", self.order, ORDERS),
            ("decay", self.decay, DECAYS),
            ("optimization", self.optimization, OPTIMIZERS),
        ):
            if value not in known:
                raise OptionError(f"--{option}: expected one of {', '.join(known)}, got {value!r}")
        if self.first_frames < 1 or self.growth_epochs < 1:
            raise OptionError(
                "--first-frames, --growth-epochs: expected positive numbers, "
                f"got {self.first_frames} and {self.growth_epochs}"
            )
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

    def loss(self) -> ELBO:
        """The bound and its gradient."""
        return LOSSES[self.estimator](self.num_particles)

    def optimizer(self) -> Callable[..., torch.optim.Optimizer]:
        """TensorFlow's RMSProp, or Adam."""
        return TensorFlowRMSprop if self.optimization == "rmsprop" else super().optimizer()

    def schedule(self) -> Schedule:
        """Learning rate as a function of the step."""
        if self.decay == "constant":
            return self.learning_rate
        if self.decay == "cosine":
            return CosineRamp(self.learning_rate, 0.0, self.num_steps)
        steps = {0: 1.0, self.num_steps // 5: 1 / 3, self.num_steps // 2: 1 / 9}
        return Piecewise({begin: Constant(self.learning_rate * factor) for begin, factor in steps.items()})

    def stages(self) -> list[Stage]:
        """One stage."""
        return [Stage(self.num_steps)]


_SQAIR = SQAIRRecipe()
RECIPES: dict[str, Recipe] = {
    "sqair-mlp": _SQAIR,
    "sqair-conv": replace(_SQAIR, network="conv", units=128),
    "sqair-small": replace(
        _SQAIR,
        frame_size=28,
        num_frames=5,
        digit_scale=0.5,
        max_speed=4.0,
        max_acceleration=1.0,
        num_slots=2,
        what_dim=16,
        glimpse_size=10,
        units=96,
        where_scale_mean=-0.5,
        residual=True,
        num_train=6400,
        epochs=50,
        growth_epochs=10,
        learning_rate=0.0005,
        decay="cosine",
        optimization="adam",
        clip_norm=1000.0,
    ),
}
