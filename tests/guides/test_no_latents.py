"""A model without latents and its guide: training, exact evidence, forecasts, draws."""

import math
from itertools import product

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO

import inference
from guides import NoLatentsGuide, check_guide, describe_sites
from inference import IWAE, log_evidence, queries
from inference.annealing.walks import Annealing
from inference.evidence.calibration import calibrate
from inference.evidence.sandwich import sandwich
from inference.programs.simulation import simulate
from pyro_models import EncoderDecoderLSTM
from tests.oracles.monte_carlo import assert_mean_within

SEQUENCES, TIME, CONTROL = 5, 6, 2
FRAME = (1, 3, 2)


def pair(frame_shape=FRAME, **options):
    model = EncoderDecoderLSTM(frame_shape, state_dim=8, code_dim=5, hidden=(6,), **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model, NoLatentsGuide(model)


def arguments():
    frames = torch.bernoulli(torch.full((SEQUENCES, TIME, *FRAME), 0.3))
    observed = torch.ones(SEQUENCES, TIME, dtype=torch.bool)
    observed[1, 2:4] = False
    return frames, observed


def log_prob(model, *arguments):
    with torch.no_grad():
        trace = poutine.trace(model).get_trace(*arguments)
    trace.compute_log_prob()
    return trace.nodes["frames"]["log_prob"].sum(0)


def test_fits_its_model_and_draws_nothing():
    model, guide = pair()
    check = check_guide(model, guide, *arguments())
    assert check.guide.names == ()
    assert "frames" in str(check)
    assert not list(guide.parameters())
    assert "site" in str(describe_sites(guide, *arguments()))


def test_pyros_own_svi_trains_the_model():
    model, guide = pair()
    frames, _ = arguments()
    svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 0.01}), Trace_ELBO())
    losses = [svi.step(frames) for _ in range(50)]
    assert losses[-1] < 0.8 * losses[0]


