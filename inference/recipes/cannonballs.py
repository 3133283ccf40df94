"""Dynamics from pixels on videos of cannonballs, and the paper's recurrent baseline."""

from dataclasses import dataclass
from typing import Any, Literal

from pyro.infer import ELBO, Trace_ELBO, TraceMeanField_ELBO
from pyro.nn import PyroModule

from guides.no_latents import NoLatentsGuide
from guides.objects.filter import ObjectFilterGuide
from guides.objects.potentials import ObjectPotentialsGuide
from inference.recipes.ball_videos import BallVideos
from inference.recipes.options import OptionError
from inference.recipes.recipe import Pair, Recipe, Training
from inference.svi.schedules import CosineRamp, GeometricRamp, Schedule
from inference.training.stages import Stage
from pyro_models.dynamics_from_pixels.ballistic_mixture import BallisticMixture, IndependentPositions
from pyro_models.dynamics_from_pixels.model import DynamicsFromPixels
from pyro_models.dynamics_from_pixels.object_renderers import GlyphRenderer, RecurrentRenderer
from pyro_models.encoder_decoder_lstm import EncoderDecoderLSTM

GUIDES = {"filter": ObjectFilterGuide, "potentials": ObjectPotentialsGuide}
LOSSES: dict[str, type[ELBO]] = {"analytic": TraceMeanField_ELBO, "sampled": Trace_ELBO}


@dataclass(frozen=True, kw_only=True)
class PhysicsPair(Pair):
    """A model with positions between dynamics and pixels, and a guide that reads pixels.

    Attributes:
        guide: "filter" (the paper's, independent of the dynamics) or "potentials" (combined with them).
        bidirectional: whether the guide reads in both directions of time.
        reading: how the guide's state gives a mean: "linear" (the paper's), "keypoints" or "tracking".
        renderer: "recurrent" (the paper's) or "glyph".
        dynamics: "mixture" of exact linear-Gaussian distributions, or "none": independent positions.
        num_components: components of the mixture.
        full: learn full noise covariances; otherwise they are diagonal.
        transition_variance: initial variance of the process noise.
        emission_variance: initial variance of positions given states.
        state_dim: size of the guide's states.
        hidden_dim: size of the canvas of the recurrent renderer.
        first_log_scale: initial log standard deviation of all positions in the guide.
    """

    guide: Literal["filter", "potentials"] = "filter"
    bidirectional: bool = False
    reading: Literal["linear", "keypoints", "tracking"] = "linear"
    renderer: Literal["recurrent", "glyph"] = "recurrent"
    dynamics: Literal["mixture", "none"] = "mixture"
    num_components: int = 2
    full: bool = True
    transition_variance: float = 1e-3
    emission_variance: float = 1.0
    state_dim: int = 1024
    hidden_dim: int = 1024
    first_log_scale: float = 0.0

    @property
    def label(self) -> str:
        """Name of the model in tables."""
        return {"filter": "dynamics from pixels", "potentials": "dynamics from pixels, structured"}[self.guide]

    def build(self, recipe: Recipe[BallVideos, Any, Any]) -> tuple[PyroModule, PyroModule]:
        """Model and guide, freshly initialised."""
        videos = recipe.videos
        frame_shape = videos.frame_shape
        recurrent = self.renderer == "recurrent"
        prior = BallisticMixture(
            self.num_components,
            full=self.full,
            transition_variance=self.transition_variance,
            emission_variance=self.emission_variance,
        )
        model = DynamicsFromPixels(
            frame_shape,
            videos.max_balls,
            prior=prior if self.dynamics == "mixture" else IndependentPositions(),
            renderer=RecurrentRenderer(frame_shape, self.hidden_dim) if recurrent else GlyphRenderer(frame_shape),
        )
        guide = GUIDES[self.guide](
            model,
            state_dim=self.state_dim,
            bidirectional=self.bidirectional,
            reading=self.reading,
            first_log_scale=self.first_log_scale,
        )
        return model, guide


@dataclass(frozen=True, kw_only=True)
class BallTraining(Training):
    """Batch size, number of epochs and learning rate of the paper."""

    batch_size: int = 20
    epochs: int = 400
    learning_rate: float = 0.001
    clip_norm: float | None = None


