"""Published curves, digitised from figures of papers, for plots beside our own."""

from math import nan
from typing import Any

from inference.gallery.imputations import ErrorCurvePictures
from inference.recipes.recipe import Recipe
from inference.scores.imputation_curves import PATTERNS, ImputationCurve


def error_curves(recipe: Recipe[Any, Any, Any]) -> ErrorCurvePictures:
    """Imputation errors of a recipe's model, beside the paper's if it uses the paper's videos."""
    return ErrorCurvePictures(
        label=recipe.label, published=KALMAN_VAE_IMPUTATION if recipe.videos.world == "box" else ()
    )


def _published(pattern: str, errors_in_ten_thousandths: dict[str, tuple[int, ...]]) -> tuple[ImputationCurve, ...]:
    levels = tuple(float(level) for level in PATTERNS[pattern][2])
    return tuple(
        ImputationCurve(pattern, method, levels, tuple(error / 1e4 for error in errors), (nan,) * len(levels))
        for method, errors in errors_in_ten_thousandths.items()
    )


KALMAN_VAE_IMPUTATION: tuple[ImputationCurve, ...] = _published(
    "random",
    {
        "KVAE smoothing": (57, 60, 63, 67, 75, 82, 95, 128, 189, 266),
        "KVAE filtering": (79, 78, 82, 89, 102, 117, 124, 157, 214, 266),
        "AE-RNN": (66, 69, 76, 79, 96, 112, 132, 173, 220, 272),
        "VAE-RNN": (79, 86, 85, 100, 116, 129, 141, 173, 225, 279),
    },
) + _published(
    "gap",
    {
        "KVAE smoothing": (61, 78, 98, 121, 148, 173, 200, 227),
        "KVAE filtering": (84, 114, 145, 174, 198, 221, 238, 257),
        "AE-RNN": (87, 115, 146, 175, 201, 223, 243, 260),
        "VAE-RNN": (88, 120, 152, 181, 207, 230, 252, 269),
    },
)
"""Figures 3a ("random") and 3b ("gap") of Fraccaro et al. (2017), box data, within 0.0003; without error bars."""
