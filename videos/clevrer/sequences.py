"""Sequences of CLEVRER for training and testing."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from videos.batch import VideoBatch
from videos.clevrer.annotations import Annotation, read_annotation
from videos.clevrer.clips import clip_places
from videos.clevrer.files import NUM_FRAMES, PUBLISHED, check_sizes, decoded, numbered_files


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
    thousand 55 GiB; `ClevrerClips` reads them batch by batch instead.

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
    films = numbered_files(folder, "video", split, numbers)
    if split == "train":
        return _training(films, num_frames, size)
    notes = numbered_files(folder, "annotation", split, list(films))
    return _testing(films, notes, num_frames, size, num_objects, least_frames)


def _training(films: dict[int, Path], num_frames: int, size: int) -> VideoBatch:
    places = clip_places(films, num_frames)
    frames = torch.empty(*places.shape[:2], 3, size, size)
    for path, clips in zip(films.values(), frames.chunk(len(films)), strict=True):
        clips[:] = decoded(path, size)[: clips.shape[0] * num_frames].unflatten(0, clips.shape[:2]) / 255.0
    return VideoBatch(frames, state=places)


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
        frames[place] = decoded(films[number], size)[part] / 255.0
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


def _check_settings(split: str, num_frames: int, size: int, num_objects: tuple[int, int], least_frames: int) -> None:
    if split not in PUBLISHED:
        raise ValueError(
            f"split: expected 'train' or 'test', which is the published validation set, as the published test set has "
            f"no annotations, got {split!r}; hold out videos for validation with `numbers`"
        )
    check_sizes(num_frames, size)
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
