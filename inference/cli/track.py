"""`kinema track FILE`."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import docstring_parser
import tyro
from torch import Tensor
from tqdm import tqdm

from inference.cli.words import last_value, parse
from inference.experiments.people_tracker import PeopleTracker
from inference.pictures import check_film, draw_paths, film_tracks
from inference.trackers import TRACKERS, Detector
from videos.clips import Clip, background_of
from videos.moving_blobs import MovingBlobs
from videos.tracks import write_tracks

TRACKER = "kalman"
_ALL: dict[str, type[Any]] = {**TRACKERS, "people": PeopleTracker}
PICTURES = (".png", ".pdf", ".svg")


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """The clip, and what is made of it.

    Attributes:
        clip: video file of a static camera.
        tracker: blobs = each frame joined to the previous one by overlap; kalman = predicted by Kalman filters;
            people = silhouettes of people, inferred under a generative model.
        least_area: smallest area of a moving blob, pixels; smaller ones are noise. Not for people.
        output: MOTChallenge file to write; None = the clip's name with -tracks.txt, in this folder.
        film: film of the boxes to write, .mp4 or .avi, or a smaller .gif.
        picture: picture of the paths to write, such as paths.png.
    """

    clip: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    tracker: Literal["blobs", "kalman", "people"] = TRACKER
    least_area: int = MovingBlobs().least_area
    output: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    film: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    picture: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None


def track(words: Sequence[str]) -> int:
    """Track what moves in a static-camera clip."""
    tracker = _ALL.get(last_value(words, "tracker") or TRACKER, TRACKERS[TRACKER])
    options = parse(
        words, prog="kinema track", description=str(track.__doc__), tracking=Tracking, settings=_settings_of(tracker)
    )
    given: Tracking = options.tracking
    output = given.output or Path(f"{given.clip.stem}-tracks.txt")
    _check_files(given, output)
    blobs = MovingBlobs(least_area=given.least_area)
    if tracker is PeopleTracker and blobs != MovingBlobs():
        raise ValueError(
            f"--least-area: expected with --tracker blobs or kalman, got {given.least_area} with people; use "
            "--least-height"
        )
    made: Any = tracker
    shown = {"progress": True} if tracker is PeopleTracker else {"detector": _Shown(blobs)}
    chosen = made(**shown, **vars(options.settings))
    start = time.perf_counter()
    tracks = chosen.track(given.clip)
    seconds = time.perf_counter() - start
    if len(tracks) == 0:
        raise ValueError(f"{given.clip}: expected something that moves, found nothing; nothing was written")
    write_tracks(output, tracks)
    print(f"{tracks.num_identities} tracks, {len(tracks)} boxes; {seconds:.1f} s")
    print(output)
    if given.film is not None:
        print(film_tracks(given.film, given.clip, tracks))
    if given.picture is not None:
        given.picture.parent.mkdir(parents=True, exist_ok=True)
        draw_paths(background_of(given.clip), tracks, title=given.clip.name).savefig(given.picture)
        print(given.picture)
    return 0


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


def _check_files(given: Tracking, output: Path) -> None:
    """Refuse files that could not be written after minutes of work."""
    if given.film is not None:
        check_film(given.film)
    if given.picture is not None and given.picture.suffix not in PICTURES:
        raise ValueError(f"--picture: expected a file ending in {', '.join(PICTURES)}, got {given.picture}")
    for option, path in (("output", output), ("film", given.film), ("picture", given.picture)):
        if path is not None and path.is_dir():
            raise ValueError(f"--{option}: expected a file to write, got the folder {path}")
        if path is not None and path.absolute() == given.clip.absolute():
            raise ValueError(f"--{option}: expected a file other than the clip, got {path}")
