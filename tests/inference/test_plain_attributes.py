"""These tests pin: what a model keeps as a Python attribute is noticed by compiled steps when it changes: the numbers
are those of eager steps, the attribute is named with its remedy, and tracing stops after a few changes."""

import warnings

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import nn

from inference import VIMCO
from inference.svi import compiled as compiled_step
from inference.svi.compiled import MOST_HASTY_CHANGES, CompileWarning
from inference.svi.plain_attributes import PlainAttributes
from tests.inference.test_compiled_step import Mixture, MixtureGuide, X, svi_of, walk


@pytest.fixture(autouse=True)
def traces(monkeypatch):
    """How often a step was traced."""
    made = []
    real = compiled_step.trace_step

    def counted(*arguments):
        made.append(1)
        return real(*arguments)

    monkeypatch.setattr(compiled_step, "trace_step", counted)
    return made


def both(model, between=lambda svi, step: None, steps=6, mode="trace", loss=lambda: VIMCO(3)):
    """Traced steps, compared with eager ones of a second model; the warnings of the traced ones."""
    build = lambda mode: svi_of(model(), MixtureGuide(), loss(), mode)  # noqa: E731
    expected = walk(build("off"), [X] * steps, between)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        got = walk(build(mode), [X] * steps, between)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)
    return [str(one.message) for one in caught if one.category is CompileWarning]


def test_a_number_that_changes_once_is_traced_anew_and_named(traces):
    def between(svi, step):
        if step == 3:
            svi.model.spread = 2.0

    (warning,) = both(Mixture, between)
    assert len(traces) == 2
    assert warning == (
        "the SVI step is traced again, as an attribute of a module changed: Mixture.spread from 1.0 to 2.0; a graph "
        "holds such attributes as they were: for what changes, expected a buffer, self.register_buffer(name, "
        "torch.tensor(value)), changed in place by self.name.fill_(value)"
    )


def test_a_number_that_comes_back_has_its_graph_still(traces):
    def between(svi, step):
        svi.model.spread = (1.0, 2.0)[step % 2]

    assert len(both(Mixture, between, steps=12)) == 1
    assert len(traces) == 2


def test_a_number_that_changes_at_every_step_ends_in_eager_steps(traces):
    def between(svi, step):
        svi.model.spread += 0.1

    *anew, last = both(Mixture, between, steps=10)
    assert len(traces) == 1 + MOST_HASTY_CHANGES
    assert len(anew) == MOST_HASTY_CHANGES
    assert last.startswith("the SVI step runs eagerly, it cannot be compiled: attributes of modules change too often")
    assert "Mixture.spread from 1.4" in last
    assert "register_buffer" in last


def test_changes_that_are_rare_enough_may_go_on(traces, monkeypatch):
    monkeypatch.setattr(compiled_step, "WORTH_TRACING", 3)

    def between(svi, step):
        svi.model.spread = 1.0 + step // 3

    assert len(both(Mixture, between, steps=18)) == 5
    assert len(traces) == 6


class Flagged(Mixture):
    """A flag, a string, a tuple and a setting of a submodule decide what the model is."""

    def __init__(self):
        super().__init__()
        self.wide, self.kind, self.offsets, self.note = False, "plain", (0.0, (1.0, 2.0)), None
        self.layer = nn.LeakyReLU(0.1)

    def forward(self, x):
        spread = self.spread * (2.0 if self.wide else 1.0) * (3.0 if self.kind == "odd" else 1.0)
        with pyro.plate("sequences", x.shape[0], dim=-1):
            bit = pyro.sample("bit", dist.Bernoulli(torch.full((), 0.3)))
            mean = self.layer(self.level[0] + bit * self.centre - 1.0) + self.offsets[1][0]
            mean = mean + (0.0 if self.note is None else 1.0)
            pyro.sample("x", dist.Normal(mean, spread * self.level[1].exp()).expand_by([]), obs=x[:, 0])


