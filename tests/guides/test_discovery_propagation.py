"""SQAIR's guide (Kosiorek et al. 2018): sizes of the authors' networks, weights without bias, slots without objects."""

import itertools

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.nn import PyroModule

from guides import DiscoveryPropagationGuide
from guides.discovery_propagation.object_draws import ORDERS, PyroDraws, draw_object
from inference import FIVO, VIMCO, WakeSleep
from inference.programs.traces import importance_traces
from pyro_models import SequentialAttendInferRepeat
from pyro_models.components.glimpse_networks import GlimpseNetworks
from tests.pyro_models.test_sqair import SMALL, count, latents_of, there_of

SHAPE = (1, 12, 12)
each_order = pytest.mark.parametrize("order", ORDERS)


def pair(order="last", noise=0.1, **options):
    """Both off their initial values; objects come and go."""
    model = SequentialAttendInferRepeat(SHAPE, **(SMALL | options))
    guide = DiscoveryPropagationGuide(
        model, order=order, propagation_bias=0.5, discovery_bias=0.5, correlated=order == "last"
    )
    with torch.no_grad():
        for parameter in [*model.parameters(), *guide.parameters()]:
            parameter.add_(noise * torch.randn_like(parameter))
    return model, guide


def test_parameter_counts():
    """The authors' code counts 2,951,522 in all; torch has 768 more in each of the two GRUs."""
    model = SequentialAttendInferRepeat()
    guide = DiscoveryPropagationGuide(model, correlated=True)
    assert count(guide.image_encoder) == 706_048
    assert count(guide.reader.encoder) == 168_448
    assert count(guide.reader.head) == 25_700
    discovery, propagation = guide.discovery, guide.propagation
    assert count(discovery.state) + discovery.first_state.numel() == 211_456
    assert count(discovery.where) + 1 == 133_641
    assert count(discovery.presence) == 39_425
    assert count(propagation.mask) == 84_496
    assert count(propagation.relation) + propagation.first_relation.numel() == 172_800
    assert count(propagation.proposal) == 33_412
    assert count(propagation.where) + propagation.correlation.numel() + 1 == 200_211
    assert count(propagation.memory) + propagation.first_memory.numel() == 474_112 + 768
    assert count(propagation.temporal) == 25_700
    assert count(propagation.gates) == 38_550
    assert count(propagation.presence) == 72_193
    assert count(model) + count(guide) == 2_951_522 + 2 * 768


def test_parameter_counts_with_convolutions():
    """Section 3.3: 2.6 million, 2,627,939 without the mask."""
    model = SequentialAttendInferRepeat(networks=GlimpseNetworks("conv", 128), units=128)
    for masked, number in ((False, 2_627_939), (True, 2_696_051)):
        guide = DiscoveryPropagationGuide(model, correlated=True, masked=masked)
        assert count(model) + count(guide) == number + 2 * 3 * 128


@each_order
def test_weights_by_hand(order):
    """Distributions of absent objects count neither in model nor guide, in whatever order they were drawn."""
    model, guide = (module.double() for module in pair(order))
    traces = importance_traces(model, guide, (torch.rand(6, 5, *SHAPE, dtype=torch.float64),), 4)
    latents = {name: site["value"] for name, site in traces.guide.nodes.items() if name.count("_") == 3}
    assert len(latents) == 3 * (3 * 5 + 3 * 4) + (0 if order == "first" else 3 * (5 + 4))
    latents = {name: value for name, value in latents.items() if "absent" not in name}
    there = there_of(model, latents)
    log_q = torch.zeros(4, 1, 6, dtype=torch.float64)
    for name, value in latents.items():
        kind, what, step, slot = name.split("_")
        law = traces.guide.nodes[name]["fn"].base_dist
        if what == "pres":
            if kind == "prop":
                before = there_in_slot(model, there, int(step) - 1, int(slot))
            else:
                found = [there[f"disc_{step}_{i}"] for i in range(1, int(slot))]
                kept = [there.get(f"prop_{step}_{i}", torch.zeros(4, 1, 6)) for i in (1, 2, 3)]
                before = (found[-1] if found else torch.ones(4, 1, 6)) * (sum(kept) + int(slot) - 1 < 3)
            counts = before
        else:
            counts = there[f"{kind}_{step}_{slot}"]
        log_q = log_q + counts * law.log_prob(value)
    torch.testing.assert_close(traces.log_guide(), log_q[:, 0])


