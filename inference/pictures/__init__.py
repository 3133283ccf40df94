"""Pictures of videos, codes and errors: each function returns a matplotlib figure, `figure.savefig(path)` writes it."""

from inference.pictures.calibration import draw_calibration
from inference.pictures.clips import draw_clip
from inference.pictures.code_space import code_grid, draw_code_trajectories, draw_weight_maps
from inference.pictures.code_weights import draw_weights_at_codes
from inference.pictures.comparisons import draw_comparison
from inference.pictures.error_curves import draw_errors_per_frame, draw_imputation_curves
from inference.pictures.films import write_film
from inference.pictures.horizon_curves import draw_horizon_curves
from inference.pictures.learning_curves import draw_learning_curves
from inference.pictures.masks import paint_masks
from inference.pictures.precision_recall import draw_precision_recall
from inference.pictures.scenes import draw_scenes
from inference.pictures.slots import animate_slots, draw_latent_walk, draw_slots
from inference.pictures.strips import draw_shaded_videos, draw_strips
from inference.pictures.track_films import check_film, draw_paths, film_tracks
from inference.pictures.tracks import animate_tracks, draw_tracks
from inference.pictures.trajectories import draw_overlays, draw_trajectories

__all__ = [
    "animate_slots",
    "animate_tracks",
    "check_film",
    "code_grid",
    "draw_calibration",
    "draw_clip",
    "draw_code_trajectories",
    "draw_comparison",
    "draw_errors_per_frame",
    "draw_horizon_curves",
    "draw_imputation_curves",
    "draw_latent_walk",
    "draw_learning_curves",
    "draw_overlays",
    "draw_paths",
    "draw_precision_recall",
    "draw_scenes",
    "draw_shaded_videos",
    "draw_slots",
    "draw_strips",
    "draw_tracks",
    "draw_trajectories",
    "draw_weight_maps",
    "draw_weights_at_codes",
    "film_tracks",
    "paint_masks",
    "write_film",
]
