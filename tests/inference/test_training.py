"""These tests pin: what training does to parameters and metrics, stage by stage; how it ends; how it resumes.

Runs that are killed are in test_killed_runs.py, losses that are not finite in test_nonfinite.py.
"""

import functools
import signal
import threading
from pathlib import Path

import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO

from inference import IWAE, RunFolder, Stage, TrainingOptions, train
from inference.runtime.processes import Processes
from inference.svi.schedules import LinearRamp, StaircaseDecay
from inference.svi.step import NonFiniteError
from tests.inference.toy_training import VIDEOS, DiscreteModel, FramesModel, Sabotage, go, toys, values
from tests.oracles.closed_form_bounds import ToyParameters, log_evidence
from videos import FixedVideos, VideoBatch


def test_training_raises_the_evidence(tmp_path):
    result, run, model, guide = go(tmp_path / "run", stages=[Stage(120)], loss=Trace_ELBO(), learning_rate=0.1)
    before = log_evidence(ToyParameters.make(), VIDEOS[..., 0, 0, 0]).mean()
    trained = ToyParameters(**(values(model) | values(guide)))
    after = log_evidence(trained, VIDEOS[..., 0, 0, 0]).mean()
    assert after > before + 0.5
    assert result.steps == 120
    assert not result.ended_early
    assert (result.best_bound, result.best_step) == (None, None)
    assert [record["step"] for record in run.metrics()] == list(range(2, 121, 2))
    assert result.loss == run.metrics()[-1]["loss"]
    assert list(pyro.get_param_store()) == []


def test_metrics_are_window_means_with_schedules_and_bounds(tmp_path):
    result, run, *_ = go(
        tmp_path / "run",
        stages=[Stage(5, site_weights={"frames": LinearRamp(0.0, 1.0, 10)}), Stage(3)],
        learning_rate=StaircaseDecay(0.01, 0.5, 3),
        validation=VideoBatch(VIDEOS[:4]),
    )
    records = run.metrics()
    assert [record["step"] for record in records] == [2, 4, 5, 6, 8]
    assert [record["stage"] for record in records] == [0, 0, 0, 1, 1]
    assert [record["learning_rate"] for record in records] == [0.01, 0.005, 0.005, 0.005, 0.0025]
    assert [record.get("site_weight/frames") for record in records] == pytest.approx([0.1, 0.3, 0.4, None, None])
    assert [record["step"] for record in records if "validation_bound" in record] == [4, 5, 8]
    assert result.best_bound == max(record.get("validation_bound", -1e9) for record in records)
    assert [record["step"] for record in run.timing()] == [2, 4, 5, 6, 8]

    every, *_ = (run for _, run, *_ in [go(tmp_path / "each", stages=[Stage(4)], log_every=1)])
    means, *_ = (run for _, run, *_ in [go(tmp_path / "means", stages=[Stage(4)], log_every=4)])
    losses = [record["loss"] for record in every.metrics()]
    assert means.metrics()[0]["loss"] == pytest.approx(sum(losses) / 4)


class WarmedModel(FramesModel):
    """Counts, in a buffer, which values of another buffer it was run with."""

    def __init__(self, parameters):
        super().__init__(parameters)
        self.register_buffer("heat", torch.zeros((), dtype=torch.float64))
        self.seen = []

    def forward(self, frames, observed=None, controls=None):
        if self.training:
            self.seen.append(self.heat.item())
        super().forward(frames, observed, controls)


def test_buffers_follow_their_schedules_and_the_best_is_chosen_anew(tmp_path):
    model, guide = WarmedModel(ToyParameters.make()), toys()[1]
    ramp = {"model.heat": LinearRamp(1.0, 0.0, 4)}
    stages = [Stage(4, buffers=ramp), Stage(4, buffers={"model.heat": -1.0})]
    result, run, *_ = go(tmp_path / "run", model, guide, stages[:1], loss=Trace_ELBO(), validation=VideoBatch(VIDEOS))
    assert model.seen[-4:] == [1.0, 0.75, 0.5, 0.25]
    assert run.metrics()[-1]["buffer/model.heat"] == 0.25
    assert result.best_step == 4
    result, *_ = go(tmp_path / "run", model, guide, stages, loss=Trace_ELBO(), validation=VideoBatch(VIDEOS))
    assert set(model.seen[-4:]) == {-1.0}
    assert model.heat == -1.0
    assert result.best_step == 8
    with pytest.raises(ValueError, match="buffers: there is no buffer 'model.heart'; the nearest is 'model.heat'"):
        go(tmp_path / "other", model, guide, [Stage(4, buffers={"model.heart": 1.0})])


