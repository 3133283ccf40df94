"""Baselines of the Kalman VAE: recurrent networks on frozen codes, deep Markov models, DVBF."""

from dataclasses import dataclass
from typing import Any, Literal

from pyro.nn import PyroModule

from guides.encoders import FrameEncoder
from guides.frame_gaussian import FrameGaussianGuide
from guides.recurrent import RecurrentGuide
from inference.gallery.codes import CodePictures
from inference.gallery.picture import Picture
from inference.recipes.options import OptionError
from inference.recipes.published_curves import error_curves
from inference.recipes.recipe import Pair, Recipe, Training
from inference.recipes.simulated_videos import SimulatedVideos
from inference.scores.imputation_curves import ImputationCurves
from inference.scores.position_r2 import PositionR2
from inference.scores.score import Score
from inference.svi.schedules import CosineRamp, GeometricRamp, LinearRamp, Piecewise, Schedule
from inference.training.train import Stage
from pyro_models.components.frame_networks import frame_decoder
from pyro_models.deep_markov import DeepMarkovModel
from pyro_models.deep_variational_bayes_filter import DeepVariationalBayesFilter
from pyro_models.recurrent_codes.model import RecurrentCodes


@dataclass(frozen=True, kw_only=True)
class RecurrentCodesPair(Pair):
    """A frame auto-encoder, and a recurrent network that predicts its codes.

    Attributes:
        frame_shape: channels, height, width.
        code_dim: size of a code.
        variational: a VAE instead of a plain auto-encoder.
        predictor: forward (the paper's) or bidirectional (imputes from past and future).
        channels: width of the convolutions.
    """

    frame_shape: tuple[int, int, int] = (1, 32, 32)
    code_dim: int = 2
    variational: bool = False
    predictor: Literal["forward", "bidirectional"] = "forward"
    channels: int = 32

    @property
    def label(self) -> str:
        """Name of the model in the paper's figures and tables."""
        if self.predictor == "bidirectional":
            return "BiLSTM"
        return "VAE-RNN" if self.variational else "AE-RNN"

    def build(self, recipe: Recipe[Any, Any, Any]) -> tuple[PyroModule, PyroModule]:
        """Model and guide, freshly initialised."""
        frame_shape = self.frame_shape
        options = {"channels": self.channels}
        model = RecurrentCodes(
            frame_shape,
            code_dim=self.code_dim,
            predictor=self.predictor,
            decoder=frame_decoder("conv", self.code_dim, frame_shape, **options),
        )
        limit = None if self.variational else 0.0
        encoder = FrameEncoder(frame_shape, self.code_dim, "conv", variance_limit=limit, **options)
        return model, FrameGaussianGuide(model, point=not self.variational, encoder=encoder)

    def scores(self, recipe: Recipe[Any, Any, Any]) -> tuple[Score, ...]:
        """Positions from codes; imputation errors."""
        return PositionR2(), ImputationCurves()

    def pictures(self, recipe: Recipe[Any, Any, Any]) -> tuple[Picture, ...]:
        """Codes; imputation errors."""
        return CodePictures(), error_curves(recipe)


