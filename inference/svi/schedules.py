"""Numbers that change with the step: learning rates, annealing weights, temperatures, curriculum lengths.

A schedule is a function of the global step (the count of parameter updates since the start of the run, the `step` of
`metrics.jsonl`). These are frozen dataclasses rather than closures, so that a run can write down what it was trained
with and a resumed run can tell whether that has changed. Any other function of the step does as well.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from inference.runtime.numbers import check_positive

Number = int | float  # a whole number is a number to the checker of annotations, too
Schedule = Number | Callable[[int], Number]


def value_at(schedule: Schedule, step: int) -> float:
    """The value of a number or a schedule at a step."""
    return float(schedule(step)) if callable(schedule) else float(schedule)


def _fraction(step: int, begin: int, steps: int) -> float:
    """Completed fraction of a ramp: 0 up to `begin`, 1 from `begin + steps` on."""
    return min(max((step - begin) / steps, 0.0), 1.0)


@dataclass(frozen=True)
class Constant:
    """The same value at every step."""

    value: Number

    def __call__(self, step: int) -> float:
        """The value at a step."""
        return float(self.value)


@dataclass(frozen=True)
class StaircaseDecay:
    """initial * factor^floor(step / every): a decay in stairs, as in the KVAE's reference code.

    Args:
        initial: value of the first stair.
        factor: what one stair multiplies by, positive.
        every: length of a stair in steps.

    Raises:
        ValueError: if `factor` or `every` is not positive.
    """

    initial: Number
    factor: Number
    every: int

    def __post_init__(self) -> None:
        check_positive("factor", self.factor)
        check_positive("every", self.every)

    def __call__(self, step: int) -> float:
        """The value at a step."""
        return self.initial * self.factor ** (step // self.every)


@dataclass(frozen=True)
class LinearRamp:
    """From `start` to `end` in a straight line over `steps` steps after `begin`, constant before and after.

    Raises:
        ValueError: if `steps` is not positive.
    """

    start: Number
    end: Number
    steps: int
    begin: int = 0

    def __post_init__(self) -> None:
        check_positive("steps", self.steps)

    def __call__(self, step: int) -> float:
        """The value at a step."""
        return self.start + (self.end - self.start) * _fraction(step, self.begin, self.steps)


@dataclass(frozen=True)
class CosineRamp:
    """From `start` to `end` along half a cosine over `steps` steps after `begin`, constant before and after.

    Loshchilov and Hutter (2017), eq. 5, for one period.

    Raises:
        ValueError: if `steps` is not positive.
    """

    start: Number
    end: Number
    steps: int
    begin: int = 0

    def __post_init__(self) -> None:
        check_positive("steps", self.steps)

    def __call__(self, step: int) -> float:
        """The value at a step."""
        covered = 0.5 * (1.0 - math.cos(math.pi * _fraction(step, self.begin, self.steps)))
        return self.start + (self.end - self.start) * covered


@dataclass(frozen=True)
class GeometricRamp:
    """From `start` to `end` by a constant factor a step over `steps` steps after `begin`, constant before and after.

    Raises:
        ValueError: if `start`, `end` or `steps` is not positive.
    """

    start: Number
    end: Number
    steps: int
    begin: int = 0

    def __post_init__(self) -> None:
        check_positive("start", self.start)
        check_positive("end", self.end)
        check_positive("steps", self.steps)

    def __call__(self, step: int) -> float:
        """The value at a step."""
        return self.start * (self.end / self.start) ** _fraction(step, self.begin, self.steps)


@dataclass(frozen=True)
class Piecewise:
    """A value, or a schedule, from each of several steps on: a curriculum.

    `Piecewise({0: 4, 1000: 8, 5000: 20})` is 4 up to step 999, 8 up to step 4999 and 20 from there on. A schedule among
    the values is called with the same global step: give it the `begin` of its piece.

    Args:
        values: number or schedule by its first step; one of them starts at step 0.

    Raises:
        ValueError: if no value starts at step 0.
    """

    values: Mapping[int, Schedule] = field(hash=False)

    def __post_init__(self) -> None:
        if 0 not in self.values:
            raise ValueError(f"values: expected one that begins at step 0, got steps {sorted(self.values)}")
        object.__setattr__(self, "values", dict(sorted(self.values.items())))

    def __call__(self, step: int) -> float:
        """The value at a step."""
        return value_at(self.values[max(begin for begin in self.values if begin <= step)], step)
