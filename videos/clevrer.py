"""Videos of CLEVRER: mp4 files and annotations, cropped, resized and cut into sequences."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from videos.batch import VideoBatch
from videos.clevrer_annotations import NUM_FRAMES, Annotation, read_annotation
from videos.clips import opencv, read_frames

WIDTH, HEIGHT = 480, 320  # of every frame, pixels
_PUBLISHED = {"train": "train", "test": "validation"}  # the published test set has no annotations


def load_clevrer(
    folder: str | os.PathLike[str],
    split: str,
    num_frames: int,
    size: int = 64,
    numbers: Sequence[int] | None = None,
    num_objects: tuple[int, int] = (3, 5),
    least_frames: int = 40,
) -> VideoBatch:
    """Read sequences of CLEVRER (Yi et al. 2020), as Zablotskaia et al. 2020 prepare them (section 4.1).

    Frames lose 80 pixels on either side, which leaves 320 x 320, and are resized by means over areas.

    For training, each video gives its 128 // num_frames successive sequences without overlap. `state` is (number of the
    video, number of the frame).

    For testing, each video of the published validation set gives at most one sequence: the first frames of the slice
    that starts at the first frame in which all of its objects are in the camera's view, and ends before the next in
    which one is not. Videos whose slice has fewer than `least_frames` frames, or with another number of objects, are
    left out. `presence` is whether the object of a slot exists; it may be hidden behind another. `labels` is its kind,
    see `videos.tabletop.kinds.kind_label`; `hits` marks annotated collisions. `state` continues with location,
    orientation and velocity of each object in turn, three numbers each in CLEVRER's units; zeros in empty slots.

    Frame i of a file belongs to `frame_id` i of its annotation. CLEVRER publishes no masks, and no positions in pixels.
    Frames are held as 32-bit numbers: with 20 frames of 64 x 64 pixels, a training video takes 5.6 MiB, and all ten
    thousand 55 GiB.

    Args:
        folder: holds `video_train` for training, `video_validation` and `annotation_validation` for testing, each as
            published: `video_train/video_00000-01000/video_00000.mp4`,
            `annotation_validation/annotation_10000-11000/annotation_10000.json`.
        split: "train" or "test".
        num_frames: frames of a sequence.
        size: height and width of a frame, pixels.
        numbers: numbers of the videos to read, such as `range(1000)`; None = all in the folder.
        num_objects: (smallest, largest) number of objects of a video for testing; the largest is the number of slots.
        least_frames: length of the shortest slice that is kept for testing, frames.

    Returns:
        The sequences, in the order of the videos' numbers.

    Raises:
        FileNotFoundError: if a folder or the file of a number is missing; the message says what to download.
        ValueError: if a setting is not as above, a file is damaged or not of CLEVRER, or no video is left.
        ImportError: without OpenCV, which the extra `video` installs.
    """
    _check_settings(split, num_frames, size, num_objects, least_frames)
    folder = Path(folder)
    films = _files(folder, "video", split, numbers)
    if split == "train":
        return _training(films, num_frames, size)
    notes = _files(folder, "annotation", split, list(films))
    return _testing(films, notes, num_frames, size, num_objects, least_frames)


def _training(films: dict[int, Path], num_frames: int, size: int) -> VideoBatch:
    clips = NUM_FRAMES // num_frames
    frames = torch.empty(len(films) * clips, num_frames, 3, size, size)
    for place, path in enumerate(films.values()):
        video = _decoded(path, size)[: clips * num_frames]
        frames[place * clips : (place + 1) * clips] = video.unflatten(0, (clips, num_frames)) / 255.0
    number = torch.tensor(list(films)).repeat_interleave(clips)[:, None].expand(-1, num_frames)
    time = torch.arange(clips * num_frames).reshape(clips, num_frames).repeat(len(films), 1)
    return VideoBatch(frames, state=torch.stack([number, time], -1).float())


def _testing(
    films: dict[int, Path],
    notes: dict[int, Path],
    num_frames: int,
    size: int,
    num_objects: tuple[int, int],
    least_frames: int,
) -> VideoBatch:
    kept: dict[int, tuple[Annotation, slice]] = {}
    seen: Counter[int] = Counter()
    for number, path in notes.items():
        note = read_annotation(path)
        seen[note.num_objects] += 1
        whole = note.all_in_view
        if num_objects[0] <= note.num_objects <= num_objects[1] and whole.stop - whole.start >= least_frames:
            kept[number] = note, slice(whole.start, whole.start + num_frames)
    if not kept:
        found = ", ".join(f"{count} with {number}" for number, count in sorted(seen.items()))
        raise ValueError(
            f"num_objects: expected videos with {num_objects[0]} to {num_objects[1]} objects that are all in view for "
            f"least_frames = {least_frames} frames, got none among {len(notes)} videos ({found}); ask for other "
            "numbers, or for fewer frames"
        )
    slots = num_objects[1]
    frames = torch.empty(len(kept), num_frames, 3, size, size)
    for place, (number, (_, part)) in enumerate(kept.items()):
        frames[place] = _decoded(films[number], size)[part] / 255.0
    labels = torch.zeros(len(kept), num_frames, slots, dtype=torch.long)
    presence = torch.zeros(labels.shape, dtype=torch.bool)
    vectors = torch.zeros(*labels.shape, 9)
    places = torch.empty(len(kept), num_frames, 2)
    for place, (number, (note, part)) in enumerate(kept.items()):
        labels[place, :, : note.num_objects] = note.labels
        presence[place, :, : note.num_objects] = True
        vectors[place, :, : note.num_objects] = note.vectors[part]
        places[place, :, 0] = number
        places[place, :, 1] = torch.arange(part.start, part.stop)
    return VideoBatch(
        frames,
        state=torch.cat([places, vectors.flatten(2)], -1),
        hits=torch.stack([note.hits[part] for note, part in kept.values()]),
        presence=presence,
        labels=labels,
    )


def _files(folder: Path, kind: str, split: str, numbers: Sequence[int] | None) -> dict[int, Path]:
    """Files of a kind, "video" or "annotation", by number and in its order."""
    ending = {"video": "mp4", "annotation": "json"}[kind]
    inside = f"{kind}_{_PUBLISHED[split]}"
    paths = (folder / inside).rglob(f"{kind}_*.{ending}")
    found = {int(match[1]): path for path in paths if (match := re.fullmatch(rf"{kind}_(\d+)", path.stem))}
    wanted = sorted(found if numbers is None else set(numbers))
    missing = [number for number in wanted if number not in found]
    if missing or not wanted:
        what = f"{kind}_{missing[0]:05d}.{ending}" if missing else f"files {kind}_*.{ending}"
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise FileNotFoundError(
            f"folder: expected {what}{more} in {folder / inside}, got {len(found)} files of this kind there; download "
            f"{inside}.zip from http://clevrer.csail.mit.edu, unpack it into a folder {inside}, and give the folder "
            "that holds it"
        )
    return {number: found[number] for number in wanted}


def _decoded(path: Path, size: int) -> UInt8[Tensor, "time 3 size size"]:
    """All frames of a video, cropped to the middle square and resized."""
    cv2 = opencv()
    side = (WIDTH - HEIGHT) // 2
    frames = []
    for frame in read_frames(path):
        if frame.shape[:2] != (HEIGHT, WIDTH):
            raise ValueError(
                f"folder: expected frames of {WIDTH} x {HEIGHT} pixels, got {frame.shape[1]} x {frame.shape[0]} in "
                f"{path}; take the published files, which are not resized"
            )
        square = frame[:, side : WIDTH - side]
        frames.append(torch.from_numpy(cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)))
    if len(frames) != NUM_FRAMES:
        raise ValueError(
            f"folder: expected {NUM_FRAMES} frames in {path}, got {len(frames)}; the file is truncated or damaged: "
            "unpack or download it again"
        )
    return torch.stack(frames).movedim(-1, 1)


def _check_settings(split: str, num_frames: int, size: int, num_objects: tuple[int, int], least_frames: int) -> None:
    if split not in _PUBLISHED:
        raise ValueError(
            f"split: expected 'train' or 'test', which is the published validation set, as the published test set has "
            f"no annotations, got {split!r}; hold out videos for validation with `numbers`"
        )
    for name, value, most in (("size", size, HEIGHT), ("num_frames", num_frames, NUM_FRAMES)):
        if not 1 <= value <= most:
            raise ValueError(f"{name}: expected 1 to {most}, as in the published videos, got {value}; take another")
    if split == "train":
        return
    if not num_frames <= least_frames <= NUM_FRAMES:
        raise ValueError(
            f"least_frames: expected num_frames = {num_frames} to {NUM_FRAMES}, got {least_frames}; ask for shorter "
            "sequences or longer slices"
        )
    if not 1 <= num_objects[0] <= num_objects[1]:
        raise ValueError(
            f"num_objects: expected (smallest, largest), both positive, got {num_objects}; for one number give it twice"
        )
