"""These tests pin: a compiled step's numbers are the eager step's, whatever changes between steps; what it announces,
how many graphs it keeps, and how a model that cannot be compiled continues."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import (
    RenyiELBO,
    Trace_ELBO,
    TraceEnum_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
)
from pyro.nn import PyroModule
from torch import nn

from inference import IWAE, SVI, VIMCO, NonFiniteError
from inference.svi import compiled as compiled_step
from inference.svi.compiled import CACHED_SIGNATURES, WORTH_RECORDING, WORTHWHILE_STEPS, CompileWarning
from inference.svi.nonfinite import inspect_step
from inference.svi.schedules import LinearRamp
from tests.oracles.closed_form_bounds import ToyGuide, ToyModel, ToyParameters, toy_data

X = toy_data(sequences=5, time=3).float()


class Mixture(PyroModule):
    """Sequences around one of two centres; `centre` is a buffer, `spread` a plain number, one bit a sequence."""

    def __init__(self):
        super().__init__()
        self.level = nn.Parameter(torch.tensor([0.3, -0.4]))
        self.register_buffer("centre", torch.tensor(1.0))
        self.spread = 1.0

    def forward(self, x):
        with pyro.plate("sequences", x.shape[0], dim=-1):
            bit = pyro.sample("bit", dist.Bernoulli(torch.full((), 0.3)))
            law = dist.Normal(self.level[0] + bit * self.centre, self.spread * self.level[1].exp())
            pyro.sample("x", law.expand_by([]), obs=x[:, 0])


class MixtureGuide(PyroModule):
    def __init__(self, enumerate_bits=False):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.5))
        self.infer = {"enumerate": "parallel"} if enumerate_bits else {}

    def forward(self, x):
        with pyro.plate("sequences", x.shape[0], dim=-1):
            pyro.sample("bit", dist.Bernoulli(logits=self.slope * x[:, 0]), infer=self.infer)


def mixture(**options):
    return Mixture(), MixtureGuide(**options)


def toys():
    p = ToyParameters.make()
    return ToyModel(p).float(), ToyGuide(p).float()


def svi_of(model, guide, loss, mode, **options):
    parameters = [*model.parameters(), *guide.parameters()]
    return SVI(model, guide, torch.optim.Adam(parameters, lr=0.05), loss, compile=mode, **options)


def walk(svi, batches, between=lambda svi, step: None):
    """Losses, gradient norms and the last parameters of steps on the batches, from one seed."""
    pyro.set_rng_seed(3)
    numbers = []
    for step, batch in enumerate(batches):
        between(svi, step)
        numbers.append(svi.step(batch))
        numbers.append(svi.gradient_norm)
    drawn = torch.rand(3)  # the stream stands where an eager step leaves it
    return [*numbers, drawn, *(p.detach().clone() for m in (svi.model, svi.guide) for p in m.parameters())]


def assert_same(build, batches, modes=("trace",), between=lambda svi, step: None):
    """All modes walk alike."""
    expected = walk(build("off"), batches, between)
    for mode in modes:
        torch.testing.assert_close(walk(build(mode), batches, between), expected, rtol=1e-5, atol=1e-6)


LOSSES = {
    "IWAE": (toys, lambda: IWAE(3)),
    "Trace_ELBO": (toys, Trace_ELBO),
    "Trace_ELBO vectorised": (toys, lambda: Trace_ELBO(num_particles=3, vectorize_particles=True)),
    "TraceMeanField_ELBO": (toys, TraceMeanField_ELBO),
    "VIMCO": (mixture, lambda: VIMCO(4)),
    "TraceGraph_ELBO": (mixture, TraceGraph_ELBO),
    "Trace_ELBO, score function": (mixture, Trace_ELBO),
    "TraceEnum_ELBO": (
        lambda: mixture(enumerate_bits=True),
        lambda: TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False),
    ),
}


@pytest.mark.parametrize(("build", "loss"), LOSSES.values(), ids=LOSSES.keys())
def test_a_traced_step_takes_the_eager_steps(build, loss, recwarn):
    assert_same(lambda mode: svi_of(*build(), loss(), mode), [X + 0.1 * step for step in range(6)])
    assert not [warning for warning in recwarn if warning.category is CompileWarning]


@pytest.mark.slow
def test_inductor_takes_them_too():
    build = lambda mode: svi_of(*mixture(), VIMCO(4), mode)  # noqa: E731
    assert_same(build, [X + 0.1 * step for step in range(6)], modes=("inductor",))


def test_schedules_buffers_and_modes_are_seen():
    """Weights by schedule, a buffer filled in place, a parameter frozen, a module set to evaluation."""

    def between(svi, step):
        svi.model.centre.fill_(1 + step)
        svi.model.level.requires_grad_(step < 3)
        svi.guide.train(step < 4)

    def build(mode):
        weights = {"x": LinearRamp(0.1, 1.0, 5), "bit": 0.5}
        return svi_of(*mixture(), VIMCO(3), mode, site_weights=weights, clip_norm=0.1)

    assert_same(build, [X] * 6, between=between)


def test_a_buffer_that_is_replaced_is_seen():
    def between(svi, step):
        svi.model.centre = torch.tensor(1.0 + step)

    assert_same(lambda mode: svi_of(*mixture(), VIMCO(3), mode), [X] * 4, between=between)


def test_what_a_model_counts_in_buffers_is_counted_once_a_step():
    class Counting(Mixture):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls.add_(1.0)
            return super().forward(x)

    svi = svi_of(Counting(), MixtureGuide(), Trace_ELBO(), "trace")
    for _ in range(4):
        svi.step(X)
    assert svi.model.calls == 4


def test_each_kind_of_input_has_a_graph_and_the_last_few_are_kept(caplog):
    caplog.set_level("INFO", "inference")
    svi = svi_of(*toys(), IWAE(2), "trace")
    sizes = [5, 3, 5, 3]
    for size in sizes:
        svi.step(X[:size])
    assert len(caplog.records) == 2
    assert all("operations traced" in record.getMessage() for record in caplog.records)
    assert "5x3" in caplog.text
    assert "3x3" in caplog.text
    many = toy_data(sequences=CACHED_SIGNATURES + 3, time=3).float()
    for size in range(1, len(many) + 1):
        svi.step(many[:size])
    assert len(svi._compiled._steps) == CACHED_SIGNATURES


def test_a_branch_on_a_value_is_named_and_the_step_runs_eagerly():
    class Branching(Mixture):
        def forward(self, x):
            if x.mean() > 0:  # the line that is named
                pass
            return super().forward(x)

    build = lambda mode: svi_of(Branching(), MixtureGuide(), VIMCO(3), mode)  # noqa: E731
    expected = walk(build("off"), [X] * 3)
    with pytest.warns(CompileWarning) as warned:
        got = walk(build("trace"), [X] * 3)
    torch.testing.assert_close(got, expected, rtol=0, atol=0)
    (warning,) = [one for one in warned if one.category is CompileWarning]
    text = str(warning.message)
    assert "test_compiled_step.py:" in text
    assert "if x.mean() > 0" in text
    assert "torch.where" in text


def test_a_loss_that_reads_values_back_runs_eagerly():
    """Pyro's RenyiELBO reads the value of its own sums."""
    with pytest.warns(CompileWarning, match=r"renyi_elbo.py:\d+ .*\.item\(\)"):
        svi_of(*toys(), RenyiELBO(num_particles=2, vectorize_particles=True), "trace").step(X)


