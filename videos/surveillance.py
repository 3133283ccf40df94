"""Short sequences cut out of clips of a static camera: walkers in a small window, on black."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Int64
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from videos.background_subtraction import BackgroundSubtraction, Foreground, load_foreground
from videos.batch import VideoBatch
from videos.clips import Clip
from videos.digits import SPLITS
from videos.windows import Boxes, Choice, Components, Objects, choose_from, in_slots, left_to_right

_BOX_COLUMNS = 5  # of a table of boxes: frame, left, top, width, height


@dataclass(frozen=True, eq=False)
class Surveillance:
    """Random windows on the moving foreground of clips of a static camera (Kosiorek et al. 2018, section 4.2).

    The foreground is that of `BackgroundSubtraction`, computed once. Each clip is cut into three blocks of time, so
    training, validation and test have no frame in common. A sequence is `num_frames` successive frames of a block,
    seen through one window of `size` x `size` pixels. Clip, start and corner are uniform among all combinations whose
    largest number of objects in a frame is min_objects ... max_objects.

    Objects of a frame are the connected components that have at least `subtraction.least_area` pixels in the window:
    people who touch are one object, and a person hidden in part may be two. With `boxes` they are the boxes that have
    at least `least_inside` of their area in the window.

    `presence`, `positions` (the middle) and `box_sizes` are those of each object's part in the window, in pixels of the
    window; slots are filled from left to right by the middle, independently in each frame: a slot is not an identity,
    and there are no velocities. Empty slots have zeros. `state` is (clip, frame, left, top): index of the clip, number
    of the frame in it, and the window's corner in the resized frame, pixels.

    Args:
        clips: one or a tuple of several, each a video file or frames in memory, uint8 (time, height, width, 3),
            red-green-blue.
        subtraction: settings of the background subtraction.
        num_frames: frames of a sequence.
        size: height and width of the window, pixels of the resized frame.
        min_objects: smallest number of objects in the fullest frame of a sequence.
        max_objects: largest number of objects in a frame; number of slots.
        split: which block of each clip: "train", "validation" or "test", in this order of time.
        shares: shares of the blocks, in that order.
        boxes: annotations, one table for each clip: (boxes, 5), rows of (frame, left, top, width, height), the number
            of the frame in the clip and edges in its pixels. Frames without a row have no objects. None = components.
        least_inside: smallest share of a box's area in the window for it to count.
        least_windows: smallest number of accepted windows; clips with fewer are refused.
        cache: folder in which the foreground is kept between processes; None = not kept.
        masks: whether to keep the masks of components, in the slots of `presence`, a byte per pixel and slot. Light
            reaches up to one pixel beyond a component, and components that do not count as objects have no mask. Does
            not change the videos.

    Raises:
        ValueError: if a setting is out of its range, or masks are requested for annotated boxes.
    """

    clips: Clip | tuple[Clip, ...]
    subtraction: BackgroundSubtraction = BackgroundSubtraction()
    num_frames: int = 5
    size: int = 64
    min_objects: int = 1
    max_objects: int = 3
    split: str = "train"
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
    boxes: Tensor | tuple[Tensor, ...] | None = None
    least_inside: float = 0.5
    least_windows: int = 100
    cache: str | os.PathLike[str] | None = None
    masks: bool = field(default=False, kw_only=True, repr=False)  # not in the videos' name: it does not change them

    def __post_init__(self) -> None:
        for name in ("num_frames", "size", "max_objects", "least_windows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)}")
        if not 0 <= self.min_objects <= self.max_objects:
            raise ValueError(f"min_objects: expected 0 to max_objects = {self.max_objects}, got {self.min_objects}")
        if self.size > min(self.subtraction.width, self.subtraction.height):
            raise ValueError(
                f"size: expected at most the resized frame's {self.subtraction.width} x {self.subtraction.height} "
                f"pixels, got {self.size}"
            )
        if self.split not in SPLITS:
            raise ValueError(f"split: expected one of {', '.join(SPLITS)}, got {self.split!r}")
        if min(self.shares) < 0 or sum(self.shares) > 1 + 1e-9:
            raise ValueError(f"shares: expected three shares with a sum of at most 1, got {self.shares}")
        if not 0 < self.least_inside <= 1:
            raise ValueError(f"least_inside: expected a share in (0, 1], got {self.least_inside}")
        for table in self._tables:
            if table.dim() != 2 or table.shape[1] != _BOX_COLUMNS:
                raise ValueError(
                    f"boxes: expected (boxes, {_BOX_COLUMNS}) of frame, left, top, width, height, "
                    f"got {tuple(table.shape)}"
                )
        if self.masks and self.boxes is not None:
            raise ValueError(
                "masks: expected False with annotated boxes, which do not say which pixels show an object, got True; "
                "leave out boxes, or masks"
            )
        if self.boxes is not None and len(self._tables) != len(self._clips):
            raise ValueError(f"boxes: expected one table for each of {len(self._clips)} clips, got {len(self._tables)}")

    @cached_property
    def foregrounds(self) -> tuple[Foreground, ...]:
        """The foreground of each whole clip.

        Raises:
            FileNotFoundError: if a clip is missing.
            ValueError: if a clip cannot be read, or is not longer than the warm-up.
            ImportError: without OpenCV, which the extra `video` installs.
        """
        return tuple(load_foreground(clip, self.subtraction, self.cache) for clip in self._clips)

    @property
    def num_frames_used(self) -> int:
        """Number of frames of the split, over all clips.

        Raises:
            ValueError: if a clip cannot be read or is too short.
        """
        return len(self._block.light)

    @property
    def num_windows(self) -> Int64[Tensor, " objects_and_one"]:
        """Numbers of windows (clip, start, corner) with 0, 1, 2, ... objects in their fullest frame.

        Raises:
            ValueError: as `simulate`.
        """
        return self._choice.histogram

    @property
    def acceptance(self) -> float:
        """Share of all windows that are accepted.

        Raises:
            ValueError: as `simulate`.
        """
        return float(self.num_windows[self.min_objects : self.max_objects + 1].sum() / self.num_windows.sum())

    def simulate(
        self, num_sequences: int, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> VideoBatch:
        """Draw sequences; all randomness comes from `generator`, which lives on the CPU.

        Args:
            num_sequences: number of sequences; the same one may be drawn twice.
            generator: source of randomness; its state advances.
            device: device of the returned batch.

        Raises:
            FileNotFoundError: if a clip is missing.
            ValueError: if `num_sequences` is not positive, a clip cannot be read or is too short, or too few windows
                are accepted.
            ImportError: without OpenCV, which the extra `video` installs.
        """
        if num_sequences < 1:
            raise ValueError(
                f"num_sequences: expected a positive number, got {num_sequences}; ask for at least one video"
            )
        windows = self._choice.draw(num_sequences, self.num_frames, self.size, generator)
        edges, counts = self._objects.seen_through(windows)
        presence, positions, box_sizes = in_slots(edges, counts, self.max_objects)
        masks = None
        if self.masks:
            number = left_to_right(edges, counts, self.max_objects) + 1
            labels = windows.of(self._block.components).unsqueeze(2)
            masks = (labels == number[..., None, None]) & presence[..., None, None]
        corner = torch.stack([windows.left, windows.top], -1)[:, None].expand(-1, self.num_frames, -1)
        return VideoBatch(
            frames=(windows.of(self._block.light).float() / 255).unsqueeze(2).to(device),
            positions=positions.to(device),
            state=torch.cat([self._block.places[windows.frames], corner], -1).float().to(device),
            presence=presence.to(device),
            box_sizes=box_sizes.to(device),
            masks=None if masks is None else masks.to(device),
        )

    def clip(self, index: int) -> Clip:
        """One of the clips, as given."""
        return self._clips[index]

    @property
    def _clips(self) -> tuple[Clip, ...]:
        return self.clips if isinstance(self.clips, tuple) else (self.clips,)

    @property
    def _tables(self) -> tuple[Tensor, ...]:
        if self.boxes is None:
            return ()
        return self.boxes if isinstance(self.boxes, tuple) else (self.boxes,)

    @cached_property
    def _block(self) -> _Block:
        """The frames of the split, clip after clip."""
        parts: list[_Block] = []
        length = 0
        for index, foreground in enumerate(self.foregrounds):
            num_frames = len(foreground.numbers)
            place = SPLITS.index(self.split)
            block = slice(*(round(num_frames * sum(self.shares[:part])) for part in (place, place + 1)))
            numbers = foreground.numbers[block]
            if len(numbers) < self.num_frames:
                raise ValueError(
                    f"clips: expected at least num_frames = {self.num_frames} frames for {self.split!r}, a share of "
                    f"{self.shares[place]}, got {len(numbers)} of the {num_frames} frames of clip {index} that follow "
                    "the warm-up; take a longer clip, a larger share, a shorter warm-up, or more frames per second"
                )
            parts.append(
                _Block(
                    light=foreground.light[block],
                    components=foreground.components[block],
                    places=torch.stack([torch.full_like(numbers, index), numbers], -1),
                    starts=length + torch.arange(len(numbers) - self.num_frames + 1),
                )
            )
            length += len(numbers)
        return _Block(
            light=torch.cat([part.light for part in parts]),
            components=torch.cat([part.components for part in parts]),
            places=torch.cat([part.places for part in parts]),
            starts=torch.cat([part.starts for part in parts]),
        )

    @cached_property
    def _objects(self) -> Objects:
        if self.boxes is None:
            return Components(self._block.components, self.subtraction.least_area)
        tables = [
            _resized(table.double(), foreground.clip_size, self.subtraction)
            for table, foreground in zip(self._tables, self.foregrounds, strict=True)
        ]
        edges = [tables[clip][tables[clip][:, 0] == number, 1:] for clip, number in self._block.places.tolist()]
        return Boxes(
            pad_sequence(edges, batch_first=True), self.least_inside, (self.subtraction.height, self.subtraction.width)
        )

    @cached_property
    def _choice(self) -> Choice:
        wanted = (self.min_objects, self.max_objects)
        choice = choose_from(self._objects, self._block.starts, self.num_frames, self.size, wanted)
        if choice.num_accepted < self.least_windows:
            found = ", ".join(f"{count} with {number}" for number, count in enumerate(choice.histogram.tolist()))
            raise ValueError(
                f"clips: expected at least {self.least_windows} windows with {wanted[0]} to {wanted[1]} objects in "
                f"their fullest frame, got {choice.num_accepted} of {choice.histogram.sum()} ({found}); "
                "look at the foreground, take another size or other numbers of objects"
            )
        return choice


@dataclass(frozen=True, eq=False)
class _Block:
    """Frames of a split, clip after clip.

    Attributes:
        light: uint8 (time, height, width).
        components: int16 (time, height, width).
        places: int64 (time, 2), clip and number of the frame in it.
        starts: int64 (starts,), first frames from which a sequence stays in one clip.
    """

    light: Tensor
    components: Tensor
    places: Tensor
    starts: Tensor


def _resized(table: Tensor, clip_size: tuple[int, int], subtraction: BackgroundSubtraction) -> Tensor:
    """Rows (frame, left, top, right, lower edge), in pixels of the resized frame."""
    scale = torch.tensor([subtraction.width / clip_size[0], subtraction.height / clip_size[1]], dtype=torch.float64)
    low = table[:, 1:3]
    return torch.cat([table[:, :1], scale * low, scale * (low + table[:, 3:])], -1)
