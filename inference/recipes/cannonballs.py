"""Dynamics from pixels on videos of cannonballs, and the recurrent network it is compared with."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pyro
from pyro.infer import ELBO, Trace_ELBO, TraceMeanField_ELBO
from pyro.nn import PyroModule

from guides.no_latents import NoLatentsGuide
from guides.objects.filter import ObjectFilterGuide
from guides.objects.guide import READINGS
from guides.objects.potentials import ObjectPotentialsGuide
from inference.recipes.recipe import OptionError, Recipe, Splits
from inference.scores.trajectories import NUM_FIRST, NUM_LAST
from inference.svi.schedules import CosineRamp, GeometricRamp, Schedule
from inference.training.stages import Stage
from pyro_models.dynamics_from_pixels.ballistic_mixture import BallisticMixture, IndependentPositions
from pyro_models.dynamics_from_pixels.model import DynamicsFromPixels
from pyro_models.dynamics_from_pixels.object_renderers import GlyphRenderer, RecurrentRenderer
from pyro_models.encoder_decoder_lstm import EncoderDecoderLSTM
from videos import Cannonballs, EndlessVideos, VideoBatch, VideoSource

GUIDES = {"filter": ObjectFilterGuide, "potentials": ObjectPotentialsGuide}
DECAYS = ("constant", "cosine")
LOSSES: dict[str, type[ELBO]] = {"analytic": TraceMeanField_ELBO, "sampled": Trace_ELBO}


@dataclass(frozen=True, kw_only=True)
class BallVideosRecipe(Recipe):
    """New videos of one to a few balls at every step; an epoch is `num_train` of them.

    Attributes:
        frame_size: height and width of a frame, pixels.
        num_frames: frames of a video.
        max_balls: largest number of balls; all numbers from one on are in every batch.
    """

    world: str = "cannonballs"
    frame_size: int = 48
    num_frames: int = 30
    max_balls: int = 3
    num_train: int = 10_000
    num_validation: int = 600
    num_test: int = 900
    batch_size: int = 20
    epochs: int = 400
    learning_rate: float = 0.001
    clip_norm: float | None = None

    def simulator(self) -> Cannonballs:
        """What makes the videos."""
        return Cannonballs(num_frames=self.num_frames, size=self.frame_size, max_balls=self.max_balls)

    def splits(self) -> Splits:
        """Validation and test videos, the same for all seeds, and one batch of training videos.

        Raises:
            OptionError: if the world is another one, a folder of data is named, frames shall be missing, or videos are
                too short to be interpolated.
        """
        if self.world != "cannonballs":
            raise OptionError(f"--world: expected cannonballs, got {self.world!r}")
        if self.data is not None:
            raise OptionError("--data: there are no files of cannonballs, they are simulated; leave it out")
        if self.missing:
            raise OptionError(f"--missing: expected 0, got {self.missing}")
        seen = NUM_FIRST + NUM_LAST
        if self.num_frames <= seen:
            raise OptionError(f"--num-frames: expected more than {seen}, as many are seen, got {self.num_frames}")
        return self.drawn_splits(lambda split: self.simulator(), f"simulated: {self.simulator()}")

    def training_source(self, train: VideoBatch) -> VideoSource:
        """New videos at every step."""
        return EndlessVideos(self.simulator(), self.batch_size, self.seed)


@dataclass(frozen=True, kw_only=True)
class CannonballsRecipe(BallVideosRecipe):
    """Positions between pixels and physics: renderer and guide first, with the dynamics frozen; then all together.

    Attributes:
        guide: "filter" (the paper's, independent of the dynamics) or "potentials" (combined with them).
        bidirectional: whether the guide reads in both directions of time.
        reading: how a mean comes from the guide's state: "linear" (the paper's), "keypoints" or "tracking".
        renderer: "recurrent" (the paper's) or "glyph".
        dynamics: "mixture" of exact linear-Gaussian distributions, or "none": independent positions.
        num_components: of the mixture.
        full: learn correlations of noises; otherwise covariances are diagonal.
        transition_variance: of the process noise at the start.
        emission_variance: of positions at the start.
        state_dim: size of the guide's states.
        hidden_dim: size of the canvas of the recurrent renderer.
        expectation: of log p(a): "analytic", or "sampled" by one draw (the paper's); with potentials there is only the
            latter.
        first_log_scale: log standard deviation of all positions at the start.
        frozen_epochs: epochs in which the dynamics stay as they are.
        frozen_weight: weight of the divergence from the prior in these.
        first_weight: weight of the divergence when the dynamics begin to learn; it falls to 1 by a constant factor a
            step.
        annealing_epochs: epochs in which it falls.
        decay: of the learning rate: "constant" (the paper's), or "cosine" down to zero.
    """

    paper: ClassVar[str] = "Chiappa and Paquet 2019, section 3 (cannonballs)"

    guide: str = "filter"
    bidirectional: bool = False
    reading: str = "linear"
    renderer: str = "recurrent"
    dynamics: str = "mixture"
    num_components: int = 2
    full: bool = True
    transition_variance: float = 1e-3
    emission_variance: float = 1.0
    state_dim: int = 1024
    hidden_dim: int = 1024
    expectation: str = "analytic"
    first_log_scale: float = 0.0
    frozen_epochs: int = 20
    frozen_weight: float = 1.0
    first_weight: float = 100.0
    annealing_epochs: int = 80
    decay: str = "constant"

    @property
    def label(self) -> str:
        """Name of the model in tables."""
        return {"filter": "dynamics from pixels", "potentials": "dynamics from pixels, structured"}[self.guide]

    def build(self) -> tuple[PyroModule, PyroModule]:
        """Model and guide, freshly initialised from the seed."""
        for option, value, known in (
            ("guide", self.guide, GUIDES),
            ("reading", self.reading, READINGS),
            ("renderer", self.renderer, ("recurrent", "glyph")),
            ("dynamics", self.dynamics, ("mixture", "none")),
            ("expectation", self.expectation, LOSSES),
            ("decay", self.decay, DECAYS),
        ):
            if value not in known:
                raise OptionError(f"--{option}: expected one of {', '.join(known)}, got {value!r}")
        pyro.set_rng_seed(self.seed)
        frame_shape = (1, self.frame_size, self.frame_size)
        recurrent = self.renderer == "recurrent"
        prior = BallisticMixture(
            self.num_components,
            full=self.full,
            transition_variance=self.transition_variance,
            emission_variance=self.emission_variance,
        )
        model = DynamicsFromPixels(
            frame_shape,
            self.max_balls,
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

    def loss(self) -> ELBO:
        """One draw; with "analytic" only the pixels' part of the bound has noise."""
        return LOSSES["sampled" if self.guide == "potentials" else self.expectation]()

    def schedule(self) -> Schedule:
        """Learning rate as a function of the step."""
        return CosineRamp(self.learning_rate, 0.0, self.num_steps) if self.decay == "cosine" else self.learning_rate

    def stages(self) -> list[Stage]:
        """Dynamics frozen; dynamics under a falling weight; the bound itself.

        Raises:
            OptionError: if there is no epoch left for one of them.
        """
        frozen, falling = (epochs * self.steps_per_epoch for epochs in (self.frozen_epochs, self.annealing_epochs))
        if not 0 < frozen < frozen + falling < self.num_steps:
            raise OptionError(
                "--frozen-epochs, --annealing-epochs: expected positive numbers whose sum is below "
                f"epochs = {self.epochs}, got {self.frozen_epochs} and {self.annealing_epochs}"
            )
        learns = self.dynamics == "mixture"
        ramp = GeometricRamp(self.first_weight, 1.0, falling, begin=frozen)
        return [
            Stage(frozen, frozen=("model.prior.*",) if learns else (), site_weights={"a": self.frozen_weight}),
            Stage(falling, site_weights={"a": ramp}),
            Stage(self.num_steps - frozen - falling, fresh_optimizer=False),
        ]


@dataclass(frozen=True, kw_only=True)
class EncoderDecoderLSTMRecipe(BallVideosRecipe):
    """The paper's baseline: an LSTM between an encoder and a decoder of frames, without positions.

    Attributes:
        state_dim: size of the LSTM's state.
        code_dim: size of an encoded frame.
        hidden_dim: units of the hidden layer of encoder and decoder.
    """

    paper: ClassVar[str] = "Chiappa and Paquet 2019, section 3.2 (ED-LSTM)"

    state_dim: int = 2048
    code_dim: int = 1024
    hidden_dim: int = 1024

    @property
    def label(self) -> str:
        """Name of the model in tables."""
        return "ED-LSTM"

    def build(self) -> tuple[PyroModule, PyroModule]:
        """Model and its guide, freshly initialised from the seed."""
        pyro.set_rng_seed(self.seed)
        model = EncoderDecoderLSTM(
            (1, self.frame_size, self.frame_size),
            state_dim=self.state_dim,
            code_dim=self.code_dim,
            hidden=(self.hidden_dim,),
            control_dim=self.max_balls,
        )
        return model, NoLatentsGuide(model)

    def stages(self) -> list[Stage]:
        """One stage."""
        return [Stage(self.num_steps)]


_PAPER = CannonballsRecipe()
_STRUCTURED = replace(
    _PAPER,
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
_SIZES: dict[str, Any] = {"frame_size": 32, "max_balls": 2, "num_validation": 200, "num_test": 400}
RECIPES: dict[str, Recipe] = {
    "cannonballs": _PAPER,
    "cannonballs-structured": _STRUCTURED,
    "cannonballs-small": replace(_STRUCTURED, state_dim=128, decay="cosine", epochs=10, **_SIZES),
    "cannonballs-small-paper": replace(
        _PAPER, state_dim=256, hidden_dim=256, epochs=40, frozen_epochs=2, annealing_epochs=8, **_SIZES
    ),
    "ed-lstm": EncoderDecoderLSTMRecipe(),
    "ed-lstm-small": EncoderDecoderLSTMRecipe(state_dim=256, code_dim=128, hidden_dim=128, epochs=20, **_SIZES),
}
