"""Videos of solids on a table, CLEVRER or like it, to be taken apart into objects."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from inference.gallery.objects import TrackPictures
from inference.gallery.picture import Picture
from inference.gallery.slots import LatentWalkPicture, SlotPictures
from inference.recipes.growing_videos import LengtheningVideos
from inference.recipes.options import OptionError
from inference.recipes.recipe import TRAINING_SEED, Recipe, Splits
from inference.scores.score import Score
from inference.scores.segmentation import Segmentation
from videos import ClevrerClips, FixedVideos, Simulator, TabletopScenes, VideoBatch, VideoSource, load_clevrer
from videos.clevrer.files import NUM_FRAMES, numbered_files

LEAST_FRAMES = 40  # of a test video of CLEVRER, all of whose objects stay in view for so long
PIECE = 16  # videos that are simulated between two movements of the bar


@dataclass(frozen=True, kw_only=True)
class ClevrerVideos(LengtheningVideos):
    """Solids that slide and collide: simulated, see `TabletopScenes`, or the videos of CLEVRER, see `load_clevrer`.

    A core simulates two videos of the default size a second, half an hour for all of them, or fifty of 10 frames with
    32 x 32 pixels; new ones at every step would make the small recipe's steps up to two thirds longer. So training
    videos are simulated once, before the first step, and shuffled in each epoch. They take 12 bytes a pixel and frame
    in memory: 7.9 GB by default.

    With `data`, CLEVRER's published folder, training clips are read batch by batch; the last videos that are enough for
    validation are held out. Test videos are those of its validation set in which all objects stay in view for 40
    frames; there may be fewer than `num_test`. CLEVRER publishes no masks, so its objects are not scored. An epoch is
    `num_train` clips in any case.

    Attributes:
        world: tabletop.
        data: CLEVRER's folder, see `load_clevrer`; None = simulate.
        objects: smallest and largest number of objects in training; CLEVRER's training videos have any.
        test_objects: the same in test videos.
        radius: of an object's footprint, units; simulated videos alone, as all below to `still`.
        view: width that the frame shows, units.
        frame_rate: frames per second.
        still: probability that an object is in view from the start.
        test_frames: frames of validation and test videos.
        followed: frames observed before a forecast.
    """

    world: str = "tabletop"
    frame_size: int = 64
    num_frames: int = 40
    first_frames: int = 4
    growth_epochs: int = 10
    num_train: int = 4000
    num_test: int = 200
    num_validation: int = 32
    objects: tuple[int, int] = (3, 5)
    test_objects: tuple[int, int] = (3, 5)
    radius: float = 0.35
    view: float = 5.0
    frame_rate: float = 12.5
    still: float = 0.5
    test_frames: int = 40
    followed: int = 20

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return (3, self.frame_size, self.frame_size)

    def simulator(self, split: str) -> TabletopScenes:
        """Simulator of a split; only test videos have masks."""
        training = split == "train"
        low, high = self.objects if training else self.test_objects
        return TabletopScenes(
            self.num_frames if training else self.test_frames,
            self.frame_size,
            low,
            high,
            frame_rate=self.frame_rate,
            still=self.still,
            radius=self.radius,
            view=self.view,
            masks=split == "test",
        )

    def splits(self, recipe: Recipe[Any, Any, Any]) -> Splits:
        """Validation and test videos, and one batch of training videos.

        Raises:
            FileNotFoundError: if `data` lacks files; says what to download.
            OptionError: if it has too few videos.
        """
        size = min(recipe.training.batch_size, self.num_train)
        if self.data is None:
            return self.simulated(
                self.simulator, f"simulated: {self.simulator('train')}", seed=recipe.seed, num_train=size
            )
        training, held_out = self._numbers(self.data)
        clips = ClevrerClips(self.data, self.num_frames, size, recipe.seed, self.frame_size, training)
        validation = load_clevrer(self.data, "train", self.test_frames, self.frame_size, held_out)
        tested = list(numbered_files(self.data, "video", "test", None))[: 4 * self.num_test]  # about half are kept
        test = load_clevrer(
            self.data,
            "test",
            self.test_frames,
            self.frame_size,
            tested,
            num_objects=self.test_objects,
            least_frames=max(LEAST_FRAMES, self.test_frames),
        )
        return Splits(
            clips.batch(0),
            validation.select(slice(0, self.num_validation)),
            test.select(slice(0, self.num_test)),
            source=f"CLEVRER: {self.data}",
        )

    def source(self, recipe: Recipe[Any, Any, Any], train: VideoBatch) -> VideoSource:
        """Shuffled training videos of growing length."""
        size, seed = recipe.training.batch_size, recipe.seed
        if self.data is not None:
            training, _ = self._numbers(self.data)
            whole = ClevrerClips(self.data, self.num_frames, size, seed, self.frame_size, training)
        else:
            number = max(self.num_train, size)
            whole = FixedVideos(simulated_once(self.simulator("train"), number, TRAINING_SEED + seed), size, seed)
        return self.lengthening(whole, recipe)

    def check(self, recipe: Recipe[Any, Any, Any]) -> None:
        """Refuse another world, scenes that cannot be, videos that CLEVRER lacks, and a forecast of nothing."""
        self.check_world("tabletop")
        super().check(recipe)
        for name in ("objects", "test_objects"):
            low, high = getattr(self, name)
            if not 1 <= low <= high:
                raise OptionError(
                    f"--{name.replace('_', '-')}: expected smallest and largest number, from 1 on, got {low} and {high}"
                )
        if not 0 < self.followed < self.test_frames:
            raise OptionError(
                f"--followed: expected 1 to {self.test_frames - 1}, fewer than the frames of test videos, got "
                f"{self.followed}"
            )
        if self.data is not None and max(self.num_frames, self.test_frames) > NUM_FRAMES:
            raise OptionError(
                f"--num-frames, --test-frames: expected at most {NUM_FRAMES}, as CLEVRER has, got {self.num_frames} "
                f"and {self.test_frames}"
            )
        for split in ("train", "test"):
            try:
                self.simulator(split)
            except ValueError as error:
                raise OptionError(f"scenes of {split} videos: {error}") from error

    def scores(self, recipe: Recipe[Any, Any, Any]) -> tuple[Score, ...]:
        """Masks and reconstructions."""
        return (Segmentation(),)

    def pictures(self, recipe: Recipe[Any, Any, Any]) -> tuple[Picture, ...]:
        """Reconstructions with masks, forecasts, slots apart, and walks along the latent of one of them."""
        return TrackPictures(followed=self.followed, switches=False), SlotPictures(), LatentWalkPicture()

    def _numbers(self, folder: Path) -> tuple[list[int], list[int]]:
        """Numbers of CLEVRER's training videos: those to train on, and those held out."""
        numbers = list(numbered_files(folder, "video", "train", None))
        held_out = -(-self.num_validation // (NUM_FRAMES // self.test_frames))
        if len(numbers) <= held_out:
            raise OptionError(
                f"--data: expected more than {held_out} videos in {folder / 'video_train'}, which are held out for "
                f"--num-validation {self.num_validation}, got {len(numbers)}"
            )
        return numbers[:-held_out], numbers[-held_out:]


def simulated_once(simulator: Simulator, num_sequences: int, seed: int) -> VideoBatch:
    """Frames of videos that are kept in memory, simulated with a bar if there is a terminal.

    Args:
        simulator: the simulator of the videos.
        num_sequences: number of videos.
        seed: seed of all of them.
    """
    generator, frames = torch.Generator().manual_seed(seed), torch.empty(0)
    with tqdm(total=num_sequences, desc="simulation", unit="video", disable=None, leave=False) as bar:
        for start in range(0, num_sequences, PIECE):
            part = simulator.simulate(min(PIECE, num_sequences - start), generator).frames
            if start == 0:
                frames = part.new_empty(num_sequences, *part.shape[1:])
            frames[start : start + len(part)] = part
            bar.update(len(part))
    return VideoBatch(frames)


SMALL_SCENES: dict[str, Any] = {
    "frame_size": 32,
    "num_frames": 10,
    "first_frames": 2,
    "growth_epochs": 4,
    "objects": (2, 3),
    "test_objects": (2, 3),
    "radius": 0.5,
    "view": 4.5,
    "frame_rate": 8.0,
    "num_train": 3200,
    "test_frames": 20,
    "followed": 10,
}
"""Options of small videos for CPUs: few, large objects."""
