"""These tests pin: values at the ends, in the middle and beyond each schedule, and what each one refuses."""

import math

import pytest

from inference.svi.schedules import (
    Constant,
    CosineRamp,
    GeometricRamp,
    LinearRamp,
    Piecewise,
    StaircaseDecay,
    value_at,
)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Constant(0.3), {0: 0.3, 1000: 0.3}),
        (StaircaseDecay(0.007, 0.85, 3120), {0: 0.007, 3119: 0.007, 3120: 0.00595, 6240: 0.0050575}),
        (LinearRamp(0.2, 1.0, steps=8, begin=4), {0: 0.2, 4: 0.2, 6: 0.4, 8: 0.6, 12: 1.0, 99: 1.0}),
        (CosineRamp(1.0, 0.0, steps=12), {0: 1.0, 4: 0.75, 6: 0.5, 8: 0.25, 12: 0.0, 99: 0.0}),
        (GeometricRamp(1.0, 1e-4, steps=4, begin=10), {0: 1.0, 11: 0.1, 12: 0.01, 14: 1e-4, 99: 1e-4}),
        (Piecewise({5: 8, 0: 4, 9: 20}), {0: 4, 4: 4, 5: 8, 8: 8, 9: 20, 99: 20}),
        (Piecewise({0: 4, 5: LinearRamp(0.0, 1.0, steps=2, begin=5)}), {4: 4, 5: 0.0, 6: 0.5, 7: 1.0, 99: 1.0}),
    ],
)
def test_values(schedule, expected):
    assert {step: value_at(schedule, step) for step in expected} == pytest.approx(expected, abs=1e-15)


def test_value_at_takes_numbers_and_any_function_of_the_step():
    assert value_at(3, 7) == 3.0
    assert value_at(math.sqrt, 49) == 7.0


def test_equal_schedules_have_equal_representations():
    assert repr(Piecewise({5: 8, 0: 4})) == repr(Piecewise({0: 4, 5: 8}))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: StaircaseDecay(1.0, 0.0, 5), "factor: expected a positive number, got 0.0"),
        (lambda: StaircaseDecay(1.0, 0.5, 0), "every: expected a positive number, got 0"),
        (lambda: LinearRamp(0.0, 1.0, 0), "steps: expected a positive number, got 0"),
        (lambda: CosineRamp(0.0, 1.0, -1), "steps: expected a positive number, got -1"),
        (lambda: GeometricRamp(0.0, 1.0, 5), "start: expected a positive number, got 0.0"),
        (lambda: GeometricRamp(1.0, -1.0, 5), "end: expected a positive number, got -1.0"),
        (lambda: GeometricRamp(1.0, 0.1, 0), "steps: expected a positive number, got 0"),
        (lambda: Piecewise({3: 1.0}), r"values: expected one that begins at step 0, got steps \[3\]"),
    ],
)
def test_refusals(build, message):
    with pytest.raises(ValueError, match=message):
        build()
