"""Trackers beside one another, by frame, far beyond the videos that they were trained on (figures 5 to 7 of VTSSI).

    python benchmarks/horizons.py runs/vtssi runs/vtssi:finder runs/sqair:kept --prefix 3 --output runs/horizons.json

Each run is tracked through all frames of the same long videos, and predicted from the first ones; after a colon comes a
completion method of its guide. Long videos are those of the first run's world; all runs were trained on that world.
Writes a record and two pictures.
"""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from horizon_pictures import draw

from inference.experiments.runs import load_run
from inference.runs.checkpoints import write_bytes
from inference.runs.provenance import provenance
from inference.scores.horizons import Horizons
from inference.scores.score import Evaluated


def scored(
    word: str, device: str, prefix: int, num_long: int, first: Horizons | None
) -> tuple[dict[str, Any], Horizons]:
    """The errors of one run and method, and the score with its long videos."""
    path, _, method = word.partition(":")
    run = load_run(path, device)
    own = next((score for score in run.recipe.scores() if isinstance(score, Horizons)), None)
    if own is None or own.long_videos is None:
        raise SystemExit(f"{path}: expected a run on videos of tracked digits, got {run.recipe.name}")
    score = replace(first or own, prefix=prefix, num_long=num_long, method=method or None)
    if str(own.long_videos) != str(score.long_videos):
        raise SystemExit(f"{path}: expected a run on {score.long_videos}, as the first one, got {own.long_videos}")
    try:
        errors = score.compute(Evaluated(run.model, run.guide, run.test))
    except ValueError as error:
        raise SystemExit(f"{word}: {error}") from error
    assert errors is not None
    label = getattr(run.recipe.pair, "label", run.recipe.name) + (f" ({method})" if method else "")
    row = {
        "run": run.folder.path.name,
        "label": label,
        "frames": run.recipe.videos.num_frames,
        "errors": asdict(errors),
    }
    print(f"{label}\n{errors}", flush=True)
    return row, score


def main() -> None:
    """Score, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="PATH, or PATH:METHOD")
    parser.add_argument("--prefix", type=int, default=5, help="observed frames (%(default)s)")
    parser.add_argument("--num-long", type=int, default=200, help="number of long videos (%(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=Path("runs/horizons.json"))
    options = parser.parse_args()
    rows, first = [], None
    for word in options.runs:
        row, first = scored(word, options.device, options.prefix, options.num_long, first)
        rows.append(row)
    record = {"provenance": provenance(0), "prefix": options.prefix, "world": str(first.long_videos), "rows": rows}
    write_bytes(options.output, json.dumps(record, indent=1).encode())
    print(options.output, *draw(rows, options.output))


if __name__ == "__main__":
    main()
