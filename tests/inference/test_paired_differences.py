"""Paired t tests of several models: closed forms, Holm by closed testing, and error rates by simulation.

Simulations have NUM_TABLES tables each; a rate is compared with what it should be at five standard errors, which a
right program misses once in 1.7 million (and these seeds are fixed).
"""

import math
from itertools import combinations

import numpy as np
import pytest

from inference.evidence.paired_differences import paired_differences

NUM_TABLES = 40_000
NORMAL_975 = 1.959964


def margin(rate):
    return 5 * math.sqrt(rate * (1 - rate) / NUM_TABLES)


def tables(means, num_sequences, seed):
    """Values (tables, models, sequences): hard and easy sequences, which all models share, and models that vary."""
    generator = np.random.default_rng(seed)
    hardness = 10 * generator.standard_normal((NUM_TABLES, 1, num_sequences))
    scales = np.linspace(0.5, 3, len(means))[:, None]
    own = scales * generator.standard_normal((NUM_TABLES, len(means), num_sequences))
    return np.asarray(means, dtype=float)[:, None] + hardness + own


def test_two_sequences_and_three_by_the_closed_forms_of_students_distribution():
    for difference in ([1.0, 4.0], [0.5, 3.0, 0.1]):
        values = np.stack([np.zeros(len(difference)), np.asarray(difference)])
        found = paired_differences(values)
        mean, spread = np.mean(difference), np.std(difference, ddof=1) / math.sqrt(len(difference))
        t = mean / spread
        if len(difference) == 2:  # Cauchy
            p_value, quantile = 1 - 2 / math.pi * math.atan(t), math.tan(math.pi * 0.475)
        else:
            p_value, quantile = 1 - t / math.sqrt(2 + t * t), 0.95 * math.sqrt(2 / (1 - 0.95**2))
        assert found.mean[1, 0] == pytest.approx(mean)
        assert found.mean[0, 1] == pytest.approx(-mean)
        for place in ((0, 1), (1, 0)):
            assert found.error[place] == pytest.approx(spread)
            assert found.p_value[place] == pytest.approx(p_value)
            assert found.half_width[place] == pytest.approx(quantile * spread)
        assert found.degrees_of_freedom == len(difference) - 1
        assert found.num_pairs == 1


def test_holm_is_closed_testing_by_bonferroni():
    """Marcus, Peritz and Gabriel (1976): a pair's p-value is the largest of all sets of pairs that it is in."""
    values = np.random.default_rng(3).standard_normal((50, 4, 6)) + np.array([0.0, 0.6, 1.2, 2.5])[:, None]
    pairs = list(combinations(range(4), 2))
    alone = np.stack([paired_differences(values[:, list(pair)]).p_value[:, 0, 1] for pair in pairs], -1)
    expected = np.zeros_like(alone)
    for size in range(1, len(pairs) + 1):
        for members in combinations(range(len(pairs)), size):
            together = np.minimum(1, size * alone[:, members].min(-1))
            for member in members:
                expected[:, member] = np.maximum(expected[:, member], together)
    found = paired_differences(values).p_value
    np.testing.assert_allclose(np.stack([found[:, i, j] for i, j in pairs], -1), expected, rtol=1e-12)
    assert (expected > alone).any()
    assert (expected < np.minimum(1, len(pairs) * alone)).any()  # it is not Bonferroni
    np.testing.assert_array_equal(found, np.swapaxes(found, 1, 2))


def test_intervals_of_five_sequences_cover_as_often_as_they_say():
    """The normal interval of one standard error times 1.96, as the table had before, covers 88 %."""
    found = paired_differences(tables([0.0, 1.0], 5, seed=0))
    covers = np.abs(found.mean[:, 1, 0] - 1) <= found.half_width[:, 1, 0]
    assert abs(covers.mean() - 0.95) < margin(0.95)
    normal = np.abs(found.mean[:, 1, 0] - 1) <= NORMAL_975 * found.error[:, 1, 0]
    assert abs(normal.mean() - 0.8784) < margin(0.8784)  # P(|t_4| < 1.96)
    other = paired_differences(tables([0.0, 1.0], 5, seed=0), level=0.8)
    covers = np.abs(other.mean[:, 1, 0] - 1) <= other.half_width[:, 1, 0]
    assert abs(covers.mean() - 0.8) < margin(0.8)


