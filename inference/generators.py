"""The random streams of a process: torch's on every device, Python's and numpy's, captured, restored and seeded as one.

Pyro draws from torch's global generators; a model may draw from the others. What must not disturb a stream (a
validation bound, a probe of the plates) runs inside `preserved_generators` or `seeded`; what must continue one (a
resumed run) restores a captured state.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
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
    """Put all generators back into states that `capture_generators` returned."""
    torch.set_rng_state(states["torch"])
    for device, state in enumerate(states["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(state, device)
    random.setstate(states["python"])
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))


def seed_generators(*seed: int) -> None:
    """Seed all generators from one or several non-negative integers; different tuples give unrelated streams."""
    low, high, python, numpy = np.random.SeedSequence(seed).generate_state(4)
    torch.manual_seed((int(high) << 32) | int(low))
    random.seed(int(python))
    np.random.seed(int(numpy))


@contextmanager
def preserved_generators() -> Iterator[None]:
    """Inside, draw at will; outside, every stream goes on as if nothing had been drawn."""
    states = capture_generators()
    try:
        yield
    finally:
        restore_generators(states)


@contextmanager
def seeded(*seed: int) -> Iterator[None]:
    """Inside, all streams start from `seed`; outside, they go on as if nothing had been drawn."""
    with preserved_generators():
        seed_generators(*seed)
        yield
