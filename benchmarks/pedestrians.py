"""Trackers of pedestrians in a clip of a static camera, scored as in the MOTChallenge.

    python benchmarks/pedestrians.py FOLDER/video/vtest.avi FOLDER/video/vtest-truth.txt --output runs/pedestrians.json

The clip is PETS09-S2L1 of the MOT15 benchmark, which OpenCV ships as its sample of pedestrians; the truth is a file of
the benchmark. Trackers have their default settings. Scores are given without the true boxes of confidence 0, as in the
benchmark, and with them. Seconds are those of the whole tracker, decoding included, by the clock and of all processors.

The tracker of people learns from the clip how they look, without the truth. So a second time the second half of the
clip alone is tracked and scored, by people who were learned in the first half.
"""

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inference.experiments.people_tracker import PeopleTracker
from inference.runs.checkpoints import write_bytes
from inference.runs.provenance import provenance
from inference.scores.clip_tracking import summarize_clip_tracks
from inference.trackers import KalmanTracker, OverlapTracker, Tracker
from videos import Tracks, read_tracks
from videos.clips import Clip, read_frames

TRACKERS: dict[str, Tracker] = {
    "blobs, joined by overlap": OverlapTracker(),
    "blobs, Kalman filter": KalmanTracker(smoothed=False),
    "blobs, Kalman filter, smoothed": KalmanTracker(),
    "people, filter": PeopleTracker(smoothed=False),
    "people, smoothed": PeopleTracker(),
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


def scored(tracker: Tracker, clip: Clip, truth: Tracks, num_frames: int) -> dict[str, Any]:
    """One tracker on one clip."""
    clock, processor = time.perf_counter(), time.process_time()
    tracks = tracker.track(clip)
    seconds = (time.perf_counter() - clock) / num_frames
    cpu_seconds = (time.process_time() - processor) / num_frames
    everyone = replace(truth, confidences=None)
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "scores": summarize_clip_tracks(tracks, truth).record(),
        "scores_of_all": summarize_clip_tracks(tracks, everyone).record(),
    }


def halves(clip: Path, truth: Tracks) -> tuple[Clip, Clip, Tracks]:
    """The first half of a clip; the second, and its truth."""
    frames = torch.from_numpy(np.stack(list(read_frames(clip))))
    middle = len(frames) // 2
    late = truth.select(truth.frames >= middle)
    return frames[:middle], frames[middle:], replace(late, frames=late.frames - middle)


def main() -> None:
    """Track, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path, help="video file")
    parser.add_argument("truth", type=Path, help="MOTChallenge file of the true boxes")
    parser.add_argument("--only", nargs="+", default=[""], help="trackers whose names contain one of these")
    parser.add_argument("--output", type=Path, default=Path("runs/pedestrians.json"))
    options = parser.parse_args()
    try:
        truth = read_tracks(options.truth)
        num_frames = sum(1 for _ in read_frames(options.clip))
        first, second, late = halves(options.clip, truth)
        rows: dict[str, dict[str, Any]] = {"whole": {}, "second half": {}}
        for name, tracker in TRACKERS.items():
            if not any(part in name for part in options.only):
                continue
            rows["whole"][name] = scored(tracker, options.clip, truth, num_frames)
            prepared = LearnedBefore(tracker, first) if isinstance(tracker, PeopleTracker) else tracker
            rows["second half"][name] = scored(prepared, second, late, len(second))
            for part, found in rows.items():
                row = found[name]
                print(f"{name}, {part}, {row['cpu_seconds']:.3f} CPU s per frame\n{row['scores']}", flush=True)
    except (ValueError, FileNotFoundError, ImportError) as error:
        raise SystemExit(str(error)) from error
    record = {"provenance": provenance(), "clip": options.clip.name, "frames": num_frames, "rows": rows}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(options.output, json.dumps(record, indent=1).encode())
    print(options.output)


if __name__ == "__main__":
    main()
