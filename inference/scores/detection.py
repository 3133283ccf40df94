"""How well a model finds objects frame by frame, if true objects have no identities over time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from inference.metrics.counting import counting_confusion
from inference.metrics.tracking import score_tracks
from inference.runs.records import with_tuples
from inference.scores.score import Evaluated, Score
from inference.scores.tracking import found_and_true, score_middles
from pyro_models.components.scene import Scene


@dataclass(frozen=True)
class DetectionSummary:
    """Scores of the most probable objects in the reconstruction (`reconstruct`), each frame independently.

    Attributes:
        accuracy: detection accuracy, 1 - (misses + false positives) / objects; an object counts as found if its centre
            is within half a true box's mean side.
        box_accuracy: detection accuracy; an object counts as found if boxes overlap by half.
        position_error: mean distance of a found object's centre from the true one, pixels.
        found: objects found per frame, right or wrong.
        true: true objects per frame.
        guess: share of frames with the most frequent number of objects: counting accuracy of a constant guess.
        counted: counting accuracy in the frames with 0, 1, 2, ... objects; None if there is no such frame.
        discovered: objects per frame that are found for the first time, and
        propagated: objects per frame that were found before.
        late_discoveries: objects per video first found after the first frame; includes people who walk in later.
    """

    accuracy: float
    box_accuracy: float
    position_error: float
    found: float
    true: float
    guess: float
    counted: tuple[float | None, ...]
    discovered: float
    propagated: float
    late_discoveries: float

    def __str__(self) -> str:
        shares = ", ".join("none" if share is None else f"{share:.4f}" for share in self.counted)
        rows = [
            ("counting, a guess", self.guess),
            ("detection accuracy, near", self.accuracy),
            ("detection accuracy, box", self.box_accuracy),
            ("error of middles, pixels", self.position_error),
            ("objects in a frame", self.found),
            ("true objects in a frame", self.true),
            ("discovered in a frame", self.discovered),
            ("propagated in a frame", self.propagated),
            ("late discoveries", self.late_discoveries),
        ]
        lines = [f"{text:24} {value:10.4f}" for text, value in rows]
        return "\n".join([f"counted right, of 0, 1, ... objects: {shares}", *lines])


@dataclass(frozen=True, kw_only=True)
class Detection(Score):
    """How well objects are found, if a slot of the true objects may hold another object in each frame."""

    name: ClassVar[str] = "detection"
    needs: ClassVar[tuple[str, ...]] = ("presence", "positions", "box_sizes")

    def compute(self, evaluated: Evaluated) -> DetectionSummary | None:
        """The summary; None for a model without identities, or if the true objects are unknown."""
        scenes = found_and_true(evaluated)
        return None if scenes is None else score_detection(*scenes)

    def read(self, written: Mapping[str, Any]) -> DetectionSummary:
        """Rebuild the summary from parsed JSON."""
        return DetectionSummary(**with_tuples(written))


def score_detection(found: Scene, true: Scene) -> DetectionSummary:
    """Compare found and true objects.

    Args:
        found: presence, positions, box sizes and identities, leading dims (sequences, time).
        true: presence, positions and box sizes, leading dims (sequences, time).
    """
    assert found.presence is not None
    assert true.presence is not None
    single_found, single_true = _single_frames(found), _single_frames(true)
    middles = score_middles(single_found, single_true)
    present, there = found.presence > 0.5, true.presence > 0.5
    confusion = counting_confusion(present, there)
    totals = confusion.sum(-1).tolist()
    right = confusion.diagonal().tolist() + [0] * len(totals)
    late = score_tracks(found, true).late_discoveries
    discovered = (late + present[:, 0].sum(-1)).double().mean().item() / present.shape[1]
    return DetectionSummary(
        accuracy=middles.mota,
        box_accuracy=score_tracks(single_found, single_true).mota,
        position_error=middles.position_error,
        found=_mean(present.sum(-1)),
        true=_mean(there.sum(-1)),
        guess=max(totals) / sum(totals),
        counted=tuple(one / total if total else None for one, total in zip(right, totals, strict=False)),
        discovered=discovered,
        propagated=_mean(present.sum(-1)) - discovered,
        late_discoveries=_mean(late),
    )


def _single_frames(scene: Scene) -> Scene:
    """Turn every frame into a separate video."""
    return Scene(**{name: value.flatten(0, 1)[:, None] for name, value in vars(scene).items() if value is not None})


def _mean(numbers: Tensor) -> float:
    return numbers.to(torch.float64).mean().item()
