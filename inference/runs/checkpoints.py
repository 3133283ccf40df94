"""Checkpoints: the weights of a model and its guide, and the state of a training run, written atomically.

A checkpoint is a folder with `weights.safetensors`, `state.pt` and their checksums. It is written under a temporary
name, flushed to disk, and renamed: a process that dies meanwhile leaves a folder whose name starts with a dot, which is
ignored.
"""

import io
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pyro import poutine
from safetensors import SafetensorError
from torch import Tensor, nn

from inference.runs.checksums import SUMS, UNSEALED, checksums, first_mismatch, is_sealed_by, seal
from inference.runs.schema import brief
from inference.runs.writing import writing

WEIGHTS = "weights.safetensors"
STATE = "state.pt"
KINDS = {WEIGHTS: "file of weights", STATE: "training state", SUMS: "list of checksums"}
RECORD = "record"  # key of our record in a safetensors file's metadata
SEAL = "sha256"  # key of the checksum in a record
OLD_RECORD = {"step", "validation_bound"}  # of Kinema 0.1.0, without a checksum


class DamagedCheckpointError(ValueError):
    """A checkpoint that is incomplete or unreadable."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a training run needs to resume.

    Attributes:
        path: its folder.
        weights: parameters and buffers by name, on the CPU; see `named_weights`.
        state: everything else, of types that `torch.load(..., weights_only=True)` reads.
    """

    path: Path
    weights: Mapping[str, Tensor]
    state: Mapping[str, Any]


def named_weights(model: Any, guide: Any) -> dict[str, Tensor]:
    """The live parameters and buffers, each once: `model.<name>`, then `guide.<name>` for those not in the model.

    A program that is not a module (a function) has none.
    """
    weights: dict[str, Tensor] = {}
    known: set[int] = set()
    for prefix, program in (("model", model), ("guide", guide)):
        module = poutine.unwrap(program)
        if isinstance(module, nn.Module):
            for name, tensor in module.state_dict(keep_vars=True).items():
                if isinstance(tensor, Tensor) and id(tensor) not in known:
                    known.add(id(tensor))
                    weights[f"{prefix}.{name}"] = tensor
    return weights


def assign_weights(model: Any, guide: Any, weights: Mapping[str, Tensor]) -> None:
    """Copy saved weights into a model and a guide of the same architecture, in place.

    Raises:
        ValueError: if a name is missing or unknown, or a shape differs; names all of them.
    """
    live = named_weights(model, guide)
    problems = [f"{name} is missing" for name in live if name not in weights]
    problems += [f"{name} is not known" for name in weights if name not in live]
    problems += [
        f"{name}: expected {tuple(live[name].shape)}, got {tuple(weights[name].shape)}"
        for name in live
        if name in weights and live[name].shape != weights[name].shape
    ]
    if problems:
        raise ValueError(f"weights: expected those of this model and guide; {'; '.join(problems)}")
    with torch.no_grad():
        for name, tensor in live.items():
            tensor.copy_(weights[name])


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: if the process dies or the disk is full, it has either the old or the new content.

    Raises:
        RunWriteError: if it cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with writing(path):
        try:
            _write_through(beside, content)
            os.replace(beside, path)
        except OSError:
            with suppress(OSError):  # a full disk gets back what was taken
                beside.unlink()
            raise
        _flush_folder(path.parent)


