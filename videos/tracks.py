"""Tracks of one clip: boxes with identities, read from and written to files of the MOTChallenge."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from videos.typed import typed_fields

_FIELDS = (
    ("frames", torch.int64, ()),
    ("identities", torch.int64, ()),
    ("boxes", torch.float64, (4,)),
    ("confidences", torch.float64, ()),
)
_COLUMNS = ("frame", "identity", "left", "top", "width", "height", "confidence", "x", "y", "z")
_FEWEST_COLUMNS = 6  # without confidence
_LARGEST = 2**53  # whole numbers up to here are exact in float64
_HINT = "expected rows of frame,identity,left,top,width,height[,confidence,x,y,z]"


@dataclass(frozen=True, eq=False)
@typed_fields
class Tracks:
    """Objects of one clip, one row for each object and frame, sorted by frame, then by identity.

    Rows may be given in any order. A box covers the pixels from its left to its right edge: pixel i extends from i to
    i + 1, so the frame's own box is (0, 0, width, height).

    Args:
        frames: int64 (rows,), number of the frame in the clip, from 0.
        identities: int64 (rows,), numbers from 0 that stay with an object from frame to frame; those of a frame differ.
        boxes: float64 (rows, 4), left edge, top edge, width, height; pixels.
        confidences: float64 (rows,), of each box, in the tracker's own scale; 0 marks true boxes that are not to be
            scored. None if not given.

    Raises:
        ValueError: if a shape or dtype is not as above, a frame or an identity is negative, an identity occurs twice in
            a frame, a number is not finite, or a box has no area.
    """

    frames: Tensor
    identities: Tensor
    boxes: Tensor
    confidences: Tensor | None = None

    def __post_init__(self) -> None:
        rows = self.frames.numel()
        for name, dtype, tail in _FIELDS:
            value = getattr(self, name)
            if value is not None and (value.dtype != dtype or tuple(value.shape) != (rows, *tail)):
                raise ValueError(f"{name}: expected {dtype} {(rows, *tail)}, got {value.dtype} {tuple(value.shape)}")
        for name in ("frames", "identities"):
            value = getattr(self, name)
            if value.is_meta:
                raise ValueError(f"{name}: expected numbers, got a tensor without any, on the device 'meta'")
            if bool((value < 0).any()):
                raise ValueError(f"{name}: expected numbers from 0, got {int(value.min())}")
        order = self._order()
        for name, _, _ in _FIELDS:
            if getattr(self, name) is not None:
                object.__setattr__(self, name, getattr(self, name)[order])
        twice = (self.frames[1:] == self.frames[:-1]) & (self.identities[1:] == self.identities[:-1])
        if bool(twice.any()):
            row = int(twice.nonzero()[0])
            raise ValueError(
                "identities: expected different ones within a frame, got "
                f"{int(self.identities[row])} twice in frame {int(self.frames[row])}"
            )
        confidences = self.boxes.new_zeros(0) if self.confidences is None else self.confidences
        if not bool(self.boxes.isfinite().all() and confidences.isfinite().all()):
            raise ValueError("boxes, confidences: expected finite numbers, got NaN or infinity")
        if bool((self.boxes[:, 2:] <= 0).any()):
            raise ValueError(
                f"boxes: expected positive widths and heights, got {float(self.boxes[:, 2:].min()):g} pixels"
            )

    def __len__(self) -> int:
        """Number of rows, over all frames."""
        return len(self.frames)

    def select(self, rows: Bool[Tensor, " rows"]) -> Tracks:
        """The rows for which the mask is True."""
        confidences = None if self.confidences is None else self.confidences[rows]
        return Tracks(self.frames[rows], self.identities[rows], self.boxes[rows], confidences)

    @property
    def num_identities(self) -> int:
        """Number of different identities."""
        return len(self.identities.unique())

    @property
    def positions(self) -> Float64[Tensor, "rows 2"]:
        """Centres of the boxes, (x, y) in pixels from the centre of the top-left pixel."""
        return self.boxes[:, :2] + 0.5 * self.boxes[:, 2:] - 0.5

    @property
    def box_sizes(self) -> Float64[Tensor, "rows 2"]:
        """Widths and heights of the boxes, pixels."""
        return self.boxes[:, 2:]

    def _order(self) -> Int64[Tensor, " rows"]:
        by_identity = self.identities.argsort(stable=True)
        return by_identity[self.frames[by_identity].argsort(stable=True)]


def read_tracks(path: str | os.PathLike[str]) -> Tracks:
    """Read tracks, or annotations, from a text file of the MOTChallenge (Leal-Taixé et al. 2015).

    A row is frame, identity, left, top, width, height[, confidence[, x, y, z]], separated by commas; what follows the
    confidence is not read. Frames count from 1, and so do pixels in these files: the image's corner is at (1, 1). Both
    are counted from 0 in the result.

    Args:
        path: a text file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file has no rows, or a row (named by its line number) is broken: it has fewer than 6 or more
            than 10 columns, or not those of the first row, something that is no finite number, a frame below 1, an
            identity below 0, a box without an area, or the frame and identity of an earlier row.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"tracks: expected a text file of MOTChallenge rows, got {path}, which is not a file")
    rows: list[tuple[float, ...]] = []
    lines: dict[tuple[float, float], int] = {}
    columns = 0
    for number, row in _rows(path):
        place = f"{path}, line {number}"
        columns = columns or len(row)
        if len(row) != columns:
            raise ValueError(
                f"{place}: expected {columns} columns as in the first row, got {len(row)}; is the file cut off?"
            )
        _check_row(place, row)
        earlier = lines.setdefault((row[0], row[1]), number)
        if earlier != number:
            raise ValueError(
                f"{place}: expected each identity once in a frame, got identity {row[1]:.0f} in frame {row[0]:.0f} "
                f"again, which is in line {earlier}"
            )
        rows.append(row[: _FEWEST_COLUMNS + 1])
    if not rows:
        raise ValueError(f"{path}: expected at least one row, got an empty file; {_HINT}")
    table = torch.tensor(rows, dtype=torch.float64)
    boxes = table[:, 2:6].clone()
    boxes[:, :2] -= 1
    confidences = table[:, 6].clone() if table.shape[1] > _FEWEST_COLUMNS else None
    return Tracks(table[:, 0].long() - 1, table[:, 1].long(), boxes, confidences)


