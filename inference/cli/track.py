"""`kinema track FILE` and `kinema track RUN --video FILE`."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import docstring_parser
import tyro
from torch import Tensor
from tqdm import tqdm

from inference.cli.outputs import PICTURES, check_output
from inference.cli.words import last_value, parse
from inference.experiments.people_tracker import PeopleTracker
from inference.experiments.sqair_tracker import SQAIRTracker
from inference.experiments.tracked_runs import tracker_of_run
from inference.pictures import check_film, draw_paths, film_tracks
from inference.trackers import TRACKERS, Detector, Tracker
from videos.clips import Clip, announced_frames, background_of, frame_rate
from videos.moving_blobs import MovingBlobs
from videos.tracks import write_tracks

TRACKER = "kalman"
_ALL: dict[str, type[Any]] = {**TRACKERS, "people": PeopleTracker}


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """The clip, and what is made of it.

    Attributes:
        source: video file of a static camera; or, with --video, the folder of a trained run of SQAIR that tracks.
        video: video file of a static camera, for a run to track.
        tracker: blobs = each frame joined to the previous one by overlap; kalman = predicted by Kalman filters;
            people = silhouettes of people, inferred under a generative model. Not with a run.
        least_area: smallest area of a moving blob, pixels; smaller ones are noise. For blobs and kalman.
        output: MOTChallenge file to write; None = the clip's name with -tracks.txt, in this folder.
        film: film of the boxes to write, .mp4 or .avi, or a smaller .gif.
        picture: picture of the paths to write, such as paths.png.
        overwrite: replace files that are there.
    """

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE|RUN")]
    video: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    tracker: Literal["blobs", "kalman", "people"] = TRACKER
    least_area: int = MovingBlobs().least_area
    output: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    film: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    picture: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False


def track(words: Sequence[str]) -> int:
    """Track what moves in a static-camera clip, by a tracker without training or by a trained run of SQAIR."""
    named, of_run = last_value(words, "tracker"), last_value(words, "video") is not None
    kind: Any = SQAIRTracker if of_run else _ALL.get(named or TRACKER, TRACKERS[TRACKER])
    options = parse(
        words, prog="kinema track", description=str(track.__doc__), tracking=Tracking, settings=_settings_of(kind)
    )
    given: Tracking = options.tracking
    _check_options(given, kind, named)
    clip = given.video or given.source
    output = given.output or Path(f"{clip.stem}-tracks.txt")
    _check_files(given, clip, output)
    tracker = _made(kind, given, vars(options.settings))
    start = time.perf_counter()
    tracks = tracker.track(clip)
    seconds = time.perf_counter() - start
    if len(tracks) == 0:
        raise ValueError(f"{clip}: expected something that moves, found nothing; nothing was written")
    write_tracks(output, tracks)
    print(f"{tracks.num_identities} tracks, {len(tracks)} boxes; {seconds:.1f} s{_speed(clip, seconds)}")
    print(output)
    if given.film is not None:
        print(film_tracks(given.film, clip, tracks))
    if given.picture is not None:
        given.picture.parent.mkdir(parents=True, exist_ok=True)
        draw_paths(background_of(clip), tracks, title=clip.name).savefig(given.picture)
        print(given.picture)
    return 0


def _check_options(given: Tracking, kind: Any, named: str | None) -> None:
    """Refuse options of another tracker."""
    if named is not None and given.video is not None:
        raise ValueError(f"--tracker: expected none with --video, where run {given.source} tracks, got {named}")
    if given.video is None and given.source.is_dir():
        raise ValueError(f"--video: expected the clip that run {given.source} is to track, got none")
    if kind not in TRACKERS.values() and given.least_area != MovingBlobs().least_area:
        other = "a run" if kind is SQAIRTracker else "people; use --least-height"
        raise ValueError(f"--least-area: expected with --tracker blobs or kalman, got {given.least_area} with {other}")


def _made(kind: Any, given: Tracking, settings: Mapping[str, Any]) -> Tracker:
    """The chosen tracker, which shows on a terminal how far it is."""
    if given.video is not None:
        return tracker_of_run(given.source, given.video, progress=True, **settings)
    if kind is PeopleTracker:
        return kind(progress=True, **settings)
    return kind(detector=_Shown(MovingBlobs(least_area=given.least_area)), **settings)


def _speed(clip: Path, seconds: float) -> str:
    """Frames per second, beside the clip's own, as far as the file says how many it has."""
    frames, rate = announced_frames(clip), frame_rate(clip)
    if not frames:
        return ""
    return f", {frames / seconds:.0f} frames per second" + (f" of a clip with {rate:g}" if rate else "")


@dataclass(frozen=True)
class _Shown:
    """A detector that counts frames on a terminal."""

    detector: Detector

    def detect(self, clip: Clip) -> Iterator[Tensor]:
        """Boxes of each frame."""
        yield from tqdm(self.detector.detect(clip), desc="tracking", unit="frame", disable=None, leave=False)


def _settings_of(tracker: Any) -> Any:
    """The numbers among a tracker's settings, as options."""
    meanings = {entry.arg_name: entry.description for entry in docstring_parser.parse(str(tracker.__doc__)).params}
    options = [
        (
            entry.name,
            Annotated[type(entry.default), tyro.conf.arg(help=meanings[entry.name])],
            field(default=entry.default),
        )
        for entry in fields(tracker)
        if isinstance(entry.default, int | float) and entry.name != "progress"
    ]
    kind = make_dataclass("Settings", options, frozen=True)
    kind.__doc__ = "Those of the chosen tracker."
    return kind()


def _check_files(given: Tracking, clip: Path, output: Path) -> None:
    """Refuse files that could not be written after minutes of work."""
    if given.film is not None:
        check_film(given.film)
    others, replaces = {"the clip": clip}, given.overwrite
    check_output("output", output, others=others, replaces=replaces)
    others |= {"the output": output}
    check_output("film", given.film, others=others, replaces=replaces)
    check_output("picture", given.picture, PICTURES, others=others, replaces=replaces)
