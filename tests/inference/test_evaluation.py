"""Evaluations of runs on digits: the parts of bounds, visible digits, tracks, the probe; and records old and new."""

import json
import math
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch import nn

from inference import Budget, log_evidence
from inference.cli import main
from inference.experiments.evaluate import evaluate
from inference.experiments.evaluation import Bounds, Evaluation, read_evaluation, write_evaluation
from inference.experiments.runs import load_run, plain_config
from inference.queries import ask
from inference.queries.imputation import Imputation
from inference.recipes import RECIPES
from inference.runs.folder import RunFolder
from inference.scores.counting import Counting, VisibleCounting
from inference.scores.imputation_curves import ImputationCurves
from inference.scores.position_r2 import PositionR2
from inference.scores.score import Evaluated
from inference.scores.tracking import Tracking
from pyro_models.components.scene import Scene
from videos import VideoBatch

ROOT = Path(__file__).parents[2]
TINY = (
    "--frame-size 16 --digit-scale 0.3 --num-frames 4 --first-frames 3 --growth-epochs 1 --units 10 --what-dim 3 "
    "--glimpse-size 5 --num-particles 2 --num-train 8 --batch-size 4 --epochs 3 --num-validation 4 --num-test 12"
).split()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """SQAIR after six steps."""
    path = tmp_path_factory.mktemp("runs") / "tiny"
    assert main(["train", "sqair-small", "--run", str(path), *TINY, "--quiet"]) == 0
    return path


@pytest.mark.slow
@pytest.mark.ci
def test_everything_that_is_asked_for_is_printed_stored_and_read(run, capsys):
    assert main(["evaluate", str(run), "--num-particles", "3", "--evidence-particles", "32", "--addition", "900"]) == 0
    printed = capsys.readouterr().out
    found = read_evaluation(RunFolder.open(run))
    bounds = found.bounds
    assert (
        f"log p(x | z)         {bounds.reconstruction:10.2f}, by weight {bounds.weighted_reconstruction:.2f}" in printed
    )
    assert f"log q(z) - log p(z)  {bounds.divergence:10.2f}, by weight {bounds.weighted_divergence:.2f}" in printed
    assert bounds.reconstruction - bounds.divergence == pytest.approx(bounds.elbo)
    excess = bounds.weighted_reconstruction - bounds.weighted_divergence - bounds.importance_weighted
    assert 0 < excess < math.log(3)
    assert 1 < bounds.effective_sample_size < 3
    assert (bounds.num_particles, bounds.num_sequences) == (3, 12)
    assert f"{bounds.verdict}: {bounds.reasons}" in printed.splitlines()
    assert f"of visible objects   {found.scores['visible_counting']:10.4f}" in printed
    tracking, addition = found.scores["tracking"], found.scores["addition"]
    assert tracking.discovered + tracking.propagated > 0
    assert f"discovered in a frame    {tracking.discovered:10.4f}" in printed
    assert f"propagated in a frame    {tracking.propagated:10.4f}" in printed
    assert addition.num_frames == 1200  # batches of a hundred videos of four frames
    assert str(addition) in printed
    write_evaluation(RunFolder.open(run), found)
    assert read_evaluation(RunFolder.open(run)) == found


def test_videos_that_options_do_not_fit_are_refused_before_the_evidence(run, monkeypatch):
    def check(score, test):
        raise ValueError(f"lengths: too long for {test.num_frames} frames")

    monkeypatch.setattr(Counting, "check", check)
    monkeypatch.setattr("inference.experiments.evaluate.log_evidence", lambda *args, **how: pytest.fail("late"))
    with pytest.raises(ValueError, match="lengths: too long for 4 frames"):
        evaluate(load_run(run))


@pytest.mark.slow
def test_bounds_are_means_of_the_two_records(run):
    """What is written is of `log_evidence(method="auto")`, and of the guide's draws beside it."""
    loaded = load_run(run)
    kept = {"budget": Budget(particles=32), "seed": 3}
    found = evaluate(loaded, num_particles=30, num_evidence_sequences=5, **kept).bounds
    videos = loaded.test.select(slice(0, 5)).arguments
    auto = log_evidence(loaded.model, loaded.guide, *videos, method=kept["budget"], seed=3)
    sizes = {"particles_per_chunk": 25, "sequences_per_chunk": 4}
    weighed = log_evidence(loaded.model, loaded.guide, *videos, num_particles=30, seed=3, **sizes)
    assert found.log_evidence == pytest.approx(auto.log_evidence.mean().item())
    assert found.log_evidence_error == pytest.approx(auto.log_evidence.std().item() / 5**0.5)
    assert (found.verdict, found.reasons, found.width) == (auto.verdict.kind, auto.verdict.words, auto.verdict.width)
    assert found.importance_weighted == pytest.approx(weighed.log_evidence.mean().item())
    assert found.elbo == pytest.approx(weighed.elbo.mean().item())
    assert found.pareto_k_above == pytest.approx((weighed.pareto_k > 0.7).double().mean().item())
    assert found.effective_sample_size == pytest.approx(weighed.effective_sample_size.mean().item())
    assert found.log_evidence != pytest.approx(found.importance_weighted, abs=1e-3)


