"""These tests pin: annotations are checked before a function runs, and errors name argument, expectation and value."""

import re
from collections.abc import Sequence
from typing import Literal

import jaxtyping
import pytest
import torch
from torch import Tensor

from videos.memory import memory
from videos.typed import Count, CountOrZero, FrameShape, Positive, PositiveOrZero, typed


@pytest.fixture(autouse=True)
def without_annotations():
    """Tests check annotations by another way, whose words users do not see."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@typed
def answered(
    count: Count = 1,
    none: CountOrZero = 0,
    some: Count | None = None,
    scale: Positive = 1.0,
    weight: PositiveOrZero = 0.0,
    shape: FrameShape = (1, 8, 8),
    hidden: tuple[Count, ...] = (),
    channels: Sequence[Count] = (4,),
    shares: Sequence[float] = (0.5, 0.5),
    where: tuple[float, float] = (0.0, 0.0),
    memory: Count | Literal["guide"] = "guide",
    frames: Tensor | None = None,
) -> str:
    return "an answer"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"count": torch.Size([3])[0], "none": 0, "some": 2, "scale": 1e-30, "weight": 0},
        {"shape": [3, 1, 5], "hidden": [2, 3], "channels": [1], "where": [0, -1.5]},
        {"hidden": (), "channels": range(1, 3), "shares": [1], "memory": 3, "frames": torch.ones(2)},
    ],
)
def test_what_fits_is_answered(given):
    assert answered(**given) == "an answer"


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"count": 0}, ValueError, "count: expected a whole number of at least 1, got 0"),
        ({"count": True}, TypeError, "count: expected a whole number of at least 1, got True (bool)"),
        ({"count": 2.0}, TypeError, "count: expected a whole number of at least 1, got 2.0 (float)"),
        ({"none": -1}, ValueError, "none: expected a whole number of at least 0, got -1"),
        ({"some": 0}, ValueError, "some: expected a whole number of at least 1 or None, got 0"),
        ({"some": "2"}, TypeError, "some: expected a whole number of at least 1 or None, got '2' (str)"),
        ({"scale": 0}, ValueError, "scale: expected a positive number, got 0"),
        ({"scale": float("nan")}, ValueError, "scale: expected finite numbers, got nan"),
        ({"scale": float("inf")}, ValueError, "scale: expected finite numbers, got inf"),
        ({"weight": -0.1}, ValueError, "weight: expected a number of at least 0, got -0.1"),
        ({"shape": (1, 8)}, TypeError, "shape: expected a tuple of 3, each a whole number of at least 1, got (1, 8)"),
        ({"shape": (1, 8, 0)}, ValueError, "shape: expected a whole number of at least 1, got 0"),
        ({"shape": 8}, TypeError, "shape: expected a tuple of 3, each a whole number of at least 1, got 8 (int)"),
        ({"hidden": (3, 0)}, ValueError, "hidden: expected a whole number of at least 1, got 0"),
        ({"hidden": 3}, TypeError, "hidden: expected a tuple of a whole number of at least 1, got 3 (int)"),
        ({"channels": [2.5]}, TypeError, "channels: expected a sequence of a whole number of at least 1, got [2.5]"),
        ({"channels": "12"}, TypeError, "channels: expected a sequence of a whole number of at least 1, got '12'"),
        ({"shares": ["2", 0.5]}, TypeError, "shares: expected a sequence of a number, got ['2', 0.5] (list)"),
        ({"shares": (float("inf"), 0.5)}, ValueError, "shares: expected finite numbers, got (inf, 0.5)"),
        ({"where": (0.0,)}, TypeError, "where: expected a tuple of 2, each a number, got (0.0,)"),
        ({"where": (0.0, float("nan"))}, ValueError, "where: expected finite numbers, got (0.0, nan)"),
        ({"memory": 0}, ValueError, "memory: expected a whole number of at least 1 or 'guide', got 0"),
        ({"frames": [1.0]}, TypeError, "frames: expected a torch.Tensor or None, got [1.0] (list)"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_does_not_fit_is_refused_by_name(given, error, words):
    with pytest.raises(error, match="^" + re.escape(words)):
        answered(**given)


def test_what_does_not_fit_into_memory_is_refused_with_its_gigabytes():
    number = int(memory())
    with pytest.raises(ValueError, match=rf"count: expected at most .* GB of memory .* got {number:,}, which take"):
        answered(count=number)
    with pytest.raises(ValueError, match=r"shape: expected at most"):
        answered(shape=(1, number, 8))


def test_an_argument_that_is_left_is_checked_by_the_function():
    @typed(left=("offset",))
    def left(offset: float, count: Count) -> float:
        return offset

    assert left(float("inf"), 1) == float("inf")
    with pytest.raises(ValueError, match="count"):
        left(0.0, 0)
