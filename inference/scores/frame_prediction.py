"""How well the last frames of videos are predicted from the first, by DDPAE's own measures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from inference.programs.traces import evaluation_mode
from inference.queries.ask import impute
from inference.scores.score import Evaluated, Score
from videos.missing import tail

SMALLEST_PROBABILITY = 1e-4  # of a pixel, in the cross-entropy


@dataclass(frozen=True)
class FramePredictionScores:
    """Errors of predicted frames, summed over the pixels of a frame.

    Attributes:
        squared_error: mean over sequences and predicted frames.
        cross_entropy: the same, nats, grey values taken for probabilities.
        squared_errors: the squared error of each predicted frame, mean over sequences.
        prefix: number of observed frames.
    """

    squared_error: float
    cross_entropy: float
    squared_errors: tuple[float, ...]
    prefix: int

    def __str__(self) -> str:
        after = f"frames after the first {self.prefix}"
        return "\n".join(
            (
                f"{'squared error':24} {self.squared_error:10.4f}    {after}, sum over pixels",
                f"{'cross-entropy':24} {self.cross_entropy:10.4f}    {after}, sum over pixels",
            )
        )


@dataclass(frozen=True, kw_only=True)
class FramePrediction(Score):
    """Squared error and cross-entropy of predicted frames, as in Hsieh et al. 2018, section 4, and the authors' code.

    Attributes:
        prefix: observed frames, from which the others are predicted.
    """

    name: ClassVar[str] = "frame_prediction"
    prefix: int = 10

    def compute(self, evaluated: Evaluated) -> FramePredictionScores:
        """The scores.

        Raises:
            ValueError: if no frame is observed, or none is left to predict.
        """
        test = evaluated.test
        if not 1 <= self.prefix < test.num_frames:
            raise ValueError(
                f"prefix: expected 1 to {test.num_frames - 1}, one less than the frames of the test videos, got "
                f"{self.prefix}; choose how many frames to predict from"
            )
        start = tail(test.num_sequences, test.num_frames, num_seen=self.prefix).to(test.frames.device)
        with evaluation_mode(evaluated.model, evaluated.guide):
            videos = test.with_observed(start).arguments
            expected = impute(evaluated.model, evaluated.guide, *videos, seed=evaluated.seed).frames
        squares, entropies = frame_errors(expected[:, self.prefix :], test.frames[:, self.prefix :])
        return FramePredictionScores(
            squares.double().mean().item(),
            entropies.double().mean().item(),
            tuple(squares.double().mean(0).tolist()),
            self.prefix,
        )

    def read(self, written: Mapping[str, Any]) -> FramePredictionScores:
        """Rebuild the scores from parsed JSON."""
        return FramePredictionScores(**{**written, "squared_errors": tuple(written["squared_errors"])})


def frame_errors(frames: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Squared error and cross-entropy of each frame, summed over its pixels, (sequences, time) each.

    Predictions are first clamped to [0, 1], for the cross-entropy to [0.0001, 0.9999].

    Args:
        frames: (sequences, time, channels, height, width), predictions.
        truth: the same shape, in [0, 1].

    Raises:
        ValueError: if shapes differ.
    """
    if frames.shape != truth.shape or frames.dim() != 5:
        raise ValueError(
            "frames, truth: expected one shape (sequences, time, channels, height, width), got "
            f"{tuple(frames.shape)} and {tuple(truth.shape)}"
        )
    chance = frames.clamp(SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    entropies = -truth * chance.log() - (1 - truth) * torch.log1p(-chance)
    return (frames.clamp(0, 1) - truth).square().sum((-3, -2, -1)), entropies.sum((-3, -2, -1))
