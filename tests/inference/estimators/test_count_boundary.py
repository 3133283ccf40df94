"""The gradient of a count that switches objects on: a toy on paper, and what the loss leaves alone."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from pyro.nn import PyroModule
from torch import nn

from inference import SVI, CountBoundary, FirstFrames, Term, WeightedSum
from pyro_models.vtssi.object_scenes import ObjectScenes
from tests.contracts.registry import build_guide, make_video
from tests.guides.vtssi_pairs import pair, video
from tests.oracles.monte_carlo import assert_mean_within

KL = 3.0


class Toy(PyroModule):
    """Two objects; the second costs 3 nats once c > 0. c itself costs nothing: its prior is N(mu, 0.7) as well."""

    def __init__(self, masked=True):
        super().__init__()
        self.scenes = ObjectScenes((1, 4, 4), glimpse_size=2, counting="masked" if masked else "always_on")
        self.mean = nn.Parameter(torch.tensor(-0.5))
        self.shift = nn.Parameter(torch.tensor(math.sqrt(2 * KL)))

    def forward(self, x, shifted=False):
        with pyro.plate("sequences", len(x), dim=-1):
            count = pyro.sample("count_1", dist.Normal(self.mean, 0.7))
            with self.scenes.objects(self.scenes.opacities(count)):
                shift = self.shift * torch.tensor([[0.0], [1.0]]) if shifted else torch.zeros(2, 1)
                pyro.sample("z", dist.Normal(shift, 1.0))
            pyro.sample("x", dist.Normal(torch.zeros(len(x)), 1.0), obs=x)


def guided(toy):
    return poutine.block(lambda x: toy(x, shifted=True), hide=["x"])


def gradient_of(loss, repeats=40, sequences=2000):
    toy = Toy()
    found = []
    for _ in range(repeats):
        toy.zero_grad()
        loss.loss_and_grads(toy, guided(toy), torch.zeros(sequences))
        found.append(torch.stack([toy.mean.grad, toy.shift.grad]) / sequences)
    return torch.stack(found)


def test_the_price_of_switching_on_reaches_the_count():
    """d/dmu 3 P(c > 0) = 3 phi(mu / 0.7) / 0.7 = 1.3248 at mu = -0.5; along the paths of draws it is 0."""
    slopes = gradient_of(CountBoundary([0.0]))
    height = torch.tensor(0.5 / 0.7)
    standard = dist.Normal(0.0, 1.0)
    expected = torch.stack([KL * standard.log_prob(height).exp() / 0.7, math.sqrt(2 * KL) * (1 - standard.cdf(height))])
    assert expected[0] == pytest.approx(1.3248, abs=1e-4)
    assert_mean_within(slopes[:, 1], expected[1])
    assert bool((slopes[:, 0] - expected[0]).abs().max() < 1e-4)  # in closed form, without noise
    plain = gradient_of(Trace_ELBO())
    assert not plain[:, 0].any()


def test_finite_differences_of_the_bound_agree():
    """The bound itself, with the same noise on both sides of the step: 1.3284 for a step of 0.2."""
    values = []
    for mean in (-0.6, -0.4):
        toy = Toy()
        pyro.set_rng_seed(3)
        with torch.no_grad():
            toy.mean.fill_(mean)
            values.append(CountBoundary([0.0]).loss(toy, guided(toy), torch.zeros(400_000)) / 400_000)
    assert (values[1] - values[0]) / 0.2 == pytest.approx(1.3248, abs=0.03)


def test_the_bound_and_all_other_gradients_are_those_of_the_elbo():
    model, guide = build_guide("FindAndFuseGuide")
    model.double(), guide.double()
    video = make_video(0, torch.float64)
    results = []
    for loss in (Trace_ELBO(), CountBoundary(model.scenes.count_thresholds())):
        model.zero_grad(), guide.zero_grad()
        pyro.set_rng_seed(1)
        value = loss.loss_and_grads(model, guide, *video)
        results.append((value, {name: one.grad for name, one in guide.named_parameters()}))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-12)
    moved = {name for name, one in results[0][1].items() if not torch.allclose(one, results[1][1][name], rtol=1e-9)}
    assert {name for name in moved if name.startswith("encoder.count")} == {
        name for name in results[0][1] if name.startswith("encoder.count")
    }
    # the consensus of counts depends on the rectifier's weights, and so do they on all proposals
    assert not {name for name in moved if name.startswith(("finder", "fuser"))}


def test_finite_differences_of_a_whole_model_agree():
    """Slope of the bound of single frames in the mean of q(c); half of a step corrects what the step adds."""
    pyro.set_rng_seed(0)
    model, guide = pair("AIR", count_mean=-1.0)
    model.eval(), guide.eval()
    x = video(1, 2).repeat(4_000, 1, 1, 1, 1)
    bias = guide.encoder.count[-1].bias
    with torch.no_grad():
        bias[0] = -0.3
    found = {}
    losses = {"boundary": CountBoundary(model.scenes.count_thresholds(), count="count"), "plain": Trace_ELBO()}
    for name, loss in losses.items():
        guide.zero_grad()
        loss.loss_and_grads(model, guide, x)
        found[name] = bias.grad[0].item() / len(x)

    def slope(step, seed):
        values = []
        for sign in (1, -1):
            pyro.set_rng_seed(seed)
            with torch.no_grad():
                bias[0] += sign * step
                values.append(Trace_ELBO().loss(model, guide, x) / len(x))
                bias[0] -= sign * step
        return (values[0] - values[1]) / (2 * step)

    expected = sum((4 * slope(0.15, seed) - slope(0.3, seed)) / 3 for seed in range(2)) / 2
    assert found["boundary"] == pytest.approx(expected, abs=0.4)
    assert abs(found["plain"] - expected) > 1


def test_a_compiled_step_takes_it(recwarn):
    values = []
    for mode in ("off", "trace"):
        pyro.set_rng_seed(0)
        model, guide = build_guide("FrameProposalGuide")
        parameters = {id(one): one for one in (*model.parameters(), *guide.parameters())}
        loss = CountBoundary(model.scenes.count_thresholds(), count="count")
        svi = SVI(model, guide, torch.optim.Adam(parameters.values(), 1e-3), loss, compile=mode)
        video = tuple(None if one is None else one[:, :3] for one in make_video(0))
        pyro.set_rng_seed(1)
        values.append([svi.step(*video) for _ in range(2)])
    torch.testing.assert_close(values[0], values[1])
    assert not recwarn.list


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CountBoundary([0.0], num_particles=5), "num_particles: expected 1, got 5; the boundary's gradient is"),
        (lambda: CountBoundary([0.5, 0.1]), r"thresholds: expected increasing numbers, .* got \(0.5, 0.1\); count_thr"),
        (
            lambda: CountBoundary([0.0, 1.0]),
            r"thresholds: expected 1, .*'objects' of site 'z', got 2; the model counts",
        ),
        (
            lambda: CountBoundary([0.0], count="c"),
            "count: expected the name of a latent site of the guide, got 'c'; it",
        ),
        (
            lambda: CountBoundary([0.0], plate="slots"),
            "plate: expected one with latent sites of the guide, got 'slots'",
        ),
    ],
)
def test_what_it_cannot_do_is_refused(build, message):
    toy = Toy()
    with pytest.raises(ValueError, match=message):
        build().differentiable_loss(toy, guided(toy), torch.zeros(3))


def test_objects_that_are_always_on_have_no_boundary():
    toy = Toy(masked=False)
    with pytest.raises(ValueError, match="site 'z': expected inside poutine.mask, .*'always_on' pyro.infer.Trace_ELBO"):
        CountBoundary([0.0]).differentiable_loss(toy, guided(toy), torch.zeros(3))


def test_first_frames_are_those_alone():
    model, guide = build_guide("FrameProposalGuide")
    frames, observed, _ = make_video(0)
    pyro.set_rng_seed(2)
    alone = Trace_ELBO().loss(model, guide, frames[:, :3], observed[:, :3])
    for named in (False, True):
        pyro.set_rng_seed(2)
        arguments = ((frames,), {"observed": observed}) if named else ((frames, observed), {})
        loss = FirstFrames(Trace_ELBO(), 3).differentiable_loss(model, guide, *arguments[0], **arguments[1])
        assert loss.item() == pytest.approx(alone, rel=1e-6)
    terms = {"frames": Term(FirstFrames(Trace_ELBO(), 3), lambda step: 1.0)}
    loss = WeightedSum(terms)
    loss.begin_step(0, frames.device)
    pyro.set_rng_seed(2)
    assert loss.differentiable_loss(model, guide, frames, observed, None).item() == pytest.approx(alone, rel=1e-6)
    with pytest.raises(ValueError, match="frames: expected at least 1, got 0; leave the term out"):
        FirstFrames(Trace_ELBO(), 0)
