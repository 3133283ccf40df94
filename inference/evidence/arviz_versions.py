"""What we use of ArviZ, by version: 0.2x has `InferenceData`, 1.x has `xarray.DataTree`."""

import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    import xarray


def _arviz() -> tuple[Any, bool]:
    """ArviZ, imported here since it takes seconds, and whether it is version 1 or later."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 0.2x announces its next major version at import
        import arviz
    return arviz, int(arviz.__version__.split(".")[0]) >= 1


def pareto_shapes(log_weights: Float[np.ndarray, "sequences particles"]) -> Float[np.ndarray, " sequences"]:
    """Pareto k-hat of importance weights (Vehtari et al. 2024), for each sequence.

    Args:
        log_weights: unnormalised log weights, nats.
    """
    arviz, later = _arviz()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # large k-hats are reported by the caller
        shapes = [_shape_from_version_one(row) for row in log_weights] if later else arviz.psislw(log_weights)[1]
    return np.asarray(shapes, dtype=np.float64)


def _shape_from_version_one(log_weights: Float[np.ndarray, " particles"]) -> float:
    from arviz_stats.base import array_stats  # pyright: ignore[reportMissingImports] - part of ArviZ from 1.0 on

    try:
        return float(array_stats.psislw(-log_weights)[1])  # it takes log likelihoods, of which weights are the inverse
    except ValueError:  # all values of the tail are the same, where 0.2x says infinity
        return math.inf


def grouped(groups: "Mapping[str, xarray.Dataset]") -> Any:
    """Groups of arrays in the format of the installed ArviZ: `InferenceData`, or `xarray.DataTree`.

    Args:
        groups: data sets by the name of their group, such as "posterior".
    """
    arviz, later = _arviz()
    if not later:
        return arviz.InferenceData(**groups)
    import xarray

    return xarray.DataTree.from_dict(dict(groups))
