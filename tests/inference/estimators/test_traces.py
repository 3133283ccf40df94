"""These tests pin: where particles go, that scales, masks and plates are honoured, and what is refused.

The weights are compared with a Gaussian's density written out for the draws that the guide made.
"""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoNormal
from torch import nn

from inference.estimators import IWAE, WakeSleep
from inference.programs.traces import (
    evaluation_mode,
    find_particle_dim,
    importance_traces,
    local_parameters,
    log_weights,
)
from tests.oracles.closed_form_bounds import ToyGuide, ToyModel, ToyParameters, log_normal, toy_data

X = toy_data(sequences=5, time=3)
P = ToyParameters.make()


def one():
    return torch.ones((), dtype=torch.float64)


def expected_weights(z, x, scale=1.0, mask=None):
    """(particles, sequences), for draws z of that shape."""
    terms = log_normal(x, (P.w * z + P.b)[..., None], P.log_r)
    likelihood = (terms if mask is None else torch.where(mask, terms, 0.0)).sum(-1)
    return scale * likelihood + log_normal(z, P.m, P.log_s) - log_normal(z, P.a * x.mean(-1) + P.c, P.log_e)


@pytest.mark.parametrize("num_particles", [1, 4])
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_weights_are_those_of_the_draws(num_particles, scale):
    traces = importance_traces(ToyModel(P, scale), ToyGuide(P), (X,), num_particles)
    z = traces.guide.nodes["z"]["value"].reshape(num_particles, 5)
    torch.testing.assert_close(traces.log_weights().detach(), expected_weights(z, X, scale))
    assert traces.log_weights().requires_grad


def test_masks_are_honoured():
    mask = torch.rand(5, 3, generator=torch.Generator().manual_seed(1)) < 0.6
    traces = importance_traces(ToyModel(P), ToyGuide(P), (torch.where(mask, X, torch.nan), mask), 4)
    z = traces.guide.nodes["z"]["value"].reshape(4, 5)
    filled = torch.where(mask, X, 0.0)
    torch.testing.assert_close(traces.log_weights().detach(), expected_weights(z, filled, mask=mask))


def test_scale_and_mask_around_the_programs_are_honoured():
    model = poutine.mask(poutine.scale(ToyModel(P), scale=2.0), mask=torch.arange(5) < 3)
    pyro.set_rng_seed(0)
    weights = log_weights(model, ToyGuide(P), (X,), 4)
    pyro.set_rng_seed(0)
    traces = importance_traces(ToyModel(P), ToyGuide(P), (X,), 4)
    z = traces.guide.nodes["z"]["value"].reshape(4, 5)
    drawn = log_normal(z, P.a * X.mean(-1) + P.c, P.log_e)
    torch.testing.assert_close(
        weights, torch.where(torch.arange(5) < 3, 2.0, 0.0) * (expected_weights(z, X) + drawn) - drawn
    )


def test_plates_are_found_by_name_wherever_they_are():
    """`sequences` at dim -3 with two more plates inside, whose sizes all coincide: only names tell them apart."""

    def model(x):
        with pyro.plate("sequences", 4, dim=-3):
            z = pyro.sample("z", dist.Normal(0 * one(), 1.0))
            with pyro.plate("time", 4, dim=-1), pyro.plate("objects", 4, dim=-2):
                w = pyro.sample("w", dist.Normal(z, 1.0))
                pyro.sample("frames", dist.Normal(w, 1.0), obs=x)

    def guide(x):
        with pyro.plate("sequences", 4, dim=-3):
            pyro.sample("z", dist.Normal(0.5 * one(), 1.0))
            with pyro.plate("time", 4, dim=-1), pyro.plate("objects", 4, dim=-2):
                pyro.sample("w", dist.Normal(-0.5 * one(), 1.0))

    x = torch.randn(4, 4, 4, dtype=torch.float64)
    assert find_particle_dim(model, guide, (x,)) == -4
    traces = importance_traces(model, guide, (x,), 4)
    z, w = (traces.guide.nodes[name]["value"] for name in ("z", "w"))
    assert z.shape == (4, 4, 1, 1)
    zero = 0 * one()
    inner = log_normal(w, z, zero) + log_normal(x, w, zero) - log_normal(w, -0.5 * one(), zero)
    expected = (log_normal(z, zero, zero) - log_normal(z, 0.5 * one(), zero))[..., 0, 0] + inner.sum((-1, -2))
    torch.testing.assert_close(traces.log_weights(), expected)


def test_weights_of_a_subsampled_plate_are_those_of_the_batch():
    def model(x, subsampled):
        with pyro.plate("sequences", 20, subsample=torch.arange(5)) if subsampled else pyro.plate("sequences", 5):
            z = pyro.sample("z", dist.Normal(P.m, P.log_s.exp()))
            pyro.sample(
                "frames", dist.Normal((P.w * z + P.b)[..., None].expand(*z.shape, 3), P.log_r.exp()).to_event(1), obs=x
            )

    def guide(x, subsampled):
        with pyro.plate("sequences", 20, subsample=torch.arange(5)) if subsampled else pyro.plate("sequences", 5):
            pyro.sample("z", dist.Normal(P.a * x.mean(-1) + P.c, P.log_e.exp()))

    traces = importance_traces(model, guide, (X, True), 4)
    assert traces.subsampling == 4.0
    z = traces.guide.nodes["z"]["value"].reshape(4, 5)
    torch.testing.assert_close(traces.log_weights(), expected_weights(z, X))
    assert importance_traces(model, guide, (X, False), 4).subsampling == 1.0


