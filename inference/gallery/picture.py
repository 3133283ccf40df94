"""What a picture of a trained model is."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from inference.scores.score import Evaluated


@dataclass(frozen=True, kw_only=True)
class Picture(ABC):
    """One picture of a trained model, or a few, which `kinema render` draws."""

    @abstractmethod
    def draw(self, evaluated: Evaluated, folder: Path) -> list[Path]:
        """Draw into a folder; returns the files written, none where there is nothing to see.

        Args:
            evaluated: model, guide and test videos, and what scores have found, if the run has been evaluated.
            folder: where to; it exists.
        """


def save(figure: Figure, path: Path) -> Path:
    """Write a figure; returns the file."""
    figure.savefig(path)
    return path
