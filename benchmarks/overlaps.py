"""Digits that overlap when one first sees them: counted by trackers (figures 3 and 4 of VTSSI).

    python benchmarks/overlaps.py runs/vtssi runs/find runs/sqair:kept --output runs/overlaps.json

Videos of two digits that are apart in the first frame, and overlap in five later ones in a row. Each run sees them
twice: from the first frame on, and from the first of these five on. Writes how many of both are counted correctly, and
one video's tracks. After a colon comes a completion method of the guide.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from inference.experiments.runs import load_run
from inference.metrics.prefix_matches import match_on_prefix
from inference.pictures import draw_tracks
from inference.recipes.tracked_digits import TrackedDigitVideos
from inference.runs.checkpoints import write_bytes
from inference.runs.provenance import provenance
from inference.scores.horizons import inferred_scene
from inference.scores.score import Evaluated
from pyro_models.components.scene import Scene
from videos import VideoBatch

OVERLAPPING = 5  # frames in a row
DEEP = 2.0  # pixels by which boxes overlap on both axes: touching boxes share no ink
SEED = 20
WAYS = ("from the first frame", "from the overlap")


def overlapping_videos(videos: TrackedDigitVideos, number: int, num_frames: int) -> tuple[VideoBatch, VideoBatch]:
    """Videos with a clean first frame, and the same videos from their overlap on."""
    simulator = replace(
        videos.simulator("test"), min_digits=2, max_digits=2, num_frames=num_frames + OVERLAPPING, overlap=False
    )
    try:
        drawn = simulator.simulate(number, torch.Generator().manual_seed(SEED))
    except ValueError as error:
        raise SystemExit(f"--number: {error}") from error
    assert drawn.positions is not None
    assert drawn.box_sizes is not None
    apart = (drawn.positions[..., 0, :] - drawn.positions[..., 1, :]).abs()
    depth = (0.5 * drawn.box_sizes.sum(-2) - apart).amin(-1)
    later = depth[:, OVERLAPPING : 2 * OVERLAPPING]
    chosen = drawn.select((later > DEEP).all(1).nonzero()[:, 0])
    return chosen.first_frames(num_frames), _last_frames(chosen, num_frames)


def _last_frames(videos: VideoBatch, number: int) -> VideoBatch:
    over_time = {
        name: value[:, -number:]
        for name in ("frames", "positions", "velocities", "state", "presence", "box_sizes")
        if (value := getattr(videos, name)) is not None
    }
    return VideoBatch(**over_time)


def joined(scenes: list[Scene], index: int) -> Scene:
    """One video of several scenes, with as many slots as the largest has."""
    slots = max(scene.presence.shape[-1] for scene in scenes if scene.presence is not None)

    def field(scene: Scene, name: str) -> Tensor:
        value = getattr(scene, name)
        if value is None and name == "identities":  # frame by frame: slots take their place
            value = torch.arange(scene.presence.shape[-1]).expand_as(scene.presence)
        value = value[index]
        missing = slots - value.shape[1]
        return pad(value, (0,) * 2 * (value.dim() - 2) + (0, missing))

    names = ("presence", "positions", "box_sizes", "identities")
    return Scene(**{name: torch.stack([field(scene, name) for scene in scenes]) for name in names})


def main() -> None:
    """Track, count, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="PATH, or PATH:METHOD")
    parser.add_argument("--number", type=int, default=4000, help="videos to choose from (%(default)s)")
    parser.add_argument("--frames", type=int, default=10, help="frames that are seen (%(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=Path("runs/overlaps.json"))
    options = parser.parse_args()
    if options.frames < OVERLAPPING:
        raise SystemExit(f"--frames: expected at least the {OVERLAPPING} that overlap, got {options.frames}")
    loaded = [(load_run(word.partition(":")[0], options.device), word.partition(":")[2]) for word in options.runs]
    videos = loaded[0][0].recipe.videos
    if not isinstance(videos, TrackedDigitVideos) or not hasattr(videos.simulator("test"), "overlap"):
        raise SystemExit(f"{options.runs[0]}: expected a run on linear-mnist or elliptic-mnist")
    for word, (run, _) in zip(options.runs, loaded, strict=True):
        if (world := getattr(run.recipe.videos, "world", None)) != videos.world:
            raise SystemExit(f"{word}: expected a run on {videos.world}, as the first one, got {world}")
    seen = overlapping_videos(videos, options.number, options.frames)
    if seen[0].num_sequences == 0:
        raise SystemExit(f"--number: none of {options.number} videos has two digits that overlap; draw more")
    rows: list[dict[str, Any]] = []
    scenes: list[list[Scene]] = [[], []]
    right: list[list[Tensor]] = [[], []]
    for word, (run, method) in zip(options.runs, loaded, strict=True):
        label = getattr(run.recipe.pair, "label", run.recipe.name) + (f" ({method})" if method else "")
        row: dict[str, Any] = {"run": run.folder.path.name, "label": label, "videos": seen[0].num_sequences}
        for index, (way, batch) in enumerate(zip(WAYS, seen, strict=True)):
            evaluated = Evaluated(run.model, run.guide, batch.to(options.device))
            try:
                scene = inferred_scene(evaluated, batch.num_frames, method or None)
            except ValueError as error:
                raise SystemExit(f"{word}: {error}") from error
            matches = match_on_prefix(scene, batch, OVERLAPPING)
            row[way] = matches.counting_accuracy
            row[f"error {way}"] = matches.with_right_count().inference_error.mean
            scenes[index].append(scene)
            right[index].append(matches.right_count)
        rows.append(row)
        print(f"{label}: counted {row[WAYS[0]]:.1%} {WAYS[0]}, {row[WAYS[1]]:.1%} {WAYS[1]}", flush=True)
    record = {"provenance": provenance(0), "frames": options.frames, "overlapping": OVERLAPPING, "rows": rows}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(options.output, json.dumps(record, indent=1).encode())
    # a video that the first run counts from the overlap on, and as many others as possible do not
    first, *others = right[1]
    score = first.float() * (
        1 + sum(((~other).float() for other in others), torch.zeros_like(first, dtype=torch.float))
    )
    index = int(score.argmax())
    pictures = []
    for way, batch, found in zip(WAYS, seen, scenes, strict=True):
        truth = {
            name: getattr(batch, name)[index].expand(len(rows), *getattr(batch, name)[index].shape)
            for name in ("frames", "positions", "box_sizes")
        }
        presence = batch.presence[index].float().expand(len(rows), *batch.presence[index].shape)
        true = Scene(presence=presence, positions=truth["positions"], box_sizes=truth["box_sizes"])
        figure = draw_tracks(
            truth["frames"], joined(found, index), true, title=way, names=[row["label"] for row in rows]
        )
        pictures.append(options.output.with_name(f"{options.output.stem}-{way.split()[-1]}.png"))
        figure.savefig(pictures[-1])
    print(options.output, *pictures)


if __name__ == "__main__":
    main()
