"""Pictures of slots for every kind of model: what cannot be shown is left out, and nothing crashes."""

import pytest
import torch

from guides import NoLatentsGuide, RecurrentGuide
from inference.cli import main
from inference.gallery import objects, slots
from inference.gallery.objects import TrackPictures
from inference.gallery.slots import LatentWalkPicture, SlotPictures
from inference.pictures import draw_slots
from inference.queries import reconstruct
from inference.queries.latent_walks import Walk
from inference.recipes import RECIPES
from inference.scores.score import Evaluated
from pyro_models import DeepMarkovModel, SlotMemory
from tests.guides.case_spatio_temporal_refinement import refined
from tests.pyro_models.case_relational_nem import MODELS as RELATIONAL
from tests.pyro_models.case_spatio_temporal_mixture import LATENT, UNITS, mixture
from videos import VideoBatch

FRAMES = torch.rand(2, 3, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def evaluated(memory="model", num_slots=3, videos=None):
    torch.manual_seed(0)
    model = mixture(SlotMemory(LATENT, UNITS) if memory == "model" else memory)
    model.num_slots = num_slots
    return Evaluated(model, refined(model), VideoBatch(FRAMES) if videos is None else videos)


def drawn(picture, pair, folder):
    folder.mkdir()
    written = picture.draw(pair, folder)
    assert sorted(written) == sorted(folder.iterdir())
    return [path.name for path in written]


def test_recipes_of_balls_list_them():
    for name in ("spatio-temporal-balls-paper", "iodine-balls-small", "relational-nem-small"):
        kinds = [type(picture) for picture in RECIPES[name].pictures()]
        assert kinds == [TrackPictures, SlotPictures, LatentWalkPicture]


def test_slots_shown_are_those_of_the_reconstruction(tmp_path, monkeypatch):
    pair, shown = evaluated(), []
    pair.model.train()

    def draw(*args):
        shown.append(args)
        return draw_slots(*args)

    monkeypatch.setattr(slots, "draw_slots", draw)
    observed = torch.tensor([[True, False, True], [True, True, True]])
    pair = Evaluated(pair.model, pair.guide, VideoBatch(FRAMES, observed))
    assert drawn(SlotPictures(num_videos=1), pair, tmp_path / "slots") == ["slots-0.png", "slots-0.gif"]
    ((frames, parts, seen, expected),) = shown
    answer = reconstruct(pair.model, pair.guide, FRAMES, observed)
    assert torch.equal(frames, FRAMES[0])
    assert torch.equal(seen, observed[0])
    torch.testing.assert_close(expected, answer.frames[0])
    torch.testing.assert_close(parts.composite, answer.frames[0])
    torch.testing.assert_close(parts.masks, pair.model.scene(answer.values).masks[0])
    assert pair.model.training


def test_a_single_slot_and_a_single_frame(tmp_path):
    pair = evaluated(num_slots=1, videos=VideoBatch(FRAMES[:1, :1]))
    assert drawn(SlotPictures(), pair, tmp_path / "slots") == ["slots-0.png"]
    assert drawn(LatentWalkPicture(walk=Walk(most_entries=1)), pair, tmp_path / "walk") == ["latent-walk.png"]
    assert drawn(TrackPictures(), pair, tmp_path / "tracks") == ["tracks.png", "tracks-0.gif", "generated.png"]


def test_a_memory_that_is_inferred_generates_no_video(tmp_path):
    videos = VideoBatch(FRAMES[:1])
    names = drawn(TrackPictures(followed=2), evaluated("guide", videos=videos), tmp_path / "tracks")
    assert names == ["tracks.png", "tracks-0.gif", "forecast.png", "forecast-0.gif"]
    names = drawn(LatentWalkPicture(walk=Walk(frame=3), alone=True), evaluated("guide"), tmp_path / "walk")
    assert names == ["latent-walk.png"]


def test_slots_without_latents_are_taken_apart_but_not_walked(tmp_path):
    model = RELATIONAL["RelationalNeuralEM"].build()
    pair = Evaluated(model, NoLatentsGuide(model), VideoBatch(FRAMES[:1].round()))
    assert drawn(SlotPictures(), pair, tmp_path / "slots") == ["slots-0.png", "slots-0.gif"]
    assert drawn(LatentWalkPicture(), pair, tmp_path / "walk") == []


def test_a_model_without_slots_has_none(tmp_path):
    model = DeepMarkovModel((1, 8, 8), hidden_dim=4)
    pair = Evaluated(model, RecurrentGuide(model, hidden_dim=4), VideoBatch(FRAMES))
    assert drawn(SlotPictures(), pair, tmp_path / "slots") == []
    assert drawn(LatentWalkPicture(), pair, tmp_path / "walk") == []


def test_wrong_options_are_refused(tmp_path):
    with pytest.raises(ValueError, match="num_videos: expected at least 1, got 0; or leave out the picture"):
        SlotPictures(num_videos=0)
    with pytest.raises(ValueError, match="video: expected 0 to 1, got 2"):
        LatentWalkPicture(video=2).draw(evaluated(), tmp_path)
    with pytest.raises(ValueError, match="frame: expected 1 to 3, the number of frames, got 9"):
        LatentWalkPicture(walk=Walk(frame=9)).draw(evaluated(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_long_videos_with_masks_are_thinned(tmp_path, monkeypatch):
    """Four videos, and every second of 24 frames; a row of masks each."""
    shown = []
    monkeypatch.setattr(objects, "draw_tracks", lambda *args, **options: shown.append((args, options)))
    monkeypatch.setattr(objects, "animate_tracks", lambda path, *args: path)
    monkeypatch.setattr(objects, "save", lambda figure, path: path)
    pair = evaluated(None, videos=VideoBatch(FRAMES[:1].repeat(6, 8, 1, 1, 1)))
    TrackPictures(followed=20).draw(pair, tmp_path)
    (frames, scene, _, observed, expected), options = shown[1]
    assert options == {"every": 2}
    assert frames.shape == expected.shape == (4, 24, 1, 8, 8)
    assert scene.masks.shape == (4, 24, 3, 8, 8)
    assert observed[:, :20].all()
    assert not observed[:, 20:].any()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["spatio-temporal-balls-colour-small", "relational-nem-small"])
def test_from_training_to_pictures(name, tmp_path):
    small = "--frame-size 16 --num-frames 3 --first-frames 2 --growth-epochs 1 --test-frames 4 --followed 2"
    small += " --num-train 8 --batch-size 4 --epochs 2 --num-validation 2 --num-test 2 --balls 1 2 --test-balls 2 2"
    if name.startswith("spatio"):
        small += " --scale-epochs 0 1 --entropy-epochs 0 1 --halvings 1 --channels 4 --units 8 --latent-dim 3"
    else:
        small += " --state-dim 8 --hidden 8 --channels 2 4 --attention-dim 4"
    run = str(tmp_path / "run")
    assert main(["train", name, "--run", run, "--quiet", *small.split()]) == 0
    assert main(["render", run]) == 0
    written = {path.name for path in (tmp_path / "run" / "pictures").iterdir()}
    assert {"tracks.png", "forecast.png", "forecast-1.gif", "generated.png", "slots-1.png", "slots-1.gif"} <= written
    assert ("latent-walk.png" in written) == name.startswith("spatio")
