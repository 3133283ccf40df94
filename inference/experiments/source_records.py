"""What a run has read: given videos with their checksum, a public data set; and refusing others in their place."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from inference.recipes.recipe import Videos
from inference.runs.folder import CONFIG
from inference.runs.schema import check_fields
from videos.sources import Source

SOURCES, DATA_SET = "sources", "data_set"  # in config.json


class SourceRecord(TypedDict):
    """What was read of a user's file or folder."""

    path: str
    bytes: int
    sha256: str


class _Sources(TypedDict):
    sources: dict[str, Any]


def source_records(videos: Videos) -> dict[str, Any]:
    """Absolute path, bytes and SHA-256 of the user's files and folders that are read, by option.

    Raises:
        FileNotFoundError: if one is not there.
    """
    return {name: Source.of(path, f"--{name}").fingerprint() for name, path in videos.sources().items()}


def check_sources(config: Mapping[str, Any], run: Path, now: Mapping[str, Any] | None = None) -> None:
    """Refuse videos that are not those that a run was started with.

    Args:
        config: the run's configuration.
        run: its folder, for messages.
        now: `source_records` of the videos that are to be used; None = of the recorded paths.

    Raises:
        FileNotFoundError: if a file or folder is not there any more; names it.
        ValueError: if what is in it has changed, or the record is damaged; says how.
    """
    if SOURCES in config:
        check_fields(config, _Sources, run / CONFIG)
    for name, record in config.get(SOURCES, {}).items():
        check_fields(record, SourceRecord, f"{run / CONFIG}: {SOURCES}: {name}")
        path = Path(record["path"])
        if not path.exists():
            raise FileNotFoundError(
                f"--{name}: expected the videos of run {run.name!r}, {path}, which is not there any more; put it back "
                f"({record['bytes']} bytes, SHA-256 {record['sha256'][:12]}...), or train again"
            )
        found = Source.of(path, f"--{name}").fingerprint() if now is None else now.get(name, record)
        if found["path"] == record["path"] and found["sha256"] != record["sha256"]:
            raise ValueError(
                f"--{name}: expected the videos of run {run.name!r}, {path} with {record['bytes']} bytes and SHA-256 "
                f"{record['sha256'][:12]}..., got {found['bytes']} bytes and {found['sha256'][:12]}...: they have "
                "changed; put the old ones back, or train into another folder"
            )


def check_data_set(config: Mapping[str, Any], run: Path, now: str | None) -> None:
    """Refuse to go on with another public data set than the one that a run was started with.

    Args:
        config: the run's configuration; those of Kinema 0.1.0 do not name the data set, and anything goes.
        run: its folder, for messages.
        now: what `Videos.data_set` gives.

    Raises:
        ValueError: names both.
    """
    before = config.get(DATA_SET, now)
    if before != now:
        raise ValueError(
            f"{DATA_SET}: expected {before}, with which run {run.name!r} was trained, got {now}; --data FOLDER, the "
            f"environment variable KINEMA_DATA or a network connection gives {before}; or train into another folder"
        )
