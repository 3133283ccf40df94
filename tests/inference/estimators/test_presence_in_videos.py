"""Gradients of estimators at SQAIR's presences, against sums over all configurations.

One slot, two frames: an object is found in the first frame or not, stays or goes, and is found in the second frame
where there is none: five configurations a particle, 25 of two. Windows and appearances are given.
"""

import math
from dataclasses import dataclass
from itertools import product

import pytest
import torch
from pyro import poutine
from pyro.infer import TraceGraph_ELBO
from torch import Tensor, nn

from guides import DiscoveryPropagationGuide
from inference import FIVO, VIMCO, WakeSleep
from inference.estimators import OwnWeightVIMCO
from pyro_models import SequentialAttendInferRepeat
from tests.oracles.monte_carlo import assert_mean_within
from tests.pyro_models.test_sqair import SMALL

SHAPE = (1, 12, 12)

CHOICES = ("disc_pres_1_1", "prop_pres_2_1", "disc_pres_2_1")
CONFIGURATIONS = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 0, 1], [0, 0, 0], [0, 0, 1]], dtype=torch.float64)
PAIRS = torch.cartesian_prod(torch.arange(5), torch.arange(5)).T


@dataclass
class Presences:
    """A model and a guide whose windows and appearances are given, and all that presences can be.

    Attributes:
        chances: (2, 5), log probabilities of the choices of either frame.
        weights: (2, 5), what either frame adds to the log weight.
        log_joint, log_guide: (5,).
    """

    model: nn.Module
    guide: nn.Module
    frames: Tensor
    chances: Tensor
    weights: Tensor
    log_joint: Tensor
    log_guide: Tensor


def presences(order: str) -> Presences:
    torch.manual_seed(5)  # log weights a few nats apart
    options = SMALL | {"num_slots": 1, "what_dim": 2, "units": 4, "frame_scale": 2.0}
    model = SequentialAttendInferRepeat(SHAPE, **options).double()
    guide = DiscoveryPropagationGuide(
        model, order=order, propagation_bias=0.5, discovery_bias=0.5, where_offset=0.0
    ).double()
    with torch.no_grad():
        for parameter in [*model.parameters(), *guide.parameters()]:
            parameter.add_(0.1 * torch.randn_like(parameter))
    frames = torch.rand(1, 2, *SHAPE, dtype=torch.float64)
    given = {}
    for row, kinds in ((0, ("disc_{}_1_1", "prop_{}_2_1")), (4, ("disc_{}_2_1",))):  # drawn where an object is there
        bits = {name: CONFIGURATIONS[row, place, None] for place, name in enumerate(CHOICES)}
        sites = poutine.trace(poutine.condition(guide, bits)).get_trace(frames).nodes
        given |= {name: sites[name]["value"].detach() for kind in kinds for name in map(kind.format, ("where", "what"))}
    configured = given | {name: CONFIGURATIONS[:, place] for place, name in enumerate(CHOICES)}

    def densities(length: int) -> tuple[Tensor, Tensor, dict]:
        video, totals, nodes = frames[:, :length].expand(5, -1, -1, -1, -1), [], {}
        for program in (model, guide):
            trace = poutine.trace(poutine.condition(program, configured)).get_trace(video)
            trace.compute_log_prob()
            nodes = trace.nodes
            found = [site["log_prob"] for site in nodes.values() if site["type"] == "sample" and "log_prob" in site]
            totals.append(sum(one.reshape(-1, 5).sum(0) for one in found if one.dim()))
        return *totals, nodes

    log_joint, log_guide, drawn = densities(2)
    earlier, earlier_guide, _ = densities(1)  # the guide does not look ahead
    chances = torch.stack([drawn[CHOICES[0]]["log_prob"], sum(drawn[name]["log_prob"] for name in CHOICES[1:])])
    first = earlier - earlier_guide
    weights = torch.stack([first, log_joint - log_guide - first])
    for program in (model, guide):
        program.step = poutine.condition(program.step, given)  # filters call nothing else
    return Presences(model, guide, frames, chances, weights, log_joint, log_guide)


