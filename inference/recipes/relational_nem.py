"""R-NEM on balls, a baseline of Zablotskaia et al. (2020)."""

from dataclasses import dataclass
from typing import Any

from pyro.nn import PyroModule

from guides.no_latents import NoLatentsGuide
from inference.estimators.own_loss import OwnLoss
from inference.recipes.ball_segmentation import SMALL_BALLS, MassiveBallVideos
from inference.recipes.options import OptionError
from inference.recipes.recipe import Pair, Recipe, Training
from inference.training.stages import Stage
from pyro_models.relational_nem.model import Overlay, RelationalNeuralEM


@dataclass(frozen=True, kw_only=True)
class RelationalNEMPair(Pair):
    """R-NEM, which has no latents. The videos have an option `frame_size`.

    Attributes:
        num_slots: number of slots, one or more of them for the background; it may be larger at test.
        state_dim: size of a slot's state.
        hidden: size of a slot's code, and units of the decoder's first layer.
        channels: filters of the encoder's convolutions.
        attention_dim: hidden units of the attention between slots.
        flip_probability: chance that a pixel of the input is flipped in training.
        evaluation_noise: flip pixels, and start from random assignments, in evaluation as well, as in the paper.
        overlay: distribution of a frame given its slots: "union" or "mixture"; the loss is the same.
    """

    num_slots: int = 5
    state_dim: int = 250
    hidden: int = 512
    channels: tuple[int, ...] = (16, 32, 64)
    attention_dim: int = 100
    flip_probability: float = 0.2
    evaluation_noise: bool = False
    overlay: Overlay = "union"

    @property
    def label(self) -> str:
        """Name of the model in the paper's figures and tables."""
        return "R-NEM"

    def check(self, recipe: Recipe[Any, Any, Any]) -> None:
        """Refuse numbers that the model has no use for, and frames that the convolutions do not halve evenly."""
        size, factor = recipe.videos.frame_size, 2 ** len(self.channels)
        if not self.channels or any(side % factor for side in recipe.videos.frame_shape[1:]):
            raise OptionError(
                f"--frame-size: expected a multiple of {factor}, 2 to the number of --channels, of which there is at "
                f"least one, got {size}; change either"
            )
        if self.num_slots < 1:
            raise OptionError(f"--num-slots: expected at least 1, got {self.num_slots}; give one more than objects")
        if not 0 <= self.flip_probability < 1:
            raise OptionError(
                f"--flip-probability: expected from 0 to below 1, got {self.flip_probability}; 0 flips no pixel"
            )

    def build(self, recipe: Recipe[Any, Any, Any]) -> tuple[PyroModule, PyroModule]:
        """Model and guide, freshly initialised."""
        model = RelationalNeuralEM(
            recipe.videos.frame_shape,
            num_slots=self.num_slots,
            state_dim=self.state_dim,
            hidden=self.hidden,
            channels=self.channels,
            attention_dim=self.attention_dim,
            flip_probability=self.flip_probability,
            evaluation_noise=self.evaluation_noise,
            overlay=self.overlay,
        )
        return model, NoLatentsGuide(model)


@dataclass(frozen=True, kw_only=True)
class RelationalNEMTraining(Training):
    """Adam on the paper's loss; the best weights are those with the highest log evidence of validation videos.

    In the paper, training ends after ten epochs without a lower loss of validation videos.
    """

    batch_size: int = 64
    epochs: int = 500
    learning_rate: float = 0.001
    clip_norm: float | None = None

    def stages(self, recipe: Recipe[Any, Any, Any]) -> list[Stage]:
        """One stage, which minimises the model's own loss."""
        return [Stage(recipe.num_steps, loss=OwnLoss("expectation_loss"))]


RELATIONAL_NEM = Recipe(
    name="relational-nem",
    paper="Zablotskaia et al. 2020, table 1, R-NEM (binary balls)",
    videos=MassiveBallVideos(num_frames=30, first_frames=30),
    pair=RelationalNEMPair(),
    training=RelationalNEMTraining(),
)
SMALL: dict[str, Any] = {
    **SMALL_BALLS,
    "first_frames": 10,
    "num_slots": 4,
    "state_dim": 100,
    "hidden": 256,
    "channels": (8, 16, 32),
    "attention_dim": 50,
    "batch_size": 32,
    "epochs": 60,
}
RECIPES = (RELATIONAL_NEM, RELATIONAL_NEM.named("relational-nem-small", **SMALL))
