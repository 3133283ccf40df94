"""What a picture of a trained model is."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import ClassVar

from matplotlib.figure import Figure

from inference.scores.score import Evaluated


@dataclass(frozen=True, kw_only=True)
class Picture(ABC):
    """One or a few pictures of a trained model, drawn by `kinema render`."""

    captions: ClassVar[Mapping[str, str]] = {}
    """Pattern of file names -> what such a picture shows and how to read it, in a sentence or a few."""

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


def caption_of(pictures: Iterable[Picture], path: Path) -> str:
    """The caption of a file that one of some pictures has drawn; empty where none knows its name."""
    patterns = [item for picture in pictures for item in picture.captions.items()]
    return next((caption for pattern, caption in patterns if fnmatchcase(path.name, pattern)), "")


def save(figure: Figure, path: Path) -> Path:
    """Write a figure; returns the file."""
    figure.savefig(path)
    return path
