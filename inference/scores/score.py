"""The base class of scores, and their input: a trained model with its guide, and test videos."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, TypeVar

from torch import nn

from inference.programs.traces import evaluation_mode
from inference.queries.ask import reconstruct
from inference.queries.imputation import Imputation
from inference.runtime.processes import ALONE, Processes
from pyro_models.components.scene import PlacesObjects, Scene
from videos import VideoBatch, VideoSource

R = TypeVar("R")


class FreshVideos(NamedTuple):
    """Full-length videos from the training source that training has not seen.

    Attributes:
        source: source of batches.
        first_step: first step whose batch is fresh.
        validation: validation videos.
    """

    source: VideoSource
    first_step: int
    validation: VideoBatch


@dataclass(frozen=True)
class Evaluated:
    """A trained model with its guide and test videos. Results shared by scores and pictures are computed once.

    Attributes:
        model: trained.
        guide: trained with it.
        test: test videos, on the device of the model.
        fresh_videos: called with a batch size; None if the source of the videos is unknown.
        found: results of scores by name, for pictures.
        seed: seed of all draws.
        progress: show bars.
        processes: processes that share the work; all get the whole result.
    """

    model: nn.Module
    guide: nn.Module
    test: VideoBatch
    fresh_videos: Callable[[int], FreshVideos] | None = None
    found: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    progress: bool = False
    processes: Processes = ALONE
    _kept: dict[Callable[..., Any], Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, function: Callable[["Evaluated"], R]) -> R:
        """Result of a function of this object, cached after the first call."""
        if function not in self._kept:
            self._kept[function] = function(self)
        return self._kept[function]

    @cached_property
    def reconstruction(self) -> Imputation:
        """Reconstruction of the test videos by `reconstruct`."""
        with evaluation_mode(self.model, self.guide):
            return reconstruct(self.model, self.guide, *self.test.arguments, seed=self.seed)

    @cached_property
    def scene(self) -> Scene | None:
        """The most probable objects of the test videos, on the CPU; None for a model without objects."""
        if not isinstance(self.model, PlacesObjects):
            return None
        with evaluation_mode(self.model, self.guide):
            scene = self.model.scene(self.reconstruction.values)
        return Scene(**{name: value.cpu() for name, value in vars(scene).items() if value is not None})


@dataclass(frozen=True, kw_only=True)
class Score(ABC):
    """One score of a model on its test videos. Its fields are options of `kinema evaluate`.

    `compute` returns a number, or a record that prints as a table. Records hold plain values, tuples, mappings and
    dataclasses of these, which `dataclasses.asdict` and JSON can write.
    """

    name: ClassVar[str]
    """Name in records and printed tables."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Fields of `VideoBatch`, beside frames, without which the score of test videos is not defined."""

    def check(self, test: VideoBatch) -> None:  # noqa: B027 (most scores take any videos)
        """Refuse test videos that the options do not fit, with a ValueError, before anything is computed."""

    @abstractmethod
    def compute(self, evaluated: Evaluated) -> Any:
        """The score; None where it is not defined, such as tracking without objects.

        Args:
            evaluated: model, guide, test videos and shared results.
        """

    def without_simulator(self) -> "Score | None":
        """The score of videos that no simulator made; None where it is of simulated videos alone."""
        return self

    def read(self, written: Any) -> Any:
        """Rebuild the score from parsed JSON."""
        return written

    def table(self, score: Any) -> str:
        """The score as printed by `kinema evaluate`."""
        return str(score)
