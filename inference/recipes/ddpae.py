"""DDPAE on its moving digits: infer objects from the first frames, predict the others."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from pyro.nn import PyroModule

from guides.pose_prediction.guide import PosePredictionGuide
from inference.recipes.options import OptionError
from inference.recipes.recipe import Pair, Recipe, Training
from inference.recipes.tracked_digits import TrackedDigitVideos
from inference.scores.frame_prediction import FramePrediction
from inference.scores.score import Score
from inference.svi.schedules import Constant, CosineRamp, Piecewise, Schedule
from inference.training.options import FUSED_ADAM
from pyro_models.ddpae.model import DDPAE


@dataclass(frozen=True, kw_only=True)
class DDPAEPair(Pair):
    """DDPAE and its guide.

    Attributes:
        num_input: number of frames to predict from.
        num_objects: number of objects.
        what_dim: size of an object's content.
        object_scale: side of a frame divided by that of an object.
        units: units of the guide's recurrent layers.
        channels: filters of the first convolution.
        score_input: whether the input frames have a likelihood.
        released_weights: start from the weights of the authors' code; false: poses start at the prior, and half of the
            decoder's last filters are bright, which saves thousands of steps.
    """

    num_input: int = 10
    num_objects: int = 2
    what_dim: int = 128
    object_scale: float = 2.0
    units: int = 64
    channels: int = 8
    score_input: bool = True
    released_weights: bool = False

    @property
    def label(self) -> str:
        """Name of the model in the paper's figures and tables."""
        return "DDPAE"

    def check(self, recipe: "DDPAERecipe") -> None:
        """Refuse videos without a frame to predict."""
        if not 1 <= self.num_input < recipe.videos.num_frames:
            raise OptionError(
                f"--num-input: expected 1 to num_frames - 1 = {recipe.videos.num_frames - 1}, got {self.num_input}"
            )

    def scores(self, recipe: "DDPAERecipe") -> tuple[Score, ...]:
        """Errors of predicted frames."""
        return (FramePrediction(prefix=self.num_input),)

    def build(self, recipe: "DDPAERecipe") -> tuple[PyroModule, PyroModule]:
        """Model and guide, freshly initialised."""
        model = DDPAE(
            recipe.videos.frame_shape,
            num_objects=self.num_objects,
            num_input=self.num_input,
            what_dim=self.what_dim,
            object_scale=self.object_scale,
            channels=self.channels,
            score_input=self.score_input,
            released_weights=self.released_weights,
        )
        return model, PosePredictionGuide(model, units=self.units, released_weights=self.released_weights)


@dataclass(frozen=True, kw_only=True)
class DDPAETraining(Training):
    """Adam on one draw of the guide.

    Attributes:
        decay: decay of the learning rate: "paper" (divided by 10 after half of the epochs) or "cosine" to zero.
    """

    decay: Literal["paper", "cosine"] = "paper"
    batch_size: int = 64
    epochs: int = 1273
    learning_rate: float = 0.001
    clip_norm: float | None = None

    def optimizer(self) -> Callable[..., torch.optim.Optimizer]:
        """Adam with the moments' decay rates of the authors' code."""
        return partial(FUSED_ADAM, betas=(0.5, 0.999))

    def schedule(self, recipe: Recipe[Any, Any, Any]) -> Schedule:
        """Learning rate as a function of the step."""
        if self.decay == "cosine":
            return CosineRamp(self.learning_rate, 0.0, recipe.num_steps)
        half = max(1, self.epochs // 2 * recipe.steps_per_epoch)
        return Piecewise({0: Constant(self.learning_rate), half: Constant(0.1 * self.learning_rate)})


DDPAERecipe = Recipe[TrackedDigitVideos, DDPAEPair, DDPAETraining]
SMALL: dict[str, Any] = {
    "frame_size": 32,
    "num_frames": 10,
    "digit_scale": 0.5,
    "num_input": 5,
    "first_frames": 10,
    "prefix": 5,
    "num_train": 6400,
    "epochs": 60,
    "decay": "cosine",
}
MOVING_DIGITS = Recipe(
    name="ddpae",
    paper="Hsieh et al. 2018, table 1 (moving MNIST)",
    videos=TrackedDigitVideos(
        world="ddpae-mnist", frame_size=64, num_frames=20, first_frames=20, prefix=10, num_train=10_048
    ),
    pair=DDPAEPair(),
    training=DDPAETraining(),
)
RECIPES = (MOVING_DIGITS, MOVING_DIGITS.named("ddpae-small", **SMALL))
