"""Checkpoints: the weights of a model and its guide, and the state of a training run, written atomically.

A checkpoint is a folder with `weights.safetensors` and `state.pt`. It is written under a temporary name, flushed to
disk, and renamed: a process that dies meanwhile leaves a folder whose name starts with a dot, which is ignored.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pyro import poutine
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

WEIGHTS = "weights.safetensors"
STATE = "state.pt"
RECORD = "record"  # key of our record in a safetensors file's metadata


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
    """Write a file atomically: if the process dies, the file has either the old or the new content."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    _write_through(beside, content)
    os.replace(beside, path)
    _flush_folder(path.parent)


def write_weights(path: Path, weights: Mapping[str, Tensor], record: Mapping[str, Any] | None = None) -> None:
    """Write a safetensors file atomically, with a record of plain values in its metadata."""
    write_bytes(path, _serialise(weights, record))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        DamagedCheckpointError: if the file is truncated or of another format; names it.
    """
    try:
        return safetensors.torch.load_file(path)
    except (SafetensorError, OSError) as error:
        raise DamagedCheckpointError(f"{path}: not a whole file of weights ({error})") from error


def read_record(path: Path) -> dict[str, Any]:
    """The record that `write_weights` put into a file's metadata.

    Raises:
        DamagedCheckpointError: if the file has none, because another program wrote it; names it.
    """
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
    if RECORD not in metadata:
        raise DamagedCheckpointError(f"{path}: weights without the record of a run; another program wrote them")
    return json.loads(metadata[RECORD])


def write_checkpoint(path: Path, weights: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write a checkpoint folder atomically, replacing one of the same name."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    _write_through(beside / WEIGHTS, _serialise(weights))
    with open(beside / STATE, "wb") as file:
        torch.save(dict(state), file)
        file.flush()
        os.fsync(file.fileno())
    _flush_folder(beside)
    if path.exists():  # a rename cannot replace a folder: move the old one aside first, under an ignored name
        aside = path.with_name(f".{path.name}.{os.getpid()}.old")
        os.rename(path, aside)
        shutil.rmtree(aside)
    os.rename(beside, path)
    _flush_folder(path.parent)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint folder, onto the CPU.

    Raises:
        DamagedCheckpointError: if a file is missing, truncated or of another format; names it.
    """
    weights = read_weights(path / WEIGHTS)
    try:
        state = torch.load(path / STATE, map_location="cpu", weights_only=True)
    except Exception as error:  # a truncated archive raises any of a dozen types, with misleading advice
        reason = type(error).__name__
        raise DamagedCheckpointError(f"{path / STATE}: not a whole training state ({reason})") from error
    return Checkpoint(path, weights, state)


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoint folders in a folder, oldest first."""
    return sorted(path for path in folder.glob("step-*") if path.is_dir())


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
