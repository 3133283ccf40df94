"""The section of RESULTS.md on a training step of slots."""

import json
from collections.abc import Sequence
from pathlib import Path

from records import origin, table

NOTE = (
    'All steps but those of the authors\' code are ours: "paper\'s networks" are `spatio-temporal-balls-paper`, "ours"',
    "`spatio-temporal-balls-colour`, which halves the images that refinements read, or reads them at full size as the",
    'paper does, and "small" is `spatio-temporal-balls-small`. Truncated and implicit are modes of gradients. Other',
    "programs ran on both cores.",
    "",
)


def slots_step_section(paths: Sequence[Path]) -> list[str]:
    """Milliseconds and megabytes of a step for each record."""
    lines = [*NOTE] if paths else []
    for path in paths:
        record = json.loads(path.read_text())
        official = record["rows"].get("the authors' code")
        rows = []
        for name, row in record["rows"].items():
            ratio = [] if official is None else [f"{official['median'] / row['median']:.2f}"]
            numbers = (f"{row[key]:.0f}" for key in ("median", "minimum", "megabytes"))
            rows.append((name, f"{row['frames']}", f"{row['decodes']}", *numbers, *ratio))
        header = ["a step", "frames", "decodes", "CPU ms", "minimum", "MB"]
        lines += table(header if official is None else [*header, "times the authors' speed"], rows)
        for name, row in record["rows"].items():
            if "parts" in row:
                whole = sum(row["parts"].values())
                shares = [f"{part} {time / whole:.0%}" for part, time in row["parts"].items() if time / whole > 0.005]
                lines += [f"One step of {name}, by the profiler: {', '.join(shares)}.", ""]
        lines += [f"Videos a step: {record['batch']} of the paper's size, {record['small_batch']} small ones.", ""]
        lines += [origin(record["provenance"]), ""]
    return lines
