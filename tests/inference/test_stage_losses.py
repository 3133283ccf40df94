"""These tests pin: a run whose stages have their own losses: what is followed, reported, recorded and resumed."""

import signal
from dataclasses import replace
from functools import partial

import jaxtyping
import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch import nn

from inference import FIVO, IWAE, NonFiniteError, Stage, Term, WeightedSum
from inference.estimators import VIMCO
from inference.svi.schedules import LinearRamp
from inference.training.loss_settings import flat_loss_settings, loss_settings
from inference.training.same_settings import check_same_settings
from inference.training.stages import first_steps
from tests.inference.toy_training import VIDEOS, FramesGuide, Sabotage, go, toys, values
from tests.oracles.closed_form_bounds import ToyParameters
from videos import VideoBatch


class Reconstruction:
    """No bound: squared errors of the model's mean, and a penalty."""

    def __init__(self, penalty=0.1):
        self.penalty = penalty

    def differentiable_loss(self, model, guide, frames, observed=None, controls=None):
        x = frames[..., 0, 0, 0]
        code = guide.a * x.mean(-1, keepdim=True) + guide.c
        return (x - model.w * code - model.b).square().sum() + self.penalty * code.square().sum()


def mixed():
    """A sum with a schedule that changes within a stage."""
    return WeightedSum({"bound": Term(IWAE(2)), "fit": Term(Reconstruction(), LinearRamp(1.0, 0.1, 12))})


def same(one, other):
    torch.testing.assert_close(values(*one[2:]), values(*other[2:]), rtol=0, atol=0)


def test_a_stage_follows_its_own_loss_and_others_that_of_the_run(tmp_path):
    swapped = go(tmp_path / "swapped", stages=[Stage(4, loss=IWAE(2)), Stage(4)], loss=IWAE(3))
    named = go(tmp_path / "named", stages=[Stage(4), Stage(4, loss=IWAE(3))], loss=IWAE(2))
    same(swapped, named)
    plain = go(tmp_path / "plain", stages=[Stage(4), Stage(4)], loss=IWAE(2))
    with pytest.raises(AssertionError):
        same(plain, named)
    alike = go(tmp_path / "alike", stages=[Stage(4, loss=IWAE(2)), Stage(4, loss=IWAE(2))], loss=IWAE(2))
    same(plain, alike)
    assert alike[1].metrics_path.read_bytes() == plain[1].metrics_path.read_bytes()


def test_a_sum_with_weights_one_and_zero_trains_the_bits_of_the_plain_run(tmp_path):
    loss = WeightedSum({"bound": Term(IWAE(2)), "none": Term(Trace_ELBO(), 0)})
    same(go(tmp_path / "sum", loss=loss), go(tmp_path / "plain", loss=IWAE(2)))


def bounds(path, **options):
    _, run, *_ = go(path, learning_rate=0.0, validation=VideoBatch(VIDEOS[:7]), **options)
    return [record["validation_bound"] for record in run.metrics() if "validation_bound" in record]


def test_validation_reports_the_bound_of_the_pair_whatever_a_stage_minimises(tmp_path):
    stages = [Stage(4, loss=mixed()), Stage(4, loss=Reconstruction()), Stage(4)]
    found = bounds(tmp_path / "mixed", stages=stages, loss=IWAE(2))
    assert found == bounds(tmp_path / "plain", stages=[Stage(12)], loss=IWAE(2))
    assert len(found) == 3


@pytest.mark.parametrize("loss", [mixed, Reconstruction], ids=["sum", "reconstruction"])
def test_a_run_whose_loss_is_no_elbo_reports_trace_elbo(tmp_path, loss):
    found = bounds(tmp_path / "other", loss=loss())
    assert found == bounds(tmp_path / "elbo", loss=Trace_ELBO())
    assert found != bounds(tmp_path / "iwae", loss=IWAE(5))
    assert bounds(tmp_path / "chosen", loss=loss(), validation_loss=IWAE(5)) == bounds(tmp_path / "five", loss=IWAE(5))


