"""How often a model counts objects correctly."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from inference.metrics.boxes import is_visible
from inference.metrics.counting import counting_accuracy
from inference.scores.score import Evaluated, Score
from videos import VideoBatch


@dataclass(frozen=True, kw_only=True)
class Counting(Score):
    """Share of frames in which the reconstruction has the right number of objects."""

    name: ClassVar[str] = "counting"
    needs: ClassVar[tuple[str, ...]] = ("presence",)

    def compute(self, evaluated: Evaluated) -> float | None:
        """The share; None for a model without objects, or if the truth is not known."""
        return _share(evaluated, None)

    def table(self, score: float) -> str:
        """One line."""
        return f"counting accuracy    {score:10.4f}"


@dataclass(frozen=True, kw_only=True)
class VisibleCounting(Score):
    """The same, over frames that contain at least half of each object.

    Attributes:
        visibility: maps videos to the share of each object inside the frame, (sequences, time, objects).
    """

    name: ClassVar[str] = "visible_counting"
    needs: ClassVar[tuple[str, ...]] = ("presence", "positions", "box_sizes")
    visibility: Callable[[VideoBatch], Tensor]

    def without_simulator(self) -> None:
        """None."""

    def compute(self, evaluated: Evaluated) -> float | None:
        """The share; None for a model without objects, or if the truth is not known."""
        test = evaluated.test
        if test.presence is None or test.positions is None or test.box_sizes is None:
            return None
        return _share(evaluated, is_visible(self.visibility(test)))

    def table(self, score: float) -> str:
        """One line."""
        return f"of visible objects   {score:10.4f}"


def _share(evaluated: Evaluated, visible: Tensor | None) -> float | None:
    truth, scene = evaluated.test.presence, evaluated.scene
    if truth is None or scene is None or scene.presence is None:
        return None
    found, truth = scene.presence > 0.5, truth.cpu()
    if visible is not None:
        frames = (visible.cpu() | ~truth).all(-1)
        found, truth = found[frames], truth[frames]
        if len(truth) == 0:
            return None  # every frame has an object that is there and not visible
    return counting_accuracy(found, truth).item()
