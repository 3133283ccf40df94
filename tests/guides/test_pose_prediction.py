"""The guide of DDPAE: what it reads, what stands in for missing frames, its recurrence by hand, forecasts.

These tests pin: the recurrences over objects and frames and over crops, cell by cell; frames after the input do not
matter; missing input frames are predicted; the start at the prior; forecasts of any length are the predictor run on;
evaluation mode, traced steps, estimators and plain Pyro.
"""

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO
from torch.nn.functional import softplus

from guides import PosePredictionGuide, check_guide
from inference import IWAE, VIMCO, log_evidence, queries
from inference import SVI as OurSVI
from pyro_models import DDPAE
from pyro_models.components.glimpses import read_glimpses
from pyro_models.ddpae.poses import windows_of
from tests.contracts.registry import unsettle
from tests.contracts.scores import draw, score

INPUT, TIME, OBJECTS, SEQUENCES, SIDE = 3, 6, 2, 4, 8


def make(**options):
    pyro.set_rng_seed(2)
    model = DDPAE((1, SIDE, SIDE), num_input=INPUT, what_dim=3, channels=2, glimpse_size=8).double().eval()
    guide = PosePredictionGuide(model, units=5, image_dim=4, **options).double().eval()
    frames = torch.rand(SEQUENCES, TIME, 1, SIDE, SIDE, dtype=torch.float64)
    return model, guide, frames


def unsettled():
    model, guide, frames = make()
    unsettle(model), unsettle(guide)
    return model, guide, frames


def moments_of(guide, *arguments):
    """The distributions of all sites, at fixed draws."""
    pyro.set_rng_seed(5)
    nodes = poutine.trace(guide).get_trace(*arguments).nodes
    names = ("input_beta", "pred_beta", "initial_pose", "content")
    return {name: torch.stack([nodes[name]["fn"].mean, nodes[name]["fn"].stddev]) for name in names}


# the recurrence


def heads(head, code):
    return torch.stack([head.mean(code), softplus(head.scale(code)) + 1e-4])


def by_hand(guide, frames, seen):
    """Moments of the poses of one sequence, in loops over objects and frames."""
    network = guide.poses
    cells = {name: getattr(network, name).all_weights[0] for name in ("infer", "predict", "initial")}
    zeros = torch.zeros(1, network.units, dtype=torch.float64)
    codes = [network.encoder(frame) if real else None for frame, real in zip(frames, seen, strict=True)]
    outputs, states = [], []
    for index in range(OBJECTS):
        state, row = (zeros, zeros), []
        for time in range(INPUT):
            before = outputs[index - 1][time] if index else zeros
            if seen[time]:
                state = torch.lstm_cell(torch.cat([codes[time], before], -1), state, *cells["infer"])
            else:
                state = torch.lstm_cell(torch.cat([state[0], before], -1), state, *cells["predict"])
            row.append(state[0])
        outputs.append(row)
        states.append(state)
    for index in range(OBJECTS):
        state = states[index]
        for time in range(INPUT, TIME):
            before = outputs[index - 1][time] if index else zeros
            state = torch.lstm_cell(torch.cat([state[0], before], -1), state, *cells["predict"])
            outputs[index].append(state[0])
    first, state, initial = seen.index(True) if any(seen) else 0, (zeros, zeros), []
    for index in range(OBJECTS):
        state = torch.lstm_cell(outputs[index][first], state, *cells["initial"])
        initial.append(heads(network.initial_head, state[0]))
    betas = torch.stack([torch.stack([heads(network.beta_head, code) for code in row], 1) for row in outputs], 2)
    return {
        "input_beta": betas[:, :INPUT, :, 0],
        "pred_beta": betas[:, INPUT:, :, 0],
        "initial_pose": torch.stack(initial, 1)[:, :, 0],
    }


MASKS = {
    "no mask": None,
    "all seen": (True,) * INPUT,
    "gap": (True, False, True),
    "late start": (False, True, True),
    "early end": (True, False, False),
    "nothing": (False,) * INPUT,
}


def masked(name):
    """Which input frames of the second sequence are seen, and a mask in which all other frames are."""
    seen = MASKS[name]
    if seen is None:
        return (True,) * INPUT, None
    observed = torch.ones(SEQUENCES, TIME, dtype=torch.bool)
    observed[1, :INPUT] = torch.tensor(seen)
    return seen, observed


@pytest.mark.parametrize("mask", MASKS)
def test_poses_by_hand(mask):
    _, guide, frames = unsettled()
    seen, observed = masked(mask)
    found = moments_of(guide, frames, observed)
    expected = by_hand(guide, frames[1, :INPUT], seen)
    for name, moments in expected.items():
        torch.testing.assert_close(found[name][..., 1, :], moments)


