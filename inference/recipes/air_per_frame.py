"""AIR as the SQAIR paper's baseline: SQAIR's discovery and decoder on independent frames."""

from dataclasses import dataclass

from inference.recipes.digit_videos import DigitFrames
from inference.recipes.recipe import Recipe
from inference.recipes.sqair import SMALL_OBJECTS
from inference.recipes.sqair_parts import DiscoveryPair, SQAIRTraining
from pyro_models.components.glimpse_networks import GlimpseNetworks


@dataclass(frozen=True, kw_only=True)
class AIRPerFramePair(DiscoveryPair):
    """SQAIR's model and guide on single frames, where nothing is propagated.

    The parameters for later frames, half of all, are never used.

    All scores are per frame: nats per frame, and counting per frame, which includes digits outside the frame. Test
    frames are ordered by video: with ten frames in a video `kinema evaluate RUN --num-sequences 1000` scores the first
    hundred videos, and ten times its nats are nats per video. To a model of single frames, two overlapping digits look
    like one; this is the paper's setting.

    Attributes:
        glimpse_size: height and width of a glimpse, pixels.
    """

    glimpse_size: int = 20

    @property
    def label(self) -> str:
        """Name of the model in the paper's figures and tables."""
        return {"mlp": "MLP-AIR", "conv": "CONV-AIR"}[self.network]

    def looks(self) -> tuple[tuple[int, int], GlimpseNetworks]:
        """See `DiscoveryPair.looks`."""
        return (self.glimpse_size, self.glimpse_size), GlimpseNetworks(self.network, self.units)


AIR = Recipe(
    name="air-per-frame",
    paper="Kosiorek et al. 2018, table 1 (AIR on single frames of moving multi-MNIST)",
    videos=DigitFrames(),
    pair=AIRPerFramePair(),
    training=SQAIRTraining(),
)
RECIPES = (
    AIR,
    # 170, 176 and 177 nats after 400 steps at rates of 0.0005, 0.001 and 0.002
    AIR.named("air-per-frame-small", **{**SMALL_OBJECTS, "learning_rate": 0.001}),
)
