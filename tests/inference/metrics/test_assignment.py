"""Assignments are those of a search through all of them."""

import itertools

import numpy as np
import pytest

from inference.metrics.assignment import assign


def searched(costs, allowed, largest):
    best = (0, 0.0)
    rows, columns = costs.shape
    for choice in itertools.product([None, *range(columns)], repeat=rows):
        pairs = [(row, column) for row, column in enumerate(choice) if column is not None]
        if len({column for _, column in pairs}) == len(pairs) and all(allowed[pair] for pair in pairs):
            value = sum(costs[pair] for pair in pairs)
            best = min(best, (-len(pairs) if largest else 0, value))
    return best


@pytest.mark.parametrize("largest", [True, False])
def test_assignments_are_largest_or_cheapest(largest):
    draws = np.random.RandomState(0)
    for _ in range(60):
        shape = draws.randint(1, 5, 2)
        costs, allowed = 100 * draws.randn(*shape) + 50, draws.rand(*shape) < 0.5
        costs = costs if largest else -abs(costs)
        pairs = assign(costs, allowed, largest=largest)
        assert all(allowed[pair] for pair in pairs)
        assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
        value = sum(costs[pair] for pair in pairs)
        assert (-len(pairs) if largest else 0, value) == pytest.approx(searched(costs, allowed, largest))


def test_nothing_is_assigned_to_nothing():
    assert assign(np.zeros((0, 3)), np.zeros((0, 3), dtype=bool)) == []
    assert assign(np.full((2, 2), np.nan), np.zeros((2, 2), dtype=bool)) == []
    costs = np.array([[1.0, np.nan], [np.inf, 5.0]])
    assert assign(costs, np.isfinite(costs)) == [(0, 0), (1, 1)]
