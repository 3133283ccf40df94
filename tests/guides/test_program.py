"""`sample_sites`: what the user wrote as sample statements, and nothing that Pyro adds."""

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine

from guides.program import sample_sites


def program():
    with pyro.plate("sequences", 10, subsample_size=4, dim=-1):
        z = pyro.sample("z", dist.Normal(torch.zeros(4), 1.0))
        pyro.deterministic("double", 2 * z)
        pyro.factor("penalty", -z.square())
        pyro.sample("frames", dist.Normal(z, 1.0), obs=torch.zeros(4))


def test_bookkeeping_and_deterministic_values_are_no_sample_sites():
    trace = poutine.trace(program).get_trace()
    assert {"sequences", "double"} <= set(trace.nodes)
    sites = sample_sites(trace)
    assert list(sites) == ["z", "penalty", "frames"]
    assert all(site is trace.nodes[name] for name, site in sites.items())