def test_frozen_parameters_stay_and_learn_again(tmp_path):
    model, guide = toys()
    seen = {}

    def note(model, guide):
        seen.update(values(model, guide))

    before = values(model, guide)
    go(tmp_path / "run", model, guide, [Stage(3, frozen=("model.log_*", "guide.a")), Stage(3, prepare=note)])
    assert {name for name in before if bool(before[name] == seen[name])} == {"log_s", "log_r", "a"}
    assert all(bool(seen[name] != value) for name, value in values(model, guide).items())
    assert all(parameter.requires_grad for module in (model, guide) for parameter in module.parameters())


def test_no_gradient_is_computed_for_frozen_parameters(tmp_path):
    model, guide = toys()
    seen = []
    source = Sabotage(lambda batch: seen.append((model.m.grad, model.w.grad is None)), at=2)
    go(tmp_path / "run", model, guide, [Stage(3, frozen=("model.m",))], source)
    assert seen == [(None, False)]


def test_what_did_not_require_gradients_never_learns(tmp_path):
    model, guide = toys()
    model.b.requires_grad_(False)
    before = model.b.item()
    go(tmp_path / "run", model, guide, [Stage(2, frozen=("model.m",)), Stage(2)])
    assert model.b.item() == before
    assert not model.b.requires_grad


@pytest.mark.parametrize("fresh", [True, False])
def test_a_stage_may_keep_the_optimizer(tmp_path, fresh):
    """With moments kept, two stages of the same rules are one stage."""
    *_, model, guide = go(tmp_path / "two", stages=[Stage(4), Stage(4, fresh_optimizer=fresh)])
    *_, one_model, one_guide = go(tmp_path / "one", stages=[Stage(8)])
    same = all(
        bool(a == b) for a, b in zip(values(model, guide).values(), values(one_model, one_guide).values(), strict=True)
    )
    assert same is not fresh


def test_validation_does_not_disturb_training_and_is_repeatable(tmp_path):
    *_, model, guide = go(tmp_path / "with", validation=VideoBatch(VIDEOS[:7]), validate_every=1)
    *_, plain_model, plain_guide = go(tmp_path / "without")
    torch.testing.assert_close(values(model, guide), values(plain_model, plain_guide), rtol=0, atol=0)
    _, run, *_ = go(tmp_path / "still", learning_rate=0.0, validation=VideoBatch(VIDEOS[:7]), validate_every=1)
    assert len({record["validation_bound"] for record in run.metrics()}) == 1


def test_the_validation_bound_has_no_site_weights(tmp_path):
    bounds = []
    for name, weights in (("a", {}), ("b", {"frames": 0.1})):
        _, run, *_ = go(
            tmp_path / name, stages=[Stage(1, site_weights=weights)], learning_rate=0.0, validation=VideoBatch(VIDEOS)
        )
        bounds.append(run.metrics()[-1]["validation_bound"])
    assert bounds[0] == bounds[1]


def test_the_best_weights_are_kept(tmp_path):
    options = {"validation": VideoBatch(VIDEOS), "validate_every": 2, "learning_rate": 0.5}
    result, run, model, guide = go(tmp_path / "run", **options)
    bounds = {record["step"]: record["validation_bound"] for record in run.metrics()}
    assert result.best_bound == max(bounds.values())
    assert bounds[result.best_step] == result.best_bound
    assert result.best_step < 12  # the learning rate is absurd: it gets worse
    last = values(model, guide)
    assert run.load_weights(model, guide) == result.best_step
    assert any(bool(last[name] != value) for name, value in values(model, guide).items())
    assert run.load_weights(model, guide, "last") == 12
    torch.testing.assert_close(values(model, guide), last, rtol=0, atol=0)


def test_patience_counts_in_the_last_stage(tmp_path):
    result, run, *_ = go(
        tmp_path / "run",
        stages=[Stage(6), Stage(40)],
        learning_rate=0.0,
        validation=VideoBatch(VIDEOS),
        validate_every=2,
        patience=3,
    )
    assert result.ended_early
    assert result.steps == 12
    assert run.metrics()[-1]["step"] == 12
    again, *_ = go(
        tmp_path / "run",
        stages=[Stage(6), Stage(40)],
        learning_rate=0.0,
        validation=VideoBatch(VIDEOS),
        validate_every=2,
        patience=3,
    )
    assert (again.steps, again.ended_early, again.best_bound) == (12, True, result.best_bound)