CHANGES = {
    "flag": ("Flagged.wide from False to True", lambda model: setattr(model, "wide", True)),
    "string": ("Flagged.kind from 'plain' to 'odd'", lambda model: setattr(model, "kind", "odd")),
    "tuple": (
        "Flagged.offsets from (0.0, (1.0, 2.0)) to (0.0, (5.0, 2.0))",
        lambda model: setattr(model, "offsets", (0.0, (5.0, 2.0))),
    ),
    "None": ("Flagged.note from None to 'noted'", lambda model: setattr(model, "note", "noted")),
    "of PyTorch's modules": (
        "LeakyReLU.negative_slope from 0.1 to 0.9",
        lambda model: setattr(model.layer, "negative_slope", 0.9),
    ),
}


@pytest.mark.parametrize(("words", "change"), CHANGES.values(), ids=CHANGES.keys())
def test_every_kind_of_plain_value_is_noticed(words, change, traces):
    def between(svi, step):
        if step == 2:
            change(svi.model)

    (warning,) = both(Flagged, between, steps=4)
    assert words in warning
    assert len(traces) == 2


def test_an_attribute_that_is_new_to_the_instance_is_noticed():
    class ByClass(Mixture):
        shift = 0.0

        def forward(self, x):
            return super().forward(x + self.shift)

    def between(svi, step):
        if step == 2:
            svi.model.shift = 3.0

    (warning,) = both(ByClass, between, steps=4)
    assert "ByClass.shift to 3.0" in warning


def test_an_attribute_of_the_guide_is_noticed():
    class Sharper(MixtureGuide):
        factor = 1.0

        def __init__(self):
            super().__init__()
            self.factor = 1.0

        def forward(self, x):
            return super().forward(x * self.factor)

    def run(mode):
        svi = svi_of(Mixture(), Sharper(), VIMCO(3), mode)
        return walk(svi, [X] * 4, lambda svi, step: setattr(svi.guide, "factor", 1.0 + (step > 1)))

    expected = run("off")
    with pytest.warns(CompileWarning, match="Sharper.factor from 1.0 to 2.0"):
        got = run("trace")
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


class Counts(Mixture):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


def test_a_counter_that_the_model_keeps_for_itself_is_traced_once_and_named(traces):
    (warning,) = both(Counts, steps=8, loss=Trace_ELBO)
    assert len(traces) == 2  # once more, to see whether the count matters
    assert warning.startswith("forward changes Counts.calls from 1 to 2, but graphs do not call it: it stands still; ")


class Anneals(Counts):
    def forward(self, x):
        self.spread = 1.0 + 1.0 / (self.calls + 1)
        return super().forward(x)


def test_a_model_that_anneals_itself_runs_eagerly():
    (warning,) = both(Anneals, steps=6, loss=Trace_ELBO)
    assert warning.startswith("the SVI step runs eagerly, it cannot be compiled: forward changes Anneals.spread from ")
    assert ", and computes with it; a graph holds such attributes as they were" in warning


def test_a_flag_that_the_first_call_sets_takes_that_call_as_a_step(traces):
    class First(Mixture):
        def __init__(self):
            super().__init__()
            self.started = False

        def forward(self, x):
            if not self.started:
                x = x + 5.0
            self.started = True
            return super().forward(x)

    assert both(First, loss=Trace_ELBO) == []
    assert len(traces) == 1


def test_what_changes_in_buffers_or_by_mode_is_no_attribute(traces):
    def between(svi, step):
        svi.model.centre.fill_(step)
        svi.model.train(step < 2)

    assert both(Mixture, between) == []
    assert len(traces) == 2


def test_looking_is_cheap_and_by_value():
    layers = [nn.Linear(2, 2) for _ in range(100)]
    attributes = PlainAttributes(layers)
    first = attributes.version()
    assert len(attributes.values()) == 200
    layers[7].in_features = int("2")
    assert attributes.version() == first
    layers[7].in_features = 2.0  # equal, and another type: another graph for all that torch promotes
    second = attributes.version()
    assert second != first
    layers[7].in_features = torch.ones(2)
    assert len({first, second, attributes.version()}) == 3
    del layers[7].in_features
    assert attributes.version() not in (first, second)
    layers[7].in_features = 2
    assert attributes.version() == first
