"""AIR as SQAIR is compared with: SQAIR's discovery and decoder, on frames that know nothing of one another."""

from dataclasses import dataclass, fields, replace
from typing import ClassVar

from pyro.nn import PyroModule

from inference.recipes.recipe import Recipe, Splits
from inference.recipes.sqair import SMALL_OBJECTS, DiscoveryRecipe, SQAIRRecipe
from videos import SingleFrames, VideoBatch, VideoSource


@dataclass(frozen=True, kw_only=True)
class AIRPerFrameRecipe(DiscoveryRecipe):
    """Every frame of moving digits is a video of its own, in training and in tests.

    A step sees all frames of `batch_size` videos. Model and guide are SQAIR's, which propagates nothing before the
    second frame: what later frames would need, half of all parameters, is never reached.

    All numbers are of single frames: nats per frame, and counting per frame, where a digit that is out of sight counts
    as well. Tests go through all frames of the first video, then the second: with ten frames in a video
    `kinema evaluate RUN --num-sequences 1000` scores the first hundred videos, and ten times its nats are those of a
    video. Two digits that overlap look like one to a model of single frames; that is what the paper reports.

    Attributes:
        first_frames: as in `MovingDigitsRecipe`, but ten: frames of whole videos from the start.
    """

    paper: ClassVar[str] = "Kosiorek et al. 2018, table 1 (AIR on single frames of moving multi-MNIST)"

    @property
    def label(self) -> str:
        """Name of the model in the paper's figures and tables."""
        return {"mlp": "MLP-AIR", "conv": "CONV-AIR"}[self.network]

    first_frames: int = 10

    def splits(self) -> Splits:
        """As for other digits, frame by frame."""
        whole = super().splits()
        parts = {name: getattr(whole, name).single_frames() for name in ("train", "validation", "test")}
        return replace(whole, **parts)

    def training_source(self, train: VideoBatch) -> VideoSource:
        """All frames of new videos at every step."""
        return SingleFrames(super().training_source(train))

    def build(self) -> tuple[PyroModule, PyroModule]:
        """Model and guide, freshly initialised from the seed."""
        return SQAIRRecipe(**{field.name: getattr(self, field.name) for field in fields(self)}).build()


_AIR = AIRPerFrameRecipe()
RECIPES: dict[str, Recipe] = {
    "air-per-frame": _AIR,
    # 170, 176 and 177 nats after 400 steps at rates of 0.0005, 0.001 and 0.002
    "air-per-frame-small": replace(_AIR, **{**SMALL_OBJECTS, "learning_rate": 0.001}),
}
