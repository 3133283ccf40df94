"""One-to-one assignment of the cheapest pairs."""

import numpy as np
from jaxtyping import Bool, Float


def assign(
    costs: Float[np.ndarray, "rows columns"], allowed: Bool[np.ndarray, "rows columns"], *, largest: bool = True
) -> list[tuple[int, int]]:
    """Rows and columns of a one-to-one choice among allowed pairs that minimises the sum of costs.

    Args:
        costs: of each pair, finite where it is allowed.
        allowed: which pairs may be chosen.
        largest: choose as many pairs as possible first; False = only the sum counts, of costs that are at most 0.
    """
    from scipy.optimize import linear_sum_assignment

    if not allowed.any():
        return []
    low, high = float(costs[allowed].min()), float(costs[allowed].max())
    # One forbidden pair costs more than all others together, which maximises the number of allowed ones.
    shift, forbidden = (low, (high - low + 1) * (min(costs.shape) + 1)) if largest else (0.0, 0.0)
    rows, columns = linear_sum_assignment(np.where(allowed, costs - shift, forbidden))
    return [pair for pair in zip(rows.tolist(), columns.tolist(), strict=True) if allowed[pair]]
