"""What holds for a guide that takes gradients of its model: in training, compiled or not, and in evaluation.

These tests pin: its refinements and their gradients against paper and finite differences; site weights, particles and
effect handlers do not touch its inner density; it works without gradients; evidence, queries and chains take it.
"""

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from guides import check_guide, log_joint
from inference import (
    IWAE,
    SMC,
    SVI,
    Annealing,
    Budget,
    IntermediateBounds,
    RunFolder,
    Stage,
    TrainingOptions,
    log_evidence,
    queries,
    train,
)
from inference.programs.traces import importance_traces
from inference.svi.captured import CapturedStep
from inference.svi.compiled import CompileWarning
from inference.svi.graph import trace_step
from tests.contracts import refining_toy as toy
from tests.contracts.refining_toy import FRAME_SHAPE, GradientGuide, LinearVideo
from tests.contracts.scores import draw, score, single
from tests.inference.test_captured_step import record
from videos import FixedVideos, VideoBatch

SEQUENCES, TIME = 5, 4


def pair(**options):
    model = LinearVideo().double()
    return model, GradientGuide(model, **options).double()


def video(dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    frames = torch.rand(SEQUENCES, TIME, *FRAME_SHAPE, dtype=torch.float64, generator=generator)
    observed = torch.ones(SEQUENCES, TIME, dtype=torch.bool)
    observed[1, 2:] = False
    observed[2, 0] = False
    observed[4, 1:] = False
    return frames.to(dtype), observed


FRAMES, OBSERVED = video()


def parameters_of(*modules):
    return {name: one for module in modules for name, one in module.named_parameters()}


def gradients_of(*modules):
    return {name: one.grad.clone() for name, one in parameters_of(*modules).items()}


def exact_loss(model, guide):
    """The negative bound after the last refinement, on paper."""
    mean, log_scale = toy.refinements(model, guide, FRAMES, OBSERVED)[-1]
    return -toy.elbo(model, mean, log_scale, FRAMES, OBSERVED).sum()


# values and gradients


def test_refinements_are_those_on_paper():
    model, guide = pair()
    torch.testing.assert_close(guide.refine(FRAMES, OBSERVED), toy.refinements(model, guide, FRAMES, OBSERVED))


def test_the_inner_bound_is_the_elbo_on_paper():
    model, guide = pair()
    for mean, log_scale in guide.refine(FRAMES, OBSERVED):
        expected = toy.elbo(model, mean, log_scale, FRAMES, OBSERVED)
        torch.testing.assert_close(guide.bound(mean, log_scale, FRAMES, OBSERVED), expected)


def test_many_refinements_end_at_the_mean_of_the_posterior():
    model, guide = pair(num_refinements=200)
    precision, target = toy.posterior(model, FRAMES, OBSERVED)
    mean, log_scale = guide.refine(FRAMES, OBSERVED)[-1]
    torch.testing.assert_close(mean, torch.linalg.solve(precision, target[..., None])[..., 0])
    torch.testing.assert_close(torch.exp(-2 * log_scale), precision.diagonal(dim1=-2, dim2=-1))


@pytest.mark.parametrize("name", ["step_size", "start", "log_scale"])
def test_a_parameter_of_the_guide_has_the_gradient_of_finite_differences(name):
    model, guide = pair()
    mean, log_scale = guide.refine(FRAMES, OBSERVED)[-1]
    guide.bound(mean, log_scale, FRAMES, OBSERVED).sum().backward()
    parameter = getattr(guide, name)
    step = 1e-5
    for index in range(parameter.numel()):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.view(-1)[index] += sign * step
                values.append(guide.bound(*guide.refine(FRAMES, OBSERVED)[-1], FRAMES, OBSERVED).sum().item())
                parameter.view(-1)[index] -= sign * step
        difference = (values[0] - values[1]) / (2 * step)
        assert difference != 0
        assert parameter.grad.view(-1)[index].item() == pytest.approx(difference, rel=1e-7)


def test_model_and_guide_have_the_gradients_on_paper():
    """Also those of the model, which enters the bound directly and through every refinement."""
    model, guide = pair()
    guide.bound(*guide.refine(FRAMES, OBSERVED)[-1], FRAMES, OBSERVED).sum().neg().backward()
    found = gradients_of(model, guide)
    model, guide = pair()
    exact_loss(model, guide).backward()
    torch.testing.assert_close(found, gradients_of(model, guide))


def test_slopes_may_be_constants_to_training():
    gradients = []
    for differentiable in (True, False):
        model, guide = pair(differentiable=differentiable)
        guide.bound(*guide.refine(FRAMES, OBSERVED)[-1], FRAMES, OBSERVED).sum().backward()
        gradients.append(gradients_of(model, guide))
    exact, first_order = gradients
    assert first_order["step_size"].isfinite()
    assert not torch.allclose(exact["step_size"], first_order["step_size"])
    torch.testing.assert_close(
        pair()[1].refine(FRAMES, OBSERVED), pair(differentiable=False)[1].refine(FRAMES, OBSERVED)
    )


# without gradients


def test_it_refines_without_gradients_and_keeps_no_graph():
    _, guide = pair()
    expected = guide.refine(FRAMES, OBSERVED)
    with torch.no_grad():
        found = guide.refine(FRAMES, OBSERVED)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert not any(one.requires_grad for step in found for one in step)
    assert expected[-1][0].requires_grad


@pytest.mark.parametrize("seen", [None, OBSERVED], ids=["all seen", "some missing"])
def test_it_fits_its_model(seen):
    model, guide = pair()
    check = check_guide(model, guide, FRAMES, seen)
    assert check.guide.names == ("z",)


def test_evidence_agrees_with_the_exact_one():
    model, guide = pair(num_refinements=8)
    evidence = log_evidence(model, guide, FRAMES, OBSERVED, num_particles=4000, seed=1)
    exact = toy.log_evidence(model, FRAMES, OBSERVED)
    error = (evidence.log_evidence - exact).abs()
    assert (evidence.effective_sample_size > 1000).all()
    assert (error < 5 / evidence.effective_sample_size.sqrt()).all()


@pytest.mark.parametrize(
    "options",
    [
        {"method": Annealing(num_temperatures=20), "num_particles": 32},
        {"method": SMC(num_particles=32), "num_particles": 4},
        {"method": Budget(particles=512)},
    ],
    ids=["annealing", "smc", "auto"],
)
def test_other_ways_to_the_evidence_agree(options):
    model, guide = pair()
    evidence = log_evidence(model, guide, FRAMES, OBSERVED, seed=1, **options)
    exact = toy.log_evidence(model, FRAMES, OBSERVED)
    torch.testing.assert_close(evidence.log_evidence, exact.detach(), rtol=0, atol=0.1)


def test_draws_of_the_posterior_come_from_it():
    model, guide = pair(num_refinements=8)
    evidence = log_evidence(model, guide, FRAMES, OBSERVED, num_particles=4000, seed=1)
    data = evidence.to_inference_data(model, guide, FRAMES, OBSERVED, num_draws=2000)
    precision, target = toy.posterior(model, FRAMES, OBSERVED)
    mean = torch.linalg.solve(precision, target[..., None])[..., 0].detach()
    found = torch.as_tensor(data.posterior["z"].values).mean((0, 1))
    torch.testing.assert_close(found, mean, rtol=0, atol=0.1)


def test_queries_take_it():
    model, guide = pair()
    imputed = queries.impute(model, guide, FRAMES, OBSERVED, num_samples=3)
    assert imputed.frames.shape == FRAMES.shape
    assert imputed.frames.isfinite().all()
    longer = queries.forecast(model, guide, FRAMES, num_frames=2)
    assert longer.frames.shape == (SEQUENCES, TIME + 2, *FRAME_SHAPE)


def test_no_value_is_looked_at():
    model, guide = pair()
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, pyro.validation_enabled(False):
        arguments = mode.from_tensor(FRAMES), mode.from_tensor(OBSERVED)
        drawn = poutine.trace(guide).get_trace(*arguments)
        scored = poutine.trace(poutine.replay(model, trace=drawn)).get_trace(*arguments)
        assert isinstance(scored.log_prob_sum() - drawn.log_prob_sum(), FakeTensor)


def test_a_missing_frame_changes_no_bit_of_bound_and_gradients():
    results = []
    for filling in (0.0, float("nan")):
        model, guide = pair()
        holes = torch.where(OBSERVED[:, :, None, None, None], FRAMES, filling)
        pyro.set_rng_seed(1)
        results.append((Trace_ELBO().loss_and_grads(model, guide, holes, OBSERVED), gradients_of(model, guide)))
    assert results[0][0] == results[1][0]
    torch.testing.assert_close(results[0][1], results[1][1], rtol=0, atol=0)


# steps of training


def svi_of(model, guide, loss, **options):
    return SVI(model, guide, torch.optim.Adam([*model.parameters(), *guide.parameters()], 1e-2), loss, **options)


def walk(loss, steps=3, **options):
    model, guide = pair()
    svi = svi_of(model, guide, loss, **options)
    pyro.set_rng_seed(1)
    losses = [svi.step(FRAMES, OBSERVED).item() for _ in range(steps)]
    return losses, {name: one.detach() for name, one in parameters_of(model, guide).items()}


LOSSES = {
    "Trace_ELBO": Trace_ELBO,
    "TraceMeanField_ELBO": TraceMeanField_ELBO,
    "vectorised": lambda: Trace_ELBO(num_particles=3, vectorize_particles=True),
    "IWAE": lambda: IWAE(3),
    "dreg": lambda: IWAE(3, gradient="dreg"),
    "intermediate": lambda: IntermediateBounds(Trace_ELBO()),
    "intermediate IWAE": lambda: IntermediateBounds(IWAE(3)),
}


@pytest.mark.slow
@pytest.mark.parametrize("compile", [pytest.param("trace", marks=pytest.mark.ci), "inductor"])
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_compiled_step_is_the_eager_one(loss, compile, recwarn):
    losses, parameters = walk(loss(), compile=compile)
    expected, wanted = walk(loss())
    assert losses == pytest.approx(expected, rel=1e-10)
    torch.testing.assert_close(parameters, wanted, rtol=1e-8, atol=1e-10)
    assert not [warning for warning in recwarn if warning.category is CompileWarning]


def test_a_recorded_step_is_the_eager_one():
    """The recorder is a stand-in, so that this runs without a GPU: the same operations at the same addresses."""
    model, guide = pair()
    parameters = [*model.parameters(), *guide.parameters()]

    def step(frames, observed):
        loss = Trace_ELBO().differentiable_loss(model, guide, frames, observed)
        loss.backward()
        return loss.detach()

    graph = trace_step(step, parameters, [FRAMES, OBSERVED])
    recorded = CapturedStep(lambda *inputs: graph.module(*graph.captured, *inputs), [FRAMES, OBSERVED], record)
    with torch.no_grad():
        guide.step_size.add_(0.05)  # a recording reads parameters where they are
    pyro.set_rng_seed(2)
    value, *found = recorded(FRAMES.flip(0), OBSERVED.flip(0))
    pyro.set_rng_seed(2)
    for one in parameters:
        one.grad = None
    torch.testing.assert_close(value, step(FRAMES.flip(0), OBSERVED.flip(0)), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found, [one.grad for one in parameters], rtol=1e-10, atol=1e-12)


def test_gradients_of_a_step_are_those_on_paper_on_average():
    """Differences of gradients with and without sampling noise vanish: one draw of noise is used with both signs."""
    model, guide = pair()
    noise, flipped = torch.randn(SEQUENCES, 2, dtype=torch.float64), iter((1, -1))

    class Antithetic:
        def differentiable_loss(self, model, guide, *args):
            mean, log_scale = guide.refine(*args)[-1]
            z = mean + next(flipped) * noise * log_scale.exp()
            entropy = (log_scale + 0.5 * noise.square()).sum()
            return -(log_joint(model, {"z": z}, *args).sum() + entropy)

    total = sum(Antithetic().differentiable_loss(model, guide, FRAMES, OBSERVED) for _ in range(2)) / 2
    total.backward()
    slope = guide.start.grad.clone()  # the mean's gradient has no noise left, as the density is quadratic
    model, guide = pair()
    exact_loss(model, guide).backward()
    torch.testing.assert_close(slope, guide.start.grad)


def test_site_weights_do_not_reach_the_inner_density():
    """A weight of zero on the frames removes them from the loss, and not from what the guide infers."""
    model, guide = pair()
    with pyro.plate("_particles", 3, dim=-3), poutine.scale(scale=0.1):
        trace = poutine.trace(guide).get_trace(FRAMES, OBSERVED)
    mean = toy.refinements(model, guide, FRAMES, OBSERVED)[-1][0]
    torch.testing.assert_close(trace.nodes["z"]["fn"].base_dist.loc, mean.expand(3, 1, SEQUENCES, 2))
    assert [name for name, node in trace.nodes.items() if node["type"] == "sample"] == ["sequences", "z"]

    losses = []
    for weights in ({"frames": 0.3}, {}):
        model, guide = pair()
        svi = svi_of(model, guide, TraceMeanField_ELBO(), site_weights=weights)
        pyro.set_rng_seed(1)
        losses.append(svi.step(FRAMES, OBSERVED))
    with torch.no_grad():
        divergence = (
            torch.distributions.kl_divergence(
                torch.distributions.Normal(mean, toy.refinements(*pair(), FRAMES, OBSERVED)[-1][1].exp()),
                torch.distributions.Normal(0.0, 1.0),
            ).sum()
            / SEQUENCES
        )
    torch.testing.assert_close(losses[0], 0.3 * (losses[1] - divergence) + divergence)


def test_particles_are_scored_as_they_would_be_alone():
    _, guide = pair()
    arguments = (FRAMES, OBSERVED, None)
    alone, latents = draw(guide, arguments), draw(guide, arguments, 3, 2)
    together = score(guide, arguments, latents, 3, 2)
    separately = torch.stack([score(guide, arguments, single(latents, particle, alone)) for particle in range(3)])
    torch.testing.assert_close(together, separately)


@pytest.mark.slow
@pytest.mark.ci
def test_training_finds_a_better_step_size_and_can_be_resumed(tmp_path):
    stages = [Stage(6, loss=IntermediateBounds(Trace_ELBO())), Stage(6)]

    def go(path, stages, **options):
        model, guide = pair()
        run = RunFolder.start(path, {})
        batch = VideoBatch(FRAMES, observed=OBSERVED)
        train(
            model,
            guide,
            FixedVideos(batch, batch_size=SEQUENCES, seed=1),
            stages,
            validation=batch,
            run=run,
            options=TrainingOptions(learning_rate=0.02, log_every=3, **options),
        )
        return run, {name: one.detach() for name, one in parameters_of(model, guide).items()}

    _, first = go(tmp_path / "run", stages[:1])
    run, resumed = go(tmp_path / "run", stages)
    whole_run, whole = go(tmp_path / "whole", stages)
    torch.testing.assert_close(resumed, whole, rtol=0, atol=0)
    assert run.metrics_path.read_bytes() == whole_run.metrics_path.read_bytes()
    assert not torch.equal(first["step_size"], pair()[1].step_size)
    _, traced = go(tmp_path / "traced", stages, compile="trace")
    torch.testing.assert_close(traced, whole, rtol=1e-8, atol=1e-10)


def test_log_joint_is_that_of_a_replayed_trace():
    model, guide = pair()
    traces = importance_traces(model, guide, (FRAMES, OBSERVED), 3)
    values = {"z": traces.guide.nodes["z"]["value"]}
    torch.testing.assert_close(log_joint(model, values, FRAMES, OBSERVED).squeeze(1), traces.log_joint())
