"""The section of RESULTS.md on trackers of pedestrians."""

import json
from pathlib import Path
from typing import Any

from records import origin, table

SHARES = ("mota", "motp", "idf1", "hota", "deta", "assa", "average_precision")
NAMES = {"deta": "DetA", "assa": "AssA", "average_precision": "AP"}
COUNTS = ("switches", "fragmentations", "misses", "false_alarms", "mostly_tracked", "mostly_lost")
NOTE = (
    "Blobs: nothing is trained, boxes are those of moving pixels, and settings follow from the sizes and speeds of",
    "people; before they were fixed, two sets of noises, `max_misses` of 10 and 20, and blobs of three kinds had been",
    "scored on this truth. People: how they look is learned from the clip without the truth, in the second half's rows",
    "from the first half; but defaults (size of masks, spreads, rates, `pixel_weight`, the box rule) were chosen while",
    "scores of some fifteen settings on this clip were seen. Unlike the filters, smoothed trackers look ahead.",
)
SQAIR_NOTE = (
    "SQAIR: a run that was trained on an earlier part of the clip, without labels; the last part is that of its test",
    "videos. It sees every second frame; boxes between are smoothed. Windows, particles and the rules of names were",
    "chosen while scores of some thirty settings on this clip were seen.",
)


PARTS_NOTE = (
    "Each row lacks one part, which is switched off before anything is learned and again afterwards. Without sizes by",
    "row there is one mean height, with the spread of blobs' heights; without velocities a random walk with steps as",
    "long as people walk; without people who are hidden, whoever is not seen is gone. The model sees masks, no colour.",
)


def pedestrians_section(path: Path) -> list[str]:
    """Scores of each tracker, without and with the true boxes of confidence 0, and its speed."""
    if not path.is_file():
        return []
    record = json.loads(path.read_text())
    sqair = any("SQAIR" in name for name in record["rows"]["whole"])
    note = [*NOTE, *(SQAIR_NOTE if sqair else ())]
    return [*_scores(record, "tracker"), *note, "", origin(record["provenance"]), ""]


def pedestrian_parts_section(path: Path) -> list[str]:
    """Scores of people without a part of their model."""
    if not path.is_file():
        return []
    record = json.loads(path.read_text())
    return [*_scores(record, "without"), *PARTS_NOTE, "", origin(record["provenance"]), ""]


def _scores(record: dict[str, Any], what: str) -> list[str]:
    rows = []
    for part, trackers in record["rows"].items():
        for name, row in trackers.items():
            scores, every = row["scores"], row["scores_of_all"]
            shares = ("" if scores.get(key) is None else f"{100 * scores[key]:.1f}" for key in SHARES)
            counts = (f"{scores[key]}" for key in COUNTS)
            cost, last = 1000 * row["cpu_seconds"], f"{100 * every['mota']:.1f} / {100 * every['idf1']:.1f}"
            rows.append((name, part, *shares, *counts, f"{cost:.0f}", f"{1 / row['seconds']:.0f}", last))
    first = next(iter(record["rows"]["whole"].values()))
    scores, every = first["scores"], first["scores_of_all"]
    header = [NAMES.get(key, key.upper()) for key in SHARES]
    header += [key.replace("_", " ") for key in COUNTS]
    costs = ["CPU ms per frame", "frames per second"]
    rate = record.get("frames_per_second")
    return [
        *table([what, "clip", *header, *costs, "all boxes: MOTA / IDF1"], rows),
        f"`{record['clip']}`, {record['frames']} frames"
        + (f" at {rate:g} per second" if rate else "")
        + f": {scores['true_boxes']} true boxes of {scores['true_objects']} people are scored. The last column also "
        f"has the {scores['left_out']} boxes",
        f"that the benchmark leaves out ({every['true_boxes']} of {every['true_objects']} people). Shares in percent.",
        f"A box is found where boxes overlap by {scores['min_overlap']:g}; HOTA averages over 19 overlaps.",
        "AP: average precision over the threshold of confidence, of trackers that have one: how probable it is that",
        "somebody is there, or, by evidence, how much more probable the frame is with that person.",
        "Frames per second: by the clock, decoding included.",
    ]
