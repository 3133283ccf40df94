"""Annotations of CLEVRER's videos: which objects there are, where they are in each frame, and when they collide."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from videos.clevrer.files import NUM_FRAMES
from videos.tabletop.kinds import kind_label

_VECTORS = ("location", "orientation", "velocity")


@dataclass(frozen=True, eq=False)
class Annotation:
    """The annotation of one video.

    Attributes:
        labels: int64 (objects,), kinds in the order of `object_id`, see `videos.tabletop.kinds.kind_label`.
        in_view: bool (time, objects), whether the camera's view contains the object.
        vectors: (time, objects, 9), location, orientation and velocity in CLEVRER's units.
        hits: bool (time,), whether a collision is annotated for this frame.
    """

    labels: Int64[Tensor, " objects"]
    in_view: Bool[Tensor, "time objects"]
    vectors: Float[Tensor, "time objects 9"]
    hits: Bool[Tensor, " time"]

    @property
    def num_objects(self) -> int:
        """Number of objects in the video."""
        return len(self.labels)

    @property
    def all_in_view(self) -> slice:
        """From the first frame with all objects in view up to the next without; empty if there is none."""
        complete = self.in_view.all(1).tolist()
        if True not in complete:
            return slice(0, 0)
        start = complete.index(True)
        end = complete.index(False, start) if False in complete[start:] else len(complete)
        return slice(start, end)


def read_annotation(path: Path) -> Annotation:
    """Read an annotation file.

    Args:
        path: a json file with `object_property`, `motion_trajectory` and `collision`.

    Raises:
        ValueError: if the file is damaged or not an annotation of CLEVRER.
    """
    try:
        return _parsed(json.loads(path.read_text()))
    except (ValueError, KeyError, TypeError) as error:  # a damaged file can fail anywhere
        problem = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f"folder: expected an annotation of CLEVRER with {NUM_FRAMES} frames, got {path} ({problem}); it is "
            "truncated or of another kind: unpack or download it again"
        ) from error


def _parsed(note: Any) -> Annotation:
    properties = {entry["object_id"]: entry for entry in note["object_property"]}
    ids = sorted(properties)
    words = [[properties[index][name] for name in ("shape", "material", "color")] for index in ids]
    frames = sorted(note["motion_trajectory"], key=lambda frame: frame["frame_id"])
    if not ids or [frame["frame_id"] for frame in frames] != list(range(NUM_FRAMES)):
        raise ValueError(f"{len(ids)} objects and {len(frames)} frames, numbered from 0")
    states = [{state["object_id"]: state for state in frame["objects"]} for frame in frames]
    for number, objects in enumerate(states):
        if sorted(objects) != ids:
            raise ValueError(f"objects {sorted(objects)} in frame {number}, expected {ids}")
    rows = [[sum((list(objects[index][name]) for name in _VECTORS), []) for index in ids] for objects in states]
    hits = torch.zeros(NUM_FRAMES, dtype=torch.bool)
    for collision in note["collision"]:
        if collision["frame_id"] < NUM_FRAMES:  # whatever follows is not filmed
            hits[collision["frame_id"]] = True
    return Annotation(
        labels=torch.tensor([kind_label(*each) for each in words]),
        in_view=torch.tensor([[bool(objects[index]["inside_camera_view"]) for index in ids] for objects in states]),
        vectors=torch.tensor(rows, dtype=torch.float32).reshape(NUM_FRAMES, len(ids), 3 * len(_VECTORS)),
        hits=hits,
    )
