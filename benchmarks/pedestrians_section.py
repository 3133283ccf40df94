"""The section of RESULTS.md on trackers of pedestrians."""

import json
from pathlib import Path

from records import origin, table

SHARES = ("mota", "motp", "idf1", "hota", "deta", "assa")
COUNTS = ("switches", "fragmentations", "misses", "false_alarms", "mostly_tracked", "mostly_lost")
NOTE = (
    "Nothing is trained: boxes are those of moving pixels, and settings follow from the sizes and speeds of people.",
    "Before they were fixed, two sets of noises, `max_misses` of 10 and 20, and blobs of three kinds had been scored",
    "on this truth.",
)


def pedestrians_section(path: Path) -> list[str]:
    """Scores of each tracker, without and with the true boxes of confidence 0."""
    if not path.is_file():
        return []
    record = json.loads(path.read_text())
    rows = []
    for name, row in record["rows"].items():
        scores = row["scores"]
        shares = ("" if scores[key] is None else f"{100 * scores[key]:.1f}" for key in SHARES)
        counts = (f"{scores[key]}" for key in COUNTS)
        every = row["scores_of_all"]
        rows.append(
            (
                name,
                *shares,
                *counts,
                f"{1000 * row['cpu_seconds']:.0f}",
                f"{100 * every['mota']:.1f} / {100 * every['idf1']:.1f}",
            )
        )
    first = next(iter(record["rows"].values()))
    scores, every = first["scores"], first["scores_of_all"]
    header = [key.upper().replace("DETA", "DetA").replace("ASSA", "AssA") for key in SHARES]
    header += [key.replace("_", " ") for key in COUNTS]
    return [
        *table(["tracker", *header, "CPU ms per frame", "all boxes: MOTA / IDF1"], rows),
        f"`{record['clip']}`, {record['frames']} frames: {scores['true_boxes']} true boxes of {scores['true_objects']} "
        f"people are scored. The last column also has the {scores['left_out']} boxes",
        f"that the benchmark leaves out ({every['true_boxes']} of {every['true_objects']} people). Shares in percent.",
        f"A box is found where boxes overlap by {scores['min_overlap']:g}; HOTA averages over 19 overlaps.",
        *NOTE,
        "",
        origin(record["provenance"]),
        "",
    ]
