"""Videos of a constant number of moving digits, of growing length, scored by horizon."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from inference.gallery.horizons import HorizonPictures
from inference.gallery.objects import TrackPictures
from inference.gallery.picture import Picture
from inference.recipes.digit_videos import digit_splits
from inference.recipes.growing_videos import LengtheningVideos
from inference.recipes.recipe import Recipe, Splits
from inference.scores.counting import Counting
from inference.scores.horizons import Horizons
from inference.scores.score import Score
from inference.scores.tracking import Tracking
from videos import DDPAEDigits, EllipticDigits, LinearDigits, MovingDigits
from videos.digits import name_of_digits
from videos.moving_digits import DigitScenes

World = Literal["linear-mnist", "elliptic-mnist", "ddpae-mnist", "moving-mnist"]


@dataclass(frozen=True, kw_only=True)
class TrackedDigitVideos(LengtheningVideos):
    """Digits that neither appear nor leave. `data`, if given, is a folder with the MNIST files.

    Attributes:
        world: how digits move: straight lines or ellipses (Akhundov et al. 2019), the moving MNIST of DDPAE, or that of
            SQAIR without noise.
        max_digits: largest number of digits; with ddpae-mnist it is the number of all videos.
        digit_scale: size of digits; 1 = MNIST's 20 pixels.
        overlap: whether digits may share a pixel of the first frame.
        speed: lowest and highest speed of linear-mnist, pixels per frame.
        max_speed: highest speed per axis of moving-mnist, pixels per frame.
        wall_distance: distance of the walls outside the frame in linear-mnist, pixels.
        smallest_axis: smallest semi-axis of elliptic-mnist, pixels.
        prefix: observed frames when positions are predicted.
        long_frames: number of frames of the long videos for curves of errors by frame.
    """

    world: World = "linear-mnist"
    max_digits: int = 2
    digit_scale: float = 1.0
    overlap: bool = True
    speed: tuple[float, float] = (1.0, 5.0)
    max_speed: float = 10.0
    wall_distance: float = 0.0
    smallest_axis: float = 5.0
    prefix: int = 5
    long_frames: int = 100

    def simulator(self, split: str) -> DigitScenes:
        """Simulator of videos with the digits of a split."""
        common: dict[str, Any] = {
            "num_frames": self.num_frames,
            "size": self.frame_size,
            "max_digits": self.max_digits,
            "digit_scale": self.digit_scale,
            "split": split,
            "folder": self.data,
        }
        if self.world == "linear-mnist":
            return LinearDigits(**common, overlap=self.overlap, speed=self.speed, wall_distance=self.wall_distance)
        if self.world == "elliptic-mnist":
            return EllipticDigits(**common, overlap=self.overlap, smallest_axis=self.smallest_axis)
        if self.world == "ddpae-mnist":
            return DDPAEDigits(**common, min_digits=self.max_digits)
        return MovingDigits(**common, max_speed=self.max_speed, max_acceleration=0.0, jitter=0.0)

    def data_set(self) -> str:
        """MNIST, or without a network what stands in for it."""
        return name_of_digits(self.data)

    def splits(self, recipe: Recipe[Any, Any, Any]) -> Splits:
        """See `digit_splits`."""
        return digit_splits(self, self.simulator, recipe)

    def scores(self, recipe: Recipe[Any, Any, Any]) -> tuple[Score, ...]:
        """Counting, errors by horizon and tracking."""
        long = replace(self.simulator("test"), num_frames=self.long_frames)
        return Counting(), Horizons(prefix=self.prefix, long_videos=long), Tracking()

    def pictures(self, recipe: Recipe[Any, Any, Any]) -> tuple[Picture, ...]:
        """Tracked objects, and errors by horizon."""
        return TrackPictures(followed=self.prefix), HorizonPictures(label=recipe.label, training_length=self.num_frames)


SMALL_TRACKED: dict[str, Any] = {
    "frame_size": 32,
    "num_frames": 10,
    "digit_scale": 0.5,
    "speed": (0.6, 3.2),
    "max_speed": 4.0,
    "smallest_axis": 3.2,
    "num_train": 3200,
}
"""Options of small videos for CPUs."""
