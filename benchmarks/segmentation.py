"""Models that take videos apart, beside one another (tables 1 and 2 and figure 5 of Zablotskaia et al. 2020).

    python benchmarks/segmentation.py runs/slots runs/iodine runs/iodine:sequential runs/nem --output runs/table.json
    python benchmarks/segmentation.py runs/slots --balls 6 8 --slots 9 --output runs/more-balls.json

Each run takes the same test videos apart, from the first frame on; scores are those of the first 10, 20, ... frames. A
second time, only the first half is observed, and pixels are scored by the number of frames since. After a colon comes a
completion method of the guide, which predicts too. R-NEM's picture is that of its assignments to the frame (its
predictions come before).
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from slot_scores import mean_of, prediction_errors, scores, taken_apart

from inference.experiments.runs import load_run
from inference.programs.traces import evaluation_mode
from inference.recipes.growing_videos import LengtheningVideos
from inference.runs.checkpoints import write_bytes
from inference.runs.provenance import provenance
from inference.runtime.host_memory import keep_freed_memory
from inference.scores.segmentation import TABLE_LENGTHS
from videos import MassiveBalls, TabletopScenes, VideoBatch

SEED = 50


def scored(word: str, videos: VideoBatch, options: argparse.Namespace) -> dict[str, Any]:
    """One run and method."""
    path, _, method = word.partition(":")
    run = load_run(path, options.device)
    if options.slots is not None:
        run.model.num_slots = options.slots
    label = run.recipe.label + (f" ({method})" if method else "")
    test = videos.to(options.device)
    with evaluation_mode(run.model, run.guide):
        try:
            shared, errors = taken_apart(run, method or None, test)
            predicted = prediction_errors(run, method or None, test, videos.num_frames // 2)
        except ValueError as error:
            raise SystemExit(f"{word}: {error}") from error
    row: dict[str, Any] = {
        "run": run.folder.path.name,
        "label": label,
        "training_frames": run.recipe.videos.num_frames,
        "lengths": {str(length): scores(shared[:, :length], errors[:, :length]) for length in options.lengths},
        "predictions": [mean_of(one) for one in predicted.unbind(1)],
    }
    last = row["lengths"][str(options.lengths[-1])]
    print(
        f"{label}: ARI {last['ari']['mean']:.4f}, foreground {last['foreground_ari']['mean']:.4f}, squared error "
        f"{last['squared_error']['mean']:.5f} in {options.lengths[-1]} frames",
        flush=True,
    )
    return row


def simulator_of(options: argparse.Namespace) -> MassiveBalls | TabletopScenes:
    """That of the first run's test videos, with the changes that are asked for."""
    settings = load_run(options.runs[0].partition(":")[0], "cpu").recipe.videos
    simulator = settings.simulator("test") if isinstance(settings, LengtheningVideos) else None
    if not isinstance(simulator, MassiveBalls | TabletopScenes):
        raise SystemExit(f"{options.runs[0]}: expected a run on balls or scenes on a table, got {settings.world}")
    changes: dict[str, Any] = {"num_frames": options.lengths[-1]}
    if options.balls:
        changes |= {"min_balls": options.balls[0], "max_balls": options.balls[1]}
    if options.palette is not None:
        changes["palette_size"] = options.palette
    if len(changes) > 1 and not isinstance(simulator, MassiveBalls):
        raise SystemExit(f"--balls, --palette: expected a run on balls, got one on {settings.world}; leave them out")
    return replace(simulator, **changes)


def main() -> None:
    """Score all, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="PATH, or PATH:METHOD")
    parser.add_argument("--videos", type=int, default=100, help="test videos (%(default)s)")
    parser.add_argument("--lengths", type=int, nargs="+", default=list(TABLE_LENGTHS), help="frames (%(default)s)")
    parser.add_argument(
        "--balls", type=int, nargs=2, default=None, help="fewest and most; None = those of the first run"
    )
    parser.add_argument("--slots", type=int, default=None, help="another number of slots")
    parser.add_argument("--palette", type=int, default=None, help="4 or 8 colours")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=Path("runs/segmentation.json"))
    options = parser.parse_args()
    keep_freed_memory()
    options.lengths = sorted(options.lengths)
    if options.lengths[0] < 2:
        raise SystemExit(
            f"--lengths: expected at least 2 frames, half of which predict the rest, got {options.lengths[0]}"
        )
    if options.slots is not None and options.slots < 1:
        raise SystemExit(f"--slots: expected at least 1, got {options.slots}; the background needs one too")
    try:
        simulator = simulator_of(options)
        videos = simulator.simulate(options.videos, torch.Generator().manual_seed(SEED))
    except ValueError as error:
        raise SystemExit(str(error)) from error
    rows = [scored(word, videos, options) for word in options.runs]
    record = {"provenance": provenance(0), "world": str(simulator), "slots": options.slots, "rows": rows}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(options.output, json.dumps(record, indent=1).encode())
    print(options.output)


if __name__ == "__main__":
    main()