def test_the_callers_random_streams_are_untouched_and_the_seed_counts(tmp_path):
    state = torch.get_rng_state()
    *_, first, _ = go(tmp_path / "a", seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    *_, second, _ = go(tmp_path / "b", seed=1)
    *_, third, _ = go(tmp_path / "c", seed=2)
    torch.testing.assert_close(values(first), values(second), rtol=0, atol=0)
    assert any(bool(values(first)[name] != value) for name, value in values(third).items())


# going on


def test_a_finished_run_returns_its_result_and_may_grow(tmp_path):
    result, *_ = go(tmp_path / "run", stages=[Stage(4), Stage(6)])
    again, run, *_ = go(tmp_path / "run", stages=[Stage(4), Stage(6)])
    assert (again.steps, again.loss) == (result.steps, result.loss)
    grown, run, model, guide = go(tmp_path / "run", stages=[Stage(4), Stage(8), Stage(2)])
    assert grown.steps == 14
    assert [record["step"] for record in run.metrics()] == [2, 4, 6, 8, 10, 12, 14]
    *_, whole_model, whole_guide = go(tmp_path / "whole", stages=[Stage(4), Stage(8), Stage(2)])
    torch.testing.assert_close(values(model, guide), values(whole_model, whole_guide), rtol=0, atol=0)


def test_other_settings_are_refused_by_name(tmp_path):
    go(tmp_path / "run", clip_norm=5.0)
    message = (
        r"run: cannot go on from step 12 with other settings: clip_norm was 5.0, is 10.0; learning_rate was '0.01', is "
        r"'0.02'; loss.num_particles was '2', is '3'; stages\[0\].steps was 12, is 11"
    )
    with pytest.raises(ValueError, match=message):
        go(tmp_path / "run", stages=[Stage(11)], clip_norm=10.0, learning_rate=0.02, loss=IWAE(3))
    with pytest.raises(ValueError, match=r"stages\[0\].site_weights.z was 'absent', is '0.5'$"):
        go(tmp_path / "run", stages=[Stage(12, site_weights={"z": 0.5})], clip_norm=5.0)
    with pytest.raises(ValueError, match="optimizer was .*Adam.*, is .*SGD"):
        go(tmp_path / "run", clip_norm=5.0, optimizer=torch.optim.SGD)


@pytest.mark.parametrize(
    "compile", ["off", "trace", pytest.param("inductor", marks=[pytest.mark.slow, pytest.mark.ci])]
)
def test_an_interrupted_run_goes_on_with_the_same_bits(tmp_path, compile):
    source = Sabotage(lambda batch: signal.raise_signal(signal.SIGINT), at=4)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="stopped after step 5; the run can go on from there"):
        go(tmp_path / "run", source=source, compile=compile)
    assert signal.getsignal(signal.SIGINT) is before
    assert (tmp_path / "run/checkpoints/step-00000005").is_dir()
    result, run, model, guide = go(tmp_path / "run", compile=compile)
    _, whole, whole_model, whole_guide = go(tmp_path / "whole", compile=compile)
    torch.testing.assert_close(values(model, guide), values(whole_model, whole_guide), rtol=0, atol=0)
    assert run.metrics_path.read_bytes() == whole.metrics_path.read_bytes()
    assert len(run.provenance) == 2


def test_a_second_interrupt_does_not_wait(tmp_path):
    def twice(batch):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "run", source=Sabotage(twice, at=4))
    assert sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir()) == ["step-00000000", "step-00000003"]
    assert go(tmp_path / "run")[0].steps == 12


def test_training_works_outside_the_main_thread(tmp_path):
    results = []
    thread = threading.Thread(target=lambda: results.append(go(tmp_path / "run")[0].steps))
    thread.start()
    thread.join()
    assert results == [12]


def test_a_damaged_checkpoint_is_passed_over(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "run", source=Sabotage(lambda batch: signal.raise_signal(signal.SIGINT), at=7))
    newest = tmp_path / "run/checkpoints/step-00000008"
    state = newest / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.warns(
        UserWarning, match=r"step-00000008.state.pt: not a whole training state .*; falling back on .*step-00000006"
    ):
        _, run, model, guide = go(tmp_path / "run")
    _, whole, whole_model, whole_guide = go(tmp_path / "whole")
    torch.testing.assert_close(values(model, guide), values(whole_model, whole_guide), rtol=0, atol=0)
    assert run.metrics_path.read_bytes() == whole.metrics_path.read_bytes()


# arguments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"log_every": 0}, "log_every: expected at least 1, got 0"),
        ({"validate_every": 0}, "validate_every: expected at least 1, got 0"),
        ({"checkpoint_every": -1}, "checkpoint_every: expected at least 1, got -1"),
        ({"keep_last": 0}, "keep_last: expected at least 1, got 0"),
        ({"patience": 0}, "patience: expected at least 1, got 0"),
        ({"stages": ()}, "stages: expected at least one, got none"),
        (
            {"stages": [Stage(2, frozen=("model.mu",))]},
            "frozen: 'model.mu' matches no parameter; the nearest is",
        ),
        ({"stages": [Stage(2, frozen=("*",))]}, r"frozen: '\*' leaves no parameter to learn"),
    ],
)
def test_refusals(tmp_path, options, message):
    model, guide = toys()
    options = {"stages": [Stage(2)], "learning_rate": 0.1} | options
    stages = options.pop("stages")
    source = FixedVideos(VideoBatch(VIDEOS), batch_size=3, seed=5)
    run = RunFolder.start(tmp_path / "run", {})
    with pytest.raises(ValueError, match=message):
        train(model, guide, source, stages, loss=IWAE(1), run=run, options=TrainingOptions(**options))