def test_an_elbo_may_be_validated_by_another(tmp_path):
    chosen = bounds(tmp_path / "chosen", loss=Trace_ELBO(), validation_loss=IWAE(5))
    assert chosen == bounds(tmp_path / "five", loss=IWAE(5))


def test_the_best_weights_are_those_of_the_best_bound_over_all_stages(tmp_path):
    """A second stage whose loss pulls the guide away raises that loss, and lowers the bound."""

    class Away:
        def differentiable_loss(self, model, guide, frames, observed=None, controls=None):
            return len(frames) * (guide.c - 5.0).square()

    stages = [Stage(4), Stage(8, loss=Away())]
    options = {"validation": VideoBatch(VIDEOS), "validate_every": 2, "learning_rate": 0.1}
    result, run, model, guide = go(tmp_path / "run", stages=stages, loss=Trace_ELBO(), **options)
    found = {record["step"]: record["validation_bound"] for record in run.metrics()}
    assert result.best_bound == max(found.values())
    assert result.best_step <= 6
    assert found[12] < found[4]
    last = guide.c.item()
    run.load_weights(model, guide)
    assert guide.c.item() < last


def test_metrics_call_it_loss_and_log_the_weights(tmp_path):
    result, run, *_ = go(tmp_path / "run", stages=[Stage(4, loss=mixed()), Stage(2)])
    records = run.metrics()
    assert [record.get("loss_weight/fit") for record in records] == pytest.approx([0.925, 0.775, None])
    assert [record.get("loss_weight/bound") for record in records] == [1.0, 1.0, None]
    assert result.loss == records[-1]["loss"]


# going on

STAGES = (Stage(5), Stage(7, loss=mixed(), site_weights={"frames": 0.5}, fresh_optimizer=False))


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("at", [4, 5, 8], ids=["at the border", "first step of the second", "middle of the second"])
@pytest.mark.parametrize("compile", ["off", "trace"])
def test_a_run_with_two_losses_goes_on_with_the_same_bits(tmp_path, compile, at):
    options = {"stages": STAGES, "compile": compile, "validation": VideoBatch(VIDEOS[:4])}
    with pytest.raises(KeyboardInterrupt, match=f"stopped after step {at + 1}"):
        go(tmp_path / "run", source=Sabotage(lambda batch: signal.raise_signal(signal.SIGINT), at=at), **options)
    resumed, whole = go(tmp_path / "run", **options), go(tmp_path / "whole", **options)
    same(resumed, whole)
    assert resumed[1].metrics_path.read_bytes() == whole[1].metrics_path.read_bytes()


def test_a_traced_run_is_the_eager_one(tmp_path, recwarn):
    eager, traced = (go(tmp_path / way, stages=STAGES, compile=way) for way in ("off", "trace"))
    torch.testing.assert_close(values(*traced[2:]), values(*eager[2:]), rtol=1e-10, atol=1e-12)
    assert not recwarn.list


def test_first_steps_keep_the_loss():
    first, second = first_steps(STAGES, 6)
    assert first.loss is None
    assert second.loss is STAGES[1].loss
    assert second.steps == 1


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (None, r"stages\[1\].loss.name was 'WeightedSum', is 'absent'; stages\[1\].loss.terms.bound"),
        (IWAE(2), r"stages\[1\].loss.name was 'WeightedSum', is 'IWAE'"),
        (
            WeightedSum({"bound": Term(IWAE(3)), "fit": Term(Reconstruction(), LinearRamp(1.0, 0.1, 12))}),
            r"stages\[1\].loss.terms.bound.objective.num_particles was '2', is '3'$",
        ),
        (
            WeightedSum({"bound": Term(IWAE(2)), "fit": Term(Reconstruction(0.2), LinearRamp(1.0, 0.1, 12))}),
            r"stages\[1\].loss.terms.fit.objective.penalty was '0.1', is '0.2'$",
        ),
        (
            WeightedSum({"bound": Term(IWAE(2)), "fit": Term(Reconstruction(), LinearRamp(1.0, 0.2, 12))}),
            r"stages\[1\].loss.terms.fit.weight was 'LinearRamp\(start=1.0, end=0.1.*', is 'LinearRamp.*, end=0.2",
        ),
    ],
)
def test_another_loss_of_a_stage_is_refused_by_name(tmp_path, loss, message):
    go(tmp_path / "run", stages=STAGES)
    with pytest.raises(ValueError, match=r"run: cannot go on from step 12 with other settings: " + message):
        go(tmp_path / "run", stages=[STAGES[0], replace(STAGES[1], loss=loss)])


