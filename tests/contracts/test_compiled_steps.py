"""What compiling promises for every model, guide and estimator: the eager step's losses, gradients and updates.

The fast tests cover some pairs; the slow ones cover all pairs, and a few with the compiler.
"""

import re

import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceGraph_ELBO

from guides.stepwise import StepwiseGuide
from inference import FIVO, SVI
from inference.svi import compiled
from inference.svi.compiled import CompileWarning
from inference.svi.passes import joined, looks_at_memory
from tests.contracts.registry import ESTIMATORS, GUIDES, MODELS, build_guide, make_video, unsettle

LOSSES = {
    **{name: lambda build=build: build(num_particles=2) for name, build in ESTIMATORS.items()},
    "Trace_ELBO": Trace_ELBO,
    "TraceGraph_ELBO": TraceGraph_ELBO,
    "FIVO": lambda: FIVO(2),
}
CHOICES = ("vimco", "wake-sleep", "TraceGraph_ELBO", "Trace_ELBO")
MADE_FOR = {  # guides with draws that are not reparameterised, or that have no density
    "FrameGaussianGuide, point": ("Trace_ELBO", "TraceGraph_ELBO"),
    "ObjectStatesGuide": CHOICES,
    "ObjectStatesGuide, learned": CHOICES,
    "GlimpseAttentionGuide": CHOICES,
    "DiscoveryPropagationGuide": ("vimco", "wake-sleep", "Trace_ELBO", "FIVO"),
    "DiscoveryPropagationGuide, on a map": ("vimco", "wake-sleep", "Trace_ELBO", "FIVO"),
    "DiscoveryPropagationGuide, presence first": ("vimco", "wake-sleep", "Trace_ELBO", "FIVO"),
    "IterativeRefinementGuide of GlimpseAttentionGuide": CHOICES,
    "SilhouetteTrackingGuide": ("vimco", "wake-sleep", "Trace_ELBO", "FIVO"),
}


def fits(guide, loss):
    """Whether an estimator applies to a guide."""
    if guide in MADE_FOR:
        return loss in MADE_FOR[guide]
    return loss != "FIVO" or isinstance(build_guide(guide)[1], StepwiseGuide)


PAIRS = [(guide, loss) for guide in GUIDES for loss in LOSSES if fits(guide, loss)]
QUICK = [
    ("GlimpseAttentionGuide", "TraceGraph_ELBO"),
    ("KalmanGuide, collapsed", "iwae-stl"),
    ("FrameGaussianGuide, bidirectional", "Trace_ELBO"),
    ("FrameGaussianGuide, controls", "wake-sleep"),
    ("RecurrentGuide", "FIVO"),
    ("RecurrentGuide of DVBF", "iwae"),
]
JOINED = [next(pair for pair in PAIRS if pair[0] == guide) for guide in GUIDES]
CHOSEN = {re.split(", | of ", guide)[0]: guide for guide in reversed(GUIDES)}.values()  # the first of each class
COMPILED = [
    ("GlimpseAttentionGuide", "vimco"),
    ("KalmanGuide, collapsed", "iwae"),
    ("RecurrentGuide, controls", "Trace_ELBO"),
    ("FrameGaussianGuide", "iwae-dreg"),
]


def walk(guide_name, loss, mode, steps, device="cpu", dtype=torch.float32):
    """Losses, gradients of the first step, parameters after the last."""
    pyro.set_rng_seed(0)
    model, guide = build_guide(guide_name)
    for module in (model, guide):
        unsettle(module)
        module.to(device, dtype)
    frames, observed, controls = make_video(MODELS[GUIDES[guide_name].model].control_dim)
    whole = (frames, observed, controls)
    batch = tuple(None if one is None else one[:, :4].to(device) for one in whole)
    batch = tuple(one.to(dtype) if one is not None and one.is_floating_point() else one for one in batch)
    parameters = [*model.parameters(), *guide.parameters()]
    weights = {"frames": lambda step: 0.5 + 0.1 * step}
    svi = SVI(model, guide, torch.optim.Adam(parameters, 1e-3), LOSSES[loss](), weights, 10.0, compile=mode)
    pyro.set_rng_seed(1)
    losses, gradients = [], []
    for step in range(steps):
        losses.append(svi.step(*batch))
        if step == 0:
            gradients = [None if one.grad is None else one.grad.clone() for one in parameters]
    return losses, gradients, [one.detach() for one in parameters]


def assert_alike(guide, loss, mode, steps, recwarn, device="cpu", dtype=torch.float32):
    ours, expected = (walk(guide, loss, way, steps, device, dtype) for way in (mode, "off"))
    losses, gradients, parameters = ours
    assert not [warning for warning in recwarn if warning.category is CompileWarning]
    torch.testing.assert_close(losses, expected[0], rtol=1e-5, atol=1e-5)
    for gradient, other in zip(gradients, expected[1], strict=True):
        assert (gradient is None) == (other is None)
        if gradient is not None:
            torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-5 * float(other.abs().max() + 1))
    torch.testing.assert_close(parameters, expected[2], rtol=1e-3, atol=1e-4)


def each(pairs, ci=()):
    chosen = [pytest.param(*pair, marks=pytest.mark.ci if pair[0] in ci else ()) for pair in pairs]
    return pytest.mark.parametrize(("guide", "loss"), chosen, ids=[f"{guide}; {loss}" for guide, loss in pairs])


@each(QUICK)
def test_a_traced_step_is_the_eager_one(guide, loss, recwarn):
    assert_alike(guide, loss, "trace", 3, recwarn)


@pytest.mark.slow
@each(PAIRS)
def test_so_it_is_for_every_estimator(guide, loss, recwarn):
    # Over 50 steps in float32, differences of rounding grow past any bound that would tell them from mistakes.
    assert_alike(guide, loss, "trace", 50, recwarn, dtype=torch.float64)


def num_computed(module):
    """How many operations of a graph fill memory of their own."""
    return sum(node.op == "call_function" and not looks_at_memory(node.target) for node in module.graph.nodes)


@pytest.mark.slow
@each(JOINED, ci=CHOSEN)
def test_a_joined_step_is_the_eager_one(guide, loss, recwarn, monkeypatch):
    def join(graph, inputs):
        module = joined(graph.module, [*graph.captured, *inputs])
        assert num_computed(module) < num_computed(graph.module)
        return module

    monkeypatch.setattr(compiled, "compile_graph", join)
    assert_alike(guide, loss, "inductor", 3, recwarn, dtype=torch.float64)


@pytest.mark.slow
@each(COMPILED)
def test_a_compiled_step_is_the_eager_one(guide, loss, recwarn):
    assert_alike(guide, loss, "inductor", 50, recwarn)


@pytest.mark.gpu
@each(PAIRS)
def test_a_recorded_step_is_the_eager_one(guide, loss, recwarn):
    assert_alike(guide, loss, "cudagraph", 50, recwarn, "cuda")
