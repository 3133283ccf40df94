"""One training at a time in a run folder: who trains there, since when, and what a second one is told.

The operating system keeps the lock, through `filelock`, and frees it when its process ends, however it ends: a lock
cannot outlive a process that was killed or a machine that was restarted. The file `training.json` beside it says who
holds it; if the lock is free and that file is still there, its process ended without cleaning up.
"""

import datetime
import json
import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from inference.runs.writing import writing
from inference.runtime.processes import ALONE, Processes

_log = logging.getLogger(__name__)

LOCK = ".training.lock"
TRAINER = "training.json"


class RunInUseError(ValueError):
    """Another process trains in the folder of a run."""


class _Held(threading.local):
    """The records of the locks that this thread holds, by folder."""

    def __init__(self) -> None:
        self.records: dict[Path, dict[str, Any]] = {}

    def here(self, path: Path) -> dict[str, Any] | None:
        record = self.records.get(path)
        return record if record is not None and record["process"] == os.getpid() else None  # a fork holds nothing


_held = _Held()


@contextmanager
def training_in(path: str | Path, *, force: bool = False, processes: Processes = ALONE) -> Iterator[None]:
    """Hold the lock of a run folder, which is created if it is not there. Within one thread, holds may be nested.

    Reading a run needs no lock.

    Args:
        path: the folder of the run.
        force: take the lock from the process that holds it; that process stops before it next writes to the folder. A
            file that it is writing at this very moment it may still finish: better stop it first.
        processes: processes that train together; the leading one holds the lock for all.

    Raises:
        RunInUseError: if another process (or thread) trains there; says who, since when, and what to do.
    """
    with ExitStack() as stack:
        processes.of_the_leader(lambda: stack.enter_context(_holding(Path(path).resolve(), force)))
        yield


@contextmanager
def _holding(path: Path, force: bool) -> Iterator[None]:
    if _held.here(path) is not None:
        yield
        return
    if path.is_file():
        raise ValueError(f"run: expected a folder, {str(path)!r} is a file; give another")
    created = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    lock = _acquired(path, force)
    record = _whoami()
    before = trainer(path)
    if before is not None:
        _log.warning("%s: taking over from %s, which ended without cleaning up", path, _named(before))
    ours = True
    try:
        with writing(path / TRAINER):
            (path / TRAINER).write_text(json.dumps(record) + "\n")
        _held.records[path] = record
        try:
            yield
        finally:
            del _held.records[path]
            ours = trainer(path) == record  # otherwise somebody took the lock by force
    finally:
        if ours:
            (path / TRAINER).unlink(missing_ok=True)
            (path / LOCK).unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):  # a training that was refused leaves no empty folders
            for folder in created:
                folder.rmdir()


def check_still_ours(path: Path) -> None:
    """Refuse to write to a run that was taken from this thread by force; other threads and processes may write.

    Raises:
        RunInUseError: says who trains there now.
    """
    record = _held.here(path.resolve())
    now = trainer(path)
    if record is not None and now != record:
        who = f"by a process that has ended since (or {TRAINER} was removed)" if now is None else f"by {_named(now)}"
        raise RunInUseError(f"run: {str(path)!r} was taken over {who}; this training ends here")


def trainer(path: Path) -> dict[str, Any] | None:
    """Who trains in a folder, or trained there last and ended without cleaning up; None = nobody."""
    try:
        record = json.loads((path / TRAINER).read_text())
    except (OSError, ValueError, RecursionError):  # not there, or damaged: it is no part of the run
        return None
    return record if isinstance(record, dict) else None


def in_use(path: Path) -> str | None:
    """Who holds the lock of a folder, in words; None = nobody does."""
    if not (path / LOCK).exists():
        return None
    lock = FileLock(path / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return _named(trainer(path))
    except OSError:  # a folder that cannot be written to: nobody trains there
        return None
    lock.release()
    return None


def _acquired(path: Path, force: bool) -> Any:
    if force:
        holder = in_use(path)
        if holder is not None:
            _log.warning("%s: taking the lock from %s, as --force asks; it stops before it next writes", path, holder)
            (path / LOCK).unlink(missing_ok=True)  # its lock is on the file that had this name
            (path / TRAINER).unlink(missing_ok=True)
    lock = FileLock(path / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunInUseError(
            f"run: {str(path)!r} is in use: {_named(trainer(path))}; wait for it, stop it, or train into another "
            "folder; --force (TrainingOptions(force=True)) takes the run from it"
        ) from None
    return lock


def _whoami() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "since": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _named(record: dict[str, Any] | None) -> str:
    if record is None:
        return "a process that left no name"
    return f"process {record.get('process')} on {record.get('host')}, training there since {record.get('since')}"
