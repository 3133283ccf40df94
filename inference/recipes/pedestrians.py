"""SQAIR on people walking past a static camera."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch

from inference.gallery.objects import TrackPictures
from inference.gallery.picture import Picture
from inference.recipes.growing_videos import LengtheningVideos
from inference.recipes.options import OptionError
from inference.recipes.recipe import Recipe, Splits
from inference.recipes.sqair_parts import SQAIRPair, SQAIRTraining
from inference.scores.counting import Counting
from inference.scores.detection import Detection
from inference.scores.score import Score
from pyro_models.components.glimpse_networks import GlimpseNetworks
from videos import BackgroundSubtraction, Surveillance, synthetic_clip
from videos.clips import Clip
from videos.digits import SPLITS
from videos.reading import whole_clips

SYNTHETIC_FRAMES = 200  # after the warm-up
SYNTHETIC_OBJECTS = 6


@dataclass(frozen=True, kw_only=True)
class ClipVideos(LengtheningVideos):
    """Moving regions of a static-camera clip, cropped to windows, on black; see `Surveillance`.

    `data` is the clip, a video file, or a folder of the images of one or of several clips, see --videos; None = a
    synthetic one. The first part of its time is for training, later parts for validation and test: a person may appear
    in two parts, but no frame does. The camera must not move.

    There are no annotations. True objects are the connected components of moving pixels, so counting accuracy is
    agreement with background subtraction: two people who touch count as one, one behind a lamp post as two, and an
    unrecognised shadow counts as an object. True objects have no identities.

    Attributes:
        test: clip for test videos, of the same kinds; None = the last part of the time of `data`.
        width: width of the resized frames of the clip, pixels.
        height: height of the resized frames, pixels.
        warm_up: first frames of the clip, used only to learn the background.
        frames_per_second: approximate frame rate of the videos, if the clip states its own.
        least_area: minimum area of an object, resized pixels.
        max_objects: largest number of objects in a frame.
        shares: shares of the clip's time for training, validation and test.
        invert: whether light is inverted: yes for dark things on a bright background, no for bright ones on a dark one,
            auto = as moving things are darker or brighter than what they hide.
    """

    world: str = "surveillance"
    test: Path | None = None
    frame_size: int = 64
    num_frames: int = 5
    width: int = 240
    height: int = 175
    warm_up: int = 200
    frames_per_second: float = 6.0
    least_area: int = 30
    max_objects: int = 3
    shares: tuple[float, float, float] = (0.7, 0.1, 0.2)
    num_test: int = 500
    invert: Literal["auto", "yes", "no"] = "auto"

    def sources(self) -> dict[str, Path]:
        """The clips that are read, by option."""
        found = {"videos": self.data, "test": self.test}
        return {name: path for name, path in found.items() if path is not None}

    def reading(self, path: Path) -> "ClipVideos":
        """Moving regions of a user's clip."""
        return replace(self, data=path)

    def check(self, recipe: Recipe[Any, Any, Any]) -> None:
        """Refuse a clip for tests alone."""
        super().check(recipe)
        if self.test is not None and self.data is None:
            raise OptionError(f"--test: expected a clip for training too, --videos, got {self.test} alone")

    def simulator(self, split: str) -> Surveillance:
        """Windows on the block of a split."""
        return self._sources[split]

    def splits(self, recipe: Recipe[Any, Any, Any]) -> Splits:
        """Validation and test videos of later parts of the clip, and one batch of training videos.

        Raises:
            OptionError: if another world or missing frames are requested.
            FileNotFoundError: if there is no such clip.
            ValueError: if it cannot be read, is too short, its camera moves, or it shows too few objects.
            ImportError: if OpenCV, which the extra `video` installs, is missing.
        """
        self.check_world("surveillance")
        num_train = min(recipe.training.batch_size, self.num_train)
        source = f"clip: {self.data or 'synthetic'}"
        return self.simulated(self.simulator, source, seed=recipe.seed, num_train=num_train)

    def scores(self, recipe: Recipe[Any, Any, Any]) -> tuple[Score, ...]:
        """Counting and detection: true objects have no identities."""
        return Counting(), Detection()

    def pictures(self, recipe: Recipe[Any, Any, Any]) -> tuple[Picture, ...]:
        """Tracked objects."""
        return (TrackPictures(switches=False),)

    @cached_property
    def _sources(self) -> dict[str, Surveillance]:
        subtraction = BackgroundSubtraction(
            warm_up=self.warm_up,
            frames_per_second=self.frames_per_second,
            width=self.width,
            height=self.height,
            least_area=self.least_area,
            invert={"auto": None, "yes": True, "no": False}[self.invert],
        )
        whole = Surveillance(
            self._clips,
            subtraction,
            num_frames=self.num_frames,
            size=self.frame_size,
            max_objects=self.max_objects,
            shares=self.shares,
        )
        sources = {split: replace(whole, split=split) for split in SPLITS}
        if self.test is not None:
            validation = self.shares[1]
            sources |= {
                split: replace(sources[split], shares=(1 - validation, validation, 0.0)) for split in SPLITS[:2]
            }
            sources["test"] = replace(sources["test"], clips=whole_clips(self.test, "--test"), shares=(0.0, 0.0, 1.0))
        return sources

    @property
    def _clips(self) -> Clip | tuple[Clip, ...]:
        if self.data is not None:
            return whole_clips(self.data, "clip")
        return synthetic_clip(
            torch.Generator().manual_seed(0),
            num_frames=self.warm_up + SYNTHETIC_FRAMES,
            height=self.height,
            width=self.width,
            num_objects=SYNTHETIC_OBJECTS,
        )


@dataclass(frozen=True, kw_only=True)
class PedestrianPair(SQAIRPair):
    """SQAIR with glimpses as tall as people.

    Attributes:
        glimpse_size: height and width of a glimpse, pixels.
    """

    glimpse_size: tuple[int, int] = (28, 12)

    def looks(self) -> tuple[tuple[int, int], GlimpseNetworks]:
        """The networks of the paper's appendix D.

        Its strides of 2, 2, 2, 1 would give half the number of parameters that it reports.
        """
        networks = GlimpseNetworks(
            self.network,
            self.units,
            channels=(16, 32, 64, 64),
            strides=(2, 2, 1, 1),
            decoder_units=128,
            decoder_channels=(64, 64, 64),
            decoder_strides=(2, 2),
        )
        return self.glimpse_size, networks


# The learning rate is constant, as in the first 400,000 steps of the other recipes; the paper trains for fewer.
PEDESTRIANS = Recipe(
    name="sqair-pedestrians",
    paper="Kosiorek et al. 2018, section 4.2 (pedestrians)",
    videos=ClipVideos(),
    pair=PedestrianPair(network="conv", units=128),
    training=SQAIRTraining(epochs=158, decay="constant"),
)
RECIPES = (
    PEDESTRIANS,
    PEDESTRIANS.named(
        "sqair-pedestrians-small",
        frame_size=40,
        width=160,
        height=117,
        least_area=13,
        max_objects=2,
        glimpse_size=(14, 6),
        network="mlp",
        units=96,
        num_slots=2,
        what_dim=16,
        where_scale_mean=-1.0,
        residual=True,
        num_train=6400,
        epochs=25,
        growth_epochs=8,
        learning_rate=0.0005,
        decay="cosine",
        optimization="adam",
        clip_norm=1000.0,
    ),
)
