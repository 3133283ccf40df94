"""Metrics of frames and scenes, independent of any model."""

from inference.metrics.best_overlap import mean_best_overlap
from inference.metrics.counting import counting_accuracy, counting_confusion
from inference.metrics.discs import find_discs
from inference.metrics.distance_means import DistanceCurve, MeanDistance
from inference.metrics.frames import (
    PixelErrors,
    count_incorrect_pixels,
    incorrect_pixels_per_frame,
    intersection_over_union,
    normalized_code_rmse,
)
from inference.metrics.hota import HOTAScores, score_hota
from inference.metrics.motion_baselines import constant_velocity, hold_last
from inference.metrics.positions import PositionMap, fit_position_map
from inference.metrics.precision_recall import PrecisionRecall, score_confidences
from inference.metrics.prefix_matches import PrefixMatches, match_on_prefix
from inference.metrics.proper_scores import brier_score, crps, energy_score
from inference.metrics.segmentation import adjusted_rand_index
from inference.metrics.tracking import TrackingScores, score_clip, score_tracks
from inference.metrics.trajectories import (
    coefficient_of_determination,
    fit_single_object_map,
    match_objects,
    object_order,
    root_mean_squared_error,
    side_accuracy,
    swap_rate,
)

__all__ = [
    "DistanceCurve",
    "HOTAScores",
    "MeanDistance",
    "PixelErrors",
    "PositionMap",
    "PrecisionRecall",
    "PrefixMatches",
    "TrackingScores",
    "adjusted_rand_index",
    "brier_score",
    "coefficient_of_determination",
    "constant_velocity",
    "count_incorrect_pixels",
    "counting_accuracy",
    "counting_confusion",
    "crps",
    "energy_score",
    "find_discs",
    "fit_position_map",
    "fit_single_object_map",
    "hold_last",
    "incorrect_pixels_per_frame",
    "intersection_over_union",
    "match_objects",
    "match_on_prefix",
    "mean_best_overlap",
    "normalized_code_rmse",
    "object_order",
    "root_mean_squared_error",
    "score_clip",
    "score_confidences",
    "score_hota",
    "score_tracks",
    "side_accuracy",
    "swap_rate",
]