def test_a_run_without_parameters_is_refused(tmp_path):
    with pytest.raises(ValueError, match="model, guide: expected parameters that learn, got none"):
        go(tmp_path / "run", DiscreteModel(), DiscreteModel())


def test_options_of_an_optimizer_and_the_number_of_checkpoints(tmp_path):
    optimizer = functools.partial(torch.optim.AdamW, weight_decay=0.5)
    _, run, *_ = go(tmp_path / "run", optimizer=optimizer, keep_last=3, checkpoint_every=2)
    names = sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir())
    assert names == ["step-00000008", "step-00000010", "step-00000012"]


def test_tensorboard_files_are_written_when_asked_for(tmp_path):
    go(tmp_path / "run", tensorboard=True)
    assert list(Path(tmp_path / "run/tensorboard").glob("events.out.tfevents.*"))
    go(tmp_path / "plain")
    assert not (tmp_path / "plain/tensorboard").exists()


def test_most_steps_read_nothing_back(tmp_path):
    """Reads are those of logs, validations and checkpoints: none in between."""
    reads = []

    class Counting(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function is torch.ops.aten._local_scalar_dense.default:
                reads.append(1)
            return function(*args, **(kwargs or {}))

    counts = []
    for steps in (20, 40):
        reads.clear()
        with Counting():
            go(
                tmp_path / str(steps),
                stages=[Stage(steps)],
                log_every=50,
                checkpoint_every=50,
                optimizer=torch.optim.SGD,
            )
        counts.append(len(reads))
    assert counts[0] == counts[1]


def test_without_a_folder_model_and_guide_have_the_best_weights(tmp_path):
    """Those that a folder would have kept; with a number of steps, videos in place of a source, and defaults."""
    rate = StaircaseDecay(0.01, 100.0, 6)  # the second half throws the weights far off
    videos, options = VideoBatch(VIDEOS), TrainingOptions(learning_rate=rate, batch_size=3, validate_every=2, seed=5)
    kept, found = toys(), toys()
    run = RunFolder.start(tmp_path / "run", {})
    settings = {"loss": IWAE(2), "validation": videos, "options": options}
    first = train(*kept, FixedVideos(videos, 3, 5), [Stage(11)], run=run, **settings)
    assert first.best_step < 11
    assert run.load_weights(*kept) == first.best_step
    second = train(*found, videos, 11, **settings)
    assert (second.steps, second.best_step, second.best_bound) == (11, first.best_step, first.best_bound)
    assert values(*found).keys() == values(*kept).keys()
    assert all(torch.equal(value, values(*kept)[name]) for name, value in values(*found).items())


def test_an_interrupt_without_a_folder_does_not_promise_to_go_on():
    source = Sabotage(lambda batch: signal.raise_signal(signal.SIGINT), at=2)
    with pytest.raises(KeyboardInterrupt, match="without a run folder the training cannot be resumed"):
        train(*toys(), source, 8, loss=IWAE(2), options=TrainingOptions(progress=False))


def test_without_a_folder_no_checkpoint_is_promised():
    def spoil(batch):
        batch.frames.fill_(torch.nan)

    with pytest.raises(NonFiniteError, match="step 2: .* is deleted, as there is no run folder"):
        train(*toys(), Sabotage(spoil, at=2), 8, loss=IWAE(2), options=TrainingOptions(progress=False, log_every=1))


def test_with_three_arguments_and_a_number_of_steps():
    model, guide = toys()
    before = values(model, guide)
    result = train(model, guide, VideoBatch(VIDEOS), 2, options=TrainingOptions(batch_size=4, progress=False))
    assert (result.steps, result.best_bound) == (2, None)
    assert any(not torch.equal(value, before[name]) for name, value in values(model, guide).items())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"videos": IWAE(2)}, TypeError, "videos: expected a VideoBatch, or a source .* got IWAE; a loss is a keyword"),
        ({"videos": VIDEOS}, TypeError, "videos: expected a VideoBatch, or a source .* got Tensor"),
        ({"stages": 0}, ValueError, "steps: expected at least 1, got 0"),
        ({"options": TrainingOptions(processes=Processes(0, 2))}, ValueError, "run: expected a run folder, as several"),
    ],
)
def test_what_cannot_be_trained(change, error, message):
    unchecked = train.__wrapped__ if hasattr(train, "__wrapped__") else train  # annotations are checked in tests alone
    with pytest.raises(error, match=message):
        unchecked(*toys(), **({"videos": VideoBatch(VIDEOS), "stages": 2} | change))