def write_weights(path: Path, weights: Mapping[str, Tensor], record: Mapping[str, Any] | None = None) -> None:
    """Write a safetensors file atomically, with a record of plain values and its own checksum in its metadata."""
    write_bytes(path, seal(_serialise(weights, {**(record or {}), SEAL: UNSEALED})))


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights and the record that `write_weights` wrote, after a look at the checksum.

    Raises:
        DamagedCheckpointError: if the file is damaged, of another format, or has no record because another program
            wrote it; names it.
    """
    content = _content(path, KINDS[WEIGHTS])
    weights = _deserialise(path, content)
    try:
        record = json.loads(json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"][RECORD])
    except (ValueError, LookupError, TypeError):
        record = None
    if not isinstance(record, dict):
        raise DamagedCheckpointError(f"{path}: weights without the record of a run; another program wrote them")
    checksum = record.pop(SEAL, None)
    if record.keys() != OLD_RECORD if checksum is None else not is_sealed_by(content, str(checksum)):
        raise DamagedCheckpointError(f"{path}: not a whole file of weights (it has another checksum than when written)")
    return weights, record


def write_checkpoint(path: Path, weights: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write a checkpoint folder atomically, replacing one of the same name.

    Raises:
        RunWriteError: if it cannot be written; nothing of it is left then.
    """
    buffer = io.BytesIO()  # not into the file: on a full disk torch would raise an error of its own
    torch.save(dict(state), buffer)
    contents = {WEIGHTS: _serialise(weights), STATE: buffer.getvalue()}
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with writing(path):
        shutil.rmtree(beside, ignore_errors=True)
        try:
            beside.mkdir(parents=True)
            for name, content in {**contents, SUMS: checksums(contents)}.items():
                _write_through(beside / name, content)
            _flush_folder(beside)
            if path.exists():  # a rename cannot replace a folder: move the old one aside first, under an ignored name
                aside = path.with_name(f".{path.name}.{os.getpid()}.old")
                os.rename(path, aside)
                shutil.rmtree(aside)
            os.rename(beside, path)
        except OSError:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        _flush_folder(path.parent)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint folder, onto the CPU, after a look at the checksums if it has them.

    Raises:
        DamagedCheckpointError: if a file is missing, truncated, changed or of another format; names it.
    """
    contents = {name: _content(path / name, KINDS[name]) for name in (WEIGHTS, STATE)}
    if (path / SUMS).exists():  # Kinema 0.1.0 wrote none
        wrong = first_mismatch(_content(path / SUMS, KINDS[SUMS]), contents)
        if wrong is not None:
            raise DamagedCheckpointError(
                f"{path / wrong}: not a whole {KINDS[wrong]} (its checksum is not the one recorded in {SUMS})"
            )
    return Checkpoint(path, _deserialise(path / WEIGHTS, contents[WEIGHTS]), _state(path / STATE, contents[STATE]))


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoint folders in a folder, oldest first."""
    steps = {path: step_of(path) for path in folder.glob("step-*") if path.is_dir()}
    return sorted((path for path, step in steps.items() if step is not None), key=lambda path: steps[path] or 0)


def step_of(path: Path) -> int | None:
    """The step that a checkpoint's folder is named after; None if it is named otherwise."""
    found = re.fullmatch("step-([0-9]{8,15})", path.name)
    return int(found[1]) if found else None


def remove_partial(folder: Path) -> None:
    """Delete leftovers of unfinished writes in a folder."""
    for path in _partial(folder):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _partial(folder: Path) -> Iterator[Path]:
    yield from folder.glob(".*.partial")
    yield from folder.glob(".*.old")


def _serialise(weights: Mapping[str, Tensor], record: Mapping[str, Any] | None = None) -> bytes:
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in weights.items()
    }
    # a single entry: the order of several would differ between processes
    return safetensors.torch.save(tensors, {RECORD: json.dumps(dict(record or {}))})


def _deserialise(path: Path, content: bytes) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(content)
    except SafetensorError as error:
        raise DamagedCheckpointError(f"{path}: not a whole file of weights ({error})") from error


def _state(path: Path, content: bytes) -> dict[str, Any]:
    """A training state: plain values and tensors alone, no code (`weights_only`), and no larger than its file."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("compressed")
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a truncated archive raises any of a dozen types, with misleading advice
        reason = type(error).__name__ if str(error) != "compressed" else "it is compressed, and would expand"
        raise DamagedCheckpointError(f"{path}: not a whole training state ({reason})") from error
    if not isinstance(state, dict):
        raise DamagedCheckpointError(f"{path}: not a whole training state (expected a dict, got {brief(state)})")
    return state


def _content(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except PermissionError:
        raise  # not damaged: whoever may read it finds it whole
    except OSError as error:
        raise DamagedCheckpointError(f"{path}: not a whole {what} ({error.strerror or error})") from error


def _write_through(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(path: Path) -> None:
    """Make renames in a folder durable (not every system can open a folder for this)."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
