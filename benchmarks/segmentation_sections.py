"""Sections of RESULTS.md on models that take videos apart: tables 1 and 2 and figure 5 of Zablotskaia et al. (2020)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from records import origin, table

HORIZONS = (1, 3, 5, 10)  # frames after the observed ones, whose errors are given


def segmentation_section(paths: Sequence[Path]) -> list[str]:
    """Scores by length, and errors of predictions, for each record."""
    lines = []
    for path in paths:
        record = json.loads(path.read_text())
        slots = "" if record["slots"] is None else f", {record['slots']} slots"
        lines += [
            f"{record['world']}{slots}: adjusted Rand index of frames, with background and of the foreground, and",
            "squared error of pixels, in so many frames from the first; the foreground's index of whole videos, which",
            "fails a slot that changes its object; and the squared error so many frames after the first half.",
            "",
        ]
        rows = record["rows"]
        lengths = list(rows[0]["lengths"])
        header = ["", *(f"{name}, {length}" for length in lengths for name in ("ARI", "foreground", "error"))]
        header += ["foreground, video", *(f"predicted, {horizon}" for horizon in HORIZONS)]
        lines += [*table(header, [_cells(row, lengths) for row in rows]), origin(record["provenance"]), ""]
    return lines


def _cells(row: dict[str, Any], lengths: Sequence[str]) -> tuple[str, ...]:
    cells = [f"{row['label']}: {row['run']}"]
    for length in lengths:
        scores = row["lengths"][length]
        cells += [_mean(scores["ari"], 3), _mean(scores["foreground_ari"], 3), _mean(scores["squared_error"], 5)]
    cells.append(_mean(row["lengths"][lengths[-1]]["video_foreground_ari"], 3))
    errors = row["predictions"]
    cells += [_mean(errors[horizon - 1], 5) if horizon <= len(errors) else "" for horizon in HORIZONS]
    return tuple(cells)


def _mean(score: dict[str, float], digits: int) -> str:
    return f"{score['mean']:.{digits}f} ± {score['standard_error']:.{digits}f}"