def test_another_validation_loss_is_refused_by_name(tmp_path):
    go(tmp_path / "run", loss=mixed())
    message = r"other settings: validation_loss.name was 'Trace_ELBO', is 'IWAE'; .*validation_loss.num_particles"
    with pytest.raises(ValueError, match=message):
        go(tmp_path / "run", loss=mixed(), validation_loss=IWAE(5))


def test_settings_of_a_loss_are_plain():
    model = nn.Linear(1, 1)
    loss = WeightedSum({"a": Term(VIMCO(2), partial(pow, 0.5)), "b": Term(Trace_ELBO(max_plate_nesting=2), 2, model)})
    settings = loss_settings(loss)
    assert settings["name"] == "WeightedSum"
    assert settings["terms"]["a"]["objective"]["credit"] == "'sequence'"
    assert "0x" not in settings["terms"]["a"]["weight"]
    assert settings["terms"]["b"]["weight"] == "2"
    assert settings["terms"]["b"]["model"] == "Linear"
    assert "max_plate_nesting" not in settings["terms"]["b"]["objective"]
    assert loss_settings(FIVO(2, threshold=0.3))["resampling"] == {"scheme": "'systematic'", "threshold": "0.3"}
    assert flat_loss_settings(FIVO(2))["num_particles"] == "2"
    assert "resampling" not in flat_loss_settings(FIVO(2))


def test_runs_of_the_first_version_go_on_though_they_recorded_less():
    stages = [Stage(3).settings()]
    old = {"step": 3, "settings": {"loss": flat_loss_settings(FIVO(2)), "stages": stages}}
    now = {"loss": loss_settings(FIVO(2)), "stages": stages}
    check_same_settings(old, now, flat_loss_settings(FIVO(2)))
    with pytest.raises(ValueError, match=r"loss.num_particles was '2', is '3'$"):
        check_same_settings(old, {**now, "loss": loss_settings(FIVO(3))}, flat_loss_settings(FIVO(3)))
    new = {"step": 3, "settings": now, "nested_losses": True}
    with pytest.raises(ValueError, match=r"loss.resampling.threshold was '0.5', is '0.3'$"):
        check_same_settings(new, {**now, "loss": loss_settings(FIVO(2, threshold=0.3))}, {})


# wrong programs


def test_a_site_weight_is_checked_against_the_sites_of_its_stage(tmp_path):
    stages = [Stage(2, site_weights={"z": 0.5}), Stage(2, loss=Reconstruction(), site_weights={"z": 0.5})]
    with pytest.raises(ValueError, match="site_weights: no site is called 'z'; model and guide have no site"):
        go(tmp_path / "run", stages=stages)


def test_a_guide_that_nobody_trains_is_refused_before_the_first_step(tmp_path):
    stray = FramesGuide(ToyParameters.make())
    loss = WeightedSum({"pair": Term(IWAE(2)), "other": Term(IWAE(2), guide=stray)})
    message = r"loss: expected its learnable parameters among those of model and guide, got .terms\['other'\].guide.a."
    with pytest.raises(ValueError, match=message):
        go(tmp_path / "run", stages=[Stage(2), Stage(2, loss=loss)])
    assert not list((tmp_path / "run/checkpoints").iterdir())


