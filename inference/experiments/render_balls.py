"""A run on cannonballs as pictures: paths inferred, forecast and interpolated, and frames over frames."""

from pathlib import Path

import torch

from inference.experiments.runs import TrainedRun
from inference.metrics.trajectories import fit_single_object_map, match_objects
from inference.pictures import draw_overlays, draw_trajectories
from inference.queries.ask import impute, reconstruct
from inference.queries.imputation import Imputation
from inference.scores.trajectories import NUM_FIRST, NUM_LAST, positions_of
from videos import Cannonballs
from videos.missing import gap, tail

NUM_PATHS = 8  # sequences in a picture of paths


def draw_balls(run: TrainedRun, simulator: Cannonballs, folder: Path) -> list[Path]:
    """Overlays of predicted on true frames, and paths if the model has positions.

    Args:
        run: of a recipe on cannonballs.
        simulator: what made its videos.
        folder: where to.

    Returns:
        The files written.
    """
    counts = run.test.presence[:, 0].sum(-1).cpu()  # pyright: ignore[reportOptionalSubscript]
    several = (counts == min(2, int(counts.max()))).nonzero()[:NUM_PATHS, 0]
    videos = run.test.select(several.to(run.test.frames.device))
    size = (videos.num_sequences, videos.num_frames)
    masks = {
        "forecast": tail(*size, num_seen=NUM_FIRST),
        "interpolated": gap(*size, length=videos.num_frames - NUM_FIRST - NUM_LAST, start=NUM_FIRST),
    }
    masks = {name: mask.to(videos.frames.device) for name, mask in masks.items()}
    answers = {
        name: impute(run.model, run.guide, *videos.with_observed(mask).arguments) for name, mask in masks.items()
    }
    written = []
    for index in range(min(3, videos.num_sequences)):
        frames = {name: answer.frames[index] for name, answer in answers.items()}
        figure = draw_overlays(videos.frames[index], frames, masks["forecast"][index] & masks["interpolated"][index])
        figure.savefig(folder / f"overlay-{index}.png")
        written.append(folder / f"overlay-{index}.png")
    whole = reconstruct(run.model, run.guide, *run.test.arguments)
    inferred = positions_of(whole)
    if inferred is None or run.test.positions is None or run.test.presence is None or videos.presence is None:
        return written
    world = fit_single_object_map(inferred, run.test.positions, run.test.presence[:, 0])
    clean, presence = simulator.clean_positions(videos), videos.presence[:, 0]

    def in_pixels(answer: Imputation) -> torch.Tensor:
        positions = positions_of(answer)
        assert positions is not None
        return match_objects(world.predict(positions), clean, presence)

    everything = reconstruct(run.model, run.guide, *videos.arguments)
    pictures = {"inferred": (everything, None)} | {name: (answer, masks[name]) for name, answer in answers.items()}
    for name, (answer, observed) in pictures.items():
        paths = {"truth": clean, name: in_pixels(answer)}
        title = {
            "inferred": "Positions inferred from all frames",
            "forecast": f"Forecast from {NUM_FIRST} frames",
            "interpolated": f"Interpolated between {NUM_FIRST} and {NUM_LAST} frames",
        }[name]
        draw_trajectories(videos.frames, paths, presence, observed, title=title).savefig(folder / f"paths-{name}.png")
        written.append(folder / f"paths-{name}.png")
    return written
