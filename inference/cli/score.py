"""`kinema score TRACKS TRUTH`."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from inference.cli.outputs import PICTURES, check_output
from inference.cli.words import parse
from inference.metrics import score_confidences
from inference.metrics.boxes import MIN_OVERLAP
from inference.pictures import draw_precision_recall
from inference.scores.clip_tracking import summarize_clip_tracks
from videos.tracks import read_tracks


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """What is scored.

    Attributes:
        tracks: MOTChallenge file of the tracks.
        truth: MOTChallenge file of the true boxes; those with confidence 0 are not scored.
        min_overlap: minimum intersection over union of a match; HOTA averages over 19 of them.
        curve: picture to write of precision and recall over the threshold of confidence, such as curve.png.
        json: print the scores as JSON.
    """

    tracks: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TRACKS")]
    truth: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TRUTH")]
    min_overlap: float = MIN_OVERLAP
    curve: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    json: tyro.conf.FlagCreatePairsOff[bool] = False


def score(words: Sequence[str]) -> int:
    """Compare the tracks of a clip with the true ones: MOTA, IDF1, HOTA, average precision."""
    given: Scoring = parse(words, prog="kinema score", description=str(score.__doc__), scoring=Scoring).scoring
    if not 0 < given.min_overlap <= 1:
        raise ValueError(f"--min-overlap: expected a share in (0, 1], got {given.min_overlap:g}")
    check_output(
        "curve", given.curve, PICTURES, others={"the tracks": given.tracks, "the truth": given.truth}, replaces=True
    )
    tracks, truth = read_tracks(given.tracks), read_tracks(given.truth)
    summary = summarize_clip_tracks(tracks, truth, min_overlap=given.min_overlap)
    if given.curve is not None:
        if math.isnan(summary.average_precision):
            raise ValueError(f"--curve: expected tracks with different confidences, got {given.tracks}, all alike")
        curve = score_confidences(tracks, truth, min_overlap=given.min_overlap)
        given.curve.parent.mkdir(parents=True, exist_ok=True)
        draw_precision_recall({given.tracks.stem: curve}).savefig(given.curve)
    print(json.dumps(summary.record(), indent=1) if given.json else summary)
    if given.curve is not None and not given.json:
        print(given.curve)
    return 0