def test_without_a_compiler_the_step_is_traced(monkeypatch):
    def broken(graph, inputs):
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.setattr(compiled_step, "compile_graph", broken)
    build = lambda mode: svi_of(*mixture(), VIMCO(4), mode)  # noqa: E731
    with pytest.warns(CompileWarning, match=r"runs traced.*No working C\+\+ compiler found"):
        assert_same(build, [X] * 3, modes=("inductor",))


def test_an_argument_without_identity_is_named_and_the_step_runs_eagerly():
    class Noting(Mixture):
        def forward(self, x, note):
            return super().forward(x)

    class NotingGuide(MixtureGuide):
        def forward(self, x, note):
            return super().forward(x)

    with pytest.warns(CompileWarning, match="arguments of type set cannot be told"):
        svi_of(Noting(), NotingGuide(), VIMCO(3), "trace").step(X, {"a"})


def test_the_first_step_is_validated(recwarn):
    """A graph cannot look at values, so Pyro's checks, if they are on, see the first step of each kind."""
    model, guide = mixture()
    model.spread = -1.0
    with pyro.validation_enabled(True), pytest.raises(ValueError, match="scale"):
        svi_of(model, guide, VIMCO(3), "trace").step(X)
    assert not [warning for warning in recwarn if warning.category is CompileWarning]