@pytest.mark.parametrize("mask", MASKS)
def test_content_by_hand(mask):
    model, guide, frames = unsettled()
    seen, observed = masked(mask)
    latents = draw(guide, (frames, observed, None))
    conditioned = poutine.trace(poutine.condition(guide, latents)).get_trace(frames, observed)
    poses = model.poses(latents["initial_pose"], latents["input_beta"])
    network = guide.contents
    for index in range(OBJECTS):
        state = (torch.zeros(1, 5, dtype=torch.float64),) * 2
        for time in range(INPUT):
            if seen[time]:
                window = windows_of(poses[time, index, 1], SIDE, 8)
                code = network.encoder(read_glimpses(frames[1, time, 0], window, (8, 8))[None])
                state = torch.lstm_cell(code, state, *network.lstm.all_weights[0])
        mean, raw = network.head(state[0])[0].chunk(2)
        distribution = conditioned.nodes["content"]["fn"]
        torch.testing.assert_close(distribution.mean[index, 1], mean)
        torch.testing.assert_close(distribution.stddev[index, 1], softplus(raw) + 1e-4)


def test_objects_know_what_those_before_them_saw():
    _, guide, frames = unsettled()
    moments = moments_of(guide, frames)
    assert not torch.allclose(moments["input_beta"][0, :, 0], moments["input_beta"][0, :, 1])
    assert not torch.allclose(moments["initial_pose"][0, 0], moments["initial_pose"][0, 1])


# what is read


@pytest.fixture
def unvalidated():
    """Without Pyro's validation, under which frames that are not finite are refused."""
    with pyro.validation_enabled(False):
        yield


def test_frames_to_predict_do_not_influence_the_guide(unvalidated):
    _, guide, frames = unsettled()
    other = frames.clone()
    other[:, INPUT:] = torch.nan
    before, after = moments_of(guide, frames), moments_of(guide, other)
    assert all(torch.equal(before[name], after[name]) for name in before)
    for place, untouched in ((INPUT - 1, {"initial_pose"}), (0, set())):
        other[:, place] = 0.0
        changed = moments_of(guide, other)
        assert {name for name in before if torch.equal(before[name], changed[name])} == untouched


def test_more_frames_to_predict_prolong_the_prediction():
    _, guide, frames = unsettled()
    longer = torch.cat([frames, torch.zeros_like(frames)], 1)
    before, after = guide.complete(frames), guide.complete(longer)
    assert after["pred_beta"].shape[0] == 2 * TIME - INPUT
    torch.testing.assert_close(after["pred_beta"][: TIME - INPUT], before["pred_beta"])
    for name in ("input_beta", "initial_pose", "content"):
        assert torch.equal(before[name], after[name])


def test_an_input_that_ends_early_is_predicted_from_there():
    """The input of a shorter guide with the same weights."""
    _, guide, frames = unsettled()
    shorter_model = DDPAE((1, SIDE, SIDE), num_input=1, what_dim=3, channels=2, glimpse_size=8).double().eval()
    shorter = PosePredictionGuide(shorter_model, units=5, image_dim=4).double().eval()
    shorter.load_state_dict(guide.state_dict())
    observed = torch.zeros(SEQUENCES, TIME, dtype=torch.bool)
    observed[:, 0] = True
    found, expected = guide.complete(frames, observed), shorter.complete(frames)
    betas = [torch.cat([values["input_beta"], values["pred_beta"]]) for values in (found, expected)]
    torch.testing.assert_close(*betas)
    torch.testing.assert_close(found["content"], expected["content"])


def test_batch_statistics_count_the_last_frame_seen():
    """In place of a missing frame, so statistics are those of a video that stands still there."""
    frames = make()[2]
    observed = torch.ones(SEQUENCES, TIME, dtype=torch.bool)
    observed[:, 1] = False
    still = frames.clone()
    still[:, 1] = still[:, 0]
    found = []
    for video, mask in ((frames, observed), (still, None)):
        pyro.set_rng_seed(4)
        model = DDPAE((1, 16, 16), num_input=INPUT, what_dim=3, channels=2).double()
        guide = PosePredictionGuide(model, units=5, image_dim=4).double()
        guide(video.repeat_interleave(2, -1).repeat_interleave(2, -2), mask)
        found.append(guide.poses.encoder.layers[3].running_mean)
    assert found[0].any()
    torch.testing.assert_close(*found)


# the start


