"""VTSSI's recipes: the paper's schedules, the five variants, and a tiny run from training to pictures."""

import re

import pytest
import torch

from inference.cli import main
from inference.estimators import FIVO
from inference.estimators.first_frames import FirstFrames
from inference.experiments.evaluation import read_evaluation
from inference.recipes import RECIPES, OptionError
from inference.runs.folder import RunFolder
from inference.svi.schedules import value_at
from inference.svi.weighted_sum import WeightedSum
from videos import DDPAEDigits, EllipticDigits, LinearDigits, MovingDigits

PAPER, SMALL = RECIPES["vtssi"], RECIPES["vtssi-small"]
TINY = (
    "--frame-size 26 --num-frames 7 --first-frames 6 --growth-epochs 1 --digit-scale 0.3 --speed 0.4 2.0 "
    "--glimpse-size 5 --kernel-size 4 --what-dim 3 --num-train 8 --num-validation 4 --num-test 4 --batch-size 4 "
    "--epochs 4 --frame-epochs 1 --count-epochs 1 2 --long-frames 9 --quiet"
).split()


def test_schedules_are_those_of_the_paper():
    rate = PAPER.schedule()
    steps = {0: 1e-4, 200_000: 1e-4, 400_000: 3.487e-5, 637_087: 1e-5, 779_999: 1e-5}
    assert [value_at(rate, step) for step in steps] == pytest.approx(list(steps.values()), rel=1e-3)
    stages = PAPER.stages()
    assert [stage.steps for stage in stages] == [90_000, 110_000, 580_000]
    assert isinstance(stages[0].loss, WeightedSum)
    assert isinstance(stages[0].loss.terms["frames"].objective, FirstFrames)
    assert stages[0].loss.terms["frames"].objective.frames == 5
    assert stages[1].loss is stages[2].loss is None
    mean, offset = (stages[0].buffers[f"model.scenes.{name}"] for name in ("count_mean", "bell_offset"))
    assert [value_at(mean, step) for step in (0, 100_000, 150_000, 200_000, 700_000)] == [-2, -2, -2.5, -3, -3]
    assert [value_at(offset, step) for step in (0, 1000, 780_000)] == pytest.approx([0, 0.1, 78])
    assert not any(stage.fresh_optimizer for stage in stages)


@pytest.mark.parametrize(("name", "first", "every"), [("vtssi", 6, 30_000), ("vtssi-find-mot", 1, 20_000)])
def test_videos_grow_as_in_the_paper(name, first, every):
    recipe = RECIPES[name].with_options(num_validation=1, num_test=1, frame_size=32, batch_size=2, num_train=2000)
    source = recipe.training_source(recipe.splits().train)
    last = (20 - first) * every
    lengths = [source.batch(step).num_frames for step in (0, every - 1, every, last - 1, last)]
    assert lengths == [first, first, first + 1, 19, 20]


def test_variants_have_their_modules():
    found = {}
    for name in ("vtssi", "vtssi-find", "vtssi-rect-find", "vtssi-find-mot", "vtssi-air"):
        model, guide = RECIPES[f"{name}-small"].build()
        modules = [part for part in ("finder", "rectifier", "fuser") if getattr(guide, part, None) is not None]
        found[name.removeprefix("vtssi-")] = (modules, getattr(model, "first_motion", None))
    assert found == {
        "vtssi": (["finder", "rectifier", "fuser"], 5),
        "find": (["finder"], None),
        "rect-find": (["finder", "rectifier"], None),
        "find-mot": (["finder", "fuser"], 5),
        "air": ([], None),
    }
    assert [stage.loss for stage in RECIPES["vtssi-air"].stages()] == [None, None]


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"world": "linear-mnist"}, LinearDigits),
        ({"world": "elliptic-mnist"}, EllipticDigits),
        ({"world": "ddpae-mnist"}, DDPAEDigits),
        ({"world": "moving-mnist"}, MovingDigits),
    ],
)
def test_worlds_are_those_of_the_comparison(options, kind):
    recipe = PAPER.with_options(**options)
    simulator = recipe.videos.simulator("test")
    assert type(simulator) is kind
    (long,) = (score.long_videos for score in recipe.scores() if score.name == "horizons")
    assert (type(long), long.num_frames) == (kind, 100)
    videos = simulator.simulate(3, torch.Generator().manual_seed(0))
    assert torch.equal(long.simulate(3, torch.Generator().manual_seed(0)).frames[:, :20], videos.frames)


@pytest.mark.parametrize("options", [{"frame_epochs": 101}, {"count_epochs": (200, 200)}, {"epochs": 200}])
def test_stages_out_of_order_are_refused(options):
    with pytest.raises(OptionError, match="--frame-epochs, --count-epochs: expected 0 <= frame-epochs <= first"):
        PAPER.with_options(**options).build()


def test_a_particle_filter_trains_on_its_own_or_not_at_all():
    assert isinstance(PAPER.with_options(particles=4).loss(), FIVO)
    with pytest.raises(OptionError, match="--particles: expected 1 with --count-gradient boundary, .* got 4; take"):
        PAPER.with_options(particles=4, count_gradient="boundary").build()


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param("vtssi-small", marks=pytest.mark.ci), "vtssi-air-small"])
def test_from_training_to_pictures(name, tmp_path, capsys):
    path = tmp_path / "run"
    assert main(["train", name, "--run", str(path), *TINY]) == 0
    few = "--num-particles 2 --evidence-particles 32 --num-sequences 2 --num-long 3".split()
    assert main(["evaluate", str(path), *few]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^inference error +\d+\.\d+ \+- .* of the width$", printed, re.MULTILINE)
    errors = read_evaluation(RunFolder.open(path)).scores["horizons"]
    assert (errors.prefix, errors.num_frames, len(errors.predicted_curve.means)) == (5, 7, 9)
    assert main(["render", str(path)]) == 0
    drawn = capsys.readouterr().out.split()
    assert any(one.endswith("horizons.png") for one in drawn)
    assert main(["evaluate", str(path), *few, "--prefix", "0"]) == 2
    assert "prefix: expected at least 1 observed frame, got 0" in capsys.readouterr().err
