"""What recipes of simulated digits share: new videos at every step, tests on digits that training never sees."""

from abc import abstractmethod
from dataclasses import dataclass

from inference.recipes.recipe import OptionError, Recipe, Splits
from videos import SIMULATORS, EndlessVideos, MovingDigits, VideoBatch, VideoSource


@dataclass(frozen=True, kw_only=True)
class DigitsRecipe(Recipe):
    """Digits that lie or move; an epoch is `num_train` videos."""

    @abstractmethod
    def simulator(self, split: str) -> MovingDigits:
        """What makes videos of the digits of a split."""

    def splits(self) -> Splits:
        """Validation and test videos of digits that training never sees, and one batch of training videos.

        `data`, if given, is a folder with MNIST's files.

        Raises:
            OptionError: if the world is another one, or frames shall be missing.
            FileNotFoundError: if `data` lacks a file.
        """
        simulator = self.simulator("train")
        world = next(name for name, kind in SIMULATORS.items() if kind is type(simulator))
        if self.world != world:
            raise OptionError(f"--world: expected {world}, got {self.world!r}")
        if self.missing:
            why = ", as a scene is one frame" if simulator.num_frames == 1 else ""
            raise OptionError(f"--missing: expected 0{why}, got {self.missing}")
        return self.drawn_splits(self.simulator, f"digits: {simulator}")

    def training_source(self, train: VideoBatch) -> VideoSource:
        """New videos at every step."""
        return EndlessVideos(self.simulator("train"), self.batch_size, self.seed)