@pytest.mark.parametrize(
    ("fields", "is_lower_bound"),
    [
        ({"verdict": "lower bound", "pareto_k_above": 0.0}, True),
        ({"verdict": "converged", "pareto_k_above": 1.0}, False),
        ({"verdict": "certified", "pareto_k_above": None}, False),
        ({"verdict": "exact", "pareto_k_above": None}, False),
        ({"pareto_k_above": 0.01}, True),
        ({"pareto_k_above": 0.0}, False),
        ({"pareto_k_above": 0.0, "num_particles": 24}, True),  # version 0.1.0 wrote 0 where k-hat is not known
    ],
)
def test_what_may_be_called_evidence(fields, is_lower_bound):
    given = {"num_particles": 25, "num_sequences": 100} | fields
    bounds = Bounds(elbo=-2.0, elbo_error=0.1, log_evidence=-1.0, log_evidence_error=0.1, **given)
    assert bounds.is_lower_bound is is_lower_bound


@pytest.mark.slow
@pytest.mark.ci
def test_the_test_set_is_reconstructed_once(run, monkeypatch):
    """Counting, tracking and what else looks at objects share it."""
    asked = []

    def reconstruct(*args, **options):
        asked.append(args[2].shape[0])
        return ask.reconstruct(*args, **options)

    monkeypatch.setattr("inference.scores.score.reconstruct", reconstruct)
    loaded = load_run(run)
    few = {"num_particles": 3, "num_evidence_sequences": 2, "budget": Budget(particles=32)}
    assert set(evaluate(loaded, **few).scores) == {"counting", "visible_counting", "tracking"}
    assert asked == [loaded.test.num_sequences]


def test_scores_that_a_recipe_does_not_know_stay_as_they_were_written(run):
    folder = RunFolder.open(run)
    kept = Evaluation("sqair-small", 3, None, 4, {"counting": 0.5, "of another version": {"error": [1.0, 2.0]}})
    write_evaluation(folder, kept)
    assert read_evaluation(folder) == kept


def test_a_damaged_record_is_named(run):
    folder = RunFolder.open(run)
    path = write_evaluation(folder, Evaluation("sqair-small", 3, None, 4))
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ValueError, match=r"evaluation\.json: expected an evaluation in JSON, .* evaluate again"):
        read_evaluation(folder)
    path.unlink()


def test_options_that_scores_cannot_take():
    with pytest.raises(ValueError, match="num_masks: expected at least 1 mask per sequence and level, got 0"):
        ImputationCurves(num_masks=0)
    model = nn.Module()
    videos = VideoBatch(torch.zeros(2, 1, 1, 2, 2), positions=torch.zeros(2, 1, 1, 2))
    evaluated = Evaluated(model, model, videos)
    evaluated.__dict__["reconstruction"] = Imputation(
        torch.zeros(2, 1, 1, 2, 2), torch.ones(2, 1, dtype=torch.bool), {"a": torch.zeros(2, 1, 2)}
    )
    with pytest.raises(ValueError, match=r"codes: expected the name of a latent site \('a'\), got 'b'"):
        PositionR2(codes="b").compute(evaluated)


def test_options_of_scores_are_listed_and_those_of_other_recipes_refused(run, capsys):
    assert main(["evaluate", "--help"]) == 0
    printed = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    assert re.search(r"--addition {None}.INT training frames of the probe [^.]+ 0 = no probe. \(default: 0\)", printed)
    assert re.search(r"--num-masks {None}.INT random masks per sequence and level. \(default: 4\)", printed)
    assert main(["evaluate", "--num-masks", "3", str(run)]) == 2
    message = "--num-masks: no such option. Options of the scores of 'sqair-small': --addition\n"
    assert message in capsys.readouterr().err
    assert main(["evaluate", str(run), "--addition", "-5"]) == 2
    assert "addition: expected 0 for no probe, or the frames that it learns from, got -5" in capsys.readouterr().err
    for words, message in (("--additoin 5", "--addition {None}|INT"), ("--addition some", "Error parsing --addition")):
        assert main(["evaluate", str(run), *words.split()]) == 2
        assert message in capsys.readouterr().err


def test_without_digits_there_is_nothing_to_add(run):
    loaded = load_run(run)
    other = replace(loaded, recipe=RECIPES["kvae-demo"])
    with pytest.raises(TypeError, match=r"options of the scores of 'kvae-demo' \(codes, num_masks\), got addition"):
        evaluate(other, addition=5)