def there_in_slot(model, there, step, slot):
    number = sum(value for key, value in there.items() if key.split("_")[1] == str(step))
    return (slot <= number).double()


class ToyModel(PyroModule):
    def forward(self, x):
        with pyro.plate("sequences", len(x), dim=-1):
            there = pyro.sample("pres", dist.Bernoulli(torch.full((len(x),), 0.4)))
            pyro.sample("where", dist.Bernoulli(torch.full((len(x),), 0.5)).mask(there > 0))
            what = pyro.sample("what", dist.Bernoulli(torch.full((len(x),), 0.5)).mask(there > 0))
            chance = torch.where(there > 0, torch.where(what > 0, 0.05, 0.9), 0.1)
            pyro.sample("x", dist.Bernoulli(chance), obs=x)


def test_presence_drawn_last_leaves_weights_unbiased():
    """q(what) = (.3, .7), q(present | what) = (.6, .2), p(present) = .4: E_q[w] = p(x) = .25, summed over all."""
    sequences = torch.ones(1)

    def guide(x):
        with pyro.plate("sequences", len(x), dim=-1):
            draw_object(
                PyroDraws(),
                ("pres", "where", "what", "absent"),
                torch.ones(len(x)),
                dist.Bernoulli(torch.full((len(x),), 0.5)),
                lambda where: dist.Bernoulli(torch.full((len(x),), 0.7)),
                lambda what: torch.where(what > 0, torch.tensor(0.2), torch.tensor(0.6)).logit(),
                "last",
            )

    total = 0.0
    for bits in itertools.product([0.0, 1.0], repeat=3):
        values = {name: torch.tensor([bit]) for name, bit in zip(("where", "what", "pres"), bits, strict=True)}
        drawn = poutine.trace(poutine.condition(guide, values)).get_trace(sequences)
        scored = poutine.trace(poutine.condition(ToyModel(), values)).get_trace(sequences)
        drawn.compute_log_prob(), scored.compute_log_prob()
        probability = sum(drawn.nodes[name]["log_prob"] for name in values)
        total = total + (probability + scored.log_prob_sum() - drawn.log_prob_sum()).exp()
    assert total.item() == pytest.approx(0.25, rel=1e-6)


@each_order
def test_draws_do_not_depend_on_later_frames(order):
    model, guide = pair(order)
    frames = torch.rand(3, 5, *SHAPE)
    other = frames.clone()
    other[:, 3:] = torch.rand(3, 2, *SHAPE)
    values = []
    for video in (frames, other):
        pyro.set_rng_seed(0)
        trace = poutine.trace(guide).get_trace(video)
        values.append({name: site["value"] for name, site in trace.nodes.items() if site["type"] == "sample"})
    for name, value in values[0].items():
        step = int(name.split("_")[2]) if name.count("_") == 3 else 0
        if step <= 3:
            torch.testing.assert_close(values[1][name], value, rtol=0, atol=0, msg=name)
    assert not torch.equal(values[0]["disc_where_4_1"], values[1]["disc_where_4_1"])


