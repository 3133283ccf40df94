"""Files of CLEVRER in their published layout: finding them by number, and decoding videos."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from videos.clips import opencv, read_frames

NUM_FRAMES = 128  # of every video
WIDTH, HEIGHT = 480, 320  # of every frame, pixels
PUBLISHED = {"train": "train", "test": "validation"}  # the published test set has no annotations


def numbered_files(folder: Path, kind: str, split: str, numbers: Sequence[int] | None) -> dict[int, Path]:
    """Files by number, in the order of their numbers.

    Args:
        folder: holds folders such as `video_train`.
        kind: "video" or "annotation".
        split: "train" or "test".
        numbers: numbers of the files; None = all that are there.

    Raises:
        FileNotFoundError: if a number has no file, or there is none at all.
    """
    ending = {"video": "mp4", "annotation": "json"}[kind]
    inside = f"{kind}_{PUBLISHED[split]}"
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


def decoded(path: Path, size: int) -> UInt8[Tensor, "time 3 size size"]:
    """All frames of a video, cropped to the middle square and resized by means over areas.

    Args:
        path: an mp4 file.
        size: height and width of the result, pixels.

    Raises:
        ValueError: if the file is damaged, or has another number or size of frames than CLEVRER's.
    """
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


def check_sizes(num_frames: int, size: int) -> None:
    """Check length and size of sequences.

    Args:
        num_frames: frames of a sequence.
        size: height and width of a frame, pixels.

    Raises:
        ValueError: if CLEVRER's videos are shorter or smaller.
    """
    for name, value, most in (("size", size, HEIGHT), ("num_frames", num_frames, NUM_FRAMES)):
        if not 1 <= value <= most:
            raise ValueError(f"{name}: expected 1 to {most}, as in the published videos, got {value}; take another")
