"""The section of RESULTS.md on Sprites-MOT."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from records import origin, table

COLUMNS = {
    "MOTA": "mota",
    "MOTP": "motp",
    "MD": "mostly_detected",
    "MT": "mostly_tracked",
    "match": "matches",
    "miss": "misses",
    "switches": "switches",
    "FP": "false_positives",
}
PUBLISHED: dict[str, Sequence[tuple[float, float] | None]] = {  # mean and standard deviation of three runs
    "ViMON": ((92.9, 0.2), (91.8, 0.2), (87.7, 0.8), (87.2, 0.8), (95.0, 0.2), (4.8, 0.2), (0.2, 0.0), (2.1, 0.1)),
    "OP3": ((89.1, 5.1), (78.4, 2.4), (92.4, 4.0), (91.8, 3.8), (95.9, 2.2), (3.7, 2.2), (0.4, 0.0), (6.8, 2.9)),
    "TBA": ((79.7, 15.0), (71.2, 0.3), (83.4, 9.7), (80.0, 13.6), (87.8, 9.0), (9.6, 6.0), (2.6, 3.0), (8.1, 6.0)),
    "MONet": ((70.2, 0.8), (89.6, 1.0), (92.4, 0.6), (50.4, 2.4), (75.3, 1.3), (4.4, 0.4), (20.3, 1.6), (5.1, 0.5)),
}
SCALOR = 94.9  # MOTA in the paper; its other scores are not in the authors' published table
NOTE = (
    "Masks in frames of 64 x 64 pixels, matched where they overlap by half, from the third frame on, as in the",
    "benchmark's own evaluation: masks of five pixels or fewer are none, whether an object is hidden or not there. MD",
    "and MT: objects found in 80 % of their frames, without and with their switches counted as misses. In percent; ±",
    "is the standard deviation over seeds. Published rows: Weis et al. (2021), on their videos; ours are made by the",
    "same rules. In these videos the ground is black and colours are pure, so connected regions of one colour are",
    "nearly the objects: the trackers of blobs, which are told that and learn nothing, show what is left to do.",
)


def sprites_section(trained: Path, blobs: Path) -> list[str]:
    """Scores by the benchmark's protocol, the published ones below ours.

    Args:
        trained: record of `sprites.py sqair`.
        blobs: record of `sprites.py blobs`.
    """
    rows, notes = [], []
    if trained.is_file():
        runs = json.loads(trained.read_text())["rows"]
        rows.append((f"SQAIR, {len(runs)} seeds", *_cells([run["scores"] for run in runs])))
        notes += _runs(runs)
    if blobs.is_file():
        record = json.loads(blobs.read_text())
        rows += [(f"blobs of {name}", *_cells([row["scores"]])) for name, row in record["rows"].items()]
        notes += [origin(record["provenance"]), ""]
    if not rows:
        return []
    rows.append(("SCALOR (published)", f"{SCALOR}", *[""] * (len(COLUMNS) - 1)))
    for name, pairs in PUBLISHED.items():
        rows.append((f"{name} (published)", *(_spread(*pair) for pair in pairs if pair is not None)))
    return [*table(["", *COLUMNS], rows), *NOTE, "", *notes]


def _cells(scores: Sequence[Mapping[str, Any]]) -> list[str]:
    cells = []
    for key in COLUMNS.values():
        values = [one[key] for one in scores if one[key] is not None]
        if not values:
            cells.append("")
            continue
        cells.append(_spread(mean(values), stdev(values) if len(values) > 1 else None))
    return cells


def _spread(centre: float, deviation: float | None) -> str:
    return f"{centre:.1f}" if deviation is None else f"{centre:.1f} ± {deviation:.1f}"


def _runs(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each run, with what its commands were."""
    rows = [
        (
            run["run"],
            f"{run['scores']['mota']:.1f}",
            f"{run['scores_of_all_frames']['mota']:.1f}",
            f"{run['counted']:.3f}",
            f"{100 * run['tracking']['box_mota']:.1f}",
            f"{run['frame_size']}",
            f"{run['steps']}",
            f"{run['seconds'] / 60:.0f}",
            origin(run["provenance"]),
        )
        for run in runs
    ]
    header = ["run", "MOTA", "all frames", "counted", "MOTA of boxes", "pixels", "steps", "minutes", ""]
    return [
        *table(header, rows),
        "Counted: share of frames with the right number of objects, hidden ones included.",
        "",
    ]