def bound(weights: Tensor) -> Tensor:
    return weights.logsumexp(0) - math.log(2)


def expected_bound(of: Presences) -> Tensor:
    return (of.chances.sum(0)[PAIRS].sum(0).exp() * bound(of.weights.sum(0)[PAIRS])).sum()


def one_particle(of: Presences) -> Tensor:
    return (of.chances.sum(0).exp() * of.weights.sum(0)).sum()


def bound_by_paths_and_elbo_by_scores(of: Presences) -> Tensor:
    chances, weights = of.chances.sum(0), of.weights.sum(0)
    by_paths = (chances[PAIRS].sum(0).exp().detach() * bound(weights[PAIRS])).sum()
    return by_paths + (chances.exp() * weights.detach()).sum()


def shares_of_both(of: Presences) -> Tensor:
    chances, weights = of.chances.sum(0)[PAIRS].sum(0).exp(), of.weights.sum(0)[PAIRS]
    values = (weights.softmax(0).detach() * (of.log_joint + of.log_guide)[PAIRS]).sum(0)
    return (chances.detach() * values).sum()


def filtered_bound(of: Presences) -> Tensor:
    """Particles resampled after the first frame, choices judged by the frame that they belong to."""
    first = {1: 0, 0: 3}  # a configuration that begins so
    after = {1: (0, 1, 2), 0: (3, 4)}
    total = torch.zeros((), dtype=torch.float64)
    for begun in product((0, 1), repeat=2):
        index = torch.tensor([first[one] for one in begun])
        weights = of.weights[0, index]
        chance = of.chances[0, index].sum().exp()
        total = total + chance * bound(weights)
        shares = weights.softmax(0)
        for ancestors in product((0, 1), repeat=2):
            reached = (chance * shares[list(ancestors)].prod()).detach()
            for ended in product(*(after[begun[ancestor]] for ancestor in ancestors)):
                index = torch.tensor(ended)
                total = total + reached * of.chances[1, index].sum().exp() * bound(of.weights[1, index])
    return total


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.filterwarnings("ignore:Found non-auxiliary vars")  # those that are given
@pytest.mark.parametrize(
    ("estimator", "order", "objective"),
    [
        (VIMCO(2), "last", expected_bound),
        (VIMCO(2, credit="steps"), "last", expected_bound),
        (VIMCO(2, credit="steps"), "first", expected_bound),
        (FIVO(2, threshold=0.0), "last", expected_bound),
        (FIVO(2, "multinomial", threshold=2.0), "last", filtered_bound),
        (OwnWeightVIMCO(2), "last", bound_by_paths_and_elbo_by_scores),
        (WakeSleep(2), "last", shares_of_both),
        (TraceGraph_ELBO(), "last", one_particle),
    ],
    ids=[
        "VIMCO",
        "by steps",
        "by steps, presence first",
        "FIVO, no resampling",
        "FIVO",
        "own weight",
        "wake-sleep",
        "TraceGraph",
    ],
)
def test_gradients_against_all_configurations(estimator, order, objective):
    of = presences(order)
    assert of.chances.sum(0).exp().sum().item() == pytest.approx(1.0)
    named = [*of.model.parameters(), *of.guide.parameters()]
    found = torch.autograd.grad(objective(of), named, allow_unused=True)
    expected = torch.cat(
        [(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(named, found, strict=True)]
    )
    copies, rows = of.frames.expand(300, -1, -1, -1, -1), []
    for _ in range(30):
        for parameter in named:
            parameter.grad = torch.zeros_like(parameter)
        estimator.loss_and_grads(of.model, of.guide, copies)
        rows.append(torch.cat([-parameter.grad.flatten() / len(copies) for parameter in named]))
    assert_mean_within(torch.stack(rows), expected)