def test_it_starts_at_the_prior():
    model, guide, frames = make()
    moments = moments_of(guide, frames)
    for name, prior in (("input_beta", model.beta_prior(frames)), ("initial_pose", model.initial_prior())):
        for found, expected in zip(moments[name], (prior.mean, prior.stddev), strict=True):
            assert (found - expected).abs().max() < 0.1
    _, released, _ = make(released_weights=True)
    moments = moments_of(released, frames)
    assert (moments["initial_pose"][0, ..., 0]).abs().max() < 0.2
    assert (moments["input_beta"][1] - softplus(torch.zeros(())).item()).abs().max() < 0.2


# answers


def test_a_forecast_renders_the_predicted_poses():
    model, guide, frames = unsettled()
    answer = queries.forecast(model, guide, frames[:, :INPUT], num_frames=20)
    assert answer.frames.shape == (SEQUENCES, INPUT + 20, 1, SIDE, SIDE)
    values = guide.complete(torch.cat([frames[:, :INPUT], torch.zeros(SEQUENCES, 20, 1, SIDE, SIDE).double()], 1))
    poses = model.poses(values["initial_pose"], torch.cat([values["input_beta"], values["pred_beta"]]))
    with torch.no_grad():
        expected = model.canvas(poses, values["content"])
    torch.testing.assert_close(answer.frames[:, :, 0], expected.transpose(0, 1))


def test_the_input_alone_is_no_clip():
    model, guide, frames = make()
    for program in (guide, guide.complete):
        with pytest.raises(ValueError, match="frames: expected clips of at least num_input [+] 1 = 4 frames, got 3"):
            program(frames[:, :INPUT])


def test_evaluation_depends_on_frames_and_draws_alone():
    model, guide, frames = unsettled()
    latents = draw(guide, (frames, None, None), 3, 3)
    together = score(guide, (frames, None, None), latents, 3, 3)
    alone = score(guide, (frames[:1], None, None), {name: one[..., :1, :] for name, one in latents.items()}, 3, 3)
    torch.testing.assert_close(together[:, :1], alone)
    buffers = [buffer.clone() for module in (model, guide) for buffer in module.buffers()]
    score(model, (frames, None, None), latents, 3, 3)
    assert all(map(torch.equal, buffers, [buffer for module in (model, guide) for buffer in module.buffers()]))


def test_bounds_agree_and_estimators_take_it():
    model, guide, frames = unsettled()
    pyro.set_rng_seed(1)
    sampled = Trace_ELBO(num_particles=50, vectorize_particles=True, max_plate_nesting=3).loss(model, guide, frames)
    analytic = TraceMeanField_ELBO(num_particles=50, vectorize_particles=True, max_plate_nesting=3)
    assert sampled == pytest.approx(analytic.loss(model, guide, frames), rel=0.02)
    bounds = [-loss(num_particles=5).loss(model, guide, frames) for loss in (IWAE, VIMCO)]
    assert all(bound > -sampled for bound in bounds)
    evidence = log_evidence(model, guide, frames, num_particles=20)
    assert evidence.log_evidence.isfinite().all()
    assert evidence.log_evidence.sum() > -sampled


@pytest.mark.slow
def test_a_traced_step_updates_batch_statistics_as_the_eager_one():
    """Statistics of three particles, from which the running ones follow in place."""
    found = []
    for mode in ("off", "trace"):
        pyro.set_rng_seed(2)
        model = DDPAE((1, SIDE, SIDE), num_objects=1, num_input=1, what_dim=2, channels=2, glimpse_size=8)
        guide = PosePredictionGuide(model, units=3, image_dim=3)
        parameters = [*model.parameters(), *guide.parameters()]
        svi = OurSVI(model, guide, torch.optim.Adam(parameters, 1e-3), IWAE(3), compile=mode)
        frames = torch.rand(SEQUENCES, 2, 1, SIDE, SIDE)
        pyro.set_rng_seed(3)
        losses = [svi.step(frames) for _ in range(2)]
        found.append([torch.stack(losses), *model.buffers(), *guide.buffers()])
        assert model.decoder.layers[1].num_batches_tracked == 2
        assert model.decoder.layers[1].running_mean.any()
    for eager, traced in zip(*found, strict=True):
        torch.testing.assert_close(traced, eager)


def test_plain_pyro_learns():
    """A bright square that moves to the right: the bound grows."""
    pyro.set_rng_seed(0)
    frames = torch.zeros(8, 4, 1, 8, 8)
    for step in range(4):
        frames[:, step, 0, 2:5, step : step + 3] = 1.0
    model = DDPAE((1, 8, 8), num_objects=1, num_input=2, what_dim=2, channels=4)
    guide = PosePredictionGuide(model, units=16, image_dim=16)
    check_guide(model, guide, frames)
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.01, "betas": (0.5, 0.999)}), Trace_ELBO())
    losses = [svi.step(frames) for _ in range(40)]
    assert sum(losses[-10:]) < sum(losses[:10]) - 10 * 8 * 30
