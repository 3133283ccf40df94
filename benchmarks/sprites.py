"""Sprites-MOT of Weis et al. (2021): SQAIR and trackers of blobs, scored by the benchmark's protocol.

    python benchmarks/sprites.py blobs --output runs/sprites
    python benchmarks/sprites.py sqair --seeds 0 1 2 --compile trace --output runs/sprites

`sqair` trains the recipe, seed by seed; it resumes a run that was stopped, and keeps what is finished. `blobs` follows
the connected regions of lit pixels, or of pixels of one colour, through each video; nothing is trained. All are scored
on the same test videos, in the benchmark's 64 x 64 pixels: light that a model draws at another size is enlarged before
masks are made of it. Writes run folders and `sprites-PLAN.json`, with all that is finished so far.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from plans import Plan, Setting, chosen, further_options, parser_of, recipe_of
from scipy import ndimage
from torch import Tensor

from inference.experiments.runs import load_run, train_recipe
from inference.recipes import Recipe
from inference.runs.checkpoints import write_bytes
from inference.runs.provenance import provenance
from inference.runtime.host_memory import keep_freed_memory
from inference.scores.counting import Counting
from inference.scores.mask_tracking import masked_scene, score_masks
from inference.scores.score import Evaluated
from inference.scores.tracking import Tracking
from inference.trackers import KalmanTracker, OverlapTracker
from inference.trackers.tracker import BoxTracker
from pyro_models.components.scene import Scene
from videos import Tracks, VideoBatch
from videos.clips import Clip

RECIPE, SIZE = "sqair-sprites", 64
EIGHT_NEIGHBOURS = [[1, 1, 1]] * 3
LIT = 0.5  # light of a channel from which on a pixel is lit


@dataclass(frozen=True)
class LitBlobs:
    """Boxes of connected regions of lit pixels on a black ground.

    Attributes:
        by_colour: whether pixels of different colours are apart.
        least_area: smallest area of a region, pixels.
    """

    by_colour: bool = False
    least_area: int = 6

    def detect(self, clip: Clip) -> Iterator[Tensor]:
        """See `Detector.detect`."""
        frames = torch.as_tensor(clip)
        lit = (frames.float() / 255 >= LIT).long()  # (time, height, width, channels)
        colours = (lit * torch.tensor([4, 2, 1])).sum(-1)
        for frame in colours:
            kinds = frame.unique().tolist() if self.by_colour else [None]
            boxes = []
            for kind in kinds:
                shown = (frame > 0) if kind is None else (frame == kind)
                if kind == 0:
                    continue
                labels = np.zeros(shown.shape, np.int32)
                ndimage.label(shown.numpy(), EIGHT_NEIGHBOURS, output=labels)
                for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
                    if (labels[rows, columns] == number).sum() >= self.least_area:
                        size = (columns.stop - columns.start, rows.stop - rows.start)
                        boxes.append([columns.start, rows.start, *size])
            yield torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4)


# Sprites move in straight lines, by a quarter of their height from frame to frame, and some leave after a frame.
STRAIGHT: dict[str, Any] = {"min_hits": 1, "speed": 0.25, "acceleration": 0.003}
TRACKERS: dict[str, BoxTracker] = {
    "lit pixels, joined by overlap": OverlapTracker(LitBlobs()),
    "lit pixels, Kalman filter, smoothed": KalmanTracker(LitBlobs(), **STRAIGHT),
    "colours, joined by overlap": OverlapTracker(LitBlobs(by_colour=True)),
    "colours, Kalman filter, smoothed": KalmanTracker(LitBlobs(by_colour=True), **STRAIGHT),
}


def plan_of(output: Path) -> Plan:
    """The recipe, seed by seed."""
    settings = {"SQAIR": Setting(RECIPE, RECIPE, "sprites.json")}
    return Plan("sqair", output / "sprites-sqair.json", settings)


def test_videos(recipe: Recipe) -> VideoBatch:
    """The recipe's test videos in the benchmark's size."""
    return recipe.with_options(frame_size=SIZE).splits().test


def true_scene(videos: VideoBatch) -> Scene:
    """Their objects, each in its slot."""
    return Scene(presence=videos.presence, positions=videos.positions, box_sizes=videos.box_sizes, masks=videos.masks)


def both_scores(found: Scene, truth: Scene) -> dict[str, Any]:
    """Scores of the frames that the benchmark scores, and of all; None for a mean over no matches."""
    both = {"scores": score_masks(found, truth), "scores_of_all_frames": score_masks(found, truth, first_frame=0)}
    return {
        name: {key: None if math.isnan(value) else value for key, value in asdict(scores).items()}
        for name, scores in both.items()
    }


def trained(recipe: Recipe, path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train and score one seed."""
    train_recipe(recipe, path, device=options.device, compile=options.compile)
    run = load_run(path, options.device)
    evaluated = Evaluated(run.model, run.guide, run.test)
    found = masked_scene(evaluated, (SIZE, SIZE))
    tracking = Tracking().compute(evaluated)
    assert found is not None
    assert tracking is not None
    return {
        "run": path.name,
        "seed": recipe.seed,
        "frame_size": recipe.videos.frame_size,
        "steps": recipe.num_steps,
        "seconds": run.folder.timing()[-1]["seconds"],
        "num_test": run.test.num_sequences,
        **both_scores(found, true_scene(test_videos(recipe))),
        "counted": Counting().compute(evaluated),
        "tracking": asdict(tracking),
        "provenance": run.folder.provenance[0],  # of the training: code may change before a run is scored
    }


