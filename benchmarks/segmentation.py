"""Models that take videos apart, beside one another (tables 1 and 2 and figure 5 of Zablotskaia et al. 2020).

    python benchmarks/segmentation.py runs/slots runs/iodine runs/iodine:sequential runs/nem --output runs/table.json
    python benchmarks/segmentation.py runs/slots --balls 6 8 --slots 9 --output runs/more-balls.json

Each run takes the same test videos apart, from the first frame on; scores are those of the first 10, 20, ... frames. A
second time, only the first half is observed, and pixels are scored by the number of frames since. After a colon comes a
completion method of the guide. R-NEM's picture is that of its assignments to the frame (its predictions come before).
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inference.experiments.runs import load_run
from inference.metrics.best_overlap import mean_best_overlap
from inference.metrics.segmentation import adjusted_rand_index
from inference.programs.traces import evaluation_mode
from inference.queries import impute, reconstruct
from inference.recipes.ball_segmentation import MassiveBallVideos
from inference.runs.checkpoints import write_bytes
from inference.runs.provenance import provenance
from inference.runtime.host_memory import keep_freed_memory
from inference.scores.segmentation import VideoMean, components_of
from videos import VideoBatch
from videos.missing import tail

SEED = 50
VIDEOS_AT_ONCE = 16


def scores_by_frame(run: Any, method: str | None, videos: VideoBatch) -> dict[str, Tensor]:
    """Scores of each frame, (sequences, time), and those of whole videos, (sequences,)."""
    parts: list[dict[str, Tensor]] = []
    for start in range(0, videos.num_sequences, VIDEOS_AT_ONCE):
        some = videos.select(slice(start, start + VIDEOS_AT_ONCE))
        answer = reconstruct(run.model, run.guide, some.frames, method=method, seed=0)
        masks = components_of(run.model.scene(answer.values))
        expected = answer.deterministic.get("composite")
        pictures = answer.frames if expected is None else expected.transpose(0, 1)
        assert some.masks is not None
        part = {
            "ari": adjusted_rand_index(masks, some.masks, foreground_only=False, over="frame"),
            "foreground_ari": adjusted_rand_index(masks, some.masks, over="frame"),
            "overlap": mean_best_overlap(masks, some.masks, over="frame"),
            "squared_error": (pictures - some.frames).double().square().mean((-3, -2, -1)),
            "video_foreground_ari": adjusted_rand_index(masks, some.masks, over="video"),
        }
        parts.append(part)
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def prediction_errors(run: Any, method: str | None, videos: VideoBatch, num_seen: int) -> Tensor:
    """Squared error of each predicted frame, (sequences, time after the observed frames)."""
    parts = []
    for start in range(0, videos.num_sequences, VIDEOS_AT_ONCE):
        some = videos.select(slice(start, start + VIDEOS_AT_ONCE))
        seen = tail(some.num_sequences, some.num_frames, num_seen=num_seen)
        answer = impute(run.model, run.guide, some.frames, seen, method=method, seed=0)
        parts.append((answer.frames - some.frames)[:, num_seen:].double().square().mean((-3, -2, -1)))
    return torch.cat(parts)


def mean_of(values: Tensor) -> dict[str, float]:
    """Mean over frames, then over videos, with its standard error."""
    found = VideoMean.of(values.double() if values.dim() == 1 else values.double().nanmean(1))
    return {"mean": found.mean, "standard_error": found.standard_error}


def scored(word: str, videos: VideoBatch, options: argparse.Namespace) -> dict[str, Any]:
    """One run and method."""
    path, _, method = word.partition(":")
    run = load_run(path, options.device)
    if options.slots:
        run.model.num_slots = options.slots
    label = run.recipe.label + (f" ({method})" if method else "")
    test = videos.to(options.device)
    with evaluation_mode(run.model, run.guide):
        try:
            found = scores_by_frame(run, method or None, test)
        except ValueError as error:
            raise SystemExit(f"{word}: {error}") from error
        row: dict[str, Any] = {
            "run": run.folder.path.name,
            "label": label,
            "training_frames": run.recipe.videos.num_frames,
        }
        for length in options.lengths:
            row[str(length)] = {name: mean_of(value[:, :length]) for name, value in found.items() if value.dim() == 2}
        row["video_foreground_ari"] = mean_of(found["video_foreground_ari"])
        errors = prediction_errors(run, None, test, videos.num_frames // 2)
    row["predictions"] = [mean_of(errors[:, index]) for index in range(errors.shape[1])]
    last = row[str(options.lengths[-1])]
    print(
        f"{label}: ARI {last['ari']['mean']:.4f}, foreground {last['foreground_ari']['mean']:.4f}, squared error "
        f"{last['squared_error']['mean']:.5f} in {options.lengths[-1]} frames",
        flush=True,
    )
    return row


def main() -> None:
    """Score all, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="PATH, or PATH:METHOD")
    parser.add_argument("--videos", type=int, default=100, help="test videos (%(default)s)")
    parser.add_argument("--lengths", type=int, nargs="+", default=[10, 20, 30, 40], help="frames (%(default)s)")
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
    settings = load_run(options.runs[0].partition(":")[0], "cpu").recipe.videos
    if not isinstance(settings, MassiveBallVideos):
        raise SystemExit(f"{options.runs[0]}: expected a run on balls")
    simulator = replace(settings.simulator("test"), num_frames=options.lengths[-1])
    if options.balls:
        simulator = replace(simulator, min_balls=options.balls[0], max_balls=options.balls[1])
    if options.palette:
        simulator = replace(simulator, palette_size=options.palette)
    videos = simulator.simulate(options.videos, torch.Generator().manual_seed(SEED))
    rows = [scored(word, videos, options) for word in options.runs]
    record = {"provenance": provenance(0), "world": str(simulator), "slots": options.slots, "rows": rows}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(options.output, json.dumps(record, indent=1).encode())
    print(options.output)


if __name__ == "__main__":
    main()