@dataclass(frozen=True, kw_only=True)
class RecurrentCodesTraining(Training):
    """The auto-encoder is pre-trained; then the recurrent network learns to predict its frozen codes.

    Attributes:
        pretraining_epochs: epochs in which the auto-encoder is trained; the rest trains the recurrent network.
        code_noise: initial standard deviation of noise added to the codes; it falls to 0 in half of the pre-training.
        prior_weight: initial weight on the prior term of the codes; it grows to 1 in a quarter of the pre-training, by
            a constant factor per step. In pong, variational codes collapse to the prior if it starts at 1 (seeds 0 and
            1); starting at 0.01 prevents it for seed 1 but not for seed 0.
    """

    pretraining_epochs: int = 40
    code_noise: float = 2.0
    prior_weight: float = 1.0
    epochs: int = 120

    def stages(self, recipe: Recipe[Any, Any, Any]) -> list[Stage]:
        """Frames first, then codes with the auto-encoder frozen.

        The plain auto-encoder keeps the prior term N(0, I) on its codes, without the entropy; without the prior the
        codes grow and twist. Noise is added to them at first: in the polygon (seed 0) an affine map of the codes then
        explains .96 of the variance of positions, and .49 without noise.
        """
        if not 0 < self.pretraining_epochs < self.epochs:
            raise OptionError(
                f"--pretraining-epochs: expected 1 to epochs - 1 = {self.epochs - 1}, got {self.pretraining_epochs}"
            )
        if self.code_noise < 0:
            raise OptionError(f"--code-noise: expected a standard deviation of at least 0, got {self.code_noise}")
        if not 0 < self.prior_weight <= 1:
            raise OptionError(f"--prior-weight: expected more than 0 and at most 1, got {self.prior_weight}")
        pretraining = self.pretraining_epochs * recipe.steps_per_epoch
        return [
            Stage(
                pretraining,
                frozen=("model.predictor.*",),
                site_weights={"a": GeometricRamp(self.prior_weight, 1.0, max(1, pretraining // 4))},
                buffers={"guide.encoder.noise": LinearRamp(self.code_noise, 0.0, max(1, pretraining // 2))},
            ),
            Stage(recipe.num_steps - pretraining, frozen=("guide.encoder.*", "model.decoder.*")),
        ]

    def schedule(self, recipe: Recipe[Any, Any, Any]) -> Schedule:
        """Half a cosine down to zero in each stage: recurrent networks benefit most from a slow end."""
        first = self.pretraining_epochs * recipe.steps_per_epoch
        rest = max(1, recipe.num_steps - first)
        return Piecewise(
            {
                0: CosineRamp(self.learning_rate, 0.0, max(1, first)),
                first: CosineRamp(self.learning_rate, 0.0, rest, begin=first),
            }
        )


@dataclass(frozen=True, kw_only=True)
class MarkovPair(Pair):
    """A deep Markov model or a deep variational Bayes filter, with a recurrent guide.

    Attributes:
        frame_shape: channels, height, width.
        model: dmm or dvbf.
        state_dim: size of a state z_t.
        control_dim: size of a control.
        hidden_dim: units of each hidden layer.
        likelihood: likelihood of frames: bernoulli or gaussian.
    """

    frame_shape: tuple[int, int, int] = (1, 16, 16)
    model: Literal["dmm", "dvbf"] = "dmm"
    state_dim: int = 3
    control_dim: int = 1
    hidden_dim: int = 128
    likelihood: Literal["bernoulli", "gaussian"] = "gaussian"

    @property
    def label(self) -> str:
        """Name of the model in the paper's figures and tables."""
        return self.model.upper()

    def build(self, recipe: Recipe[Any, Any, Any]) -> tuple[PyroModule, PyroModule]:
        """Model and guide, freshly initialised."""
        kind = {"dmm": DeepMarkovModel, "dvbf": DeepVariationalBayesFilter}[self.model]
        model = kind(
            self.frame_shape,
            state_dim=self.state_dim,
            control_dim=self.control_dim,
            hidden_dim=self.hidden_dim,
            likelihood=self.likelihood,
        )
        return model, RecurrentGuide(model, hidden_dim=self.hidden_dim)

    def scores(self, recipe: Recipe[Any, Any, Any]) -> tuple[Score, ...]:
        """Imputation errors of binary frames."""
        return (ImputationCurves(),) if self.likelihood == "bernoulli" else ()

    def pictures(self, recipe: Recipe[Any, Any, Any]) -> tuple[Picture, ...]:
        """Imputation errors."""
        return (error_curves(recipe),)


@dataclass(frozen=True, kw_only=True)
class MarkovTraining(Training):
    """Training with an annealed reconstruction weight.

    Attributes:
        initial_weight: weight on log p(x | z) at the start.
        annealing_epochs: epochs in which that weight grows to 1.
    """

    initial_weight: float = 0.01
    annealing_epochs: int = 130
    epochs: int = 400
    learning_rate: float = 0.001

    def stages(self, recipe: Recipe[Any, Any, Any]) -> list[Stage]:
        """One stage; the weight of the frames grows linearly (Karl et al. 2017)."""
        ramp = LinearRamp(self.initial_weight, 1.0, max(1, self.annealing_epochs * recipe.steps_per_epoch))
        return [Stage(recipe.num_steps, site_weights={"frames": ramp})]

    def schedule(self, recipe: Recipe[Any, Any, Any]) -> Schedule:
        """Half a cosine down to zero."""
        return CosineRamp(self.learning_rate, 0.0, recipe.num_steps)


AE_RNN = Recipe(
    name="ae-rnn-box",
    paper="Fraccaro et al. 2017, figures 3a and 3b, AE-RNN and VAE-RNN",
    videos=SimulatedVideos(),
    pair=RecurrentCodesPair(),
    training=RecurrentCodesTraining(),
)
VAE_RNN = AE_RNN.with_options(variational=True, code_noise=0.0)  # sampling already adds noise to its codes
BILSTM = AE_RNN.with_options(predictor="bidirectional")
FAST: dict[str, Any] = {"channels": 16, "epochs": 100, "pretraining_epochs": 20}  # epochs of codes alone take seconds
DMM = Recipe(
    name="dmm-pendulum",
    paper="Fraccaro et al. 2017, table 1, DMM and DVBF (Krishnan et al. 2017; Karl et al. 2017)",
    videos=SimulatedVideos(world="pendulum", num_train=500, num_validation=500, num_test=500),
    pair=MarkovPair(),
    training=MarkovTraining(),
)
RECIPES = (
    AE_RNN,
    VAE_RNN.named("vae-rnn-box"),
    BILSTM.named("bilstm-box"),
    AE_RNN.named("ae-rnn-box-cpu", **FAST),
    VAE_RNN.named("vae-rnn-box-cpu", **FAST),
    BILSTM.named("bilstm-box-cpu", **FAST),
    DMM,
    DMM.named("dvbf-pendulum", model="dvbf", learning_rate=0.002),  # at which the deep Markov model collapses
)
