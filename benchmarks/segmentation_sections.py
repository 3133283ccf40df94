"""Sections of RESULTS.md on models that take videos apart (Zablotskaia et al. 2020), and on what their scores mean."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from decomposition_sections import ablation_section, models_section, predictions_section
from records import origin, table

HORIZONS = (1, 3, 5, 10)  # frames after the observed ones, whose errors are given
INDEPENDENT = {  # ARI and F-ARI by fault, of other frames, simulated and scored by other code
    "perfect": (1.0, 1.0),
    "a pixel too wide": (0.80, 0.999),
    "two pixels too wide": (0.64, 0.99),
    "a pixel too narrow": (0.78, 0.49),
    "background in the slot of a ball": (0.84, 1.0),
    "background in two halves": (0.28, 1.0),
    "background to the nearest ball": (0.02, 1.0),
    "one cluster": (0.0, 0.0),
    "random labels": (0.0, 0.0),
}
INDEPENDENT_BLACK = 0.103


def segmentation_sections(records: Path) -> list[tuple[str, list[str]]]:
    """Titles and lines; a section without a record has no lines."""
    return [
        ("Videos taken apart (tables 1 and 2)", models_section(records / "decompositions-models.json")),
        ("What the parts of slots with memory are worth", ablation_section(records / "decompositions-ablation.json")),
        ("Predictions of slots with memory", predictions_section(records / "decompositions-predictions.json")),
        ("Videos taken apart, single runs", segmentation_section(sorted(records.glob("segmentation-*.json")))),
        ("What an index of masks means", calibration_section(records / "index_calibration.json")),
    ]


def calibration_section(path: Path) -> list[str]:
    """Scores of masks with known faults."""
    if not path.is_file():
        return []
    record = json.loads(path.read_text())
    rows = []
    for name, found in record["indices"].items():
        if "ari" in found:
            other = INDEPENDENT[name]
            rows.append((name, *(_mean(found[score], 3) for score in ("ari", "foreground_ari")), *map(str, other)))
    black = _mean(record["indices"]["black pictures"]["squared_error"], 3)
    return [
        f"True masks of {record['frames']} frames of four balls, with a fault: adjusted Rand index with background",
        "(ARI) and of the foreground (F-ARI), mean and standard error over frames. F-ARI hardly tells masks that are",
        "too wide, or a background that balls share, from perfect ones. The squared error of black pictures is",
        f"{black} (computed independently: {INDEPENDENT_BLACK}).",
        "",
        *table(["", "ARI", "F-ARI", "computed independently: ARI", "F-ARI"], rows),
        origin(record["provenance"]),
        "",
    ]


def segmentation_section(paths: Sequence[Path]) -> list[str]:
    """Scores by length, and errors of predictions, for each record."""
    lines = []
    for path in paths:
        record = json.loads(path.read_text())
        slots = "" if record["slots"] is None else f", {record['slots']} slots"
        lines += [
            f"{record['world']}{slots}: adjusted Rand index of frames, with background and of the foreground, and",
            "squared error of pixels, in so many frames from the first; the foreground's index of whole videos, which",
            "fails a slot that changes its object; how often an object has the same slot to itself in two frames in",
            "a row; how many frames an object that enters waits for a slot; and the squared error so many frames",
            "after the first half.",
            "",
        ]
        rows = record["rows"]
        lengths = list(rows[0]["lengths"])
        header = ["", *(f"{name}, {length}" for length in lengths for name in ("ARI", "foreground", "error"))]
        header += [
            "foreground, video",
            "slots kept",
            "frames until found",
            *(f"predicted, {horizon}" for horizon in HORIZONS),
        ]
        lines += [*table(header, [_cells(row, lengths) for row in rows]), origin(record["provenance"]), ""]
    return lines


def _cells(row: dict[str, Any], lengths: Sequence[str]) -> tuple[str, ...]:
    cells = [f"{row['label']}: {row['run']}"]
    for length in lengths:
        scores = row["lengths"][length]
        cells += [_mean(scores["ari"], 3), _mean(scores["foreground_ari"], 3), _mean(scores["squared_error"], 5)]
    last = row["lengths"][lengths[-1]]
    cells.append(_mean(last["video_foreground_ari"], 3))
    for name in ("kept", "frames_until_found"):
        known = name in last and not math.isnan(last[name]["mean"])  # records of earlier versions lack them
        cells.append(_mean(last[name], 2) if known else "")
    errors = row["predictions"]
    cells += [_mean(errors[horizon - 1], 5) if horizon <= len(errors) else "" for horizon in HORIZONS]
    return tuple(cells)


def _mean(score: dict[str, float], digits: int) -> str:
    return f"{score['mean']:z.{digits}f} ± {score['standard_error']:.{digits}f}"
