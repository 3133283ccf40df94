"""Recipes of what the Kalman VAE is compared with: recurrent networks on frozen codes, deep Markov models, DVBF."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pyro
from pyro.nn import PyroModule

from guides.encoders import FrameEncoder
from guides.frame_gaussian import FrameGaussianGuide
from guides.recurrent import RecurrentGuide
from inference.recipes.recipe import OptionError, Recipe
from inference.svi.schedules import CosineRamp, GeometricRamp, LinearRamp, Piecewise, Schedule
from inference.training.train import Stage
from pyro_models.components.frame_networks import frame_decoder
from pyro_models.deep_markov import DeepMarkovModel
from pyro_models.deep_variational_bayes_filter import DeepVariationalBayesFilter
from pyro_models.recurrent_codes.model import RecurrentCodes


@dataclass(frozen=True, kw_only=True)
class RecurrentCodesRecipe(Recipe):
    """A frame auto-encoder, pre-trained; then a recurrent network that predicts its frozen codes.

    Attributes:
        frame_shape: channels, height, width.
        code_dim: size of a code.
        variational: a VAE instead of a plain auto-encoder.
        predictor: forward (the paper's) or bidirectional (an imputer that sees both sides).
        channels: width of the convolutions.
        pretraining_epochs: epochs in which the auto-encoder is trained; the rest trains the recurrent network.
        code_noise: standard deviation of noise on the codes at first; it falls to 0 in half of the pre-training.
        prior_weight: weight at first on what pulls the codes to their prior; it grows to 1 in a quarter of the
            pre-training, by a constant factor a step. In pong variational codes collapse into the prior if it is 1 from
            the start (seeds 0 and 1); from 0.01 those of seed 1 do not, those of seed 0 still do.
    """

    paper: ClassVar[str] = "Fraccaro et al. 2017, figures 3a and 3b, AE-RNN and VAE-RNN"

    frame_shape: tuple[int, int, int] = (1, 32, 32)
    code_dim: int = 2
    variational: bool = False
    predictor: str = "forward"
    channels: int = 32
    pretraining_epochs: int = 40
    code_noise: float = 2.0
    prior_weight: float = 1.0
    epochs: int = 120

    @property
    def label(self) -> str:
        """Name of the model in the paper's figures and tables."""
        if self.predictor == "bidirectional":
            return "BiLSTM"
        return "VAE-RNN" if self.variational else "AE-RNN"

    def build(self) -> tuple[PyroModule, PyroModule]:
        """Model and guide, freshly initialised from the seed."""
        pyro.set_rng_seed(self.seed)
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

    def stages(self) -> list[Stage]:
        """Frames first, then codes with the auto-encoder frozen.

        The plain auto-encoder keeps the prior N(0, I) of its codes, without the entropy; without the prior they grow
        and twist. It begins with noise on them: in the polygon (seed 0) an affine map of the codes then explains .96 of
        the variance of positions, and .49 without.
        """
        if not 0 < self.pretraining_epochs < self.epochs:
            raise OptionError(
                f"--pretraining-epochs: expected 1 to epochs - 1 = {self.epochs - 1}, got {self.pretraining_epochs}"
            )
        if self.code_noise < 0:
            raise OptionError(f"--code-noise: expected a standard deviation, not negative, got {self.code_noise}")
        if not 0 < self.prior_weight <= 1:
            raise OptionError(f"--prior-weight: expected more than 0 and at most 1, got {self.prior_weight}")
        pretraining = self.pretraining_epochs * self.steps_per_epoch
        return [
            Stage(
                pretraining,
                frozen=("model.predictor.*",),
                site_weights={"a": GeometricRamp(self.prior_weight, 1.0, max(1, pretraining // 4))},
                buffers={"guide.encoder.noise": LinearRamp(self.code_noise, 0.0, max(1, pretraining // 2))},
            ),
            Stage(self.num_steps - pretraining, frozen=("guide.encoder.*", "model.decoder.*")),
        ]

    def schedule(self) -> Schedule:
        """Half a cosine down to zero in each stage: a recurrent network needs a slow end more than anything else."""
        first = self.pretraining_epochs * self.steps_per_epoch
        rest = max(1, self.num_steps - first)
        return Piecewise(
            {
                0: CosineRamp(self.learning_rate, 0.0, max(1, first)),
                first: CosineRamp(self.learning_rate, 0.0, rest, begin=first),
            }
        )


@dataclass(frozen=True, kw_only=True)
class MarkovRecipe(Recipe):
    """A deep Markov model or a deep variational Bayes filter on the pendulum, with its annealed reconstruction.

    Attributes:
        frame_shape: channels, height, width.
        model: dmm or dvbf.
        state_dim: size of a state z_t.
        control_dim: size of a control.
        hidden_dim: units of each hidden layer.
        likelihood: of frames: bernoulli or gaussian.
        initial_weight: weight on log p(x | z) at the start.
        annealing_epochs: epochs in which that weight grows to 1.
    """

    paper: ClassVar[str] = "Fraccaro et al. 2017, table 1, DMM and DVBF (Krishnan et al. 2017; Karl et al. 2017)"

    world: str = "pendulum"
    frame_shape: tuple[int, int, int] = (1, 16, 16)
    model: str = "dmm"
    state_dim: int = 3
    control_dim: int = 1
    hidden_dim: int = 128
    likelihood: str = "gaussian"
    initial_weight: float = 0.01
    annealing_epochs: int = 130
    num_train: int = 500
    num_validation: int = 500
    num_test: int = 500
    epochs: int = 400
    learning_rate: float = 0.001

    @property
    def label(self) -> str:
        """Name of the model in the paper's figures and tables."""
        return self.model.upper()

    def build(self) -> tuple[PyroModule, PyroModule]:
        """Model and guide, freshly initialised from the seed."""
        pyro.set_rng_seed(self.seed)
        kind = {"dmm": DeepMarkovModel, "dvbf": DeepVariationalBayesFilter}[self.model]
        model = kind(
            self.frame_shape,
            state_dim=self.state_dim,
            control_dim=self.control_dim,
            hidden_dim=self.hidden_dim,
            likelihood=self.likelihood,
        )
        return model, RecurrentGuide(model, hidden_dim=self.hidden_dim)

    def stages(self) -> list[Stage]:
        """One stage; the weight of the frames grows linearly (Karl et al. 2017)."""
        ramp = LinearRamp(self.initial_weight, 1.0, max(1, self.annealing_epochs * self.steps_per_epoch))
        return [Stage(self.num_steps, site_weights={"frames": ramp})]

    def schedule(self) -> Schedule:
        """Half a cosine down to zero."""
        return CosineRamp(self.learning_rate, 0.0, self.num_steps)


_CPU = {"channels": 16, "epochs": 100, "pretraining_epochs": 20}  # epochs of codes alone take seconds
_BOX = {
    "ae-rnn": RecurrentCodesRecipe(),
    "vae-rnn": RecurrentCodesRecipe(variational=True, code_noise=0.0),  # its draws are noisy as they are
    "bilstm": RecurrentCodesRecipe(predictor="bidirectional"),
}
RECIPES: dict[str, Recipe] = {
    **{f"{name}-box": recipe for name, recipe in _BOX.items()},
    **{f"{name}-box-cpu": replace(recipe, **_CPU) for name, recipe in _BOX.items()},
    "dmm-pendulum": MarkovRecipe(),
    "dvbf-pendulum": MarkovRecipe(model="dvbf", learning_rate=0.002),  # at which the deep Markov model collapses
}
