"""Attend, infer, repeat on scenes of digits, with a choice of estimators."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pyro.infer import ELBO, RenyiELBO, TraceEnum_ELBO, TraceGraph_ELBO
from pyro.nn import PyroModule

from guides.glimpse_attention import GlimpseAttentionGuide
from inference.estimators import VIMCO, WakeSleep
from inference.recipes.digit_videos import StillDigitVideos
from inference.recipes.options import OptionError
from inference.recipes.recipe import Pair, Recipe, Training
from inference.svi.schedules import CosineRamp, GeometricRamp, Schedule
from inference.training.stages import Stage
from pyro_models.air import AttendInferRepeat

Estimator = Literal["vimco", "wake-sleep", "graph", "enumeration", "renyi"]
LOSSES: dict[Estimator, Callable[[int], ELBO]] = {
    "vimco": VIMCO,
    "wake-sleep": WakeSleep,
    "graph": lambda num_particles: TraceGraph_ELBO(),
    "enumeration": lambda num_particles: TraceEnum_ELBO(),
    "renyi": lambda num_particles: RenyiELBO(num_particles=num_particles, vectorize_particles=True),
}


@dataclass(frozen=True, kw_only=True)
class AIRPair(Pair):
    """AIR and its guide, set up for the training's estimator.

    Attributes:
        num_slots: largest number of objects.
        what_dim: size of an object's appearance.
        glimpse_size: height and width of a glimpse, pixels.
        hidden_dim: units of the guide's layers.
    """

    num_slots: int = 3
    what_dim: int = 50
    glimpse_size: int = 20
    hidden_dim: int = 256

    @property
    def label(self) -> str:
        """Name of the model in the paper's figures and tables."""
        return "AIR"

    def build(self, recipe: "AIRRecipe") -> tuple[PyroModule, PyroModule]:
        """Model and guide, freshly initialised."""
        training = recipe.training
        model = AttendInferRepeat(
            recipe.videos.frame_shape,
            num_slots=self.num_slots,
            what_dim=self.what_dim,
            glimpse_size=self.glimpse_size,
            another=training.last_another,
        )
        guide = GlimpseAttentionGuide(
            model,
            hidden_dim=self.hidden_dim,
            baseline=training.estimator == "graph",
            enumerate_presence=training.estimator == "enumeration",
        )
        return model, guide


@dataclass(frozen=True, kw_only=True)
class AIRTraining(Training):
    """Training with an annealed prior on the number of objects.

    At first one more object is probable, so that objects are tried and learned; then ever less so, until an object is
    used only if it improves the likelihood enough.

    A digit of 20 x 20 pixels is worth hundreds of nats, so every slot is quickly present and explains a part of it:
    after 9,000 steps of TraceGraph_ELBO on 50 x 50 pixels all three slots were still in use. An initial weight of a
    quarter on the frames leaves time to learn that one slot is enough.

    Attributes:
        estimator: gradient estimator for presence: vimco; wake-sleep; graph (score function with a neural baseline);
            enumeration (exact, over all presences); renyi (Pyro's, without a gradient for presence: a known failure).
        num_particles: particles of vimco, wake-sleep and renyi.
        first_another: prior probability of one more object at the start.
        last_another: the same at the end.
        first_frames_weight: weight of the frames' log probability at the start; 1 at the end.
        annealing_epochs: epochs in which the prior falls and the weight rises, by constant factors per step.
    """

    estimator: Estimator = "vimco"
    num_particles: int = 5
    first_another: float = 0.9
    last_another: float = 0.001
    first_frames_weight: float = 0.25
    annealing_epochs: int = 4
    batch_size: int = 64
    epochs: int = 6
    learning_rate: float = 0.001
    clip_norm: float | None = None

    def loss(self, recipe: Recipe[Any, Any, Any]) -> ELBO:
        """The bound and its gradient."""
        return LOSSES[self.estimator](self.num_particles)

    def stages(self, recipe: Recipe[Any, Any, Any]) -> list[Stage]:
        """First the prior of the count falls and the weight of frames rises; then both are constant."""
        falling = self.annealing_epochs * recipe.steps_per_epoch
        if not 0 < falling < recipe.num_steps:
            raise OptionError(
                f"--annealing-epochs: expected 1 to epochs - 1 = {self.epochs - 1}, got {self.annealing_epochs}"
            )
        if not 0 < self.first_frames_weight <= 1:
            raise OptionError(f"--first-frames-weight: expected above 0 and at most 1, got {self.first_frames_weight}")
        another = GeometricRamp(self.first_another, self.last_another, falling)
        weight = GeometricRamp(self.first_frames_weight, 1.0, falling)
        return [
            Stage(falling, buffers={"model.another": another}, site_weights={"frames": weight}),
            Stage(recipe.num_steps - falling, buffers={"model.another": self.last_another}, fresh_optimizer=False),
        ]

    def schedule(self, recipe: Recipe[Any, Any, Any]) -> Schedule:
        """Half a cosine down to zero."""
        return CosineRamp(self.learning_rate, 0.0, recipe.num_steps)


AIRRecipe = Recipe[StillDigitVideos, AIRPair, AIRTraining]
AIR = Recipe(
    name="air",
    paper="Eslami et al. 2016, section 4.1 (multi-MNIST); AIR of Kosiorek et al. 2018, table 1",
    videos=StillDigitVideos(),
    pair=AIRPair(),
    training=AIRTraining(),
)
RECIPES = (
    AIR,
    AIR.named(
        "air-small",
        frame_size=28,
        digit_scale=0.5,
        what_dim=20,
        glimpse_size=10,
        hidden_dim=128,
        num_train=6400,
        first_frames_weight=1.0,
        epochs=40,
        annealing_epochs=30,
    ),
)
