"""Scores of frames and scenes; they know no model."""

from inference.metrics.counting import counting_accuracy, counting_confusion
from inference.metrics.frames import (
    PixelErrors,
    count_incorrect_pixels,
    incorrect_pixels_per_frame,
    intersection_over_union,
    normalized_code_rmse,
)
from inference.metrics.positions import PositionMap, fit_position_map

__all__ = [
    "PixelErrors",
    "PositionMap",
    "count_incorrect_pixels",
    "counting_accuracy",
    "counting_confusion",
    "fit_position_map",
    "incorrect_pixels_per_frame",
    "intersection_over_union",
    "normalized_code_rmse",
]
