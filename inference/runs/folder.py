"""The folder of a run: configuration, provenance, metrics and weights."""

import dataclasses
import json
import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypedDict

from torch import Tensor

from inference.runs.checkpoints import (
    STATE,
    Checkpoint,
    DamagedCheckpointError,
    assign_weights,
    list_checkpoints,
    read_checkpoint,
    read_weights,
    remove_partial,
    step_of,
    write_bytes,
    write_checkpoint,
    write_weights,
)
from inference.runs.json_files import append_line, read_json, read_lines, to_json
from inference.runs.lock import LOCK, TRAINER, check_still_ours
from inference.runs.provenance import provenance
from inference.runs.schema import brief, check_fields
from inference.runs.writing import writing

CONFIG = "config.json"
PROVENANCE = "provenance.json"
METRICS = "metrics.jsonl"
TIMING = "timing.jsonl"
CHECKPOINTS = "checkpoints"
BEST = "best.safetensors"


class RunFolder:
    """A folder with one training run; `start` creates or resumes one, `open` reads one.

        config.json       configuration: a flat or nested record of plain values
        provenance.json   one entry per process that worked on the run: command, commit, versions, machine, seed
        metrics.jsonl     one JSON object per line: step, loss, ... ; identical in two runs of one seed on a CPU
        timing.jsonl      one JSON object per line: step, seconds of training so far
        checkpoints/      step-00001000/ (weights.safetensors, state.pt), ...; best.safetensors

    Every file is written atomically or appended to line by line, so the process may die at any moment.

    Attributes:
        path: the folder.
        config: contents of config.json.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        config = read_json(self.path / CONFIG)
        if not isinstance(config, dict):
            raise ValueError(f"{self.path / CONFIG}: expected an object with the configuration, got {brief(config)}")
        self.config: dict[str, Any] = config

    @classmethod
    def open(cls, path: str | Path) -> "RunFolder":
        """Open the folder of a run.

        Raises:
            ValueError: if there is no such folder, or it is not a run; lists its contents.
        """
        path = Path(path)
        if not path.is_dir():
            raise ValueError(f"run: expected a folder, {str(path)!r} is {'a file' if path.exists() else 'not there'}")
        if not (path / CONFIG).is_file():
            raise ValueError(f"run: {str(path)!r} is no run: it has no {CONFIG} ({_contents(path)})")
        return cls(path)

    @classmethod
    def start(
        cls, path: str | Path, config: Any, *, seed: int | None = None, may_grow: Iterable[str] = ()
    ) -> "RunFolder":
        """Create the folder of a run, or open the one that was started with the same configuration.

        Args:
            path: the folder; parents are created.
            config: a mapping or a dataclass. Values that JSON cannot represent are stored as their `repr`.
            seed: the seed of the run, for its provenance.
            may_grow: names of numeric fields (`a.b` for a nested one) that may be larger than when the run was
                started, such as the number of steps; the new value is stored.

        Raises:
            ValueError: if the folder holds anything else, or a run with another configuration; names the fields.
        """
        path = Path(path)
        plain = _plain(config)
        if not (path / CONFIG).is_file():
            if path.exists() and not (path.is_dir() and _may_become_run(path)):
                what = _contents(path) if path.is_dir() else "it is a file"
                raise ValueError(f"run: {str(path)!r} is neither empty nor a run ({what})")
            with writing(path):
                (path / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
            write_bytes(path / PROVENANCE, to_json([provenance(seed)]))
            write_bytes(path / CONFIG, to_json(plain))  # last: with it, the folder is a run
            return cls(path)
        run = cls(path)
        changes = changed_fields(run.config, plain, may_grow)
        if changes:
            raise ValueError(
                f"run: {str(path)!r} was started with another configuration: {'; '.join(changes)}; "
                "give the old values, or another folder"
            )
        write_bytes(path / PROVENANCE, to_json([*run.provenance, provenance(seed)]))
        write_bytes(path / CONFIG, to_json(plain))
        return cls(path)

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    @property
    def provenance(self) -> list[dict[str, Any]]:
        """One record per process that worked on the run, starting with the one that created it.

        Raises:
            ValueError: if the file is damaged.
        """
        if not (self.path / PROVENANCE).exists():
            return []
        entries = read_json(self.path / PROVENANCE)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError(
                f"{self.path / PROVENANCE}: expected a list of records, one for each process that worked on the run, "
                f"got {brief(entries)}; put the file back, or delete it to go on without this record"
            )
        return entries

    @property
    def metrics_path(self) -> Path:
        """The file of metrics."""
        return self.path / METRICS

    @property
    def best_path(self) -> Path:
        """The file of the weights with the highest validation bound."""
        return self.path / CHECKPOINTS / BEST

    def metrics(self) -> list[dict[str, Any]]:
        """The records of metrics.jsonl; a truncated last line is skipped with a warning.

        Raises:
            ValueError: if another line is not JSON; names it.
        """
        return read_lines(self.metrics_path)

    def timing(self) -> list[dict[str, Any]]:
        """The records of timing.jsonl: step and seconds of training so far."""
        return read_lines(self.path / TIMING)

    def append_metrics(self, record: Mapping[str, Any], seconds: float) -> None:
        """Add a record to metrics.jsonl and its time to timing.jsonl; both are written immediately."""
        check_still_ours(self.path)
        append_line(self.metrics_path, record)
        append_line(self.path / TIMING, {"step": record["step"], "seconds": round(seconds, 3)})

    def sizes(self) -> dict[str, int]:
        """Sizes in bytes of the growing files, flushed to disk; a checkpoint needs them to truncate the files later."""
        return {name: _flushed_size(self.path / name) for name in (METRICS, TIMING)}

    def cut_back(self, sizes: Mapping[str, int]) -> None:
        """Truncate the growing files to their sizes when `sizes` was called; warn if lines have been lost since."""
        for name in (METRICS, TIMING):
            path, size = self.path / name, sizes.get(name, 0)
            with writing(path):
                path.touch()
                found = path.stat().st_size
                if found < size:
                    size = path.read_bytes().rfind(b"\n") + 1  # a line that was cut off would spoil the next one
                    warnings.warn(
                        f"{path}: expected at least the {sizes[name]} bytes that the checkpoint recorded, got {found}; "
                        "training goes on from the checkpoint, without the lines that are lost",
                        stacklevel=3,
                    )
                os.truncate(path, size)

    def checkpoint_path(self, step: int) -> Path:
        """The folder of the checkpoint of a step, whether it exists or not."""
        return self.path / CHECKPOINTS / f"step-{step:08d}"

    def write_checkpoint(
        self, step: int, weights: Mapping[str, Tensor], state: Mapping[str, Any], keep_last: int
    ) -> Path:
        """Write a checkpoint of a step, then delete all but the last `keep_last`.

        Returns:
            The folder of the checkpoint.
        """
        check_still_ours(self.path)
        path = self.checkpoint_path(step)
        write_checkpoint(path, weights, {**state, "sizes": self.sizes()})
        for old in list_checkpoints(path.parent)[:-keep_last]:
            if old != path:
                _remove(old)
        return path

    def write_best(self, step: int, bound: float, weights: Mapping[str, Tensor]) -> None:
        """Write the weights that have the highest validation bound so far."""
        check_still_ours(self.path)
        write_weights(self.best_path, weights, {"step": step, "validation_bound": bound})

    def last_checkpoint(self, check: Callable[[Mapping[str, Any]], None] | None = None) -> Checkpoint | None:
        """The newest intact checkpoint, or None if none was written.

        Newer ones that are damaged are passed over with a warning that names them.

        Args:
            check: called with a checkpoint's state; raises a ValueError if it is not as it should be.

        Raises:
            ValueError: if there are checkpoints but none can be used (says why for each), or if all are gone though
                there are metrics.
        """
        reasons: list[str] = []
        for path in reversed(list_checkpoints(self.path / CHECKPOINTS)):
            try:
                checkpoint = read_checkpoint(path)
                check_state(checkpoint, check)
            except DamagedCheckpointError as error:
                reasons.append(str(error))
                continue
            for reason in reasons:
                warnings.warn(f"{reason}; falling back on {path}", stacklevel=2)
            return checkpoint
        if reasons:
            raise ValueError(f"run: no checkpoint of {str(self.path)!r} can be used: {'; '.join(reasons)}")
        if self.metrics_path.exists() and self.metrics_path.stat().st_size or self.best_path.exists():
            raise ValueError(
                f"run: {str(self.path)!r} was trained, but {self.path / CHECKPOINTS} has no checkpoint any more; put "
                f"it back, or train into another folder (deleting {METRICS} and {BEST} starts this one over)"
            )
        return None

    def load_weights(self, model: Any, guide: Any, which: str = "best") -> int:
        """Copy weights of this run into a model and a guide of the same architecture.

        Args:
            model: as trained; its parameters and buffers are overwritten.
            guide: as trained; its parameters and buffers are overwritten.
            which: "best" for those with the highest validation bound (the last ones if none was computed), or "last".

        Returns:
            The step of these weights.

        Raises:
            ValueError: if `which` is neither, no weights were written yet, or they are of another architecture.
        """
        if which not in ("best", "last"):
            raise ValueError(f"which: expected 'best' or 'last', got {which!r}")
        if which == "best" and self.best_path.is_file():
            try:
                weights, record = read_weights(self.best_path)
                assign_weights(model, guide, weights)
                return int(record["step"])
            except DamagedCheckpointError as error:
                warnings.warn(f"{error}; falling back on the last checkpoint", stacklevel=2)
        checkpoint = self.last_checkpoint()
        if checkpoint is None:
            raise ValueError(f"run: {str(self.path)!r} has no weights yet: no checkpoint was written")
        assign_weights(model, guide, checkpoint.weights)
        return int(checkpoint.state["step"])

    def set_aside_after(self, step: int) -> None:
        """Rename checkpoints of later steps, damaged ones that were passed over; delete leftovers of unfinished writes.

        They become `damaged-step-...`, which nothing reads: somebody may still save what is in them.
        """
        for path in list_checkpoints(self.path / CHECKPOINTS):
            if (step_of(path) or 0) > step:
                aside = path.with_name(f"damaged-{path.name}")
                if aside.exists():
                    _remove(aside)
                os.rename(path, aside)
        remove_partial(self.path / CHECKPOINTS)
        remove_partial(self.path)


_Sizes = TypedDict("_Sizes", {"metrics.jsonl": int, "timing.jsonl": int})


class _State(TypedDict):
    """What every state has."""

    step: int
    sizes: dict[str, int]


def check_state(checkpoint: Checkpoint, check: Callable[[Mapping[str, Any]], None] | None = None) -> None:
    """Refuse a state that is no state of its step, or that `check` refuses.

    Raises:
        DamagedCheckpointError: says why.
    """
    expected = step_of(checkpoint.path)
    try:
        check_fields(checkpoint.state, _State, "state")
        check_fields(checkpoint.state["sizes"], _Sizes, "sizes")
        if checkpoint.state["step"] != expected:
            raise ValueError(f"step: expected {expected}, as in the folder's name, got {checkpoint.state['step']}")
        if check is not None:
            check(checkpoint.state)
    except ValueError as error:
        raise DamagedCheckpointError(f"{checkpoint.path / STATE}: not a state of this run ({error})") from error


def changed_fields(old: Mapping[str, Any], new: Mapping[str, Any], may_grow: Iterable[str] = ()) -> list[str]:
    """Differences between two plain records, as `name was ..., is ...`, except for numbers that may grow and did."""
    flat_old, flat_new = _flat(old), _flat(new)
    changes = []
    for name in dict.fromkeys([*flat_old, *flat_new]):
        before, after = flat_old.get(name, "absent"), flat_new.get(name, "absent")
        numbers = isinstance(before, int | float) and isinstance(after, int | float)
        if before != after and not (name in set(may_grow) and numbers and after > before):
            changes.append(f"{name} was {before!r}, is {after!r}")
    return changes


def describe(value: Any) -> str:
    """A `repr` without memory addresses, which is the same in every process."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _flat(record: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(record, Mapping):
        items: Iterable[tuple[str, Any]] = ((f"{prefix}.{key}" if prefix else key, record[key]) for key in record)
    elif isinstance(record, list):
        items = ((f"{prefix}[{index}]", value) for index, value in enumerate(record))
    else:
        return {prefix: record}
    return {name: value for key, item in items for name, value in _flat(item, key).items()}


def _plain(config: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        config = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    if not isinstance(config, Mapping):
        raise TypeError(f"config: expected a mapping or a dataclass, got {type(config).__name__}")
    return json.loads(json.dumps(dict(config), default=describe))


def _flushed_size(path: Path) -> int:
    with writing(path), open(path, "ab") as file:
        os.fsync(file.fileno())
        return file.tell()


def _contents(path: Path) -> str:
    names = sorted(item.name for item in path.iterdir())
    return "it is empty" if not names else "it holds " + ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _may_become_run(path: Path) -> bool:
    """Whether a folder is empty, apart from leftovers of a process that died while creating a run."""
    leftovers = (CHECKPOINTS, PROVENANCE, LOCK, TRAINER)
    return all(item.name in leftovers or item.name.endswith(".partial") for item in path.iterdir()) and not (
        list_checkpoints(path / CHECKPOINTS)  # a run that has lost its config.json
    )


def _remove(path: Path) -> None:
    """Delete a checkpoint folder; it is renamed first, so a partly deleted one is never mistaken for a checkpoint."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.old")
    os.rename(path, aside)
    remove_partial(path.parent)
