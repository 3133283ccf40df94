"""Anybody's videos: files of arrays, video files, folders of images or of video files, brought into one format."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from videos.arrays import WHITE, arranged, as_light, white_of
from videos.batch import VideoBatch
from videos.clips import Clip, announced_frames, read_frames
from videos.files import read_arrays
from videos.formats import VideoFormat
from videos.sources import Source

_log = logging.getLogger(__name__)

_AT_ONCE = 64  # frames of an array that are resized together
_GREY, _COLOUR = ("1", "L", "LA"), ("P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")  # Pillow's modes, 8 bits a channel


@dataclass(frozen=True, eq=False)
class Clips:
    """Clips in the size and with the channels of a format, not yet cut into sequences.

    Attributes:
        parts: the clips; those of equal length may be sequences of one batch.
        format: their format.
        name: what they were read from, for messages.
    """

    parts: tuple[VideoBatch, ...]
    format: VideoFormat
    name: str

    def cut(self, stride: int | None = None) -> VideoBatch:
        """Sequences of `format.num_frames` frames, clip after clip.

        Args:
            stride: frames from start to start; None = the format's.

        Raises:
            ValueError: if a clip is shorter than one sequence, lengths differ and none is given, or the sequences would
                not fit into memory.
        """
        lengths = [part.num_frames for part in self.parts]
        if self.format.num_frames is None and len(set(lengths)) > 1:
            raise ValueError(
                f"num_frames: expected a length for clips of {min(lengths)} to {max(lengths)} frames in {self.name}, "
                "got None; give the frames of a sequence"
            )
        if self.format.num_frames is not None and min(lengths) < self.format.num_frames:
            raise ValueError(
                f"num_frames: expected at most the frames of the shortest clip of {self.name}, {min(lengths)}, got "
                f"{self.format.num_frames}; give shorter sequences, or leave that clip out"
            )
        size = self.format.num_frames or lengths[0]
        starts = [self.format.starts(length, stride) for length in lengths]
        number = sum(part.num_sequences * len(each) for part, each in zip(self.parts, starts, strict=True))
        self.format.check_room(number * size, self.parts[0].frames.shape[2:], f"{number} sequences of {size} frames")
        pieces = [
            part.between(start, start + size) for part, each in zip(self.parts, starts, strict=True) for start in each
        ]
        return joined(pieces)

    def split(self, shares: tuple[float, ...]) -> tuple[Clips, ...]:
        """Disjoint parts, in the order of time: the first is for training, later ones are held out.

        If each clip is long enough for a sequence in every part, each is cut into blocks of time, held-out ones of at
        least a sequence: no frame is in two parts. Otherwise whole clips are held out, the last ones.

        Args:
            shares: shares of the parts, which add up to 1.

        Raises:
            ValueError: if clips are too short for the one and too few for the other.
        """
        lengths = [part.num_frames for part in self.parts]
        size, shortest = self.format.num_frames or max(lengths), min(lengths)
        number = sum(part.num_sequences for part in self.parts)
        held_out = 1 - shares[0]
        if shortest >= size * len(shares):
            _log.info("%s: the last %.0f %% of the time of each clip are held out", self.name, 100 * held_out)
            blocks = [_blocks(length, size, shares) for length in lengths]
            parts = [[part.between(*block) for block in each] for part, each in zip(self.parts, blocks, strict=True)]
            return tuple(replace(self, parts=part) for part in zip(*parts, strict=True))
        if number < len(shares):
            raise ValueError(
                f"num_frames: expected clips of at least {size * len(shares)} frames, {size} in each of {len(shares)} "
                f"parts without a frame in common, or at least {len(shares)} clips, got {number} of {shortest} frames "
                f"in {self.name}; give num_frames = {shortest // len(shares)} or fewer, or longer videos"
            )
        single = [part.select([index]) for part in self.parts for index in range(part.num_sequences)]
        blocks = _blocks(number, 1, shares)
        _log.info("%s: the last %d of %d clips are held out", self.name, number - blocks[0][1], number)
        return tuple(replace(self, parts=tuple(single[slice(*block)])) for block in blocks)


def load_videos(path: str | os.PathLike[str], form: VideoFormat | None = None, layout: str | None = None) -> VideoBatch:
    """Videos from an .npz or .npy file, a video file, a folder of images, or a folder of video files.

    Files that `save_videos` wrote, and those of the KVAE authors (see `videos.files.read_arrays`), come with all their
    fields. Of any other .npz file, the one array of 3 to 5 dims is taken for frames, whatever its name, as by
    `VideoBatch.from_array`. A folder of images is one clip, in the order of the numbers in names; a folder of video
    files, or of folders of images, is several. A line of the log says what was read, and what became of it.

    Args:
        path: a file or a folder.
        form: size, channels and length to bring videos into; None = as they are.
        layout: names of the axes of an array, in their order; None = see `VideoBatch.from_array`.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        ValueError: if it holds no videos, or several arrays that may be frames; values are no light from 0 to 1; images
            of a clip, or clips, have different sizes; a clip is shorter than a sequence; or videos would not fit into
            memory.
        ImportError: if a video file is to be read without OpenCV, which the extra `video` installs.
    """
    clips = read_clips(path, form, layout)
    videos = clips.cut()
    if videos.num_sequences != sum(part.num_sequences for part in clips.parts):
        _log.info("%s: cut into %d sequences of %d frames", path, videos.num_sequences, videos.num_frames)
    return videos


def load_video(path: str | os.PathLike[str], form: VideoFormat | None = None) -> VideoBatch:
    """Videos from one video file; frames are decoded and resized one at a time.

    Args:
        path: a file that OpenCV reads, such as .mp4, .avi or .gif.
        form: size, channels and length of the videos; None = one sequence in the size of the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: as `load_videos`.
        ImportError: without OpenCV, which the extra `video` installs.
    """
    return _of_kind(path, "video", "a video file", form)


def load_frames(path: str | os.PathLike[str], form: VideoFormat | None = None) -> VideoBatch:
    """Videos from a folder of images, which are the frames of a clip, in the order of the numbers in their names.

    Args:
        path: the folder; other files in it are left out.
        form: size, channels and length of the videos; None = one sequence in the size of the images.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: as `load_videos`.
    """
    return _of_kind(path, "images", "a folder of images", form)


def read_clips(
    path: str | os.PathLike[str], form: VideoFormat | None = None, layout: str | None = None, name: str = "path"
) -> Clips:
    """Clips in a format, not yet cut; see `load_videos`.

    Args:
        path: a file or a folder.
        form: size and channels; None = as they are.
        layout: of an array.
        name: of the argument, for messages.
    """
    form = form or VideoFormat()
    source = Source.of(path, name)
    if layout is not None and source.kind != "arrays":
        raise ValueError(f"layout: expected None for {path}, which is no array, got {layout!r}; leave it out")
    before: set[tuple[int, ...]] = set()
    parts = [_read(part, form, layout, before) for part in source.parts()]
    shapes = {tuple(part.frames.shape[2:]) for part in parts}
    if len(shapes) > 1:
        listed = ", ".join(f"{width} x {height} ({channels})" for channels, height, width in sorted(shapes))
        raise ValueError(
            f"frame_size: expected a size for clips of different sizes (channels) in {path}, {listed}, got None; give "
            "height and width, and grey or colour"
        )
    if source.kind != "arrays" or form.every > 1 or before != shapes or form.invert or form.threshold is not None:
        _log.info("%s: %s", path, _said(parts, before, form))
    return Clips(tuple(parts), form, os.fspath(path))


def _blocks(length: int, least: int, shares: tuple[float, ...]) -> list[tuple[int, int]]:
    """Ends of the blocks that a length is cut into; all but the first have at least some length, or their share."""
    sizes = [max(least, round(share * length)) for share in shares[1:]]
    ends = [length - sum(sizes[place:]) for place in range(len(sizes) + 1)]
    return list(zip([0, *ends[:-1]], ends, strict=True))


def whole_clips(path: str | os.PathLike[str], name: str = "path") -> tuple[Clip, ...]:
    """Clips for background subtraction, as they are: video files, and what else `load_videos` reads in memory.

    Args:
        path: a file or a folder.
        name: of the argument, for messages.

    Returns:
        For each clip a video file, which is decoded frame by frame, or frames uint8 (time, height, width, 3).

    Raises:
        FileNotFoundError: if there is no such file or folder.
        ValueError: as `load_videos`.
    """
    clips: list[Clip] = []
    for part in Source.of(path, name).parts():
        if part.kind == "video":
            clips.append(part.files[0])
        elif part.kind == "images":
            clips.append(_as_clip(_images(part.files), len(part.files), part.path))
        else:
            found = read_arrays(part.path)
            label, frames = ("frames", found.frames) if isinstance(found, VideoBatch) else _only(found, part.path, None)
            white = white_of(frames, label)
            for sequence in frames:
                light = (np.asarray(as_light(frame, white).permute(1, 2, 0)) for frame in sequence)
                clips.append(_as_clip(((WHITE * frame).round() for frame in light), len(sequence), part.path))
    return tuple(clips)


def _as_clip(frames: Iterator[np.ndarray], number: int, path: Path) -> UInt8[Tensor, "time height width 3"]:
    """Frames (height, width, channels) from 0 to 255, one after another, as colour in bytes."""
    clip = torch.empty(0)
    for place, frame in enumerate(frames):
        if place == 0:
            VideoFormat().check_room(number, (3, *frame.shape[:2]), os.fspath(path), value_size=1)
            clip = torch.empty(number, *frame.shape[:2], 3, dtype=torch.uint8)
        clip[place] = torch.from_numpy(frame)  # grey is repeated
    return clip


def sizes_of_arrays(path: str | os.PathLike[str], layout: str | None = None) -> tuple[tuple[int, ...], int]:
    """Sizes of the videos in a file of arrays: sequences, time, channels, height and width; and of their controls.

    Raises:
        ValueError: as `load_videos`.
    """
    found = read_arrays(Path(path))
    if not isinstance(found, VideoBatch):
        return tuple(_only(found, Path(path), layout)[1].shape), 0
    return tuple(found.frames.shape), 0 if found.controls is None else found.controls.shape[-1]


def joined(batches: list[VideoBatch]) -> VideoBatch:
    """Sequences of several batches with the same fields."""
    names = [field.name for field in fields(VideoBatch) if getattr(batches[0], field.name) is not None]
    return VideoBatch(**{name: torch.cat([getattr(batch, name) for batch in batches]) for name in names})


def _of_kind(path: str | os.PathLike[str], kind: str, words: str, form: VideoFormat | None) -> VideoBatch:
    source = Source.of(path)
    if source.kind != kind:
        raise ValueError(f"path: expected {words}, got {path}; load_videos reads files and folders of any kind")
    return load_videos(path, form)


def _read(source: Source, form: VideoFormat, layout: str | None, before: set[tuple[int, ...]]) -> VideoBatch:
    """One clip, or the sequences of an array; adds its size to those found before."""
    if source.kind == "arrays":
        return _from_arrays(source.path, form, layout, before)
    if source.kind == "images":
        number, frames = len(source.files), _images(source.files)
    else:
        number, frames = announced_frames(source.path), read_frames(source.path)
    kept: list[Tensor] = []
    for place, frame in enumerate(frames):
        if place % form.every:
            continue
        light = torch.from_numpy(frame).permute(2, 0, 1).float() / WHITE
        shape = form.shape_of(*light.shape)
        if not kept:
            form.check_room(-(-number // form.every), shape, os.fspath(source.path))
        form.check_room(len(kept) + 1, shape, os.fspath(source.path))  # files may have more frames than they announce
        before.add(tuple(light.shape))
        kept.append(form.shaped(light))
    return VideoBatch(torch.stack(kept)[None])


def _images(files: tuple[Path, ...]) -> Iterator[np.ndarray]:
    """Frames uint8 (height, width, channels)."""
    first: tuple[str, tuple[int, int]] | None = None
    for file in files:
        try:
            with Image.open(file) as image:
                mode = image.mode
                if mode not in _GREY + _COLOUR:
                    raise ValueError(
                        f"path: expected images of 8 bits a channel, got {file} in Pillow's mode {mode!r}; save it as "
                        "grey or red-green-blue of 8 bits"
                    )
                array = np.array(image.convert("L" if mode in _GREY else "RGB"))
        except (UnidentifiedImageError, OSError) as error:
            raise ValueError(f"path: expected an image, got {file}, which cannot be read ({error})") from error
        frame = array if array.ndim == 3 else array[..., None]
        if first is not None and frame.shape != first[1]:
            raise ValueError(
                f"path: expected images of one size (height, width, channels), got {first[1]} in {first[0]} and "
                f"{frame.shape} in {file}; a folder of images is one clip"
            )
        first = first or (str(file), frame.shape)
        yield frame


def _from_arrays(path: Path, form: VideoFormat, layout: str | None, before: set[tuple[int, ...]]) -> VideoBatch:
    found = read_arrays(path, form.max_gigabytes)
    if isinstance(found, VideoBatch):
        if layout is not None:
            raise ValueError(f"layout: expected None for {path}, whose axes are known, got {layout!r}; leave it out")
        before.add(tuple(found.frames.shape[2:]))
        _check_light(found, path)
        _check_size(found.frames, form, path)
        return form.shaped_batch(found)
    name, frames = _only(found, path, layout)
    white = white_of(frames, name)
    before.add(tuple(frames.shape[2:]))
    _check_size(frames, form, path)
    frames = frames[:, :: form.every]
    shaped = torch.empty(*frames.shape[:2], *form.shape_of(*frames.shape[2:]))
    for sequence, result in zip(frames, shaped, strict=True):
        for start in range(0, len(sequence), _AT_ONCE):
            result[start : start + _AT_ONCE] = form.shaped(as_light(sequence[start : start + _AT_ONCE], white))
    return VideoBatch(shaped)


def _only(found: dict[str, np.ndarray], path: Path, layout: str | None) -> tuple[str, Tensor]:
    """Name and frames of the one array of a file that can be frames."""
    if len(found) != 1:
        listed = ", ".join(f"{name} {array.shape} {array.dtype}" for name, array in found.items()) or "none"
        raise ValueError(
            f"path: expected one array of 3 to 5 dims that can be frames, got {path} with {listed}; save one of them "
            "alone, or call it `frames`"
        )
    ((name, array),) = found.items()
    name = f"{name} of {path}"
    return name, arranged(array, layout, name)


def _check_light(videos: VideoBatch, path: Path) -> None:
    """Refuse seen frames of a file whose values are no light from 0 to 1; missing ones may hold anything."""
    frames = videos.frames if videos.observed is None else videos.frames[videos.observed]
    white_of(frames, f"frames of {path}")


def _check_size(frames: Float[Tensor, ...], form: VideoFormat, path: Path) -> None:
    number = frames.shape[0] * -(-frames.shape[1] // form.every)
    form.check_room(number, form.shape_of(*frames.shape[2:]), os.fspath(path))


def _said(parts: list[VideoBatch], before: set[tuple[int, ...]], form: VideoFormat) -> str:
    """What was read, and what became of it."""
    number, lengths = sum(part.num_sequences for part in parts), sorted({part.num_frames for part in parts})
    clips = "1 clip" if number == 1 else f"{number} clips"
    length = f"{lengths[0]}" if len(lengths) == 1 else f"{lengths[0]} to {lengths[-1]}"
    sizes = " and ".join(_size(shape) for shape in sorted(before))
    after = tuple(parts[0].frames.shape[2:])
    became = "" if before == {after} else f" -> {_size(after)}"
    kept = "" if form.every == 1 else f", one frame in {form.every}"
    inverted = ", inverted" if form.invert else ""
    sharp = "" if form.threshold is None else f", black and white at {form.threshold:g}"
    return f"{clips} of {length} frames{kept}, {sizes}{became}{inverted}{sharp}"


def _size(shape: tuple[int, ...]) -> str:
    channels, height, width = shape
    return f"{width} x {height} pixels {'in grey' if channels == 1 else 'in colour'}"