def test_records_of_this_and_earlier_versions_are_read(tmp_path):
    """All that are kept, whatever they have, and one of tracks without what came later."""
    kept = sorted(ROOT.glob("results/*/evaluation.json"))
    assert len(kept) > 10
    for path in kept:
        found, record = read_evaluation(RunFolder.open(path.parent)), json.loads(path.read_text())
        assert found.step == record["step"]
        scores = record.get("scores", record)  # which were among the other entries once
        named = {name for name, value in scores.items() if value not in (None, [], {})}
        assert set(found.scores) == named - {"recipe", "step", "bounds", "frames"}
        assert found.scores.get("visible_counting") == record.get("visible_counting")
        addition = found.scores.get("addition")
        assert (None if addition is None else asdict(addition)) == record.get("addition")
        assert not any(isinstance(value, list) for value in found.scores.values())  # all have been read
    run = RunFolder.start(tmp_path / "run", plain_config(RECIPES["sqair-small"]), seed=0)
    bounds = dict.fromkeys(("elbo", "elbo_error", "log_evidence", "log_evidence_error", "pareto_k_above"), 1.0)
    bounds |= {"num_particles": 5, "num_sequences": 3}
    names = ("mota", "idf1", "box_mota", "position_error", "switches", "unswitched", "late_discoveries")
    record = {"recipe": "sqair-small", "step": 7, "bounds": bounds, "frames": 5, "position_r2": {}, "curves": []}
    record |= {"counting": 0.9, "tracking": dict.fromkeys(names, 0.25), "trajectories": None}
    (run.path / "evaluation.json").write_text(json.dumps(record))
    found = read_evaluation(run)
    tracking = found.scores["tracking"]
    assert found.bounds.reconstruction is tracking.discovered is None
    assert tracking.late_discoveries == 0.25
    assert "late discoveries" in str(tracking)
    assert "discovered in" not in str(tracking)


class Answering(nn.Module):
    """A model that returns the given scene."""

    def __init__(self, scene):
        super().__init__()
        self.answer = scene

    def scene(self, latents):
        return self.answer


@pytest.fixture
def told(monkeypatch):
    """Scenes are given to the model; nothing is inferred."""
    blank = Imputation(torch.zeros(1, 1, 1, 1, 1), torch.ones(1, 1, dtype=torch.bool), {})
    monkeypatch.setattr("inference.scores.score.reconstruct", lambda *args, **kwargs: blank)
    return Answering


def test_only_frames_in_which_all_objects_are_visible_count(told):
    # right; wrong, one out of sight; wrong, both in sight; right, nobody
    truth = torch.tensor([[[1, 0], [1, 1], [1, 1], [0, 0]]], dtype=torch.bool)
    found = torch.tensor([[[0, 1], [1, 0], [0, 0], [0, 0]]]).float()
    visible = torch.tensor([[[1, 0], [1, 0], [1, 1], [0, 0]]], dtype=torch.bool)
    places = torch.zeros(1, 4, 2, 2)
    videos = VideoBatch(torch.zeros(1, 4, 1, 2, 2), presence=truth, positions=places, box_sizes=places)
    model = told(Scene(found))
    evaluated = Evaluated(model, model, videos)
    share = VisibleCounting(visibility=lambda videos: torch.where(visible, 0.5, 0.49))
    assert Counting().compute(evaluated) == pytest.approx(2 / 4)
    assert share.compute(evaluated) == pytest.approx(2 / 3)
    assert VisibleCounting(visibility=lambda videos: torch.ones(1, 4, 2)).compute(evaluated) == pytest.approx(2 / 4)
    assert share.compute(Evaluated(told(Scene()), model, videos)) is None
    assert share.compute(Evaluated(model, model, VideoBatch(videos.frames, presence=truth))) is None


def test_discoveries_and_propagations_in_a_frame(told):
    """Two objects over four frames; one of them is lost in the third and found again, with one false detection."""
    identities = torch.tensor([[[0, 1, -1], [0, 1, -1], [0, -1, -1], [0, 2, 3]], [[-1, -1, -1]] * 4])
    presence = torch.ones(2, 4, 3, dtype=torch.bool)
    presence[:, :, 2] = False
    positions = torch.tensor([[1.0, 1.0], [8.0, 8.0], [4.0, 4.0]]).expand(2, 4, 3, 2)
    sizes = torch.full((2, 4, 3, 2), 2.0)
    videos = VideoBatch(torch.zeros(2, 4, 1, 9, 9), presence=presence, positions=positions, box_sizes=sizes)
    scene = Scene((identities >= 0).float(), positions, sizes, identities=identities)
    summary = Tracking().compute(Evaluated(told(scene), nn.Module(), videos))
    assert summary.discovered == pytest.approx(4 / 8)
    assert summary.propagated == pytest.approx(4 / 8)  # eight objects in all frames, four of them new
    assert summary.late_discoveries == pytest.approx(2 / 2)
