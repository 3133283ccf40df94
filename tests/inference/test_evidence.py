"""These tests pin: estimates against a closed-form evidence and its parts, the summaries' formulas, chunks and seeds,
draws."""

import math
import subprocess
import sys

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from guides import PriorCorrectionGuide
from inference import FIVO, SMC, Annealing, Pilot, log_evidence
from inference.evidence.chunks import particle_chunks
from inference.evidence.settings import DrawSettings
from inference.programs import traces
from pyro_models import VariationalRecurrentNetwork
from tests.oracles.closed_form_bounds import (
    ToyGuide,
    ToyModel,
    ToyParameters,
    elbo,
    posterior,
    toy_data,
)
from tests.oracles.closed_form_bounds import (
    log_evidence as exact_log_evidence,
)

X = toy_data(sequences=5, time=3)
P = ToyParameters.make()


def toys(p=P):
    return ToyModel(p), ToyGuide(p)


def test_the_estimate_is_the_evidence_within_its_standard_error():
    result = log_evidence(*toys(), X, num_particles=4000, particles_per_chunk=1000)
    error = (result.log_evidence - exact_log_evidence(P, X)).abs() / result.standard_error
    assert bool((error < 5).all())
    assert bool((result.standard_error < 0.1).all())
    spread = result.log_weights.std(0) / 4000**0.5
    assert bool(((result.elbo - elbo(P, X)).abs() / spread < 5).all())
    assert result.log_weights.dtype == torch.float64


