"""New videos of one to a few cannonballs at every step."""

from dataclasses import dataclass
from typing import Any

from inference.gallery.balls import BallPictures
from inference.gallery.imputations import ImputationPictures
from inference.gallery.picture import Picture
from inference.recipes.options import OptionError
from inference.recipes.recipe import Recipe, Splits, Videos
from inference.scores.score import Score
from inference.scores.trajectories import NUM_FIRST, NUM_LAST, Trajectories
from videos import Cannonballs, EndlessVideos, VideoBatch, VideoSource


@dataclass(frozen=True, kw_only=True)
class BallVideos(Videos):
    """New videos of one to a few balls at every step; an epoch is `num_train` of them.

    Attributes:
        frame_size: height and width of a frame, pixels.
        num_frames: frames of a video.
        max_balls: largest number of balls; every batch contains all numbers from one up.
    """

    world: str = "cannonballs"
    frame_size: int = 48
    num_frames: int = 30
    max_balls: int = 3
    num_train: int = 10_000
    num_validation: int = 600
    num_test: int = 900

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """See `Videos.frame_shape`."""
        return (1, self.frame_size, self.frame_size)

    @property
    def length(self) -> int:
        """See `Videos.length`."""
        return self.num_frames

    def simulator(self) -> Cannonballs:
        """Simulator of the videos."""
        return Cannonballs(num_frames=self.num_frames, size=self.frame_size, max_balls=self.max_balls)

    def splits(self, recipe: Recipe[Any, Any, Any]) -> Splits:
        """Validation and test videos, the same for all seeds, and one batch of training videos.

        Raises:
            OptionError: if another world, a data folder or missing frames are requested, or videos are too short to be
                interpolated.
        """
        if self.data is not None:
            raise OptionError(f"--data: expected none, since cannonballs are simulated, got {self.data}; leave it out")
        self.check_world("cannonballs")
        seen = NUM_FIRST + NUM_LAST
        if self.num_frames <= seen:
            raise OptionError(
                f"--num-frames: expected more than {seen}, the number of observed frames in interpolation, got "
                f"{self.num_frames}"
            )
        simulator = self.simulator()
        num_train = min(recipe.training.batch_size, self.num_train)
        return self.simulated(lambda split: simulator, f"simulated: {simulator}", seed=recipe.seed, num_train=num_train)

    def source(self, recipe: Recipe[Any, Any, Any], train: VideoBatch) -> VideoSource:
        """New videos at every step."""
        return EndlessVideos(self.simulator(), recipe.training.batch_size, recipe.seed)

    def scores(self, recipe: Recipe[Any, Any, Any]) -> tuple[Score, ...]:
        """The paper's three queries."""
        return (Trajectories(simulator=self.simulator()),)

    def pictures(self, recipe: Recipe[Any, Any, Any]) -> tuple[Picture, ...]:
        """Videos with a gap, and paths."""
        return ImputationPictures(), BallPictures(simulator=self.simulator())
