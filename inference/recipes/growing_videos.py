"""What recipes of videos that grow share: their lengths, and TensorFlow's optimiser at a rate that falls in steps."""

from abc import abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch

from inference.recipes.recipe import OptionError, Recipe
from inference.svi.schedules import Constant, CosineRamp, Piecewise, Schedule
from inference.training.rmsprop import TensorFlowRMSprop
from inference.training.stages import Stage
from videos import EndlessVideos, GrowingVideos, Simulator, VideoBatch, VideoSource

DECAYS = ("paper", "cosine", "constant")
OPTIMIZERS = ("rmsprop", "adam")


@dataclass(frozen=True, kw_only=True)
class GrowingVideosRecipe(Recipe):
    """New videos at every step, which begin short and grow; an epoch is `num_train` of them.

    Attributes:
        frame_size: height and width of a frame, pixels.
        num_frames: frames of a video, in the end.
        first_frames: frames of a video at the start.
        growth_epochs: epochs after which videos are one frame longer.
        num_particles: of the estimator.
        decay: of the learning rate: "paper" (a third of it after a fifth of all steps, a ninth after half), "cosine" to
            zero, or "constant".
        optimization: "rmsprop" (TensorFlow's) or "adam".
    """

    frame_size: int = 50
    num_frames: int = 10
    first_frames: int = 3
    growth_epochs: int = 50
    num_particles: int = 5
    decay: str = "paper"
    optimization: str = "rmsprop"
    num_train: int = 64_000
    num_validation: int = 200
    num_test: int = 1000
    batch_size: int = 32
    epochs: int = 1000
    learning_rate: float = 1e-5
    clip_norm: float | None = None

    @abstractmethod
    def simulator(self, split: str) -> Simulator:
        """What makes the videos of a split."""

    def training_source(self, train: VideoBatch) -> VideoSource:
        """New videos at every step, of a length that grows."""
        endless = EndlessVideos(self.simulator("train"), self.batch_size, self.seed)
        if self.first_frames >= self.num_frames:
            return endless
        return GrowingVideos(endless, self.first_frames, self.growth_epochs * self.steps_per_epoch)

    def check(self, **known: Collection[str]) -> None:
        """Refuse options that cannot be.

        Args:
            known: names that an option of a subclass may have.

        Raises:
            OptionError: if an option has another name, or a video no length.
        """
        for option, names in {**known, "decay": DECAYS, "optimization": OPTIMIZERS}.items():
            if (value := getattr(self, option)) not in names:
                raise OptionError(f"--{option}: expected one of {', '.join(names)}, got {value!r}")
        if self.first_frames < 1 or self.growth_epochs < 1:
            raise OptionError(
                "--first-frames, --growth-epochs: expected positive numbers, "
                f"got {self.first_frames} and {self.growth_epochs}"
            )

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