@each_order
def test_absent_objects_are_not_followed(order):
    """Slots without objects are not read, and propagation has no density where there are no objects."""
    model, guide = pair(order)
    frames = torch.rand(4, 3, *SHAPE)
    traces = importance_traces(model, guide, (frames,), 3)
    latents = latents_of(traces.guide)
    there = there_of(model, {name: value for name, value in latents.items() if "absent" not in name})
    for name, site in traces.guide.nodes.items():
        if name.startswith("prop_") and "_absent_" not in name:
            slot = there_in_slot(model, there, int(name.split("_")[2]) - 1, int(name.split("_")[3]))
            assert (site["log_prob"][slot == 0] == 0).all()
    assert any((there[key] == 0).any() for key in there)
    context = guide.prepare(frames)
    first = {}
    poutine.trace(lambda: first.update(state=guide.step(0, None, context))).get_trace()
    state = first["state"]
    presence = torch.tensor([1.0, 0, 0]).expand(4, 3)
    results = []
    for filling in (torch.zeros(()), torch.randn(())):
        fill = [torch.where(presence[..., None] > 0, value, filling) for value in state.objects.slots[1:]]
        memory = torch.where(presence[..., None] > 0, state.memory, filling)
        slots = state.objects.slots._replace(presence=presence, where=fill[0], what=fill[1])
        changed = state._replace(objects=state.objects._replace(slots=slots), memory=memory)
        pyro.set_rng_seed(0)
        tracer = poutine.trace(lambda: guide.step(1, changed, context))  # noqa: B023
        sites = tracer.get_trace().nodes
        results.append([sites[name]["value"] for name in ("prop_where_2_1", "disc_where_2_1", "disc_pres_2_1")])
    torch.testing.assert_close(results[1], results[0])


@each_order
@pytest.mark.parametrize("estimator", [VIMCO(3), WakeSleep(3)], ids=["VIMCO", "wake-sleep"])
def test_every_parameter_learns(order, estimator):
    model, guide = pair(order)
    estimator.loss_and_grads(model, guide, torch.rand(20, 4, *SHAPE))
    named = [*model.named_parameters(), *guide.named_parameters()]
    assert [name for name, parameter in named if parameter.grad is None or not parameter.grad.any()] == []


def test_a_particle_filter_takes_it():
    """Its bound is close to that without resampling, and presence networks get gradients."""
    model, guide = pair()
    frames = torch.rand(3, 4, *SHAPE)
    filtering = FIVO(4, threshold=2.0)
    assert filtering.loss(model, guide, frames) == pytest.approx(
        FIVO(4, threshold=0.0).loss(model, guide, frames), rel=0.5
    )
    guide.zero_grad()
    filtering.loss_and_grads(model, guide, frames)
    for network in (guide.discovery.presence, guide.propagation.presence):
        assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_objects_that_are_kept_stay():
    model, guide = pair()
    with torch.no_grad():
        guide.discovery.presence[-1].bias.add_(5.0)
        guide.propagation.presence[-1].bias.sub_(20.0)
    frames = torch.rand(3, 4, *SHAPE)
    going, kept = (model.scene(guide.complete(frames, method=method)) for method in ("modes", "kept"))
    assert bool((kept.presence[:, 0] == 1).all())
    assert bool((kept.presence == 1).all())
    assert bool((kept.identities == kept.identities[:, :1]).all())
    assert not torch.equal(going.identities, kept.identities)
    seen = torch.ones(3, 4, dtype=torch.bool)
    seen[:, 2:] = False
    forecast = model.scene(guide.complete(frames, seen, method="kept", num_samples=2))
    assert bool((forecast.presence[..., -1, :] >= forecast.presence[..., 0, :]).all())


def test_most_likely_objects_and_forecasts():
    model, guide = pair()
    frames = torch.rand(3, 6, *SHAPE)
    observed = torch.ones(3, 6, dtype=torch.bool)
    observed[:, 3:] = False
    for mask, samples in ((None, None), (observed, None), (observed, 4)):
        values = guide.complete(frames, mask, num_samples=samples)
        lead = () if samples is None else (4,)
        scene = model.scene(values)
        assert scene.presence.shape == (*lead, 3, 6, 3)
        assert scene.identities.shape == (*lead, 3, 6, 3)
    with pytest.raises(ValueError, match="method: expected one of"):
        guide.complete(frames, method="smoothing")
    with pytest.raises(ValueError, match="order: expected one of first, last, got 'middle'"):
        DiscoveryPropagationGuide(model, order="middle")
