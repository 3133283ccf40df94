"""These tests pin: a model's density at given latents and its gradients inside a guide, and what both refuse."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from guides import inner_gradients, log_joint
from guides.program import sample_sites
from inference import SVI, CompileWarning
from tests.contracts.registry import GUIDES, MODELS, build_guide, make_video
from tests.contracts.scores import draw, score

FRAMES = torch.randn(4, 3, dtype=torch.float64)
NUMBERS = torch.arange(4.0, dtype=torch.float64)


def model(frames, observed=None, controls=None):
    with pyro.plate("sequences", frames.shape[0], dim=-1):
        z = pyro.sample("z", dist.Normal(frames.new_zeros(()), 1.0))
        scale = pyro.sample("scale", dist.LogNormal(frames.new_zeros(()), 1.0))
        with pyro.plate("time", frames.shape[1], dim=-2):
            pyro.sample("frames", dist.Normal(z, scale), obs=frames.mT)


VALUES = {"z": NUMBERS, "scale": NUMBERS + 1}


def by_hand(z, scale):
    priors = dist.Normal(0.0, 1.0).log_prob(z) + dist.LogNormal(0.0, 1.0).log_prob(scale)
    return priors + dist.Normal(z[..., None], scale[..., None]).log_prob(FRAMES).sum(-1)


def test_it_is_the_density_by_hand_with_and_without_sample_dims():
    torch.testing.assert_close(log_joint(model, VALUES, FRAMES), by_hand(**VALUES))
    drawn = {"z": torch.randn(2, 5, 1, 4).double(), "scale": NUMBERS + 1}
    expected = by_hand(drawn["z"].squeeze(2), drawn["scale"])
    torch.testing.assert_close(log_joint(model, drawn, FRAMES), expected)


@pytest.mark.parametrize("guide", GUIDES)
def test_every_model_gives_the_density_of_its_trace(guide):
    model, guide_of_it = build_guide(guide)
    model.double().eval(), guide_of_it.double()
    arguments = make_video(MODELS[GUIDES[guide].model].control_dim, torch.float64)
    latents = draw(guide_of_it, arguments)
    expected = score(model, arguments, latents)
    found = log_joint(model, latents, *arguments)
    torch.testing.assert_close(found, expected)
    before = torch.get_rng_state()
    log_joint(model, latents, *arguments)
    assert torch.equal(torch.get_rng_state(), before)


def test_handlers_around_it_do_not_see_or_change_it():
    expected = log_joint(model, VALUES, FRAMES)
    with poutine.trace() as trace, poutine.scale(scale=0.3), poutine.condition(data={"z": NUMBERS - 7}):
        with pyro.plate("particles", 6, dim=-3):
            found = log_joint(model, VALUES, FRAMES)
    assert torch.equal(found, expected)
    assert set(trace.trace.nodes) == {"particles"}


def test_scales_and_masks_of_the_model_count():
    def masked(frames):
        with pyro.plate("sequences", len(frames), dim=-1), poutine.scale(scale=0.5):
            pyro.sample("frames", dist.Normal(frames.new_zeros(()), 1.0).mask(NUMBERS > 1), obs=frames[:, 0])

    expected = torch.where(NUMBERS > 1, 0.5 * dist.Normal(0.0, 1.0).log_prob(FRAMES[:, 0]), 0.0)
    torch.testing.assert_close(log_joint(masked, {}, FRAMES), expected)


def positive(frames):
    with pyro.plate("sequences", len(frames), dim=-1):
        rate = pyro.sample("rate", dist.LogNormal(frames.new_zeros(()), 1.0))
        pyro.sample("frames", dist.Normal(rate, 1.0), obs=frames[:, 0])


def test_values_and_call_are_checked():
    with pytest.raises(
        ValueError,
        match=r"values: expected one for every latent site of the model \('z', 'scale'\), got none for 'scale'",
    ):
        log_joint(model, {"z": NUMBERS}, FRAMES)
    with pytest.raises(ValueError, match="got 'y', which the model does not have; leave it out"):
        log_joint(model, {**VALUES, "y": NUMBERS}, FRAMES)
    with pytest.raises(ValueError, match="got 'frames', which the model observes; leave it out"):
        log_joint(model, {**VALUES, "frames": FRAMES.mT}, FRAMES)
    for name in ("sequences", "others"):
        with pyro.plate(name, 4, dim=-1):
            with pytest.raises(
                ValueError, match="log_joint: expected a call outside of plates, .*call it before the guide's"
            ):
                log_joint(model, VALUES, FRAMES)
    with pyro.validation_enabled(True):
        with pytest.raises(ValueError, match="log_joint: site 'rate' refuses its value: Expected value argument"):
            log_joint(positive, {"rate": -NUMBERS}, FRAMES)


def test_models_that_it_cannot_score_are_refused():
    def subsampled(frames):
        with pyro.plate("sequences", len(frames), subsample_size=2, dim=-1) as batch:
            pyro.sample("frames", dist.Normal(0.0, 1.0), obs=frames[batch, 0])

    def outside(frames):
        pyro.sample("z", dist.Normal(0.0, 1.0))
        with pyro.plate("sequences", len(frames), dim=-1):
            pyro.sample("frames", dist.Normal(0.0, 1.0), obs=frames[:, 0])

    with pytest.raises(
        ValueError, match="site 'frames': expected plates that are not subsampled, got 'sequences' with 2"
    ):
        log_joint(subsampled, {}, FRAMES)
    with pytest.raises(
        ValueError, match="site 'z': expected inside a vectorised plate called 'sequences', found in no"
    ):
        log_joint(outside, {"z": torch.zeros(())}, FRAMES)
    with pytest.raises(ValueError, match="log_joint: expected a model with sample sites, it has none"):
        log_joint(lambda frames: None, {}, FRAMES)


# gradients


def test_gradients_are_those_of_the_sum_and_can_be_differentiated_again():
    point = NUMBERS.clone().requires_grad_()
    rate = torch.tensor(2.0, requires_grad=True, dtype=torch.float64)
    first, second = inner_gradients(lambda x, y: rate * x.square() * y, point, NUMBERS + 1)
    torch.testing.assert_close(first, 2 * rate * NUMBERS * (NUMBERS + 1))
    torch.testing.assert_close(second, rate * NUMBERS.square())
    by_point, by_rate = torch.autograd.grad(first.sum(), [point, rate])
    torch.testing.assert_close(by_point, 2 * rate.detach() * (NUMBERS + 1))
    torch.testing.assert_close(by_rate, (2 * NUMBERS * (NUMBERS + 1)).sum())


@pytest.mark.parametrize("how", ["no_grad", "constant"])
def test_gradients_need_not_be_differentiable(how):
    point, rate = NUMBERS.clone().requires_grad_(), torch.tensor(2.0, requires_grad=True, dtype=torch.float64)
    with torch.set_grad_enabled(how == "constant"):
        (slope,) = inner_gradients(lambda x: rate * x.square(), point, differentiable=how == "no_grad")
    torch.testing.assert_close(slope, 4 * NUMBERS)
    assert not slope.requires_grad
    assert slope.grad_fn is None
    assert point.grad is None


def test_the_graph_of_a_function_may_be_kept_for_what_it_computed_on_its_way():
    for keep in (True, False):
        rate, found = torch.tensor(2.0, requires_grad=True, dtype=torch.float64), []

        def function(x, rate=rate, found=found):
            found.append((rate * x).exp())
            return found[0] * x

        (slope,) = inner_gradients(function, NUMBERS, differentiable=False, keep_graph=keep)
        assert not slope.requires_grad
        if keep:
            (by_rate,) = torch.autograd.grad(found[0].sum(), rate)
            torch.testing.assert_close(by_rate, (NUMBERS * (2 * NUMBERS).exp()).sum())
        else:
            with pytest.raises(RuntimeError, match="backward through the graph a second time"):
                torch.autograd.grad(found[0].sum(), rate)


def test_functions_without_gradients_are_refused():
    with pytest.raises(ValueError, match="function: expected one that depends on every point, .* on number 1"):
        inner_gradients(lambda x, y: x.square(), NUMBERS, NUMBERS)
    with pytest.raises(ValueError, match="does not depend on number 0; compute with its arguments"):
        inner_gradients(lambda x: x.detach(), NUMBERS)
    with torch.inference_mode():
        with pytest.raises(
            RuntimeError, match="expected torch.no_grad.. around an evaluation, got torch.inference_mode"
        ):
            inner_gradients(lambda x: x.square(), torch.zeros(2))


REAL = [
    "KalmanGuide, collapsed",
    "KalmanGuide, joint",
    "FrameGaussianGuide",
    "RecurrentGuide",
    "RecurrentGuide of DVBF",
    "ObjectFilterGuide",
    "PriorCorrectionGuide",
]


@pytest.mark.parametrize("name", REAL)
def test_a_step_along_the_gradient_of_a_model_can_be_differentiated(name):
    """d/ds log p(x, z + s g(z)) and its derivative through g, at s = 0.01, against finite differences in float64."""
    model, guide = build_guide(name)
    model.double().eval(), guide.double()
    arguments = make_video(MODELS[GUIDES[name].model].control_dim, torch.float64)
    latents = draw(guide, arguments)

    def density(*values):
        return log_joint(model, dict(zip(latents, values, strict=True)), *arguments)

    def after_a_step(shift):
        points = [value + shift for value in latents.values()]
        slopes = inner_gradients(density, *points)
        return density(*[value + 1e-3 * slope for value, slope in zip(points, slopes, strict=True)]).sum()

    shift = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(after_a_step(shift), shift)
    step = 1e-6
    with torch.no_grad():
        difference = (after_a_step(shift + step) - after_a_step(shift - step)) / (2 * step)
    torch.testing.assert_close(found, difference, rtol=1e-5, atol=1e-6)
    first_order = torch.autograd.grad(density(*[v + shift for v in latents.values()]).sum(), shift)[0]
    assert not torch.allclose(found, first_order, rtol=1e-4)


class AfterAStep:
    """A loss of draws of the guide that take a step along the gradient of the model's density."""

    def differentiable_loss(self, model, guide, *arguments):
        trace = poutine.trace(guide).get_trace(*arguments)
        latents = {name: node["value"] for name, node in sample_sites(trace).items()}

        def density(*values):
            return log_joint(model, dict(zip(latents, values, strict=True)), *arguments)

        slopes = inner_gradients(density, *latents.values())
        moved = [value + 1e-3 * slope for value, slope in zip(latents.values(), slopes, strict=True)]
        return -density(*moved).sum()


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("name", ["KalmanGuide, collapsed", "RecurrentGuide", "FrameGaussianGuide, bidirectional"])
def test_a_traced_step_differentiates_twice(name, recwarn):
    """Fused kernels and recurrent layers among what is differentiated."""
    walks = []
    for compile in ("off", "trace"):
        pyro.set_rng_seed(0)
        model, guide = build_guide(name)
        model.double(), guide.double()
        video = make_video(MODELS[GUIDES[name].model].control_dim, torch.float64)
        arguments = tuple(None if one is None else one[:, :3] for one in video)
        parameters = [*model.parameters(), *guide.parameters()]
        svi = SVI(model, guide, torch.optim.SGD(parameters, 1e-3), AfterAStep(), compile=compile)
        pyro.set_rng_seed(1)
        walks.append(([svi.step(*arguments) for _ in range(2)], [one.detach() for one in parameters]))
    assert not [warning for warning in recwarn if warning.category is CompileWarning]
    torch.testing.assert_close(*walks, rtol=1e-7, atol=1e-9)