def test_buffers_that_no_checkpoint_holds_are_refused_when_they_change(tmp_path):
    class Normalised(FramesGuide):
        """The pair's guide, with statistics of its own."""

        def __init__(self, guide):
            super().__init__(ToyParameters.make())
            for name, one in guide.named_parameters():
                setattr(self, name, one)
            self.norm = nn.BatchNorm1d(3, affine=False, dtype=torch.float64)

        def forward(self, frames, observed=None, controls=None):
            super().forward(self.norm(frames[..., 0, 0, 0])[..., None, None, None], observed, controls)

    model, guide = toys()
    loss = WeightedSum({"pair": Term(IWAE(2)), "other": Term(IWAE(2), guide=Normalised(guide))})
    message = (
        r"loss: expected buffers outside of model and guide to stay as they are, terms\['other'\].guide: "
        "BatchNorm1d.running_mean changed; no checkpoint holds it"
    )
    with pytest.raises(ValueError, match=message):
        go(tmp_path / "run", model, guide, loss=loss)


def test_buffers_that_follow_the_step_may_change_and_the_run_goes_on(tmp_path):
    class Annealed(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("penalty", torch.zeros((), dtype=torch.float64), persistent=False)

        def begin_step(self, step, device):
            self.penalty.fill_(0.9**step)

        def differentiable_loss(self, model, guide, frames, observed=None, controls=None):
            return Reconstruction().differentiable_loss(model, guide, frames) + self.penalty * guide.a.square()

    source = Sabotage(lambda batch: signal.raise_signal(signal.SIGINT), at=7)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "run", loss=Annealed(), source=source)
    same(go(tmp_path / "run", loss=Annealed()), go(tmp_path / "whole", loss=Annealed()))


def test_the_site_of_a_second_term_is_named_when_its_gradient_is_not_finite(tmp_path):
    class Rooted(FramesGuide):
        """The pair's guide; its density has no derivative in `c` where a frame is 99."""

        def __init__(self, guide):
            super().__init__(ToyParameters.make())
            for name, one in guide.named_parameters():
                setattr(self, name, one)

        def forward(self, frames, observed=None, controls=None):
            fine = 1.0 - (frames[0, 0, 0, 0, 0] > 90).to(frames.dtype)
            shift = (fine + (self.c - self.c)).sqrt() - fine
            with pyro.plate("sequences", frames.shape[0], dim=-1):
                pyro.sample("z", pyro.distributions.Normal(shift + frames.new_zeros(len(frames)), 1.0))

    def provoke(batch):
        frames = batch.frames.clone()
        frames[0, 0] = 99
        return VideoBatch(frames)

    model, guide = toys()
    loss = WeightedSum({"pair": Term(Trace_ELBO()), "other": Term(Trace_ELBO(), guide=Rooted(guide))})
    message = "step 5: loss or gradient is not finite; site 'z': the gradient of its log probability for 'guide.c' is"
    with pytest.raises(NonFiniteError, match=message):
        go(tmp_path / "run", model, guide, loss=loss, source=Sabotage(provoke, 5), log_every=8)


@pytest.fixture
def unchecked(monkeypatch):
    """Without the checks of annotations, which only the tests have."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def test_what_is_no_loss_is_refused_by_the_name_of_its_argument(tmp_path, unchecked):
    with pytest.raises(TypeError, match="^loss: expected a pyro.infer.ELBO or an object .* got str"):
        Stage(2, loss="elbo")
    with pytest.raises(TypeError, match="^loss: expected a pyro.infer.ELBO or an object .* got int"):
        go(tmp_path / "run", loss=3)
    with pytest.raises(TypeError, match="validation_loss: expected a pyro.infer.ELBO, since validation reports"):
        go(tmp_path / "run", validation_loss=mixed())
    with pytest.raises(TypeError, match="validation_loss: .* got the class TraceMeanField_ELBO; call it"):
        go(tmp_path / "run", validation_loss=TraceMeanField_ELBO)
