"""These tests pin: what describe_sites reports for each kind of site, how it prints, and that it changes nothing."""

import random

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule
from torch import nn

from guides.describe import describe_sites

FRAMES = torch.rand(5, 7, 1, 3, 2)


def model(frames, observed=None, controls=None):
    sequences, time = frames.shape[:2]
    with pyro.plate("sequences", sequences, dim=-1):
        path = pyro.sample("path", dist.Normal(torch.zeros(time, 4), 1.0).to_event(2))
        pyro.sample("present", dist.Bernoulli(0.5))
        pyro.sample("scale", dist.LogNormal(0.0, 1.0))
        pyro.sample("angle", dist.Uniform(-3.0, 3.0))
        pyro.sample("kind", dist.Categorical(torch.ones(3) / 3))
        pyro.deterministic("twice", 2 * path)
        with pyro.plate("time", time, dim=-2):
            law = dist.Bernoulli(torch.full((1, 3, 2), 0.5)).to_event(3)
            pyro.sample(
                "frames", law.mask(torch.ones(time, sequences, dtype=torch.bool)), obs=frames.transpose(0, 1) * 0
            )


def test_every_property_of_a_site_is_read():
    table = describe_sites(model, FRAMES)
    assert table.names == ("path", "present", "scale", "angle", "kind", "frames")
    path, frames = table["path"], table["frames"]
    assert path.distribution == "Normal.to_event(2)"
    assert path.event_shape == (7, 4)
    assert path.batch_shape == (5,)
    assert path.reparameterised
    assert not path.discrete
    assert not path.observed
    assert frames.distribution == "Bernoulli.to_event(3).mask()"
    assert frames.batch_shape == (7, 5)
    assert [tuple(plate) for plate in frames.plates] == [("sequences", 5, -1), ("time", 7, -2)]
    assert frames.observed
    assert not frames.reparameterised
    assert table["present"].discrete
    assert not table["present"].reparameterised
    assert [site.name for site in table.latent] == ["path", "present", "scale", "angle", "kind"]
    assert table.plate_nesting == 2
    assert {site.name: site.support for site in table} == {
        "path": "real",
        "present": "0 or 1",
        "scale": "positive",
        "angle": "between -3 and 3",
        "kind": "integers 0 to 2",
        "frames": "0 or 1",
    }


def test_it_prints_as_aligned_text_and_as_html():
    table = describe_sites(model, FRAMES)
    lines = str(table).splitlines()
    assert lines[0].split()[:3] == ["site", "distribution", "event"]
    assert len(lines) == 2 + len(table)
    assert "sequences[5]@-1 time[7]@-2" in lines[-1]
    assert len({line.index("latent") for line in lines if "latent" in line}) == 1
    html = table._repr_html_()
    assert html.count("<tr>") == 1 + len(table)
    assert "<td>Normal.to_event(2)</td>" in html


def test_an_unknown_site_is_named_with_the_known_ones():
    with pytest.raises(KeyError, match="no site 'pat'; the sites are path, present"):
        describe_sites(model, FRAMES)["pat"]


class Restless(PyroModule):
    """A model with everything that a call could disturb."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)

    def forward(self, frames, observed=None, controls=None):
        pyro.param("made_on_the_way", torch.ones(3))
        np.random.rand()
        random.random()
        with pyro.plate("sequences", frames.shape[0], dim=-1):
            pyro.sample("code", dist.Normal(self.norm(torch.rand(frames.shape[0], 4)), 1.0).to_event(1))


def test_looking_disturbs_neither_generators_nor_parameters_nor_buffers():
    model = Restless()
    pyro.param("made_before", torch.ones(2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pyro.set_rng_seed(3)
    expected = (torch.rand(4), np.random.rand(), random.random())
    pyro.set_rng_seed(3)
    describe_sites(model, FRAMES)
    got = (torch.rand(4), np.random.rand(), random.random())
    assert torch.equal(got[0], expected[0])
    assert got[1:] == expected[1:]
    assert list(pyro.get_param_store()) == ["made_before"]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    pyro.enable_validation(True)
    describe_sites(model, FRAMES)
    assert pyro.settings.get("validate_poutine")