LOSSES = {
    "Trace_ELBO": Trace_ELBO(),
    "IWAE": IWAE(2),
    "IWAE, stl": IWAE(2, "stl"),
    "IWAE, dreg": IWAE(2, "dreg"),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
@pytest.mark.parametrize("compile", ["off", "trace"])
def test_our_svi_trains_the_model(loss, compile):
    model, guide = pair()
    frames, _ = arguments()
    svi = inference.SVI(model, guide, torch.optim.Adam(model.parameters(), 0.01), loss, compile=compile)
    before = -log_prob(model, frames).mean()
    losses = [svi.step(frames) for _ in range(50)]
    torch.testing.assert_close(losses[0], before)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("missing", [False, True])
def test_evidence_is_the_log_density(missing):
    model, guide = pair()
    frames, observed = arguments()
    observed = observed if missing else None
    exact = log_prob(model, frames, observed).double()
    evidence = log_evidence(model, guide, frames, observed, num_particles=30, particles_per_chunk=20)
    torch.testing.assert_close(evidence.log_evidence, exact, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(evidence.elbo, evidence.log_evidence)
    assert evidence.log_weights.shape == (30, SEQUENCES)
    assert (evidence.log_weights == evidence.log_weights[0]).all()
    assert (evidence.pareto_k == -math.inf).all()
    torch.testing.assert_close(evidence.effective_sample_size, torch.full_like(exact, 30.0))
    torch.testing.assert_close(evidence.standard_error, torch.zeros_like(exact))
    one = log_evidence(model, guide, frames, observed, num_particles=1)
    torch.testing.assert_close(one.log_evidence, exact, rtol=1e-5, atol=1e-5)
    assert one.pareto_k.isnan().all()
    inference.compare({"one": evidence, "other": evidence})
    record = evidence.to_inference_data(model, guide, frames, observed, num_draws=3)
    assert "posterior" not in record.groups()
    torch.testing.assert_close(torch.tensor(record["log_likelihood"]["frames"].values[0, 0]), exact.float())


def test_annealing_and_its_sandwich_have_nothing_to_move():
    model, guide = pair()
    frames, _ = arguments()
    annealing = Annealing(num_temperatures=3, num_leapfrog=1, num_tuning=2)
    annealed = log_evidence(model, guide, frames, num_particles=2, method=annealing)
    torch.testing.assert_close(annealed.log_evidence, log_prob(model, frames).double(), rtol=1e-5, atol=1e-5)
    bounds = sandwich(model, guide, frames, num_particles=2, annealing=annealing)
    torch.testing.assert_close(bounds.gap, torch.zeros_like(bounds.gap), rtol=0, atol=1e-4)
    assert calibrate(model, guide, frames, num_draws=2).ranks == {}
    assert "2 draws" in str(calibrate(model, guide, frames, num_draws=2))


def test_a_forecast_feeds_on_itself():
    model, guide = pair(control_dim=CONTROL)
    frames, _ = arguments()
    controls = torch.randn(SEQUENCES, TIME + 4, CONTROL)
    answer = queries.forecast(model, guide, frames, None, controls, num_frames=4)
    assert answer.frames.shape == (SEQUENCES, TIME + 4, *FRAME)
    assert answer.method == "autoregressive"
    assert answer.latents == {}
    video = torch.cat([torch.zeros(SEQUENCES, 1, *FRAME), frames], 1)
    expected = torch.empty(0)
    with torch.no_grad():
        for step in range(TIME, TIME + 4):  # each time from the start
            inputs = torch.cat([model.encoder(video.flatten(2)), controls[:, : step + 1]], -1)
            expected = torch.sigmoid(model.decoder(model.lstm(inputs)[0]))
            video = torch.cat([video, expected[:, -1:]], 1)
    torch.testing.assert_close(answer.frames, expected)
    torch.testing.assert_close(answer.fill(frames), video[:, 1:])


def test_imputation_never_reads_a_gap():
    model, guide = pair()
    frames, observed = arguments()
    holes = torch.where(observed[:, :, None, None, None], frames, torch.nan)
    answer = queries.impute(model, guide, holes, observed, num_samples=2)
    assert torch.equal(answer.frames, queries.impute(model, guide, frames, observed).frames)
    assert torch.equal(answer.samples[0], answer.frames)
    assert torch.equal(answer.lower, answer.upper)
    whole = queries.reconstruct(model, guide, frames).frames
    seen_before = torch.ones(SEQUENCES, TIME, dtype=torch.bool)
    seen_before[1, 3:] = False
    torch.testing.assert_close(answer.frames[seen_before], whole[seen_before])
    with pytest.raises(ValueError, match="method: expected one of 'autoregressive' for NoLatentsGuide"):
        queries.impute(model, guide, frames, observed, method="smoothing")
    with pytest.raises(ValueError, match="method: expected one of .*autoregressive"):
        guide.complete(frames, observed, method="smoothing")


def test_videos_are_drawn_frame_after_frame():
    """Frequencies of all 16 videos of two frames of two pixels are their probabilities."""
    model, _ = pair((1, 1, 2))
    videos = torch.tensor(list(product([0.0, 1.0], repeat=4))).reshape(16, 2, 1, 1, 2)
    drawn, latents = simulate(model, torch.full((4000, 2, 1, 1, 2), torch.nan))
    assert latents == {}
    counts = (drawn.unsqueeze(1) == videos).flatten(2).all(2).double()
    assert_mean_within(counts, log_prob(model, videos).double().exp())


def test_generated_frames_are_expected_given_those_before():
    model, _ = pair((1, 1, 2))
    new = queries.generate(model, 500, 2, frames_per_chunk=200)
    assert new.latents == {}
    videos = torch.tensor(list(product([0.0, 1.0], repeat=2))).reshape(4, 1, 1, 1, 2)
    with torch.no_grad():
        laws = torch.sigmoid(model(torch.cat([videos, videos], 1)))
    assert torch.equal(new.frames[:, 0], new.frames[:1, 0].expand(500, -1, -1, -1))
    nearest = (new.frames[:, None, 1] - laws[:, 1]).flatten(2).abs().amax(2)
    assert nearest.amin(1).max() < 1e-5  # after one of the four first frames
    counts = torch.nn.functional.one_hot(nearest.argmin(1), 4).double()
    assert_mean_within(counts, log_prob(model, videos).double().exp())
