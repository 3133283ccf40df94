"""A run as pictures: imputations, codes in the plane, mixture weights, films, imputation errors beside the paper's."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from inference.experiments.evaluate import read_evaluation
from inference.experiments.render_balls import draw_balls
from inference.experiments.runs import TrainedRun
from inference.pictures import (
    animate_tracks,
    code_grid,
    draw_code_trajectories,
    draw_imputation_curves,
    draw_scenes,
    draw_shaded_videos,
    draw_strips,
    draw_tracks,
    draw_weight_maps,
    draw_weights_at_codes,
    write_film,
)
from inference.queries.ask import generate, impute, reconstruct
from inference.queries.imputation import Imputation
from inference.recipes.cannonballs import BallVideosRecipe
from inference.recipes.moving_digits import MovingDigitsRecipe
from inference.recipes.published_curves import KALMAN_VAE_IMPUTATION
from inference.scores.tracking import found_and_true, score_middles
from pyro_models.components.scene import PlacesObjects, Scene
from pyro_models.kalman_vae.dynamics_mixture import WindowDynamicsMixture
from pyro_models.kalman_vae.mixed_linear_dynamics import MixedLinearDynamics
from videos.batch import VideoBatch
from videos.missing import gap, tail

NUM_SHOWN = 4  # sequences in a picture
NUM_SCENES = 16  # in a picture of still scenes
NUM_TRACKED = 8  # sequences in a picture of objects that are followed
NUM_FOLLOWED = 3  # frames seen before their forecast
NUM_FIRST = 4  # frames seen before the gap, and by the generation


def render(run: TrainedRun, folder: Path | None = None) -> list[Path]:
    """Draw what a run has learned.

    Args:
        run: from `load_run`.
        folder: where to; None = `pictures` in the run's folder.

    Returns:
        The files written.
    """
    folder = run.folder.path / "pictures" if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(run.model, PlacesObjects) and run.test.num_frames == 1:
        return _draw_objects(run, run.model, folder)
    if isinstance(run.model, PlacesObjects) or isinstance(run.recipe, MovingDigitsRecipe):  # objects come and go
        return _draw_tracks(run, folder)
    videos = run.test.select(slice(0, NUM_SHOWN))
    size = (videos.num_sequences, videos.num_frames)
    observed = gap(*size, length=max(1, videos.num_frames - 2 * NUM_FIRST), start=NUM_FIRST).to(videos.frames.device)
    beginning = tail(*size, num_seen=NUM_FIRST).to(videos.frames.device)
    answers = {
        method or "imputed": impute(run.model, run.guide, *videos.with_observed(observed).arguments, method=method)
        for method in getattr(run.guide, "completion_methods", (None,))
    }
    answers["generated"] = impute(run.model, run.guide, *videos.with_observed(beginning).arguments)
    written = []
    for index in range(videos.num_sequences):
        panels = {"truth": videos.frames[index]} | {name: answer.frames[index] for name, answer in answers.items()}
        written.append(_save(draw_strips(panels, observed[index]), folder / f"imputation-{index}.png"))
        written.append(write_film(folder / f"imputation-{index}.gif", panels, observed[index]))
    draws = generate(run.model, NUM_SHOWN, videos.num_frames, controls=videos.controls, seed=0).frames
    shown = {f"truth {index + 1}": video for index, video in enumerate(videos.frames)}
    shown |= {f"prior draw {index + 1}": video for index, video in enumerate(draws)}
    written.append(_save(draw_shaded_videos(shown), folder / "generated.png"))
    if isinstance(run.recipe, BallVideosRecipe):
        return written + draw_balls(run, run.recipe.simulator(), folder)
    written += _draw_codes(run, videos, answers, folder)
    return written + _draw_curves(run, folder)


def _draw_objects(run: TrainedRun, model: PlacesObjects, folder: Path) -> list[Path]:
    """Still scenes with the objects that were found in them, and scenes from the prior."""
    # From all of the test set: scenes that are frames of videos are much like their neighbours.
    last = run.test.num_sequences - 1
    videos = run.test.select(torch.linspace(0, last, min(NUM_SCENES, last + 1)).round().long())
    answer = reconstruct(run.model, run.guide, *videos.arguments, seed=0)
    drawn = generate(run.model, NUM_SCENES, 1, seed=0)
    written = []
    for name, frames, expected, latents, presence in (
        ("scenes", videos.frames, answer.frames, answer.latents, videos.presence),
        ("generated", drawn.frames, drawn.frames, drawn.latents, None),
    ):
        scene = model.scene(latents)
        fields = {key: value[:, 0] for key, value in vars(scene).items() if value is not None}
        truth = None if presence is None else presence[:, 0].sum(-1)
        figure = draw_scenes(frames[:, 0, 0], expected[:, 0, 0], Scene(**fields), truth)
        written.append(_save(figure, folder / f"{name}.png"))
    return written


def _draw_tracks(run: TrainedRun, folder: Path) -> list[Path]:
    """Objects that are followed through videos, forecasts from the first frames, and videos from the prior.

    For a model without objects the same videos without boxes.
    """
    places = run.model if isinstance(run.model, PlacesObjects) else None
    peopled = slice(None) if run.test.presence is None else run.test.presence.flatten(1).any(-1)
    videos = run.test.select(peopled).select(slice(0, NUM_TRACKED))
    num_seen = max(1, min(NUM_FOLLOWED, videos.num_frames - 2))
    beginning = tail(videos.num_sequences, videos.num_frames, num_seen=num_seen).to(videos.frames.device)
    drawn = generate(run.model, NUM_SHOWN, videos.num_frames, seed=0)
    whole = "reconstruction" if places is None else "tracks"
    answers = {
        whole: (None, reconstruct(run.model, run.guide, *videos.arguments, seed=0)),
        "forecast": (beginning, impute(run.model, run.guide, *videos.with_observed(beginning).arguments, seed=0)),
    }
    presence = None if videos.presence is None else videos.presence.float()
    truth = None if places is None or presence is None else Scene(presence, videos.positions, videos.box_sizes)
    written = []
    for name, (observed, answer) in answers.items():
        scene = None if places is None else places.scene(answer.latents)
        figure = draw_tracks(videos.frames, scene, truth, observed, answer.frames)
        written.append(_save(figure, folder / f"{name}.png"))
        for index in range(NUM_SHOWN):
            film = animate_tracks(
                folder / f"{name}-{index}.gif",
                videos.frames[index],
                _select(index, scene),
                _select(index, truth),
                None if observed is None else observed[index],
                answer.frames[index],
            )
            written.append(film)
    scene = None if places is None else places.scene(drawn.latents)
    written.append(_save(draw_tracks(drawn.frames, scene), folder / "generated.png"))
    if places is not None and run.recipe.names_objects:
        written += _draw_switches(run, folder)
    return written


def _draw_switches(run: TrainedRun, folder: Path) -> list[Path]:
    """Test videos in which objects change their identities, if there are any."""
    scenes = found_and_true(run.model, run.guide, run.test, seed=0)
    if scenes is None:
        return []
    switched = (score_middles(*scenes).switches > 0).nonzero()[:NUM_TRACKED, 0]
    if len(switched) == 0:
        return []
    videos = run.test.select(switched.to(run.test.frames.device))
    expected = reconstruct(run.model, run.guide, *videos.arguments, seed=0).frames
    found, true = (_select(switched, scene) for scene in scenes)
    return [_save(draw_tracks(videos.frames, found, true, None, expected), folder / "switches.png")]


def _select(index: int | Tensor, scene: Scene | None) -> Scene | None:
    """One sequence of a scene, or some."""
    if scene is None:
        return None
    return Scene(**{name: value[index] for name, value in vars(scene).items() if value is not None})


def _draw_codes(run: TrainedRun, videos: VideoBatch, answers: Mapping[str, Imputation], folder: Path) -> list[Path]:
    """Paths in the plane of codes (figure 3c) and the weights of the dynamics in it (figure 4), if codes are planar."""
    codes = reconstruct(run.model, run.guide, *run.test.arguments).latents.get("a")
    if codes is None or codes.shape[-1] != 2:
        return []
    paths = {"encoded": codes[: videos.num_sequences]} | {name: answer.latents["a"] for name, answer in answers.items()}
    seen = {name: answer.observed for name, answer in answers.items()}
    written = [_save(draw_code_trajectories(paths, seen), folder / "codes.png")]
    dynamics = getattr(run.model, "dynamics", None)
    if isinstance(dynamics, MixedLinearDynamics):
        corner = 1.1 * codes.abs().amax().item()
        extent = (-corner, corner, -corner, corner)
        if isinstance(dynamics.mixture, WindowDynamicsMixture) and dynamics.mixture.window == 1:
            with torch.no_grad():
                weights = dynamics.mixture(code_grid(extent).to(codes))
            written.append(_save(draw_weight_maps(weights, extent, codes), folder / "mixture.png"))
        else:
            with torch.no_grad():
                weights = dynamics.weights(codes)
            written.append(_save(draw_weights_at_codes(weights[:, 1:], codes[:, :-1]), folder / "mixture.png"))
    return written


def _draw_curves(run: TrainedRun, folder: Path) -> list[Path]:
    """Imputation errors, if the run has been evaluated, beside the paper's where these are the same videos."""
    evaluation = read_evaluation(run.folder)
    if evaluation is None or not evaluation.curves:
        return []
    # The paper's curves carry the model's name, and the same name gets the same colour.
    names = {"last frame": "copy of the last frame"}
    ours = [
        replace(curve, method=names.get(curve.method, f"{run.recipe.label} {curve.method}"))
        for curve in evaluation.curves
    ]
    published = KALMAN_VAE_IMPUTATION if run.recipe.world == "box" else ()
    return [_save(draw_imputation_curves(ours, published), folder / "imputation-errors.png")]


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path)
    return path
