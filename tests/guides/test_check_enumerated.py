"""These tests pin: a guide may leave out what the model has Pyro sum over (`TraceEnum_ELBO` trains such a pair, and its
bound is right), and nothing else; the tables say which sites these are."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import TraceEnum_ELBO, config_enumerate
from pyro.nn import PyroModule
from torch import nn

from guides import describe_sites
from guides.check.guide import GuideMismatchError, check_guide

FRAMES = torch.rand(5, 3, 1, 2, 2)
CHANCE = 0.3


def program(infer=None, law=None):
    """A bit for each frame; the frame's first pixel is centred on it."""
    law = law or dist.Bernoulli(torch.tensor(CHANCE))

    def model(frames, observed=None, controls=None):
        with pyro.plate("sequences", 5, dim=-1), pyro.plate("time", 3, dim=-2):
            bit = pyro.sample("bit", law, infer=infer or {})
            pyro.sample("pixel", dist.Normal(1.0 * bit, 0.5), obs=frames[:, :, 0, 0, 0].T)

    return model


def empty(frames, observed=None, controls=None):
    return None


ENUMERATED = {
    "by the site": program({"enumerate": "parallel"}),
    "by config_enumerate": config_enumerate(program()),
    "of three values": program({"enumerate": "parallel"}, dist.Categorical(torch.full((3,), 1 / 3))),
}


@pytest.mark.parametrize("model", ENUMERATED.values(), ids=ENUMERATED.keys())
def test_a_guide_may_leave_out_what_the_model_enumerates(model):
    check = check_guide(model, empty, FRAMES)
    line = next(line for line in str(check).splitlines() if line.startswith("bit"))
    assert "(left out: enumerated)" in line
    assert "latent, enumerated" in str(check.model)
    assert describe_sites(model, FRAMES)["bit"].enumeration == "parallel"
    assert torch.tensor(TraceEnum_ELBO(max_plate_nesting=2).loss(model, empty, FRAMES)).isfinite()


def test_its_bound_is_the_evidence_of_a_sum_over_all_values():
    """log of p N(x; 1, 1/4) + (1 - p) N(x; 0, 1/4), with the normal density written out."""
    x = FRAMES[:, :, 0, 0, 0].double()
    density = lambda mean: torch.exp(-2 * (x - mean) ** 2) / (0.5 * (2 * torch.pi) ** 0.5)  # noqa: E731
    evidence = (CHANCE * density(1.0) + (1 - CHANCE) * density(0.0)).log().sum()
    loss = TraceEnum_ELBO(max_plate_nesting=2).loss(ENUMERATED["by the site"], empty, FRAMES)
    assert loss == pytest.approx(-float(evidence), rel=1e-5)


def only(model, guide):
    with pytest.raises(GuideMismatchError) as caught:
        check_guide(model, guide, FRAMES)
    (found,) = caught.value.mismatches
    return str(found)


def test_what_is_not_enumerated_has_to_be_drawn():
    assert only(program(), empty).endswith("got no such site; add it to the guide")
    sequential = only(program({"enumerate": "sequential"}), empty)
    assert 'or mark it infer={"enumerate": "parallel"} in the model: got \'sequential\' there' in sequential
    continuous = only(program({"enumerate": "parallel"}, dist.Normal(0.0, 1.0)), empty)
    assert continuous.endswith("got no such site; add it to the guide")


def test_a_guide_may_draw_it_all_the_same():
    class Guide(PyroModule):
        def __init__(self):
            super().__init__()
            self.logit = nn.Parameter(torch.zeros(()))

        def forward(self, frames, observed=None, controls=None):
            with pyro.plate("sequences", 5, dim=-1), pyro.plate("time", 3, dim=-2):
                pyro.sample("bit", dist.Bernoulli(logits=self.logit), infer={"enumerate": "parallel"})

    check = check_guide(program({"enumerate": "parallel"}), Guide(), FRAMES)
    assert "left out" not in str(check)


def test_a_typing_error_beside_it_is_still_named():
    def guide(frames, observed=None, controls=None):
        with pyro.plate("sequences", 5, dim=-1), pyro.plate("time", 3, dim=-2):
            pyro.sample("bits", dist.Bernoulli(torch.tensor(0.5)))

    assert only(ENUMERATED["by the site"], guide).startswith(
        'bits: expected no such site, got Bernoulli; rename it to "bit"'
    )