def test_an_exact_guide_needs_one_particle():
    p = ToyParameters.make(exact_for=3)
    result = log_evidence(*toys(p), X, num_particles=40)
    torch.testing.assert_close(result.log_evidence, exact_log_evidence(p, X).detach())
    torch.testing.assert_close(result.effective_sample_size, torch.full_like(result.elbo, 40.0))
    assert bool((result.standard_error < 1e-6).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("length", [3, 200])
def test_an_exact_guide_has_no_tail_and_its_estimate_is_called_converged(dtype, length):
    """Its weights differ by rounding, to which ArviZ fits tails of any index."""
    p = ToyParameters.make(exact_for=length)
    model, guide = (module.to(dtype) for module in toys(p))
    x = toy_data(sequences=50, time=length).to(dtype)
    result = log_evidence(model, guide, x, num_particles=60)
    assert result.log_weights.std(0).max() > 0
    assert bool((result.pareto_k == -torch.inf).all())
    assert result.verdict.kind == "converged"


def test_verdicts_of_single_estimates():
    kinds = {}
    wide = ToyGuide(ToyParameters.make(log_e=0.5))
    narrow = ToyGuide(ToyParameters.make(log_e=-2.5, c=1.0))
    for name, guide, num_particles in (("wide", wide, 500), ("narrow", narrow, 500), ("few", wide, 20)):
        kinds[name] = log_evidence(ToyModel(P), guide, X, num_particles=num_particles).verdict
    assert {name: verdict.kind for name, verdict in kinds.items()} == {
        "wide": "converged",
        "narrow": "lower bound",
        "few": "lower bound",
    }
    assert "k-hat is above 0.7 for" in str(kinds["narrow"])
    assert "too few" in str(kinds["few"])


@pytest.mark.parametrize(
    ("distribution", "reference"),
    [(dist.Normal(0.0, 1.0), "density"), (dist.Bernoulli(torch.tensor(0.5)), "probability")],
)
def test_the_reference_measure_is_recorded(distribution, reference):
    def model(x, observed, controls):
        with pyro.plate("sequences", x.shape[0]):
            pyro.sample("frames", distribution.expand([3]).to_event(1), obs=x)

    result = log_evidence(model, lambda x, observed, controls: None, X.round().clamp(0, 1).float(), num_particles=1)
    assert result.reference == reference
    assert result.verdict.kind == "exact"


def test_pilots_of_nothing_are_refused():
    for options in ({"num_particles": 1}, {"rounds": 0}, {"widening": 0.9}):
        with pytest.raises(ValueError, match="num_particles: expected at least 2|rounds: expected|widening: expected"):
            Pilot(**options)


def test_summaries():
    result = log_evidence(*toys(), X, num_particles=60, particles_per_chunk=25)
    weights = result.log_weights.exp()
    torch.testing.assert_close(result.log_evidence, weights.mean(0).log())
    torch.testing.assert_close(result.elbo, result.log_weights.mean(0))
    torch.testing.assert_close(result.effective_sample_size, weights.sum(0) ** 2 / (weights**2).sum(0))
    torch.testing.assert_close(result.standard_error, weights.std(0) / weights.mean(0) / 60**0.5)
    assert (result.num_particles, result.num_sequences) == (60, 5)


def expected_parts(p, mean, variance):
    """Of z ~ N(mean, variance): means of log p(x | z) and of log q(z | x) - log p(z), on paper."""

    def expected_log_normal(mean, variance, center, log_scale):
        square = ((mean - center) ** 2 + variance) * torch.exp(-2 * log_scale)
        return -0.5 * square - log_scale - 0.5 * math.log(2 * math.pi)

    mean, variance = (torch.as_tensor(value).expand(X.shape[0]) for value in (mean, variance))
    fit = expected_log_normal((p.w * mean + p.b)[:, None], (p.w**2 * variance)[:, None], X, p.log_r).sum(-1)
    guide = expected_log_normal(mean, variance, p.a * X.mean(-1) + p.c, p.log_e)
    return fit, guide - expected_log_normal(mean, variance, p.m, p.log_s)


def test_parts_are_expectations_under_the_guide_and_by_weight_under_the_posterior():
    result = log_evidence(*toys(), X, num_particles=40_000, particles_per_chunk=10_000)
    plain = expected_parts(P, P.a * X.mean(-1) + P.c, torch.exp(2 * P.log_e))
    weighted = expected_parts(P, *posterior(P, X))
    assert (plain[0] - weighted[0]).abs().min() > 0.1  # the two are not the same
    for prefix, parts in (("", plain), ("weighted_", weighted)):
        for name, value in zip(("reconstruction", "divergence"), parts, strict=True):
            torch.testing.assert_close(getattr(result, prefix + name), value.detach(), rtol=0, atol=0.05)


def test_parts_add_up_on_the_same_draws():
    """The plain ones to the ELBO; by weight their excess over the bound is KL(shares || uniform)."""
    chunks = {"particles_per_chunk": 25, "sequences_per_chunk": 2}
    result = log_evidence(*toys(), X, num_particles=60, **chunks)
    torch.testing.assert_close(result.reconstruction - result.divergence, result.elbo)
    shares = torch.softmax(result.log_weights, 0)
    excess = result.weighted_reconstruction - result.weighted_divergence - result.log_evidence
    torch.testing.assert_close(excess, (shares * (shares * 60).log()).sum(0))
    assert bool(((excess > 0) & (excess < math.log(60))).all())
    fits = torch.zeros(60, 5, dtype=torch.float64)
    for particles, sequences, drawn in particle_chunks(*toys(), (X, None, None), 60, DrawSettings(**chunks)):
        z = drawn.guide.nodes["z"]["value"].squeeze(-2)
        law = dist.Normal((P.w * z + P.b)[..., None], P.log_r.exp())
        fits[particles, sequences] = law.log_prob(X[sequences]).sum(-1).detach()
    torch.testing.assert_close(result.reconstruction, fits.mean(0))
    torch.testing.assert_close(result.weighted_reconstruction, (shares * fits).sum(0))


def test_one_draw_has_equal_parts_plain_and_by_weight():
    result = log_evidence(*toys(), X, num_particles=1)
    torch.testing.assert_close(result.weighted_reconstruction, result.reconstruction)
    torch.testing.assert_close(result.weighted_divergence, result.divergence)


def test_impossible_draws_have_no_share():
    def model(x, observed, controls):
        with pyro.plate("sequences", x.shape[0]):
            z = pyro.sample("z", dist.Bernoulli(torch.tensor(0.25)))
            pyro.factor("seen", torch.where(z == 1, -torch.inf, -2.0))

    def guide(x, observed, controls):
        with pyro.plate("sequences", x.shape[0]):
            pyro.sample("z", dist.Bernoulli(torch.tensor(0.5)))

    result = log_evidence(model, guide, X, num_particles=50)
    torch.testing.assert_close(result.weighted_reconstruction, torch.full_like(result.elbo, -2.0))
    expected = torch.full_like(result.elbo, math.log(0.5 / 0.75))
    torch.testing.assert_close(result.weighted_divergence, expected, rtol=0, atol=1e-6)


def test_without_latents_all_is_reconstruction():
    def model(x, observed, controls):
        with pyro.plate("sequences", x.shape[0]):
            pyro.sample("frames", dist.Normal(0.0, 1.0).expand([3]).to_event(1), obs=x)

    result = log_evidence(model, lambda x, observed, controls: None, X, num_particles=4)
    torch.testing.assert_close(result.reconstruction, dist.Normal(0.0, 1.0).log_prob(X).sum(-1))
    torch.testing.assert_close(result.weighted_reconstruction, result.reconstruction)
    assert result.divergence.tolist() == result.weighted_divergence.tolist() == [0.0] * 5


def test_walks_and_filters_have_no_parts():
    walked = log_evidence(*toys(), X, num_particles=2, method=Annealing(2, 1, 2))
    model = VariationalRecurrentNetwork((1, 4, 4), latent_dim=2, units=3, layers=1)
    frames = torch.rand(2, 3, 1, 4, 4)
    filtered = log_evidence(model, PriorCorrectionGuide(model), frames, num_particles=2, method=FIVO(2))
    for result in (walked, filtered):
        assert result.reconstruction is result.divergence is None
        assert result.weighted_reconstruction is result.weighted_divergence is None
    assert log_evidence(model, PriorCorrectionGuide(model), frames, num_particles=2).divergence.shape == (2,)


def test_the_standard_error_is_that_of_repetitions():
    results = [log_evidence(*toys(), X, num_particles=200, seed=seed) for seed in range(60)]
    spread = torch.stack([result.log_evidence for result in results]).std(0)
    claimed = torch.stack([result.standard_error for result in results]).mean(0)
    assert bool(((spread / claimed > 0.6) & (spread / claimed < 1.6)).all())


def test_pareto_k_tells_a_heavy_tail_from_a_light_one():
    """Weights exp(z^2 / 2 (1 - 1/s^2)) of N(0, s^2) draws for an N(0, 1) target: tail index 1 - s^2."""
    x = torch.zeros(3, 1, dtype=torch.float64)

    def model(x, observed, controls):
        with pyro.plate("sequences", x.shape[0]):
            pyro.sample("z", dist.Normal(x[:, 0], 1.0))

    def guide(scale):
        def run(x, observed, controls):
            with pyro.plate("sequences", x.shape[0]):
                pyro.sample("z", dist.Normal(x[:, 0], scale))

        return run

    narrow, wide = (log_evidence(model, guide(scale), x, num_particles=20_000) for scale in (0.4, 1.2))
    assert bool((narrow.pareto_k > 0.7).all())
    assert bool((wide.pareto_k < 0.4).all())
    exact = log_evidence(model, guide(1.0), x, num_particles=30)
    assert exact.pareto_k.tolist() == [-math.inf] * 3
    few = log_evidence(model, guide(0.4), x, num_particles=24)
    assert bool(few.pareto_k.isnan().all())
    one = log_evidence(model, guide(0.4), x, num_particles=1)
    assert bool(one.standard_error.isnan().all())
    torch.testing.assert_close(one.log_evidence, one.elbo)


def test_seeds_and_chunks():
    def weigh(**options):
        options = {"num_particles": 24, "particles_per_chunk": 8, "sequences_per_chunk": 2} | options
        return log_evidence(*toys(), X, **options).log_weights

    state = torch.get_rng_state()
    first = weigh()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(weigh(), first)
    assert not torch.equal(weigh(seed=1), first)
    assert torch.equal(weigh(num_particles=40)[:24], first)  # more particles only add
    assert len(set(first.flatten().tolist())) == first.numel()  # no chunk repeats another one's stream


def test_other_chunks_are_another_draw_of_the_same_estimator():
    sizes = ((500, 5), (2000, 2), (1, 5))
    results = [
        log_evidence(*toys(), X, num_particles=number, particles_per_chunk=particles, sequences_per_chunk=sequences)
        for number, (particles, sequences) in zip((2000, 2000, 60), sizes, strict=True)
    ]
    for result in results:
        error = (result.log_evidence - exact_log_evidence(P, X)).abs() / result.standard_error
        assert bool((error < 5).all())


def test_masks_and_controls_go_along_with_their_sequences():
    observed = torch.rand(5, 3, generator=torch.Generator().manual_seed(1)) < 0.6
    seen = []

    def model(x, mask, controls):
        seen.append((x.shape[0], mask.shape[0], controls.shape[0]))
        ToyModel(P)(x, mask)

    x = torch.where(observed, X, torch.nan)
    result = log_evidence(
        model,
        ToyGuide(P),
        x,
        observed,
        torch.zeros(5, 3, 2),
        num_particles=4000,
        particles_per_chunk=2000,
        sequences_per_chunk=2,
    )
    assert set(seen) == {(2, 2, 2), (1, 1, 1)}
    for index in range(5):  # a missing value is integrated out: the evidence of those that are there
        kept = X[index : index + 1, observed[index]]
        expected = exact_log_evidence(P, kept) if kept.numel() else torch.zeros(1)
        error = (result.log_evidence[index] - expected[0]).abs() / result.standard_error[index].clamp_min(1e-12)
        assert error < 5 or kept.numel() == 0


def test_modules_are_in_evaluation_mode_without_gradients():
    class Noting(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout()
            self.model = ToyModel(P)

        def forward(self, x, observed, controls):
            assert not self.drop.training
            assert not torch.is_grad_enabled()
            self.model(x)

    model = Noting()
    log_evidence(model, ToyGuide(P), X, num_particles=3)
    assert model.drop.training
    assert list(pyro.get_param_store()) == []


def test_the_place_of_particles_is_looked_for_once(monkeypatch):
    calls = []
    looked = traces.find_particle_dim
    monkeypatch.setattr("inference.evidence.chunks.find_particle_dim", lambda *args: calls.append(1) or looked(*args))
    log_evidence(*toys(), X, num_particles=12, particles_per_chunk=4, sequences_per_chunk=2)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_particles": 0}, "num_particles: expected at least 1, got 0"),
        ({"num_particles": 4, "particles_per_chunk": 0}, "particles_per_chunk: expected at least 1, got 0"),
        ({"num_particles": 4, "sequences_per_chunk": -1}, "sequences_per_chunk: expected at least 1, got -1"),
        (
            {"num_particles": 4, "observed": torch.ones(4, 3, dtype=torch.bool)},
            r"observed: expected bool \(sequences, time\) = \(5, 3\), got torch.bool \(4, 3\)",
        ),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ValueError, match=message):
        log_evidence(*toys(), X, **options)


def test_no_sequences_are_refused():
    with pytest.raises(ValueError, match="frames: expected at least one sequence, got none"):
        log_evidence(*toys(), X[:0], num_particles=4)


@pytest.mark.slow
def test_users_see_nothing_of_arviz_announcements():
    code = (
        "import torch, pyro, pyro.distributions as dist, inference\n"
        "def model(x, observed, controls):\n"
        "    with pyro.plate('sequences', 3):\n"
        "        pyro.sample('z', dist.Normal(0., 1.))\n"
        "def guide(x, observed, controls):\n"
        "    with pyro.plate('sequences', 3):\n"
        "        pyro.sample('z', dist.Normal(0., 2.))\n"
        "inference.log_evidence(model, guide, torch.zeros(3, 1), num_particles=30)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("", "")


def test_posterior_draws_have_the_posterior_moments():
    result = log_evidence(*toys(), X, num_particles=4000, particles_per_chunk=1000, sequences_per_chunk=2)
    data = result.to_inference_data(*toys(), X, num_draws=3000)
    z = torch.from_numpy(data.posterior["z"].to_numpy())
    assert data.posterior["z"].dims == ("chain", "draw", "sequences")
    assert z.shape == (1, 3000, 5)
    mean, variance = posterior(P, X)
    ess = result.effective_sample_size.clamp_max(3000)
    assert bool(((z[0].mean(0) - mean).abs() < 6 * (2 * variance / ess).sqrt()).all())
    torch.testing.assert_close(z[0].var(0), variance.expand(5), rtol=0.3, atol=0)


def test_inference_data_groups_agree_with_the_record():
    result = log_evidence(*toys(), X, num_particles=30, particles_per_chunk=7, sequences_per_chunk=2)
    data = result.to_inference_data(*toys(), X, num_draws=6)
    z = torch.from_numpy(data.posterior["z"].to_numpy())[0]
    log_weight = torch.from_numpy(data.sample_stats["log_weight"].to_numpy())[0]
    likelihood = torch.from_numpy(data.log_likelihood["frames"].to_numpy())[0]
    prior = dist.Normal(P.m, P.log_s.exp()).log_prob(z)
    guide = dist.Normal(P.a * X.mean(-1) + P.c, P.log_e.exp()).log_prob(z)
    torch.testing.assert_close(likelihood + prior - guide, log_weight)
    direct = dist.Normal((P.w * z + P.b)[..., None], P.log_r.exp()).log_prob(X).sum(-1)
    torch.testing.assert_close(likelihood, direct)
    assert data.observed_data["frames"].dims == ("sequences", "time")
    torch.testing.assert_close(torch.from_numpy(data.observed_data["frames"].to_numpy()), X)
    torch.testing.assert_close(torch.from_numpy(data.evidence["pareto_k"].to_numpy()), result.pareto_k)


def test_latents_with_plates_and_event_dims_keep_them():
    def program(x, observed, controls, *, guide=False):
        with pyro.plate("sequences", 5, dim=-1):
            pyro.sample("a", dist.Normal(torch.zeros(7, 2), 1.0).to_event(2))
            with pyro.plate("time", 3, dim=-2):
                z = pyro.sample("z", dist.Normal(torch.zeros(4), 1.0).to_event(1))
                if not guide:
                    pyro.sample("frames", dist.Normal(z.sum(-1), 1.0), obs=x.T.float())

    def guide(*args):
        program(*args, guide=True)

    for num_particles in (1, 6):
        result = log_evidence(
            program, guide, X, num_particles=num_particles, sequences_per_chunk=5, particles_per_chunk=4
        )
        data = result.to_inference_data(program, guide, X, num_draws=8)
        assert dict(data.posterior["a"].sizes) == {"chain": 1, "draw": 8, "sequences": 5, "a_dim_0": 7, "a_dim_1": 2}
        assert dict(data.posterior["z"].sizes) == {"chain": 1, "draw": 8, "sequences": 5, "time": 3, "z_dim_0": 4}


def test_draws_refuse_other_parameters_and_other_videos():
    result = log_evidence(*toys(), X, num_particles=30)
    with pytest.raises(ValueError, match="frames: expected those of this evidence, got other log weights"):
        result.to_inference_data(*toys(ToyParameters.make(w=0.9)), X)
    with pytest.raises(ValueError, match="frames: expected the 5 sequences of this evidence, got 4"):
        result.to_inference_data(*toys(), X[:4])
    with pytest.raises(ValueError, match="num_draws: expected at least 1, got 0"):
        result.to_inference_data(*toys(), X, num_draws=0)


def test_populations_estimate_the_evidence_and_have_no_parts():
    guide = ToyGuide(ToyParameters.make(c=1.5, log_e=-1.0))
    result = log_evidence(ToyModel(P), guide, X, num_particles=6, method=SMC(num_particles=32))
    assert result.log_weights.shape == (6, 5)
    assert (result.log_evidence - exact_log_evidence(P, X)).abs().max() < 0.5
    plain = log_evidence(ToyModel(P), guide, X, num_particles=192)
    assert result.log_weights.std(0).mean() < plain.log_weights.std(0).mean()
    assert (result.reconstruction, result.sampler) == (None, SMC(num_particles=32))
    assert "6 samplers of 32 particles" in str(result.verdict)
    with pytest.raises(ValueError, match="expected particles of the guide, got populations"):
        result.to_inference_data(ToyModel(P), guide, X)
