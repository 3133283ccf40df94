"""These tests pin: all streams are captured, restored, seeded and preserved together, and states can be stored."""

import ast
import io
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.runtime.generators import capture_generators, preserved_generators, restore_generators, seeded


def draw():
    return torch.rand(3).tolist(), random.random(), np.random.rand(2).tolist(), np.random.randn()


def test_a_captured_state_survives_storage_and_comes_back():
    np.random.randn()  # leaves a cached second normal behind
    file = io.BytesIO()
    torch.save(capture_generators(), file)
    first = draw()
    file.seek(0)
    restore_generators(torch.load(file, weights_only=True))
    assert draw() == first


def test_preserved_streams_go_on_as_if_nothing_had_been_drawn():
    states = capture_generators()
    expected = draw()
    restore_generators(states)
    with preserved_generators():
        draw()
    assert draw() == expected


def stream(*seed):
    with seeded(*seed):
        return draw()


def test_seeds_give_repeatable_streams_and_leave_the_callers_alone():
    state = torch.get_rng_state()
    assert stream("draws", 3) == stream("draws", 3)
    assert stream("draws", 3, 1) == stream("draws", 3, 1)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("generator", range(4), ids=["torch", "python", "numpy", "normal"])
def test_no_two_purposes_or_paths_share_a_stream(generator):
    paths = [(), (0,), (3,), (4,), (3, 0), (3, 1), (1, 3), (3, 0, 0), (3, 1, 1), (2**32,), (2**32 + 3,), (0, 1), (31,)]
    streams = {str(stream(purpose, *path)[generator]) for purpose in ("a", "b", "a/1") for path in paths}
    assert len(streams) == 3 * len(paths)


def test_every_purpose_of_the_library_is_used_at_one_place_and_is_a_literal():
    purposes = []
    for path in Path("inference").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(getattr(node, "func", None), "id", None)
            if name in ("seeded", "seed_generators") and path.name not in ("generators.py", "streams.py"):
                assert isinstance(node.args[0], ast.Constant), f"{path}:{node.lineno}"
                purposes.append(node.args[0].value)
    assert len(purposes) > 8
    assert sorted(purposes) == sorted(set(purposes))


def test_a_seed_needs_a_purpose_and_no_negative_numbers():
    for seed in (("",), ("draws", -1)):
        with pytest.raises(ValueError, match="expected a purpose and non-negative integers"):
            stream(*seed)