def against_the_best(found, matrix):
    """A matrix's column of the model that was best in each table, (tables, models)."""
    best = found.mean.mean(-1).argmax(-1)
    return np.take_along_axis(matrix, best[:, None, None], -1)[..., 0], best


def test_choosing_the_best_model_on_the_same_sequences_does_not_break_the_intervals():
    values = tables([0.0] * 6, 8, seed=1)
    found = paired_differences(values)
    (mean, best), (half_width, _) = against_the_best(found, found.mean), against_the_best(found, found.half_width)
    assert len(set(best.tolist())) == 6
    rate = (np.abs(mean) <= half_width).all(-1).mean()
    assert rate > 0.95 - margin(0.95)
    alone = paired_differences(values[:, :2]).half_width[:, 0, 1] / paired_differences(values[:, :2]).error[:, 0, 1]
    errors, _ = against_the_best(found, found.error)
    assert (np.abs(mean) <= alone[0] * errors).all(-1).mean() < 0.85  # without correction


@pytest.mark.parametrize("means", [[0.0] * 6, [0.0, 0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 6.0, 6.0, 12.0, 12.0]])
def test_false_differences_are_claimed_as_seldom_as_promised(means):
    """Familywise: in no more than one table of twenty any two equal models are told apart, whichever is the best."""
    values = tables(means, 7, seed=2)
    found = paired_differences(values)
    equal = [pair for pair in combinations(range(len(means)), 2) if means[pair[0]] == means[pair[1]]]
    false = np.stack([found.p_value[:, i, j] <= 0.05 for i, j in equal], -1).any(-1).mean()
    assert false < 0.05 + margin(0.05)
    alone = [paired_differences(values[:, list(pair)]).p_value[:, 0, 1] <= 0.05 for pair in equal]
    assert np.stack(alone, -1).any(-1).mean() > 0.1  # without correction
    same = np.asarray(means)[:, None] == np.asarray(means)
    p_values, best = against_the_best(found, found.p_value)
    picked = ((p_values <= 0.05) & same[best]).any(-1).mean()
    assert picked <= false


def test_true_differences_are_found():
    found = paired_differences(tables([0.0, 0.0, 12.0], 8, seed=4))
    p_values, best = against_the_best(found, found.p_value)
    assert (best == 2).all()
    assert (p_values[:, :2] <= 0.05).mean() > 0.99


def test_one_model_and_one_sequence():
    found = paired_differences(np.ones((1, 4)))
    assert (found.mean.item(), found.p_value.item(), found.num_pairs) == (0.0, 1.0, 0)
    found = paired_differences(np.array([[1.0], [3.0]]))
    assert found.mean.tolist() == [[0.0, -2.0], [2.0, 0.0]]
    assert np.isnan(found.error[0, 1])
    assert np.isnan(found.half_width[0, 1])
    assert np.isnan(found.p_value[0, 1])


def test_models_that_are_the_same_and_that_always_differ_alike():
    values = np.array([[1.0, 2.0, 4.0]] * 2 + [[2.0, 3.0, 5.0]])
    found = paired_differences(values)
    assert found.p_value[0, 1] == 1.0
    assert found.half_width[0, 1] == 0.0
    assert found.p_value[0, 2] == 0.0


@pytest.mark.parametrize(
    ("values", "level", "message"),
    [
        (np.zeros((3, 0)), 0.95, r"values: expected at least one model and one sequence, got \(3, 0\); evaluate some"),
        (np.zeros((2, 3)), 95.0, "level: expected a probability between 0 and 1, got 95.0; write 95 % as 0.95"),
        (np.zeros((2, 3)), 0.0, "level: expected a probability between 0 and 1, got 0.0"),
    ],
)
def test_refusals(values, level, message):
    with pytest.raises(ValueError, match=message):
        paired_differences(values, level)