def write_tracks(path: str | os.PathLike[str], tracks: Tracks) -> None:
    """Write tracks to a text file of the MOTChallenge, see `read_tracks`; the file is written at once or not at all.

    Boxes are rounded to thousandths of a pixel. Tracks without confidences get 1; world coordinates are -1, unknown.

    Args:
        path: path of the file; an existing file is replaced, parent folders are created.
        tracks: at least one row.

    Raises:
        ValueError: if there are no rows, which no reader of such files accepts.
    """
    if len(tracks) == 0:
        raise ValueError("tracks: expected at least one row, got none; nothing was written")
    confidences = torch.ones(len(tracks)) if tracks.confidences is None else tracks.confidences
    columns = (tracks.frames.tolist(), tracks.identities.tolist(), tracks.boxes.tolist(), confidences.tolist())
    text = "".join(
        f"{frame + 1},{identity},{left + 1:.3f},{top + 1:.3f},{width:.3f},{height:.3f},{confidence:g},-1,-1,-1\n"
        for frame, identity, (left, top, width, height), confidence in zip(*columns, strict=True)
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    beside.write_text(text, encoding="ascii")
    os.replace(beside, path)


def _rows(path: Path) -> Iterator[tuple[int, tuple[float, ...]]]:
    """Line number and numbers of each row; empty lines are skipped."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: expected a text file of MOTChallenge rows, got a binary file") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        cells = line.split(",")
        if not _FEWEST_COLUMNS <= len(cells) <= len(_COLUMNS):
            raise ValueError(
                f"{path}, line {number}: expected {_FEWEST_COLUMNS} to {len(_COLUMNS)} columns separated by commas, "
                f"got {len(cells)}; {_HINT}"
            )
        row = []
        for name, cell in zip(_COLUMNS, cells, strict=False):
            try:
                value = float(cell)
            except ValueError:
                raise ValueError(
                    f"{path}, line {number}: {name}: expected a number, got {cell.strip()!r}; {_HINT}, without a header"
                ) from None
            if not math.isfinite(value):
                raise ValueError(f"{path}, line {number}: {name}: expected a finite number, got {cell.strip()}")
            row.append(value)
        yield number, tuple(row)


def _check_row(place: str, row: tuple[float, ...]) -> None:
    frame, identity, _, _, width, height = row[:_FEWEST_COLUMNS]
    for name, value in (("frame", frame), ("identity", identity)):
        if value != round(value) or abs(value) > _LARGEST:
            raise ValueError(f"{place}: {name}: expected a whole number, got {value:g}")
    if frame < 1:
        raise ValueError(f"{place}: frame: expected numbers from 1, got {frame:.0f}; MOTChallenge files count from 1")
    if identity < 0:
        raise ValueError(
            f"{place}: identity: expected a number from 0, got {identity:.0f}; files of detections have -1, tracks "
            "have identities"
        )
    for name, value in (("width", width), ("height", height)):
        if value <= 0:
            raise ValueError(f"{place}: {name}: expected a positive number of pixels, got {value:g}")
