"""Cannonballs: inferred, forecast and interpolated paths, and overlays of predicted on true frames."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from inference.gallery.picture import Picture, save
from inference.metrics.trajectories import fit_single_object_map, match_objects
from inference.pictures import draw_overlays, draw_trajectories
from inference.queries.ask import impute, reconstruct
from inference.queries.imputation import Imputation
from inference.scores.score import Evaluated
from inference.scores.trajectories import NUM_FIRST, NUM_LAST, positions_of
from videos import Cannonballs
from videos.missing import gap, tail

NUM_PATHS = 8  # sequences in a picture of paths
NUM_OVERLAYS = 3
TITLES = {
    "inferred": "Positions inferred from all frames",
    "forecast": f"Forecast from {NUM_FIRST} frames",
    "interpolated": f"Interpolated between {NUM_FIRST} and {NUM_LAST} frames",
}


@dataclass(frozen=True, kw_only=True)
class BallPictures(Picture):
    """Overlays of predicted on true frames, and paths if the model has positions.

    Attributes:
        simulator: simulator of the videos.
    """

    captions: ClassVar[Mapping[str, str]] = {
        "overlay-*.png": "Predicted frames in red over true ones in blue-green, white where they agree: forecast "
        "from the first frames, and interpolated between the first and the last.",
        "paths-inferred.png": "Positions inferred from all frames, mapped to pixels by one affine map, over the true "
        "paths.",
        "paths-forecast.png": "Paths forecast from the first frames, over the true paths; rings are frames that were "
        "not seen.",
        "paths-interpolated.png": "Paths interpolated between the first and the last frames, over the true paths; "
        "rings are frames that were not seen.",
    }

    simulator: Cannonballs

    def without_simulator(self) -> None:
        """None."""

    def draw(self, evaluated: Evaluated, folder: Path) -> list[Path]:
        """See `Picture.draw`."""
        model, guide, test = evaluated.model, evaluated.guide, evaluated.test
        if test.presence is None:
            return []
        counts = test.presence[:, 0].sum(-1).cpu()
        several = (counts == min(2, int(counts.max()))).nonzero()[:NUM_PATHS, 0]
        videos = test.select(several.to(test.frames.device))
        size = (videos.num_sequences, videos.num_frames)
        masks = {
            "forecast": tail(*size, num_seen=NUM_FIRST),
            "interpolated": gap(*size, length=videos.num_frames - NUM_FIRST - NUM_LAST, start=NUM_FIRST),
        }
        masks = {name: mask.to(videos.frames.device) for name, mask in masks.items()}
        answers = {name: impute(model, guide, *videos.with_observed(mask).arguments) for name, mask in masks.items()}
        seen = masks["forecast"] & masks["interpolated"]
        written = []
        for index in range(min(NUM_OVERLAYS, videos.num_sequences)):
            frames = {name: answer.frames[index] for name, answer in answers.items()}
            figure = draw_overlays(videos.frames[index], frames, seen[index])
            written.append(save(figure, folder / f"overlay-{index}.png"))
        inferred = positions_of(evaluated.reconstruction)
        if inferred is None or test.positions is None or videos.presence is None:
            return written
        world = fit_single_object_map(inferred, test.positions, test.presence[:, 0])
        clean, presence = self.simulator.clean_positions(videos), videos.presence[:, 0]

        def in_pixels(answer: Imputation) -> torch.Tensor:
            positions = positions_of(answer)
            assert positions is not None
            return match_objects(world.predict(positions), clean, presence)

        pictures = {"inferred": reconstruct(model, guide, *videos.arguments)} | answers
        for name, answer in pictures.items():
            paths = {"truth": clean, name: in_pixels(answer)}
            figure = draw_trajectories(videos.frames, paths, presence, masks.get(name), title=TITLES[name])
            written.append(save(figure, folder / f"paths-{name}.png"))
        return written
