"""Anybody's videos in place of a recipe's own: files of arrays, video files, folders of images or of video files."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from inference.gallery.picture import Picture
from inference.recipes.ball_videos import BallVideos
from inference.recipes.growing_videos import LengtheningVideos
from inference.recipes.options import OptionError
from inference.recipes.recipe import Recipe, Splits, Videos
from inference.recipes.simulated_videos import KEPT
from inference.scores.score import Score
from videos import FixedVideos, GrowingVideos, VideoBatch, VideoFormat, VideoSource
from videos.missing import random_drop
from videos.reading import read_clips, sizes_of_arrays
from videos.sources import Source

_log = logging.getLogger(__name__)

GIVEN = "given"
LARGEST_KEPT = 128  # pixels of the longer side of frames in arrays, up to which they keep their size
SHARES = (0.7, 0.1, 0.2)  # of training, validation and test videos
SHARES_WITHOUT_TEST = (0.9, 0.1)


@dataclass(frozen=True, kw_only=True)
class GivenVideos(Videos):
    """Videos of a file or a folder, in the recipe's format unless options say otherwise; see `on_videos`.

    Clips are cut into sequences. Without `test`, the last part of the time of each clip is held out, a tenth for
    validation and a fifth for test, each of at least one sequence; or the last clips, where they are shorter than three
    sequences. No frame is in two parts. Training sequences overlap, held-out ones do not. Training takes as many steps
    as with the recipe's own videos: an epoch is `num_train` sequences, whatever the number of videos.

    Attributes:
        world: given.
        data: the videos: see --videos.
        test: test videos, of the same kinds; None = held out from the videos.
        num_train: sequences that make an epoch.
        num_validation: largest number of validation sequences, spread over the part that is held out.
        num_test: largest number of test sequences, spread over the part that is held out.
        num_frames: frames of a sequence.
        frame_size: height and width of frames, pixels; one number for squares.
        colour: three channels; otherwise grey.
        stride: frames from the start of one training sequence to that of the next; None = a quarter of --num-frames.
        every: take each such frame of a clip; 1 = all.
        invert: make black white and white black: models of objects paint them on black.
        threshold: make frames black and white, 1 above this value of a pixel; None = leave them grey.
        layout: names of the axes of an array in their order, such as "time height width"; None = by their sizes.
        max_gigabytes: largest size of the videos in memory.
        first_frames: initial number of frames of training videos; None = all.
        growth_epochs: epochs after which they become one frame longer.
        max_balls: number of objects of all videos, for a model that is given it; 0 = it is not given.
    """

    world: str = GIVEN
    test: Path | None = None
    num_frames: int = 10
    frame_size: int | tuple[int, int] = 32
    colour: bool = False
    stride: int | None = None
    every: int = 1
    invert: Literal["yes", "no"] = "no"
    threshold: float | None = None
    layout: str | None = None
    max_gigabytes: float = 4.0
    first_frames: int | None = None
    growth_epochs: int = 1
    max_balls: int = 0

    @property
    def format(self) -> VideoFormat:
        """Size, channels and length of the videos.

        Raises:
            ValueError: if an option is out of its range.
        """
        return VideoFormat(
            num_frames=self.num_frames,
            stride=self.stride,
            frame_size=self.frame_size,
            grey=not self.colour,
            every=self.every,
            invert=self.invert == "yes",
            threshold=self.threshold,
            max_gigabytes=self.max_gigabytes,
        )

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return self.format.shape_of(3, 0, 0)

    @property
    def length(self) -> int:
        """Frames of a sequence."""
        return self.num_frames

    def sources(self) -> dict[str, Path]:
        """The paths that are read, by option."""
        found = {"videos": self.data, "test": self.test}
        return {name: path for name, path in found.items() if path is not None}

    def splits(self, recipe: Recipe[Any, Any, Any]) -> Splits:
        """Training, validation and test videos.

        Raises:
            FileNotFoundError: if a path is not there.
            ValueError: as `videos.load_videos`; or if there are too few frames to hold some out.
            ImportError: if OpenCV, which the extra `video` installs, is needed and missing.
        """
        return self._splits

    def source(self, recipe: Recipe[Any, Any, Any], train: VideoBatch) -> VideoSource:
        """Shuffled batches of the training videos, of growing length if the recipe says so."""
        pattern = partial(random_drop, probability=self.missing, keep_first=KEPT) if self.missing else None
        size = min(recipe.training.batch_size, train.num_sequences)
        whole = FixedVideos(train, size, recipe.seed, missing=pattern, redraw_missing=self.redraw_missing)
        if self.first_frames is None or self.first_frames >= self.num_frames:
            return whole
        return GrowingVideos(whole, self.first_frames, self.growth_epochs * recipe.steps_per_epoch)

    def examples(self, num_sequences: int, generator: torch.Generator) -> Tensor:
        """Frames of some training videos, (sequences, time, channels, height, width)."""
        train = self._splits.train
        return train.frames[torch.randint(train.num_sequences, (num_sequences,), generator=generator)]

    def check(self, recipe: Recipe[Any, Any, Any]) -> None:
        """Refuse other worlds, no videos, the same videos for training and test, and another shape of frames."""
        if self.world != GIVEN or self.data is None:
            raise OptionError(f"--world, --data: expected those that --videos sets, got {self.world!r} and {self.data}")
        if self.test is not None and self.test.resolve() == self.data.resolve():
            raise OptionError(
                f"--test: expected other videos than --videos, got {self.test}; without it, the last part is held out"
            )
        for name in ("first_frames", "growth_epochs", "num_train", "num_validation", "num_test"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"--{name.replace('_', '-')}: expected at least 1, got {value}")
        shape = getattr(recipe.pair, "frame_shape", self.frame_shape)
        if tuple(shape) != self.frame_shape:
            raise OptionError(
                f"--frame-shape: expected that of the videos, {self.frame_shape}, got {tuple(shape)}; give "
                "--frame-size and --colour instead"
            )

    def scores(self, recipe: Recipe[Any, Any, Any]) -> tuple[Score, ...]:
        """Those of the recipe's own videos that need no simulator."""
        return tuple(_without_simulator(_own(recipe).scores(recipe)))

    def pictures(self, recipe: Recipe[Any, Any, Any]) -> tuple[Picture, ...]:
        """Those of the recipe's own videos that need no simulator."""
        return tuple(_without_simulator(_own(recipe).pictures(recipe)))

    @cached_property
    def _splits(self) -> Splits:
        assert self.data is not None
        clips = read_clips(self.data, self.format, self.layout, "--videos")
        if self.test is None:
            train, validation, held_out = clips.split(SHARES)
            test = _spread(held_out.cut(self.num_frames), self.num_test)
        else:
            train, validation = clips.split(SHARES_WITHOUT_TEST)
            test = self.read(self.test)
        validation = _spread(validation.cut(self.num_frames), self.num_validation)
        parts = {"training": train.cut(), "validation": validation, "test": test}
        counts = ", ".join(f"{part.num_sequences} for {name}" for name, part in parts.items())
        length = "single frames" if self.num_frames == 1 else f"sequences of {self.num_frames} frames"
        _log.info("%s: %s, %s", self.data, length, counts)
        return Splits(*map(self._with_number, parts.values()), source=f"given: {self.data}")

    def read(self, path: Path) -> VideoBatch:
        """Test videos of another file or folder, in the same format.

        Raises:
            FileNotFoundError: if it is not there.
            ValueError: as `videos.load_videos`.
        """
        clips = read_clips(path, self.format, self.layout, "--test")
        return self._with_number(_spread(clips.cut(self.num_frames), self.num_test))

    def _with_number(self, videos: VideoBatch) -> VideoBatch:
        """The videos with the number of objects as controls, for a model that needs it."""
        if self.max_balls == 0 or videos.controls is not None:
            return videos
        return replace(videos, controls=torch.ones(videos.num_sequences, videos.num_frames, self.max_balls))


