"""`kinema track FILE`."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import docstring_parser
import tyro

from inference.cli.words import parse
from inference.pictures import check_film, draw_paths, film_tracks
from inference.trackers import TRACKERS
from videos.clips import background_of
from videos.tracks import write_tracks

TRACKER = "kalman"
PICTURES = (".png", ".pdf", ".svg")


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """The clip, and what is made of it.

    Attributes:
        clip: a video file of a static camera.
        tracker: blobs = each frame joined to the previous one by overlap; kalman = predicted by Kalman filters.
        output: MOTChallenge file to write; None = the clip's name with -tracks.txt, in this folder.
        film: film of the boxes to write, .mp4 or .avi, or a smaller .gif.
        picture: picture of the paths to write, such as paths.png.
    """

    clip: tyro.conf.Positional[Path]
    tracker: Literal["blobs", "kalman"] = TRACKER
    output: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    film: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    picture: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None


def track(words: Sequence[str]) -> int:
    """Track what moves in a static-camera clip."""
    tracker = TRACKERS.get(_tracker_in(words), TRACKERS[TRACKER])
    options = parse(
        words, prog="kinema track", description=str(track.__doc__), tracking=Tracking, settings=_settings_of(tracker)
    )
    given: Tracking = options.tracking
    output = given.output or Path(f"{given.clip.stem}-tracks.txt")
    _check_files(given, output)
    chosen = tracker(**vars(options.settings))
    start = time.perf_counter()
    tracks = chosen.track(given.clip)
    seconds = time.perf_counter() - start
    if len(tracks) == 0:
        raise ValueError(f"{given.clip}: expected something that moves, found nothing; nothing was written")
    write_tracks(output, tracks)
    frames = int(tracks.frames[-1]) + 1
    print(f"{tracks.num_identities} tracks, {len(tracks)} boxes in {frames} frames; {seconds / frames:.3f} s per frame")
    print(output)
    if given.film is not None:
        print(film_tracks(given.film, given.clip, tracks))
    if given.picture is not None:
        given.picture.parent.mkdir(parents=True, exist_ok=True)
        draw_paths(background_of(given.clip), tracks, title=given.clip.name).savefig(given.picture)
        print(given.picture)
    return 0


def _tracker_in(words: Sequence[str]) -> str:
    """The tracker that the words name: its settings are options too."""
    for word, following in zip(words, [*words[1:], TRACKER], strict=True):
        if word == "--tracker":
            return following
        if word.startswith("--tracker="):
            return word.removeprefix("--tracker=")
    return TRACKER


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
        if isinstance(entry.default, int | float)
    ]
    kind = make_dataclass("Settings", options, frozen=True)
    kind.__doc__ = "Of the chosen tracker."
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
