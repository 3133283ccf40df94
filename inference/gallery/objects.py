"""Objects found by models: in still scenes, and tracked in videos."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from guides.incomplete_models import need_of_guide
from inference.gallery.picture import Picture, save
from inference.pictures import animate_tracks, draw_scenes, draw_tracks
from inference.queries.ask import generate, impute, reconstruct
from inference.queries.imputation import Imputation
from inference.scores.score import Evaluated
from inference.scores.tracking import found_and_true, score_middles
from pyro_models.components.scene import PlacesObjects, Scene
from videos.missing import tail

NUM_SCENES = 16  # in a picture of still scenes
NUM_DRAWN = 4 * NUM_SCENES  # scenes drawn from the prior, of which those with objects are shown
EXPECTED = 0.6  # probability of one more object in them
NUM_FILMS = 4
NUM_TRACKED = 8  # sequences in a picture of tracked objects
NUM_MASKED = 4  # the same where each has rows of masks
MOST_COLUMNS = 20  # frames of such a picture


@dataclass(frozen=True, kw_only=True)
class ScenePictures(Picture):
    """Still scenes with the objects found in them, and scenes from the prior."""

    captions: ClassVar[Mapping[str, str]] = {
        "scenes.png": "Held-out scenes above what the model reconstructs, with a box around each object found, "
        "coloured by slot. Above each scene the number found; orange with the true number where that is wrong.",
        "generated.png": "Scenes drawn from the model's prior of what and where objects are, with a box around each; "
        "empty scenes are left out. AIR's training ends with a prior under which nearly all would be empty, so their "
        "number is drawn from one that expects objects.",
    }

    def draw(self, evaluated: Evaluated, folder: Path) -> list[Path]:
        """See `Picture.draw`."""
        model = evaluated.model
        if not isinstance(model, PlacesObjects):
            return []
        # Spread over the test set: scenes that are consecutive frames of a video look alike.
        last = evaluated.test.num_sequences - 1
        videos = evaluated.test.select(torch.linspace(0, last, min(NUM_SCENES, last + 1)).round().long())
        answer = reconstruct(model, evaluated.guide, *videos.arguments, seed=0)
        truth = None if videos.presence is None else videos.presence[:, 0].sum(-1)
        masks = None if videos.masks is None else videos.masks[:, 0]
        figure = draw_scenes(
            videos.frames[:, 0], answer.frames[:, 0], _first_frames(model.scene(answer.values)), truth, masks
        )
        written = [save(figure, folder / "scenes.png")]
        with _objects_expected(model):
            drawn = generate(model, NUM_DRAWN, 1, seed=0)
        scene = _first_frames(model.scene(drawn.values))
        shown = torch.arange(NUM_SCENES) if scene.presence is None else (scene.presence > 0.5).any(-1).nonzero()[:, 0]
        if len(shown := shown[:NUM_SCENES]) > 0:
            figure = draw_scenes(drawn.frames[shown, 0], None, _select(shown, scene) or scene)
            written.append(save(figure, folder / "generated.png"))
        return written


def _first_frames(scene: Scene) -> Scene:
    return Scene(**{name: value[:, 0] for name, value in vars(scene).items() if value is not None})


@contextmanager
def _objects_expected(model: nn.Module) -> Iterator[None]:
    """Inside, a prior that training has annealed towards empty scenes expects objects: the buffer `another` of AIR."""
    another = dict(model.named_buffers()).get("another")
    kept = None if another is None else another.clone()
    try:
        if another is not None:
            another.fill_(EXPECTED)
        yield
    finally:
        if another is not None and kept is not None:
            another.copy_(kept)


@dataclass(frozen=True, kw_only=True)
class TrackPictures(Picture):
    """Objects tracked through videos, forecasts from the first frames, and videos from the prior if a model draws any.

    A model without objects gets the same pictures without boxes. There is no forecast of videos of one frame, and none
    from a prior that leaves a latent to the guide.

    Attributes:
        followed: frames observed before the forecast.
        switches: also show test videos with identity switches, if there are any.
    """

    captions: ClassVar[Mapping[str, str]] = {
        "tracks.png": "Test videos, a frame in each column, above what the model reconstructs. Boxes are coloured by "
        "the identity that the model gives an object; dashed boxes are the true ones.",
        "tracks-*.gif": "A test video as a film, with a box around each object found, coloured by its identity; true "
        "boxes are dashed.",
        "reconstruction.png": "Test videos, a frame in each column, above what the model reconstructs.",
        "reconstruction-*.gif": "A test video as a film, beside its reconstruction.",
        "forecast.png": "The same videos, seen up to the outlined frames only: the frames after them are forecast by "
        "the model's dynamics.",
        "forecast-*.gif": "A test video, seen in its first frames only and forecast from there, as a film.",
        "generated.png": "Videos drawn from the model's prior, a frame in each column.",
        "switches.png": "Test videos in which the model swaps the identities of two objects, or gives one a new "
        "identity.",
    }

    followed: int = 3
    switches: bool = True

    def draw(self, evaluated: Evaluated, folder: Path) -> list[Path]:
        """See `Picture.draw`."""
        model, guide, test = evaluated.model, evaluated.guide, evaluated.test
        places = model if isinstance(model, PlacesObjects) else None
        peopled = slice(None) if test.presence is None else test.presence.flatten(1).any(-1)
        videos = test.select(peopled).select(slice(0, NUM_TRACKED))
        whole = "reconstruction" if places is None else "tracks"
        answers: dict[str, tuple[Tensor | None, Imputation]]
        answers = {whole: (None, reconstruct(model, guide, *videos.arguments, seed=0))}
        if videos.num_frames > 1:
            num_seen = max(1, min(self.followed, videos.num_frames - 2))
            start = tail(videos.num_sequences, videos.num_frames, num_seen=num_seen).to(videos.frames.device)
            answers["forecast"] = (start, impute(model, guide, *videos.with_observed(start).arguments, seed=0))
        presence = None if videos.presence is None else videos.presence.float()
        truth = Scene(presence, videos.positions, videos.box_sizes, videos.masks)
        truth = None if places is None or presence is None else truth
        every = -(-videos.num_frames // MOST_COLUMNS)
        written = []
        for name, (observed, answer) in answers.items():
            scene = _tracked(places, answer.values)
            rows = slice(0, NUM_TRACKED if scene is None or scene.masks is None else NUM_MASKED)
            figure = draw_tracks(
                videos.frames[rows],
                _select(rows, scene),
                _select(rows, truth),
                None if observed is None else observed[rows],
                answer.frames[rows],
                every=every,
            )
            written.append(save(figure, folder / f"{name}.png"))
            for index in range(min(NUM_FILMS, videos.num_sequences)):
                film = animate_tracks(
                    folder / f"{name}-{index}.gif",
                    videos.frames[index],
                    _select(index, scene),
                    _select(index, truth),
                    None if observed is None else observed[index],
                    answer.frames[index],
                )
                written.append(film)
        if need_of_guide(model) is None:
            drawn = generate(model, NUM_FILMS, videos.num_frames, seed=0)
            figure = draw_tracks(drawn.frames, _tracked(places, drawn.values), every=every)
            written.append(save(figure, folder / "generated.png"))
        return written + (_draw_switches(evaluated, folder) if self.switches else [])


def _tracked(places: PlacesObjects | None, values: Mapping[str, Tensor]) -> Scene | None:
    """The objects of videos; where a model of single frames has no identities, slots take their place."""
    scene = None if places is None else places.scene(values)
    if scene is None or scene.identities is not None or scene.presence is None:
        return scene
    slots = torch.arange(scene.presence.shape[-1], device=scene.presence.device).expand_as(scene.presence)
    return replace(scene, identities=torch.where(scene.presence > 0.5, slots, -1))


def _draw_switches(evaluated: Evaluated, folder: Path) -> list[Path]:
    scenes = found_and_true(evaluated)
    if scenes is None:
        return []
    switched = (score_middles(*scenes).switches > 0).nonzero()[:NUM_TRACKED, 0]
    if len(switched) == 0:
        return []
    videos = evaluated.test.select(switched.to(evaluated.test.frames.device))
    expected = reconstruct(evaluated.model, evaluated.guide, *videos.arguments, seed=0).frames
    found, true = (_select(switched, scene) for scene in scenes)
    return [save(draw_tracks(videos.frames, found, true, None, expected), folder / "switches.png")]


def _select(index: int | slice | Tensor, scene: Scene | None) -> Scene | None:
    """One or several sequences of a scene."""
    if scene is None:
        return None
    return Scene(**{name: value[index] for name, value in vars(scene).items() if value is not None})
