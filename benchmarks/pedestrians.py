"""Trackers of pedestrians in a clip of a static camera, scored as in the MOTChallenge.

    python benchmarks/pedestrians.py FOLDER/video/vtest.avi FOLDER/video/vtest-truth.txt --output runs/pedestrians.json
    python benchmarks/pedestrians.py CLIP TRUTH --run runs/sqair-pedestrians-small-0
    python benchmarks/pedestrians.py CLIP TRUTH --plan parts --output runs/pedestrians-parts.json

The clip is PETS09-S2L1 of the MOT15 benchmark, which OpenCV ships as its sample of pedestrians; the truth is a file of
the benchmark. Trackers have their default settings. Scores are given without the true boxes of confidence 0, as in the
benchmark, and with them. Seconds are those of the whole tracker, decoding included, by the clock and of all processors;
run it while the machine does nothing else.

The tracker of people learns from the clip how they look, without the truth. So a second time the second half of the
clip alone is tracked and scored, by people who were learned in the first half. A trained run of SQAIR (`--run`) has
learned from the first part of the clip. So the tracks of the whole clip are scored a second time in the last part
alone, which the run kept for its test videos; those of the other trackers too.

The plan `parts` tracks the whole clip by people whose model lacks one part.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pedestrian_parts import PARTS
from plans import chosen

from inference.experiments.people_tracker import PeopleTracker
from inference.experiments.runs import load_run
from inference.experiments.sqair_tracker import SQAIRTracker
from inference.experiments.tracked_runs import tracker_of_run
from inference.runs.checkpoints import write_bytes
from inference.runs.provenance import provenance
from inference.scores.clip_tracking import summarize_clip_tracks
from inference.trackers import KalmanTracker, OverlapTracker, Tracker
from videos import Tracks, read_tracks
from videos.clips import Clip, frame_rate, read_frames

TRACKERS: dict[str, Tracker] = {
    "blobs, joined by overlap": OverlapTracker(),
    "blobs, Kalman filter": KalmanTracker(smoothed=False),
    "blobs, Kalman filter, smoothed": KalmanTracker(),
    "people, filter": PeopleTracker(smoothed=False),
    "people, smoothed": PeopleTracker(),
    "people, smoothed, by evidence": PeopleTracker(by_evidence=True),
}


@dataclass(frozen=True)
class LearnedBefore:
    """A tracker of people that has learned from another clip.

    Attributes:
        tracker: its settings.
        earlier: the other clip.
    """

    tracker: PeopleTracker
    earlier: Clip

    def track(self, clip: Clip) -> Tracks:
        """See `Tracker.track`."""
        model, guide = self.tracker.fit(self.tracker.masks(self.earlier)[0])
        return self.tracker.follow(model, guide, *self.tracker.masks(clip))


def tracked(tracker: Tracker, clip: Clip, num_frames: int) -> tuple[Tracks, dict[str, float]]:
    """Tracks of a clip, and what they cost."""
    clock, processor = time.perf_counter(), time.process_time()
    tracks = tracker.track(clip)
    seconds = (time.perf_counter() - clock) / num_frames
    cpu_seconds = (time.process_time() - processor) / num_frames
    return tracks, {"seconds": seconds, "cpu_seconds": cpu_seconds}


def scores(tracks: Tracks, truth: Tracks) -> dict[str, Any]:
    """Scores without and with the true boxes of confidence 0."""
    everyone = replace(truth, confidences=None)
    return {
        "scores": summarize_clip_tracks(tracks, truth).record(),
        "scores_of_all": summarize_clip_tracks(tracks, everyone).record(),
    }


def halves(clip: Path, truth: Tracks) -> tuple[Clip, Clip, Tracks]:
    """The first half of a clip; the second, and its truth."""
    frames = torch.from_numpy(np.stack(list(read_frames(clip))))
    middle = len(frames) // 2
    late = truth.select(truth.frames >= middle)
    return frames[:middle], frames[middle:], replace(late, frames=late.frames - middle)


def on_the_whole(trackers: dict[str, Tracker], clip: Path, truth: Tracks, num_frames: int, last: int) -> dict[str, Any]:
    """Rows of the whole clip, and of its last part alone if there is one, from frame `last` on."""
    rows: dict[str, dict[str, Any]] = {"whole": {}}
    late = truth.select(truth.frames >= last)
    for name, tracker in trackers.items():
        tracks, cost = tracked(tracker, clip, num_frames)
        row = rows["whole"][name] = cost | scores(tracks, truth)
        print(f"{name}, {cost['cpu_seconds']:.3f} CPU s per frame\n{row['scores']}", flush=True)
        if last < num_frames:
            rows.setdefault("last part", {})[name] = cost | scores(tracks.select(tracks.frames >= last), late)
    return rows


def on_the_second_half(trackers: dict[str, Tracker], clip: Path, truth: Tracks, num_frames: int) -> dict[str, Any]:
    """Rows of the second half of the clip, by people who were learned in the first; not of a trained run."""
    first, second, late = halves(clip, truth)
    rows = {}
    for name, tracker in trackers.items():
        if not isinstance(tracker, SQAIRTracker):
            prepared = LearnedBefore(tracker, first) if isinstance(tracker, PeopleTracker) else tracker
            tracks, cost = tracked(prepared, second, num_frames - num_frames // 2)
            rows[name] = cost | scores(tracks, late)
            print(f"{name}, second half\n{rows[name]['scores']}", flush=True)
    return {"second half": rows}


def first_test_frame(run: Path) -> int:
    """The first frame of the clip that a run kept for its test videos."""
    videos = load_run(run).recipe.videos
    return int(videos.simulator("test").simulate(500, torch.Generator().manual_seed(0)).state[..., 1].min())


def main() -> None:
    """Track, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path, help="video file")
    parser.add_argument("truth", type=Path, help="MOTChallenge file of the true boxes")
    parser.add_argument("--plan", choices=("trackers", "parts"), default="trackers")
    parser.add_argument("--run", type=Path, help="folder of a trained run of SQAIR that tracks too")
    parser.add_argument("--only", nargs="+", default=[""], help="trackers whose names contain one of these")
    parser.add_argument("--output", type=Path, default=Path("runs/pedestrians.json"))
    options = parser.parse_args()
    try:
        truth = read_tracks(options.truth)
        num_frames, last = sum(1 for _ in read_frames(options.clip)), sys.maxsize
        trackers = dict(TRACKERS if options.plan == "trackers" else PARTS)
        if options.run is not None:
            trackers["SQAIR, a window for each person"] = tracker_of_run(options.run, options.clip)
            last = first_test_frame(options.run)
        trackers = {name: trackers[name] for name in chosen(trackers, options.only)}
        rows = on_the_whole(trackers, options.clip, truth, num_frames, last)
        if options.plan == "trackers":
            rows |= on_the_second_half(trackers, options.clip, truth, num_frames)
    except (ValueError, FileNotFoundError, ImportError) as error:
        raise SystemExit(str(error)) from error
    record = {
        "provenance": provenance(),
        "clip": options.clip.name,
        "frames": num_frames,
        "frames_per_second": frame_rate(options.clip),
        "rows": rows,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(options.output, json.dumps(record, indent=1).encode())
    print(options.output)


if __name__ == "__main__":
    main()
