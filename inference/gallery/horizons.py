"""Curves of tracked and predicted positions by frame, beyond the length of training."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from inference.gallery.picture import Picture, save
from inference.pictures import draw_horizon_curves
from inference.scores.horizons import HorizonErrors, Horizons
from inference.scores.score import Evaluated


@dataclass(frozen=True, kw_only=True)
class HorizonPictures(Picture):
    """Errors of tracked and of predicted positions in each frame of long videos, as in figures 5 to 7 of VTSSI's paper.

    Attributes:
        label: name of the model.
        training_length: number of frames of the training videos.
    """

    captions: ClassVar[Mapping[str, str]] = {
        "horizons.png": "Mean distance between inferred or predicted and true positions in each frame of videos "
        "longer than those of training, beside holding still and moving on in a straight line; lower is better. As "
        "figures 5 to 7 of Akhundov et al. (2019).",
    }

    label: str
    training_length: int

    def draw(self, evaluated: Evaluated, folder: Path) -> list[Path]:
        """See `Picture.draw`; nothing if the run has not been evaluated on long videos."""
        errors: HorizonErrors | None = evaluated.found.get(Horizons.name)
        if errors is None or errors.predicted_curve is None or errors.tracked_curve is None:
            return []
        curves = {
            f"{self.label}, tracked": errors.tracked_curve,
            f"{self.label}, predicted": errors.predicted_curve,
        }
        baselines = {"held still": errors.held_curve, "straight lines": errors.straight_curve}
        figure = draw_horizon_curves(
            {name: curve.distances(errors.prefix, errors.frame_width) for name, curve in curves.items()},
            {
                name: curve.distances(errors.prefix, errors.frame_width)
                for name, curve in baselines.items()
                if curve is not None
            },
            training_length=self.training_length,
        )
        return [save(figure, folder / "horizons.png")]
