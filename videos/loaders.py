"""Batches for training: a pure function of seed and step, so that resuming a run needs no state of the loader."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import fields
from functools import cached_property
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from videos.batch import VideoBatch
from videos.missing import MissingPattern
from videos.typed import device_of, typed


@runtime_checkable
class Simulator(Protocol):
    """A source of simulated videos: a frozen dataclass of physical settings."""

    def simulate(
        self, num_sequences: int, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> VideoBatch:
        """Draw videos; all randomness comes from `generator`."""
        ...


@runtime_checkable
class VideoSource(Protocol):
    """A source of batches for training.

    `steps_per_epoch` is the number of batches after which every sequence has been seen, None for an endless source.
    """

    @property
    def steps_per_epoch(self) -> int | None:
        """Batches in an epoch, None for an endless source."""
        ...

    def batch(self, step: int) -> VideoBatch:
        """The batch of a step, always the same one."""
        ...


class FixedVideos:
    """A fixed set of videos in batches; each epoch has its own order, `epoch = step // steps_per_epoch`.

    Args:
        videos: the set. Its own mask, if any, is combined with `missing`. Batches are on its device.
        batch_size: sequences per batch.
        seed: seed of order and masks.
        shuffle: whether each epoch draws a new order; without it batches follow the order of the set.
        drop_last: whether the incomplete batch at the end of an epoch is left out.
        missing: pattern of missing frames, called for the whole set; None = only those of the set.
        redraw_missing: whether each epoch draws new masks (the same frames are then seen in one epoch and missing in
            another); False = every sequence keeps the mask of the first epoch.

    Raises:
        ValueError: if `batch_size` is not between 1 and the number of videos.
    """

    @typed
    def __init__(
        self,
        videos: VideoBatch,
        batch_size: int,
        seed: int,
        shuffle: bool = True,
        drop_last: bool = True,
        missing: MissingPattern | None = None,
        redraw_missing: bool = True,
    ) -> None:
        if not 1 <= batch_size <= videos.num_sequences:
            raise ValueError(
                f"batch_size: expected 1 to the number of videos = {videos.num_sequences}, got {batch_size}; "
                "take a smaller batch or load more videos"
            )
        self.videos = videos
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.missing = missing
        self.redraw_missing = redraw_missing
        whole, rest = divmod(videos.num_sequences, batch_size)
        self._steps_per_epoch = whole if drop_last or rest == 0 else whole + 1
        self._drawn: tuple[int, Tensor, Tensor | None] | None = None  # one epoch's order and masks, cached

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch."""
        return self._steps_per_epoch

    def batch(self, step: int) -> VideoBatch:
        """The batch of a step, always the same one."""
        _check_step(step)
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._drawn is None or self._drawn[0] != epoch:
            self._drawn = (epoch, *self._draw_epoch(epoch))
        _, order, seen = self._drawn
        index = order[place * self.batch_size : (place + 1) * self.batch_size]
        chosen = self.videos.select(index)
        if seen is None:
            return chosen
        return chosen.with_observed(_both(chosen.observed, seen[index]))

    def _draw_epoch(self, epoch: int) -> tuple[Tensor, Tensor | None]:
        count, device = self.videos.num_sequences, self.videos.frames.device
        order = torch.arange(count)
        if self.shuffle:
            order = torch.randperm(count, generator=_stream(self.seed, "order", epoch))
        if self.missing is None:
            return order.to(device), None
        generator = _stream(self.seed, "missing", epoch if self.redraw_missing else 0)
        seen = self.missing(count, self.videos.num_frames, generator=generator)
        return order.to(device), seen.to(device)


class EndlessVideos:
    """Freshly simulated videos at every step; no sequence is seen twice.

    Sequences are simulated for several steps at once, because a simulator costs nearly the same for one batch as for
    eight; the batch of a step does not depend on which steps were requested before.

    Args:
        simulator: the simulator of the videos.
        batch_size: sequences per batch.
        seed: seed of all randomness.
        missing: pattern of missing frames, called for each batch; None = the simulator's own.
        device: device on which videos are simulated and drawn.
        steps_at_once: number of steps simulated together. It is part of the data's identity: another number gives other
            videos.

    Raises:
        ValueError: if `batch_size` or `steps_at_once` is not positive.
    """

    steps_per_epoch: int | None = None

    @typed
    def __init__(
        self,
        simulator: Simulator,
        batch_size: int,
        seed: int,
        missing: MissingPattern | None = None,
        device: torch.device | str = "cpu",
        steps_at_once: int = 8,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("steps_at_once", steps_at_once)):
            if value < 1:
                raise ValueError(f"{name}: expected a positive number, got {value}; ask for at least one")
        self.simulator = simulator
        self.batch_size = batch_size
        self.seed = seed
        self.missing = missing
        self.device = device_of(device)
        self.steps_at_once = steps_at_once
        self._drawn: tuple[int, VideoBatch] | None = None

    def batch(self, step: int) -> VideoBatch:
        """The batch of a step, always the same one."""
        _check_step(step)
        block, place = divmod(step, self.steps_at_once)
        if self._drawn is None or self._drawn[0] != block:
            count = self.batch_size * self.steps_at_once
            videos = self.simulator.simulate(count, _stream(self.seed, "videos", block), self.device)
            self._drawn = (block, videos)
        # Cloned, so that keeping a batch does not keep the whole block, and changing it does not change the block.
        videos = self._drawn[1].select(slice(place * self.batch_size, (place + 1) * self.batch_size)).clone()
        if self.missing is None:
            return videos
        generator = _stream(self.seed, "missing", step)
        seen = self.missing(self.batch_size, videos.num_frames, generator=generator).to(videos.frames.device)
        return videos.with_observed(_both(videos.observed, seen))


