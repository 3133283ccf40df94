"""These tests pin: a site that only the guide has is refused, since it raises the bound by its entropy, and the named
remedies give a bound; a change of variables, as in Pyro's automatic guides, is accepted."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from pyro.infer.autoguide import AutoDelta, AutoDiagonalNormal, AutoMultivariateNormal, AutoNormal

from guides.check.auxiliary import EXTRA_SITE
from guides.check.guide import GuideMismatchError, check_guide
from tests.guides.test_check import FRAMES, Guide
from tests.guides.test_check import model as plain_model

AUXILIARY = {"infer": {"is_auxiliary": True}}
LEVELS = FRAMES[:, :, 0, 0, 0].mean(1)  # of each sequence


def level_model(frames, observed=None, controls=None):
    """z ~ N(0, 1) of a sequence, x ~ N(z, 1) for the mean of its corner pixels: the posterior is N(x / 2, 1 / 2)."""
    with pyro.plate("sequences", len(frames), dim=-1):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("level", dist.Normal(z, 1.0), obs=frames[:, :, 0, 0, 0].mean(1))


def noisy_guide(frames, observed=None, controls=None):
    """The exact posterior as the marginal of u and z: u ~ N(x / 2, 1 / 4), z ~ N(u, 1 / 4)."""
    with pyro.plate("sequences", len(frames), dim=-1):
        u = pyro.sample("u", dist.Normal(frames[:, :, 0, 0, 0].mean(1) / 2, 0.5), **AUXILIARY)
        pyro.sample("z", dist.Normal(u, 0.5))


def extended_model(frames, observed=None, controls=None):
    """The remedy: the model draws u as well, given z; here by the guide's own conditional, which makes it exact."""
    level = frames[:, :, 0, 0, 0].mean(1)
    with pyro.plate("sequences", len(frames), dim=-1):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("u", dist.Normal((level / 2 + z) / 2, math.sqrt(1 / 8)))
        pyro.sample("level", dist.Normal(z, 1.0), obs=level)


def marked_no_more(frames, observed=None, controls=None):
    return poutine.infer_config(noisy_guide, lambda site: {"is_auxiliary": False})(frames, observed, controls)


def bound(model, guide):
    """The ELBO of all sequences together, from 2,000 draws."""
    with pyro.poutine.seed(rng_seed=1):
        return -Trace_ELBO(num_particles=2000, vectorize_particles=True, max_plate_nesting=1).loss(model, guide, FRAMES)


def evidence():
    return float(dist.Normal(0.0, math.sqrt(2.0)).log_prob(LEVELS).sum())


@pytest.mark.parametrize("marked", [True, False])
def test_a_site_of_the_guide_alone_is_refused_with_remedies(marked):
    guide = noisy_guide if marked else marked_no_more
    with pytest.raises(GuideMismatchError) as caught:
        check_guide(level_model, guide, FRAMES)
    (found,) = caught.value.mismatches
    assert (found.site, found.expected, found.mend) == ("u", "no such site", EXTRA_SITE)
    assert found.got.startswith("Normal marked as auxiliary" if marked else "Normal")


def test_its_bound_is_none_and_the_remedy_s_is():
    """It exceeds the evidence by the missing term of r(u | z, x): E[-log r] = 0.5 log(2 pi e / 8) per sequence."""
    excess = 5 * 0.5 * math.log(2 * math.pi * math.e / 8)
    assert bound(level_model, noisy_guide) == pytest.approx(evidence() + excess, abs=0.25)  # standard error 0.035
    assert excess > 1
    check_guide(extended_model, marked_no_more, FRAMES)
    assert bound(extended_model, marked_no_more) == pytest.approx(evidence(), abs=1e-3)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("build", [AutoNormal, AutoDiagonalNormal, AutoMultivariateNormal, AutoDelta])
def test_automatic_guides_are_changes_of_variables(build):
    guide = build(plain_model)
    with torch.no_grad():
        guide(FRAMES)
    check_guide(plain_model, guide, FRAMES)


@pytest.mark.parametrize(
    ("correct", "problem"),
    [(True, None), (False, "the log densities of the Delta sites miss the change of variables by")],
)
def test_a_change_of_variables_has_to_carry_its_correction(correct, problem):
    """z = exp(u): log |dz / du| = u. And path = v R, R a scaled rotation: no entry depends on a single entry of v."""
    turn = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))[0] * 3

    class Changes(Guide):
        def forward(self, frames, observed=None, controls=None):
            mean = self.net(frames.flatten(2))
            with pyro.plate("sequences", 5, dim=-1):
                u = pyro.sample("u", dist.Normal(mean.mean((1, 2)), 0.3), **AUXILIARY)
                v = pyro.sample("v", dist.Normal(mean, 0.3).to_event(2), **AUXILIARY)
                jacobian = torch.tensor(-28 * math.log(3.0) if correct else 0.0)
                pyro.sample("scale", dist.Delta(u.exp(), -u if correct else 0.0))
                pyro.sample("path", dist.Delta(v @ turn, jacobian, event_dim=2))

    guide = Changes()
    if problem is None:
        check_guide(plain_model, guide, FRAMES)
        return
    with pytest.raises(GuideMismatchError) as caught:
        check_guide(plain_model, guide, FRAMES)
    assert [one.site for one in caught.value.mismatches] == ["u", "v"]
    assert all(problem in one.got for one in caught.value.mismatches)


def test_noise_that_determines_no_latent_is_named():
    class Spare(Guide):
        def more(self):
            pyro.sample("noise", dist.Normal(0.0, 1.0), **AUXILIARY)

    class Chosen(Guide):
        def more(self):
            pyro.sample("choice", dist.Bernoulli(torch.tensor(0.5)), **AUXILIARY)

    for guide, why in ((Spare(), "its 5 numbers do not determine the latents"), (Chosen(), "its values are discrete")):
        with pytest.raises(GuideMismatchError) as caught:
            check_guide(plain_model, guide, FRAMES)
        (found,) = caught.value.mismatches
        assert why in found.got


def test_an_auxiliary_mark_on_a_latent_of_the_model():
    marked = poutine.infer_config(Guide(), lambda site: {"is_auxiliary": site["name"] == "scale"})
    with pytest.raises(
        GuideMismatchError, match="scale: expected a draw for the model, got a site marked as auxiliary"
    ):
        check_guide(plain_model, marked, FRAMES)


def test_factors_of_a_guide_are_no_draws():
    class Factors(Guide):
        def more(self):
            pyro.factor("nothing", torch.zeros(5), has_rsample=True)

    check_guide(plain_model, Factors(), FRAMES)
