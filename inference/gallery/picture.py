"""What a picture of a trained model is."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from inference.scores.score import Evaluated


@dataclass(frozen=True, kw_only=True)
class Picture(ABC):
    """One or a few pictures of a trained model, drawn by `kinema render`."""

    def without_simulator(self) -> "Picture | None":
        """The picture of videos that no simulator made; None where it is of simulated videos alone."""
        return self

    @abstractmethod
    def draw(self, evaluated: Evaluated, folder: Path) -> list[Path]:
        """Draw into a folder; returns the files written, none if there is nothing to show.

        Args:
            evaluated: model, guide and test videos, and results of scores if the run has been evaluated.
            folder: an existing output folder.
        """


def save(figure: Figure, path: Path) -> Path:
    """Write a figure; returns the file."""
    figure.savefig(path)
    return path
