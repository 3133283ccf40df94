"""Videos of one world, simulated once per run or read from the files of the Kalman VAE's authors."""

import difflib
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from inference.gallery.imputations import ImputationPictures
from inference.gallery.picture import Picture
from inference.recipes.options import OptionError
from inference.recipes.recipe import Recipe, Splits, Videos
from videos import SIMULATORS, FixedVideos, Simulator, VideoBatch, VideoSource, load_videos
from videos.missing import random_drop

DATA_FILES = {"box": "box", "box-gravity": "box_gravity", "polygon": "polygon", "pong": "pong", "pendulum": "pendulum"}
KEPT = 3  # number of first frames that are never missing


@dataclass(frozen=True, kw_only=True)
class SimulatedVideos(Videos):
    """The same training videos in every epoch; with `data`, from that folder's `<world>.npz`, `<world>_test.npz`."""

    world: str = "box"

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """See `Videos.frame_shape`."""
        _, _, channels, height, width = self._example_shape
        return channels, height, width

    @property
    def length(self) -> int:
        """See `Videos.length`."""
        return self._example_shape[1]

    @cached_property
    def _example_shape(self) -> tuple[int, ...]:
        return tuple(self._simulator().simulate(1, torch.Generator()).frames.shape)

    def splits(self, recipe: Recipe[Any, Any, Any]) -> Splits:
        """Training, validation and test videos; those for validation are held out from the end of the training file.

        Raises:
            FileNotFoundError: if `data` lacks a file.
            OptionError: if the world is unknown or has no data files, or a file holds too few sequences.
        """
        simulator = self._simulator()
        if self.data is None:
            return self.simulated(lambda split: simulator, f"simulated: {simulator}", seed=recipe.seed)
        if self.world not in DATA_FILES:
            raise OptionError(
                f"--data: expected a world with data files ({', '.join(DATA_FILES)}), got {self.world!r}; leave it out"
            )
        stem = Path(self.data) / DATA_FILES[self.world]
        train, test = load_videos(stem.with_suffix(".npz")), load_videos(stem.with_name(f"{stem.name}_test.npz"))
        num_kept = min(self.num_train, train.num_sequences - self.num_validation)
        if num_kept < recipe.training.batch_size:
            raise OptionError(
                f"--data: expected at least {recipe.training.batch_size + self.num_validation} sequences in "
                f"{stem}.npz, got {train.num_sequences}"
            )
        return Splits(
            train=train.select(slice(0, num_kept)),
            validation=train.select(slice(train.num_sequences - self.num_validation, train.num_sequences)),
            test=test.select(slice(0, self.num_test)),
            source=f"{stem}.npz",
        )

    def _simulator(self) -> Simulator:
        if self.world not in SIMULATORS:
            near = difflib.get_close_matches(self.world, SIMULATORS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise OptionError(f"--world: expected one of {', '.join(sorted(SIMULATORS))}, got {self.world!r}{hint}")
        return SIMULATORS[self.world]()

    def source(self, recipe: Recipe[Any, Any, Any], train: VideoBatch) -> VideoSource:
        """Shuffled batches of the training videos, with missing frames if the recipe says so."""
        pattern = partial(random_drop, probability=self.missing, keep_first=KEPT) if self.missing else None
        batch_size = recipe.training.batch_size
        return FixedVideos(train, batch_size, recipe.seed, missing=pattern, redraw_missing=self.redraw_missing)

    def pictures(self, recipe: Recipe[Any, Any, Any]) -> tuple[Picture, ...]:
        """Videos with a gap."""
        return (ImputationPictures(),)