def test_an_error_of_one_batch_is_raised_and_the_next_is_compiled(caplog):
    caplog.set_level("INFO", "inference")
    svi = svi_of(*toys(), IWAE(2), "trace")
    with pytest.raises((RuntimeError, ValueError, IndexError)):
        svi.step(X[:, :0, None])
    assert not caplog.records
    svi.step(X)
    assert "traced" in caplog.text


def test_non_finite_values_are_found_and_the_site_named():
    model, guide = mixture()
    svi = svi_of(model, guide, VIMCO(3), "trace")
    svi.step(X)
    svi.check_finite()
    bad = X.clone()
    bad[1, 0] = float("inf")
    with torch.no_grad():
        kept = [p.clone() for p in (*model.parameters(), *guide.parameters())]
    svi.step(bad)
    with pytest.raises(NonFiniteError, match="step 1"):
        svi.check_finite()
    with torch.no_grad():
        for parameter, value in zip((*model.parameters(), *guide.parameters()), kept, strict=True):
            parameter.copy_(value)
    assert "site 'x'" in inspect_step(svi, (bad,)) or "site 'bit'" in inspect_step(svi, (bad,))


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="compile: expected one of auto, off, trace, inductor, cudagraph, got 'fast'"):
        svi_of(*toys(), IWAE(2), "fast")


@pytest.mark.parametrize("mode", ["off", "trace"])
def test_a_baseline_that_pyro_averages_by_place_in_the_batch_is_refused(mode):
    model, guide = mixture()
    guide.infer = {"baseline": {"use_decaying_avg_baseline": True}}
    with pytest.raises(ValueError, match="guide: expected baselines without 'use_decaying_avg_baseline'"):
        svi_of(model, guide, TraceGraph_ELBO(), mode).step(X)


def test_a_cuda_graph_of_a_batch_elsewhere_is_refused():
    with pytest.raises(ValueError, match="compile: 'cudagraph' expected a batch on a CUDA device, got one on cpu"):
        svi_of(*toys(), IWAE(2), "cudagraph").step(X)


@pytest.mark.parametrize(
    ("steps", "largest", "words"),
    [
        (None, 10_000, "mode trace (how many steps will be taken is not known)"),
        (100, 10_000, "mode trace (100 steps are too few to be worth compiling)"),
        (WORTHWHILE_STEPS, 10, "mode trace (too large to compile)"),
        (WORTHWHILE_STEPS, 10_000, f"mode inductor (worth compiling for {WORTHWHILE_STEPS} steps)"),
    ],
)
def test_auto_says_what_it_chose_and_why(caplog, monkeypatch, steps, largest, words):
    caplog.set_level("INFO", "inference")
    monkeypatch.setattr(compiled_step, "LARGEST_COMPILED", largest)
    monkeypatch.setattr(compiled_step, "compile_graph", lambda graph, inputs: graph.module)
    svi_of(*toys(), IWAE(2), "auto", expected_steps=steps).step(X)
    assert words in caplog.text


@pytest.mark.gpu
@pytest.mark.parametrize(("steps", "mode"), [(None, "cudagraph"), (WORTH_RECORDING, "cudagraph"), (3, "trace")])
def test_on_a_gpu_auto_records(caplog, steps, mode):
    caplog.set_level("INFO", "inference")
    model, guide = (module.cuda() for module in toys())
    svi_of(model, guide, IWAE(2), "auto", expected_steps=steps).step(X.cuda())
    assert f"mode {mode} " in caplog.text