@dataclass(frozen=True, kw_only=True)
class PhysicsTraining(BallTraining):
    """Renderer and guide first, with the dynamics frozen; then all together.

    Attributes:
        expectation: expectation of log p(a): "analytic", or "sampled" by one draw (the paper's); always sampled with
            potentials.
        frozen_epochs: epochs with frozen dynamics.
        frozen_weight: weight of the divergence from the prior in these epochs.
        first_weight: weight of the divergence when the dynamics start to learn; it falls to 1 by a constant factor per
            step.
        annealing_epochs: epochs in which it falls.
        decay: learning rate: "constant" (the paper's), or "cosine" decay to zero.
    """

    expectation: Literal["analytic", "sampled"] = "analytic"
    frozen_epochs: int = 20
    frozen_weight: float = 1.0
    first_weight: float = 100.0
    annealing_epochs: int = 80
    decay: Literal["constant", "cosine"] = "constant"

    def loss(self, recipe: Recipe[Any, PhysicsPair, Any]) -> ELBO:
        """The bound with one draw; with "analytic" only its pixel term is noisy."""
        return LOSSES["sampled" if recipe.pair.guide == "potentials" else self.expectation]()

    def schedule(self, recipe: Recipe[Any, Any, Any]) -> Schedule:
        """Learning rate as a function of the step."""
        return CosineRamp(self.learning_rate, 0.0, recipe.num_steps) if self.decay == "cosine" else self.learning_rate

    def stages(self, recipe: Recipe[Any, PhysicsPair, Any]) -> list[Stage]:
        """Frozen dynamics; dynamics with a falling weight of the divergence; the bound itself.

        Raises:
            OptionError: if no epoch is left for one of the stages.
        """
        frozen, falling = (epochs * recipe.steps_per_epoch for epochs in (self.frozen_epochs, self.annealing_epochs))
        if not 0 < frozen < frozen + falling < recipe.num_steps:
            raise OptionError(
                "--frozen-epochs, --annealing-epochs: expected positive numbers whose sum is below "
                f"epochs = {self.epochs}, got {self.frozen_epochs} and {self.annealing_epochs}"
            )
        learns = recipe.pair.dynamics == "mixture"
        ramp = GeometricRamp(self.first_weight, 1.0, falling, begin=frozen)
        return [
            Stage(frozen, frozen=("model.prior.*",) if learns else (), site_weights={"a": self.frozen_weight}),
            Stage(falling, site_weights={"a": ramp}),
            Stage(recipe.num_steps - frozen - falling, fresh_optimizer=False),
        ]


@dataclass(frozen=True, kw_only=True)
class EncoderDecoderPair(Pair):
    """The paper's baseline: an LSTM between an encoder and a decoder of frames, without positions.

    Attributes:
        state_dim: size of the LSTM's state.
        code_dim: size of an encoded frame.
        hidden_dim: units of the hidden layer of encoder and decoder.
    """

    state_dim: int = 2048
    code_dim: int = 1024
    hidden_dim: int = 1024

    @property
    def label(self) -> str:
        """Name of the model in tables."""
        return "ED-LSTM"

    def build(self, recipe: Recipe[BallVideos, Any, Any]) -> tuple[PyroModule, PyroModule]:
        """Model and its guide, freshly initialised."""
        videos = recipe.videos
        model = EncoderDecoderLSTM(
            videos.frame_shape,
            state_dim=self.state_dim,
            code_dim=self.code_dim,
            hidden=(self.hidden_dim,),
            control_dim=videos.max_balls,
        )
        return model, NoLatentsGuide(model)


PAPER = Recipe(
    name="cannonballs",
    paper="Chiappa and Paquet 2019, section 3 (cannonballs)",
    videos=BallVideos(),
    pair=PhysicsPair(),
    training=PhysicsTraining(),
)
STRUCTURED = PAPER.named(
    "cannonballs-structured",
    guide="potentials",
    reading="tracking",
    renderer="glyph",
    transition_variance=1e-4,
    emission_variance=0.01,
    first_log_scale=-1.5,
    frozen_epochs=2,
    first_weight=1.0,
    annealing_epochs=1,
)
ED_LSTM = Recipe(
    name="ed-lstm",
    paper="Chiappa and Paquet 2019, section 3.2 (ED-LSTM)",
    videos=BallVideos(),
    pair=EncoderDecoderPair(),
    training=BallTraining(),
)
SIZES: dict[str, Any] = {"frame_size": 32, "max_balls": 2, "num_validation": 200, "num_test": 400}
RECIPES = (
    PAPER,
    STRUCTURED,
    STRUCTURED.named("cannonballs-small", state_dim=128, decay="cosine", epochs=10, **SIZES),
    PAPER.named(
        "cannonballs-small-paper",
        state_dim=256,
        hidden_dim=256,
        epochs=40,
        frozen_epochs=2,
        annealing_epochs=8,
        **SIZES,
    ),
    ED_LSTM,
    ED_LSTM.named("ed-lstm-small", state_dim=256, code_dim=128, hidden_dim=128, epochs=20, **SIZES),
)
