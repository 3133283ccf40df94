"""What a run has read: path, size and checksum of videos that were given, and refusing others in their place."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inference.recipes.recipe import Videos
from videos.sources import Source

SOURCES = "sources"  # in config.json


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
        ValueError: if what is in it has changed; says how.
    """
    for name, record in config.get(SOURCES, {}).items():
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
