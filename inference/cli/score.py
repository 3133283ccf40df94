"""`kinema score TRACKS TRUTH`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from inference.cli.words import parse
from inference.metrics.boxes import MIN_OVERLAP
from inference.scores.clip_tracking import summarize_clip_tracks
from videos.tracks import read_tracks


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """What is scored.

    Attributes:
        tracks: MOTChallenge file of the tracks.
        truth: MOTChallenge file of the true boxes; those with confidence 0 are not scored.
        min_overlap: minimum intersection over union of a match; HOTA averages over 19 of them.
        json: print the scores as JSON.
    """

    tracks: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TRACKS")]
    truth: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TRUTH")]
    min_overlap: float = MIN_OVERLAP
    json: tyro.conf.FlagCreatePairsOff[bool] = False


def score(words: Sequence[str]) -> int:
    """Compare the tracks of a clip with the true ones: MOTA, IDF1, HOTA."""
    given: Scoring = parse(words, prog="kinema score", description=str(score.__doc__), scoring=Scoring).scoring
    if not 0 < given.min_overlap <= 1:
        raise ValueError(f"--min-overlap: expected a share in (0, 1], got {given.min_overlap:g}")
    summary = summarize_clip_tracks(read_tracks(given.tracks), read_tracks(given.truth), min_overlap=given.min_overlap)
    print(json.dumps(summary.record(), indent=1) if given.json else summary)
    return 0
