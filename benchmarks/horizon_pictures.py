"""Pictures of a record of `horizons.py`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inference.metrics.distance_means import DistanceCurve
from inference.pictures import draw_horizon_curves
from inference.scores.horizons import HorizonErrors, Horizons


def draw(rows: Sequence[dict[str, Any]], record: Path) -> list[Path]:
    """Draw errors by frame, tracked and predicted, beside the record; where straight lines and still objects would be.

    Args:
        rows: of the record.
        record: its path.
    """
    labels = [row["label"] for row in rows]
    names = [f"{one}, {row['run']}" if labels.count(one) > 1 else one for one, row in zip(labels, rows, strict=True)]
    read = {name: Horizons().read(row["errors"]) for name, row in zip(names, rows, strict=True)}
    length = min(row["frames"] for row in rows)
    pictures = []
    for kind in ("tracked", "predicted"):
        curves = {label: found for label, errors in read.items() if (found := _curve(errors, kind)) is not None}
        baselines = {}
        if kind == "predicted":
            first = next(iter(read.values()))
            found = {"held still": _curve(first, "held"), "straight lines": _curve(first, "straight")}
            baselines = {name: one for name, one in found.items() if one is not None}
        pictures.append(record.with_name(f"{record.stem}-{kind}.png"))
        figure = draw_horizon_curves(curves, baselines, tracking=kind == "tracked", training_length=length)
        figure.savefig(pictures[-1])
    return pictures


def _curve(errors: HorizonErrors, name: str) -> DistanceCurve | None:
    found = getattr(errors, f"{name}_curve")
    return None if found is None else found.distances(errors.prefix, errors.frame_width)
