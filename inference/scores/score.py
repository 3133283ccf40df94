"""What a score is, and what it looks at: a trained model with its guide, and test videos."""

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
        source: of batches.
        first_step: batches from there on are fresh.
        validation: videos for validation.
    """

    source: VideoSource
    first_step: int
    validation: VideoBatch


@dataclass(frozen=True)
class Evaluated:
    """A trained model with its guide and test videos. What several scores and pictures need is computed once.

    Attributes:
        model: trained.
        guide: trained with it.
        test: test videos, on the device of the model.
        fresh_videos: called with a batch size; None where nobody knows how videos are made.
        found: what scores have found, by their names; for pictures of them.
        seed: of all draws.
        progress: show bars.
        processes: which share the work; all get the whole result.
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
        """What a function makes of this; computed at the first call, then kept."""
        if function not in self._kept:
            self._kept[function] = function(self)
        return self._kept[function]

    @cached_property
    def reconstruction(self) -> Imputation:
        """The test videos as `reconstruct` gives them."""
        with evaluation_mode(self.model, self.guide):
            return reconstruct(self.model, self.guide, *self.test.arguments, seed=self.seed)

    @cached_property
    def scene(self) -> Scene | None:
        """The likeliest objects of the test videos, on the CPU; None for a model that places none."""
        if not isinstance(self.model, PlacesObjects):
            return None
        with evaluation_mode(self.model, self.guide):
            scene = self.model.scene(self.reconstruction.latents)
        return Scene(**{name: value.cpu() for name, value in vars(scene).items() if value is not None})


@dataclass(frozen=True, kw_only=True)
class Score(ABC):
    """One score of a model on its test videos. Its fields are options of `kinema evaluate`.

    What `compute` returns is a number, or a record that prints as a table: plain values, tuples, mappings and
    dataclasses of these, so that `dataclasses.asdict` and JSON can write it.
    """

    name: ClassVar[str]
    """In records and on the screen."""

    @abstractmethod
    def compute(self, evaluated: Evaluated) -> Any:
        """The score; None where it is not defined, such as tracking without objects.

        Args:
            evaluated: model, guide and test videos, and what scores share.
        """

    def read(self, written: Any) -> Any:
        """The score from what JSON made of it."""
        return written

    def table(self, score: Any) -> str:
        """Lines for people."""
        return str(score)