def masks_of_tracks(tracks: Tracks, lit: Tensor) -> Scene:
    """One video's boxes as masks: the lit pixels of a box, those in several of the box whose centre is nearest.

    Args:
        tracks: of the video.
        lit: bool (time, height, width).
    """
    names, which = tracks.identities.unique(return_inverse=True)
    slots, (time, height, width) = max(1, len(names)), lit.shape
    presence = torch.zeros(time, slots, dtype=torch.bool)
    positions = torch.zeros(time, slots, 2, dtype=torch.float64)
    distances = torch.full((time, slots, height, width), torch.inf, dtype=torch.float64)
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    for frame, slot, box, centre in zip(tracks.frames, which, tracks.boxes, tracks.positions, strict=True):
        left, top, wide, tall = box
        inside = (columns > left) & (columns < left + wide) & (rows > top) & (rows < top + tall)
        away = (columns - centre[0] - 0.5).square() + (rows - centre[1] - 0.5).square()
        distances[frame, slot] = torch.where(inside, away, torch.inf)
        presence[frame, slot], positions[frame, slot] = True, centre
    nearest, first = distances.min(1, keepdim=True)
    masks = (first == torch.arange(slots)[:, None, None]) & nearest.isfinite() & lit.unsqueeze(1)
    return Scene(presence, positions, masks=masks, identities=torch.arange(slots).expand(time, -1).contiguous())


def joined_scenes(scenes: list[Scene]) -> Scene:
    """Scenes of single videos as one, with as many slots as the fullest."""
    slots = max(scene.presence.shape[1] for scene in scenes if scene.presence is not None)

    def joined(name: str) -> Tensor:
        values = [getattr(scene, name) for scene in scenes]
        whole = values[0].new_zeros(len(values), values[0].shape[0], slots, *values[0].shape[2:])
        for row, value in zip(whole, values, strict=True):
            row[:, : value.shape[1]] = value
        return whole

    return Scene(**{name: joined(name) for name in ("presence", "positions", "masks", "identities")})


def followed(tracker: BoxTracker, videos: VideoBatch) -> dict[str, Any]:
    """One tracker on all videos, one after the other."""
    clips = (255 * videos.frames).round().byte().movedim(2, -1)
    lit = (videos.frames >= LIT).any(2)
    start = time.process_time()
    tracks = [tracker.track(clip) for clip in clips.numpy()]
    seconds = (time.process_time() - start) / lit.shape[:2].numel()
    found = joined_scenes([masks_of_tracks(one, shown) for one, shown in zip(tracks, lit, strict=True)])
    return {"cpu_seconds": seconds, "num_test": len(clips), **both_scores(found, true_scene(videos))}


def blobs(options: argparse.Namespace) -> None:
    """Follow, score, write."""
    names = chosen(TRACKERS, options.only)
    further = {"seed": options.seeds[0], **further_options(options.options)}
    videos, started = test_videos(recipe_of(RECIPE, further)), provenance()
    rows = {}
    for name in names:
        rows[name] = followed(TRACKERS[name], videos)
        print(f"{name}: {in_words(rows[name])}", flush=True)
    record = {"provenance": started, "rows": rows}
    options.output.mkdir(parents=True, exist_ok=True)
    write_bytes(options.output / "sprites-blobs.json", json.dumps(record, indent=1).encode())


def in_words(row: dict[str, Any]) -> str:
    """The scores of a row that are printed."""
    scores = row["scores"]
    return ", ".join(
        f"{title} none" if scores[key] is None else f"{title} {scores[key]:.1f}"
        for title, key in (
            ("MOTA", "mota"),
            ("MOTP", "motp"),
            ("misses", "misses"),
            ("switches", "switches"),
            ("false positives", "false_positives"),
        )
    )


def main() -> None:
    """Train or follow, score, write."""
    options = parser_of(__doc__, ("sqair", "blobs"), Path("runs/sprites")).parse_args()
    keep_freed_memory()
    if options.plan == "blobs":
        blobs(options)
    else:
        plan_of(options.output).complete(options, lambda _, recipe, path: trained(recipe, path, options), in_words)


if __name__ == "__main__":
    main()
