"""Which of several models differ, by paired tests on the same sequences."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class PairedDifferences:
    """All differences between models, from paired differences over sequences; returned by `paired_differences`.

    Entry [i, j] of each matrix is for model i minus model j.

    Attributes:
        mean: mean paired difference, (..., models, models).
        error: standard error of `mean`, (..., models, models); nan for one sequence.
        half_width: half width of the confidence interval around `mean`, (..., models, models). All intervals cover
            their differences simultaneously with the stated probability.
        p_value: p-value of the hypothesis that i and j do not differ, corrected for the number of pairs,
            (..., models, models); 1 on the diagonal.
        degrees_of_freedom: of Student's t: sequences - 1.
        num_pairs: models (models - 1) / 2.
    """

    mean: Float[np.ndarray, "*batch models models"]
    error: Float[np.ndarray, "*batch models models"]
    half_width: Float[np.ndarray, "*batch models models"]
    p_value: Float[np.ndarray, "*batch models models"]
    degrees_of_freedom: int
    num_pairs: int


def paired_differences(values: Float[np.ndarray, "*batch models sequences"], level: float = 0.95) -> PairedDifferences:
    """Compare each pair of models by the paired differences of their sequences.

    With d_n the difference on sequence n, mean d and standard deviation s over N sequences, t = sqrt(N) d / s has
    Student's distribution with N - 1 degrees of freedom around the expected difference (Student, 1908): exactly for
    independent normal d_n, approximately for many independent sequences otherwise (frames of one video are not). Noise
    of Monte Carlo estimates, independent between sequences, is already part of s; do not add it again.

    The pairs of interest, those with the best model found, are chosen by the same values. So intervals and tests are
    corrected over all M pairs, and hold for any selection of them. The intervals are Bonferroni's,
    d -+ t(1 - (1 - level) / 2M) s / sqrt(N). The p-values are Holm's (1979): sorted p_1 <= p_2 <= ..., the k-th becomes
    max_{i <= k} min(1, (M - i + 1) p_i). Neither assumes anything about the dependence between pairs, whereas Dunnett's
    procedure assumes that the best model was fixed in advance, and equal variances of all differences. For two models
    they are the plain paired t interval and test. Holm's tests are more powerful: a p-value may be below 1 - level
    although the interval contains zero, never the other way round.

    Args:
        values: value of each model on each sequence; leading dims are a batch of such tables.
        level: probability that all intervals cover.

    Raises:
        ValueError: if there is no model or no sequence, or `level` is not between 0 and 1.
    """
    from scipy.stats import t

    if 0 in values.shape:
        raise ValueError(f"values: expected at least one model and one sequence, got {values.shape}; evaluate some")
    if not 0 < level < 1:
        raise ValueError(f"level: expected a probability between 0 and 1, got {level}; write 95 % as 0.95")
    num_models, count = values.shape[-2:]
    first, second = np.triu_indices(num_models, 1)
    differences = values[..., first, :] - values[..., second, :]
    mean = differences.mean(-1)
    if count > 1:
        error = differences.std(-1, ddof=1) / math.sqrt(count)
        with np.errstate(divide="ignore", invalid="ignore"):
            statistic = np.where(mean == 0, 0.0, np.abs(mean) / error)  # 0 / 0: two models that are the same
        p_value = _holm(2 * t.sf(statistic, count - 1))
        quantile = t.ppf(1 - (1 - level) / (2 * max(len(first), 1)), count - 1)
    else:
        error = p_value = np.full_like(mean, np.nan)
        quantile = math.nan

    def matrix(upper: np.ndarray, sign: int, diagonal: float) -> np.ndarray:
        full = np.full((*values.shape[:-1], num_models), diagonal)
        full[..., first, second], full[..., second, first] = upper, sign * upper
        return full

    return PairedDifferences(
        mean=matrix(mean, -1, 0.0),
        error=matrix(error, 1, 0.0),
        half_width=matrix(quantile * error, 1, 0.0),
        p_value=matrix(p_value, 1, 1.0),
        degrees_of_freedom=count - 1,
        num_pairs=len(first),
    )


def _holm(p_values: Float[np.ndarray, "*batch pairs"]) -> Float[np.ndarray, "*batch pairs"]:
    """Adjusted p-values of Holm's step-down procedure, in the given order."""
    order = p_values.argsort(-1)
    factors = np.arange(p_values.shape[-1], 0, -1)
    stepped = np.maximum.accumulate(np.take_along_axis(p_values, order, -1) * factors, -1).clip(max=1.0)
    adjusted = np.empty_like(p_values)
    np.put_along_axis(adjusted, order, stepped, -1)
    return adjusted