def test_an_automatic_guide_is_taken():
    model = ToyModel(P)
    guide = AutoNormal(model)
    guide(X)
    weights = log_weights(model, guide, (X,), 4)
    assert weights.shape == (4, 5)
    assert bool(torch.isfinite(weights).all())


def test_deterministic_sites_may_lie_anywhere():
    def model(x):
        pyro.deterministic("twice", 2 * x.mean())
        ToyModel(P)(x)

    assert log_weights(model, ToyGuide(P), (X,), 4).shape == (4, 5)


def test_looking_for_plates_leaves_no_trace():
    class Dropping(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(3)
            self.guide = ToyGuide(P)

        def forward(self, x):
            self.norm(x.float())
            self.guide(x)

    guide = Dropping()
    state = torch.get_rng_state()
    find_particle_dim(ToyModel(P), guide, (X,))
    assert torch.equal(torch.get_rng_state(), state)
    assert guide.norm.num_batches_tracked == 0
    assert guide.training
    assert guide.norm.training


@pytest.mark.parametrize("estimator", [IWAE(8), IWAE(8, "dreg"), WakeSleep(8)])
def test_hopeless_particles_leave_no_subnormal_gradients(estimator):
    """With observations this precise, most particles have shares of 1e-40 or less: CPUs are slow on subnormals."""
    found = []

    def model(x):
        with pyro.plate("sequences", 5):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            z = z + torch.zeros_like(z, requires_grad=True)
            if z.requires_grad:
                z.register_hook(found.append)
            pyro.sample("x", dist.Normal(z, 0.02), obs=x)

    def guide(x):
        mean = torch.zeros(5, requires_grad=True)
        with pyro.plate("sequences", 5):
            pyro.sample("z", dist.Normal(mean, 1.0))

    pyro.set_rng_seed(0)
    estimator.differentiable_loss(model, guide, torch.zeros(5)).backward()
    sizes = torch.cat([gradient.flatten() for gradient in found]).abs()
    assert (sizes == 0).any()
    assert (sizes > 0).any()
    assert sizes[sizes > 0].min() > 1e-22


def test_evaluation_mode_restores_what_was():
    module = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
    with evaluation_mode(module):
        assert not any(part.training for part in module.modules())
    assert [part.training for part in module.modules()] == [True, True, False]


@pytest.mark.parametrize("built_with", [True, False])
def test_parameters_stay_in_modules_whenever_they_were_built(built_with):
    with pyro.settings.context(module_local_params=built_with):
        model, guide = ToyModel(P), ToyGuide(P)
    with pyro.settings.context(module_local_params=False), local_parameters(poutine.scale(model, scale=1.0), guide):
        model(X), guide(X)
    log_weights(model, guide, (X,), 2)
    assert list(pyro.get_param_store()) == []


def bernoulli_model(x):
    with pyro.plate("sequences", x.shape[0]):
        k = pyro.sample("k", dist.Bernoulli(0.3 * one()))
        pyro.sample("frames", dist.Normal(k, 1.0), obs=x)


def test_discrete_latents_have_weights():
    def guide(x):
        with pyro.plate("sequences", x.shape[0]):
            pyro.sample("k", dist.Bernoulli(0.6 * one()))

    x = X[:, 0]
    traces = importance_traces(bernoulli_model, guide, (x,), 4)
    k = traces.guide.nodes["k"]["value"]
    prior = torch.where(k == 1, 0.3, 0.7).log() - torch.where(k == 1, 0.6, 0.4).log()
    torch.testing.assert_close(traces.log_weights(), (prior + log_normal(x, k, 0 * one())))


@pytest.mark.parametrize("num_particles", [1, 4])
def test_refusals(num_particles):
    def guide_without_z(x):
        with pyro.plate("sequences", x.shape[0]):
            pass

    def sequential(x):
        for index in pyro.plate("sequences", x.shape[0]):
            pyro.sample(f"z_{index}", dist.Normal(0.0, 1.0), obs=x[index, 0])

    with pytest.raises(ValueError, match="num_particles: expected at least 1, got 0"):
        log_weights(ToyModel(P), ToyGuide(P), (X,), 0)
    with pyro.validation_enabled(False):
        with pytest.raises(
            ValueError, match="guide: expected it to draw every latent site of the model, it leaves out 'z'"
        ):
            log_weights(ToyModel(P), guide_without_z, (X,), num_particles)
        with pytest.raises(
            ValueError, match="site 'z_0': expected inside a vectorised plate called 'sequences', found in"
        ):
            log_weights(sequential, lambda x: None, (X,), num_particles)
        with pytest.raises(ValueError, match="model: expected sample sites, it has none"):
            log_weights(lambda x: None, lambda x: None, (X,), num_particles)


def test_a_site_without_its_own_dim_for_sequences_is_refused():
    traces = importance_traces(ToyModel(P), ToyGuide(P), (X,), 1)
    with pytest.raises(
        ValueError, match=r"site 'z': expected a log probability with 5 sequences at dim -1, got shape \(1,\)"
    ):
        traces.per_sequence(traces.guide.nodes["z"], torch.zeros(1))
