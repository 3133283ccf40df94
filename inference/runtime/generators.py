"""Random streams of a process: torch's on every device, Python's and numpy's, captured, restored and seeded together.

Pyro draws from torch's global generators; a model may draw from the others. Code that must not disturb the streams (a
validation bound, a probe of the plates) runs inside `preserved_generators` or `seeded`; code that must continue them (a
resumed run) restores a captured state.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import numpy as np
import torch


def capture_generators() -> dict[str, Any]:
    """The states of all generators, of types that `torch.load(..., weights_only=True)` reads back."""
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        "python": random.getstate(),
        "numpy": (
            name,
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            int(position),
            int(has_gauss),
            float(cached),
        ),
    }


def restore_generators(states: dict[str, Any]) -> None:
    """Restore all generators to states that `capture_generators` returned."""
    torch.set_rng_state(states["torch"])
    for device, state in enumerate(states["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(state, device)
    random.setstate(states["python"])
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))


def seed_generators(purpose: str, *path: int) -> None:
    """Seed all generators for one use of a seed; different purposes or paths give unrelated streams.

    `numpy.random.SeedSequence` alone pads with zeros, so (s,), (s, 0) and (s, 0, 0) would give the same stream.
    Therefore purpose, number of integers and integers are hashed together first.

    Args:
        purpose: what is drawn, in words; unique to one place in the code.
        path: non-negative integers, such as the user's seed and the position of a chunk.

    Raises:
        TypeError: if one is no integer.
        ValueError: if there is no purpose, or an integer is negative.
    """
    _seed_all(_entropy(purpose, path))


def child_seed(purpose: str, *path: int) -> int:
    """A seed for a function that takes a single integer; independent of all other streams."""
    return _entropy(purpose, path) >> 193  # 63 bits


def seed_generators_of_version_one(*seed: int) -> None:
    """Seeding of version 0.1.0, where (s,) and (s, 0, 0) are the same stream; only for resuming such runs."""
    _seed_all(seed)


def _entropy(purpose: str, path: tuple[int, ...]) -> int:
    for number in path:
        if isinstance(number, bool) or not hasattr(number, "__index__"):
            raise TypeError(f"seed: expected a whole number of at least 0, got {number!r} ({type(number).__name__})")
    if not purpose or any(number < 0 for number in path):
        raise ValueError(f"seed: expected a purpose and non-negative integers, got {purpose!r} and {path}")
    return int.from_bytes(sha256(f"{purpose}/{len(path)}/{'/'.join(map(str, path))}".encode()).digest())


def _seed_all(entropy: int | tuple[int, ...]) -> None:
    low, high, python, numpy = np.random.SeedSequence(entropy).generate_state(4)
    torch.manual_seed((int(high) << 32) | int(low))
    random.seed(int(python))
    np.random.seed(int(numpy))


@contextmanager
def preserved_generators() -> Iterator[None]:
    """Inside, draws are free; afterwards every stream continues as if nothing had been drawn."""
    states = capture_generators()
    try:
        yield
    finally:
        restore_generators(states)


@contextmanager
def seeded(purpose: str, *path: int) -> Iterator[None]:
    """Inside, streams are seeded as by `seed_generators`; afterwards they continue as if nothing had been drawn."""
    with preserved_generators():
        seed_generators(purpose, *path)
        yield