class GrowingVideos:
    """Prefixes of another source's videos, growing with the step: a curriculum of lengths.

    The batch of a step has the first `min_frames + step // every` frames of the source's batch, in the end all.

    Args:
        source: source of whole videos.
        min_frames: initial length, frames.
        every: steps after which videos are one frame longer.

    Raises:
        ValueError: if a number is not positive.
    """

    @typed
    def __init__(self, source: VideoSource, min_frames: int, every: int) -> None:
        for name, value in (("min_frames", min_frames), ("every", every)):
            if value < 1:
                raise ValueError(f"{name}: expected a positive number, got {value}")
        self.source = source
        self.min_frames = min_frames
        self.every = every

    @property
    def steps_per_epoch(self) -> int | None:
        """Batches in an epoch of the source."""
        return self.source.steps_per_epoch

    def batch(self, step: int) -> VideoBatch:
        """The batch of a step, always the same one."""
        return self.source.batch(step).first_frames(self.min_frames + step // self.every)

    def steps_of_length(self, step: int) -> int | None:
        """Number of steps whose batches are as long as this step's; None = all that follow."""
        return self.every if self.min_frames + step // self.every < self._num_frames else None

    @cached_property
    def _num_frames(self) -> int:
        return self.source.batch(0).num_frames


class SingleFrames:
    """Every frame of another source's videos as a separate video; a batch has one for each frame of the source's batch.

    Args:
        source: source of whole videos.
    """

    @typed
    def __init__(self, source: VideoSource) -> None:
        self.source = source

    @property
    def steps_per_epoch(self) -> int | None:
        """Batches in an epoch of the source."""
        return self.source.steps_per_epoch

    def batch(self, step: int) -> VideoBatch:
        """The batch of a step, always the same one."""
        return self.source.batch(step).single_frames()


def simulate_in_pieces(simulator: Simulator, num_sequences: int, piece: int, seed: int) -> VideoBatch:
    """Videos of which the first n are the same whatever number is requested.

    Simulators draw all sequences of a call at once, so another number gives other videos. Here they are called for
    `piece` videos at a time, each time with a new generator, and surplus videos are dropped.

    Args:
        simulator: the simulator of the videos.
        num_sequences: number of videos.
        piece: videos per call; another number gives other videos.
        seed: seed of the first piece's generator, from which those of later pieces follow.

    Raises:
        ValueError: if a number is not positive.
    """
    for name, value in (("num_sequences", num_sequences), ("piece", piece)):
        if value < 1:
            raise ValueError(f"{name}: expected a positive number, got {value}; ask for at least one")
    parts = []
    for number, start in enumerate(range(0, num_sequences, piece)):
        generator = _stream(seed, "piece", number) if number else torch.Generator().manual_seed(seed)
        parts.append(simulator.simulate(piece, generator).select(slice(0, num_sequences - start)))
    names = [field.name for field in fields(VideoBatch) if getattr(parts[0], field.name) is not None]
    return VideoBatch(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


@typed
def split_videos(videos: VideoBatch, fractions: Sequence[float], seed: int) -> tuple[VideoBatch, ...]:
    """Cut a set of videos into disjoint random parts, such as training, validation and test.

    Args:
        videos: the set.
        fractions: share of each part; if they add up to less than one, some videos are in no part.
        seed: seed of the order in which videos are assigned.

    Raises:
        ValueError: if fractions are negative, add up to more than one, or leave a part without videos.
    """
    total = sum(fractions)
    if not fractions or min(fractions) < 0 or total > 1 + 1e-9:
        raise ValueError(
            f"fractions: expected non-negative shares with a sum of at most 1, got {tuple(fractions)}; "
            "divide them by their sum to use all videos"
        )
    count = videos.num_sequences
    ends = [round(count * sum(fractions[:part])) for part in range(len(fractions) + 1)]
    if any(start == end for start, end in pairwise(ends)):
        raise ValueError(
            f"fractions: expected at least one of {count} videos in each part, got {tuple(fractions)}; "
            "take larger shares or load more videos"
        )
    order = torch.randperm(count, generator=_stream(seed, "split")).to(videos.frames.device)
    return tuple(videos.select(order[start:end]) for start, end in pairwise(ends))


def _both(first: Tensor | None, second: Tensor) -> Tensor:
    return second if first is None else first & second


def _check_step(step: int) -> None:
    if step < 0:
        raise ValueError(f"step: expected a number from 0 on, got {step}; steps count from the start of training")


def _stream(*names: int | str) -> torch.Generator:
    """A separate generator for each list of names, so that no two uses of one seed share draws."""
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4]))  # torch's engine reads 32 bits
