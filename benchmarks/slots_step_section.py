"""The section of RESULTS.md on a training step of slots."""

import json
from collections.abc import Sequence
from pathlib import Path

from records import origin, table


def slots_step_section(paths: Sequence[Path]) -> list[str]:
    """Milliseconds and megabytes of a step for each record."""
    lines = []
    for path in paths:
        record = json.loads(path.read_text())
        official = record["rows"].get("the authors' code")
        rows = []
        for name, row in record["rows"].items():
            ratio = "" if official is None else f"{official['median'] / row['median']:.2f}"
            numbers = (f"{row[key]:.0f}" for key in ("median", "minimum", "megabytes"))
            rows.append((name, f"{row['frames']}", f"{row['decodes']}", *numbers, ratio))
        lines += table(["a step", "frames", "decodes", "CPU ms", "minimum", "MB", "times the authors' speed"], rows)
        for name, row in record["rows"].items():
            if "parts" in row:
                shares = ", ".join(f"{part} {value:.0f} ms" for part, value in row["parts"].items())
                lines += [f"One step of {name}, by the profiler: {shares}.", ""]
        sizes = f"{record['batch']} videos of the paper's size or {record['small_batch']} small ones a step."
        lines += [sizes, "", origin(record["provenance"]), ""]
    return lines
