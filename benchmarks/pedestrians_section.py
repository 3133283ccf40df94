"""The section of RESULTS.md on trackers of pedestrians."""

import json
from pathlib import Path

from records import origin, table

SHARES = ("mota", "motp", "idf1", "hota", "deta", "assa")
COUNTS = ("switches", "fragmentations", "misses", "false_alarms", "mostly_tracked", "mostly_lost")
NOTE = (
    "Blobs: nothing is trained, boxes are those of moving pixels, and settings follow from the sizes and speeds of",
    "people; before they were fixed, two sets of noises, `max_misses` of 10 and 20, and blobs of three kinds had been",
    "scored on this truth. People: how they look is learned from the clip without the truth, in the second half's rows",
    "from the first half; but defaults (size of masks, spreads, rates, `pixel_weight`, the box rule) were chosen while",
    "scores of some fifteen settings on this clip were seen. Unlike the filters, smoothed trackers look ahead.",
)


def pedestrians_section(path: Path) -> list[str]:
    """Scores of each tracker, without and with the true boxes of confidence 0."""
    if not path.is_file():
        return []
    record = json.loads(path.read_text())
    rows = []
    for part, trackers in record["rows"].items():
        for name, row in trackers.items():
            scores, every = row["scores"], row["scores_of_all"]
            shares = ("" if scores[key] is None else f"{100 * scores[key]:.1f}" for key in SHARES)
            counts = (f"{scores[key]}" for key in COUNTS)
            cost, last = 1000 * row["cpu_seconds"], f"{100 * every['mota']:.1f} / {100 * every['idf1']:.1f}"
            rows.append((name, part, *shares, *counts, f"{cost:.0f}", last))
    first = next(iter(record["rows"]["whole"].values()))
    scores, every = first["scores"], first["scores_of_all"]
    header = [key.upper().replace("DETA", "DetA").replace("ASSA", "AssA") for key in SHARES]
    header += [key.replace("_", " ") for key in COUNTS]
    return [
        *table(["tracker", "clip", *header, "CPU ms per frame", "all boxes: MOTA / IDF1"], rows),
        f"`{record['clip']}`, {record['frames']} frames: {scores['true_boxes']} true boxes of {scores['true_objects']} "
        f"people are scored. The last column also has the {scores['left_out']} boxes",
        f"that the benchmark leaves out ({every['true_boxes']} of {every['true_objects']} people). Shares in percent.",
        f"A box is found where boxes overlap by {scores['min_overlap']:g}; HOTA averages over 19 overlaps.",
        *NOTE,
        "",
        origin(record["provenance"]),
        "",
    ]