def on_videos(
    recipe: Recipe[Any, Any, Any], videos: Path, layout: str | None = None, **options: Any
) -> Recipe[Any, Any, Any]:
    """The recipe on videos of one's own, in place of those that it simulates or downloads.

    Video files and folders of images are brought to the recipe's size of frames and length of sequences. Arrays keep
    their own, as they are cut and resized already; but an array of one sequence is a clip to be cut, and frames of more
    than 128 pixels are resized. A model has controls if the videos have.

    Args:
        recipe: one of `RECIPES`.
        videos: an .npz or .npy file, a video file, a folder of images, or a folder of video files.
        layout: see `GivenVideos`.
        options: of the result, as for `with_options`.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        ValueError: if it holds no videos; see `videos.load_videos`.
        OptionError: see `with_options`.
    """
    own, videos = recipe.videos, Path(videos).resolve()
    source = Source.of(videos, "--videos")
    reading = own.reading(videos)
    if reading is not None:
        return fitted(replace(recipe, videos=reading).with_options(**options))
    channels, *size = own.frame_shape
    num_frames, control_dim = own.length, 0
    if source.kind == "arrays":
        (number, time, given, *sides), control_dim = sizes_of_arrays(videos, layout)
        channels = min(channels, given)
        size = sides if max(sides) <= LARGEST_KEPT else size
        if number > 1 and num_frames > 1:  # otherwise it is a long clip, or the recipe learns from single frames
            num_frames = time
    grows = isinstance(own, LengtheningVideos) and own.first_frames < min(own.num_frames, num_frames)
    given = GivenVideos(
        data=videos,
        num_train=own.num_train,
        num_validation=own.num_validation,
        num_test=own.num_test,
        missing=own.missing,
        redraw_missing=own.redraw_missing,
        num_frames=num_frames,
        frame_size=size[0] if size[0] == size[1] else (size[0], size[1]),
        colour=channels == 3,
        layout=layout,
        first_frames=own.first_frames if grows else None,
        growth_epochs=own.growth_epochs if grows else 1,
        max_balls=own.max_balls if isinstance(own, BallVideos) else 0,
    )
    changed = replace(recipe, videos=given, replaced=own)
    if "control_dim" in changed.options:
        changed = changed.with_options(control_dim=control_dim)
    return fitted(changed.with_options(**options))


def fitted(recipe: Recipe[Any, Any, Any]) -> Recipe[Any, Any, Any]:
    """The recipe with test videos by their absolute path, and a model for frames of the videos' shape."""
    test = recipe.options.get("test")
    changed = {} if test is None else {"test": test.resolve()}
    if isinstance(recipe.videos, GivenVideos) and "frame_shape" in recipe.options:
        changed["frame_shape"] = recipe.videos.frame_shape
    return recipe.with_options(**changed)


def _own(recipe: Recipe[Any, Any, Any]) -> Videos:
    assert recipe.replaced is not None
    return recipe.replaced


def _without_simulator(found: Iterable[Any]) -> Iterable[Any]:
    return (one for one in (each.without_simulator() for each in found) if one is not None)


def _spread(videos: VideoBatch, most: int) -> VideoBatch:
    """At most so many of the sequences, at equal distances."""
    number = videos.num_sequences
    return videos if number <= most else videos.select(torch.linspace(0, number - 1, most).round().long())
