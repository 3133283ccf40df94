"""Training sequences of CLEVRER, decoded batch by batch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from videos.batch import VideoBatch
from videos.clevrer.files import NUM_FRAMES, check_sizes, decoded, numbered_files
from videos.loaders import FixedVideos


class ClevrerClips:
    """The batches of `FixedVideos(load_clevrer(folder, "train", ...), batch_size, seed)`, read from disk as they come.

    The whole set at 64 x 64 pixels would take 55 GiB in memory; this source holds one batch. It decodes one video per
    sequence of the batch.

    Args:
        folder: holds `video_train`, see `load_clevrer`.
        num_frames: frames of a sequence.
        batch_size: sequences per batch.
        seed: seed of the order.
        size: height and width of a frame, pixels.
        numbers: numbers of the videos to read; None = all in the folder.

    Raises:
        FileNotFoundError: if the folder or the file of a number is missing; the message says what to download.
        ValueError: if `num_frames` or `size` is not possible, or `batch_size` is not between 1 and the number of
            sequences. `batch` also refuses damaged files.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        num_frames: int,
        batch_size: int,
        seed: int,
        size: int = 64,
        numbers: Sequence[int] | None = None,
    ) -> None:
        check_sizes(num_frames, size)
        self.size = size
        self._films = numbered_files(Path(folder), "video", "train", numbers)
        places = clip_places(self._films, num_frames)
        # Stand-ins without pixels: what belongs to a batch is where `FixedVideos` puts it.
        stand_ins = VideoBatch(places.new_empty(*places.shape[:2], 3, 0, 0), state=places)
        self._order = FixedVideos(stand_ins, batch_size, seed)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch."""
        return self._order.steps_per_epoch

    def batch(self, step: int) -> VideoBatch:
        """The batch of a step, always the same one."""
        chosen = self._order.batch(step)
        frames = [self._clip(places) for places in cast(Tensor, chosen.state).long()]
        return replace(chosen, frames=torch.stack(frames))

    def _clip(self, places: Int64[Tensor, "time 2"]) -> Float[Tensor, "time 3 size size"]:
        """The frames at (number of the video, number of the frame)."""
        return decoded(self._films[int(places[0, 0])], self.size)[places[:, 1]] / 255.0


def clip_places(numbers: Iterable[int], num_frames: int) -> Float[Tensor, "sequences time 2"]:
    """(Number of the video, number of the frame) of successive sequences without overlap, video after video."""
    clips = NUM_FRAMES // num_frames
    number = torch.tensor(list(numbers)).repeat_interleave(clips)[:, None].expand(-1, num_frames)
    time = torch.arange(clips * num_frames).reshape(clips, num_frames).repeat(len(number) // clips, 1)
    return torch.stack([number, time], -1).float()
