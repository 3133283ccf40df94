"""How many pixels of a reconstruction are wrong."""

from dataclasses import dataclass
from typing import ClassVar

from inference.scores.score import Evaluated, Score


@dataclass(frozen=True, kw_only=True)
class FlickerPixels(Score):
    """Share of pixels on the wrong side of a threshold.

    Attributes:
        threshold: from which a pixel is white.
    """

    name: ClassVar[str] = "flicker_pixels"
    threshold: float = 0.5

    def compute(self, evaluated: Evaluated) -> float:
        """The share."""
        expected = evaluated.reconstruction.frames > self.threshold
        return (expected != (evaluated.test.frames > self.threshold)).double().mean().item()

    def table(self, score: float) -> str:
        """One line."""
        return f"pixels of flicker    {score:10.4f}"
