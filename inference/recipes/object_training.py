"""Training for videos of growing length: TensorFlow's optimiser with a stepwise decaying learning rate."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch

from inference.recipes.recipe import Recipe, Training
from inference.svi.schedules import Constant, CosineRamp, Piecewise, Schedule
from inference.training.rmsprop import TensorFlowRMSprop


@dataclass(frozen=True, kw_only=True)
class ObjectTraining(Training):
    """Training as in Kosiorek et al. 2018, or faster.

    Attributes:
        num_particles: particles of the estimator.
        decay: decay of the learning rate: "paper" (divided by 3 after a fifth of all steps, by 9 after half), "cosine"
            to zero, or "constant".
        optimization: optimiser: "rmsprop" (TensorFlow's) or "adam".
    """

    num_particles: int = 5
    decay: Literal["paper", "cosine", "constant"] = "paper"
    optimization: Literal["rmsprop", "adam"] = "rmsprop"
    epochs: int = 1000
    learning_rate: float = 1e-5
    clip_norm: float | None = None

    def optimizer(self) -> Callable[..., torch.optim.Optimizer]:
        """TensorFlow's RMSProp, or Adam."""
        return TensorFlowRMSprop if self.optimization == "rmsprop" else super().optimizer()

    def schedule(self, recipe: Recipe[Any, Any, Any]) -> Schedule:
        """Learning rate as a function of the step."""
        if self.decay == "constant":
            return self.learning_rate
        if self.decay == "cosine":
            return CosineRamp(self.learning_rate, 0.0, recipe.num_steps)
        steps = {0: 1.0, recipe.num_steps // 5: 1 / 3, recipe.num_steps // 2: 1 / 9}
        return Piecewise({begin: Constant(self.learning_rate * factor) for begin, factor in steps.items()})
