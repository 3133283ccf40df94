"""What training differentiates of slots' refinements: each mode against differences of a loop on paper.

These tests pin: the loop has the guide's values; with what a mode holds constant frozen, differences of its loss are
the guide's gradient, for each part that learns; where modes coincide; and that memory of "implicit" does not grow
with R.
"""

from weakref import WeakSet

import pyro
import pytest
import torch
from pyro.infer import TraceMeanField_ELBO
from torch.autograd.graph import saved_tensors_hooks
from torch.distributions import Normal, kl_divergence

from guides.spatio_temporal_refinement.auxiliary_inputs import images_of, vectors_of
from guides.spatio_temporal_refinement.noise import apart, fixed_normals
from inference import SVI
from inference.estimators.refinement_bounds import RefinementBounds
from inference.recipes import RECIPES
from inference.recipes.options import OptionError
from tests.guides.test_spatio_temporal_refinement import FRAMES, LATENT, UNITS, pair
from tests.oracles.directional_derivatives import gradient_along, random_directions, slope_along

FROZEN = {"first_order": {"slopes"}, "truncated": {"inputs", "added"}, "implicit": {"slopes", "earlier"}}
MODES = list(FROZEN)
MEMORIES = pytest.mark.parametrize("memory", [True, False], ids=["model's memory", "guide's memory"])
VIDEO = FRAMES[:2, :2]


class Record:
    """Writes down what a mode holds constant, in order; repeats it once it is frozen."""

    def __init__(self, kinds):
        self.kinds, self.values, self.again = kinds, [], None

    def freeze(self):
        self.again = iter(self.values)

    def __call__(self, kind, *values):
        if kind not in self.kinds:
            return values
        if self.again is not None:
            return next(self.again)
        self.values.append(tuple(value.detach().clone() for value in values))
        return values


class PaperFrame:
    """One frame's loss and refinement, written down with slopes by autograd; `h` is the memory before it."""

    def __init__(self, model, guide, hold, frame, h):
        self.model, self.guide, self.hold, self.frame, self.h = model, guide, hold, frame, h
        self.prior = model.prior(h).base_dist

    def mixture(self, parameters, epsilon):
        return self.model.mixture(parameters[0] + (0.5 * parameters[1]).exp() * epsilon, self.h)

    def loss(self, parameters, epsilon):
        q = Normal(parameters[0], (0.5 * parameters[1]).exp())
        return kl_divergence(q, self.prior).sum() - self.mixture(parameters, epsilon).log_prob(self.frame).sum()

    def refined(self, parameters, epsilon, before, state):
        with torch.enable_grad():
            points = [one.detach().requires_grad_() for one in parameters]
            slope = torch.cat(torch.autograd.grad(self.loss(points, epsilon), points), -1)
        mixture = self.mixture(parameters, epsilon)
        images = images_of(mixture, self.frame, mixture.gradients(self.frame))
        vectors = vectors_of(*parameters, slope)
        channels, size = 2 * VIDEO.shape[2] + 3, 2 * LATENT  # those after these are constants
        images = torch.cat([images[..., :channels, :, :], *self.hold("slopes", images[..., channels:, :, :])], -3)
        vectors = torch.cat([vectors[..., :size], *self.hold("slopes", vectors[..., size:])], -1)
        return self.guide.network(*self.hold("inputs", images, vectors), before, state)


def on_paper(model, guide, hold):
    """The loss of `RefinementBounds` by a loop over frames and refinements."""
    pyro.set_rng_seed(1)
    zeros = VIDEO.new_zeros(model.num_slots, len(VIDEO), UNITS)
    noises = [fixed_normals(number, model.num_slots, LATENT).double()[:, None] for number in range(3)]
    noises = [noise.expand(-1, len(VIDEO), -1) for noise in (apart(noises[0]), *noises[1:])]
    h, c, total = zeros, zeros, VIDEO.new_zeros(())
    for index in range(VIDEO.shape[1]):
        paper, decodes = PaperFrame(model, guide, hold, VIDEO[:, index], h), guide.num_decodes(index)
        start = paper.prior.loc, 2 * paper.prior.scale.log()
        if index == 0:
            mean = guide.start_mean + guide.log_scatter.exp() * noises[0]
            start = mean, guide.start_log_variance.expand_as(mean)
        added, state = (torch.zeros_like(start[0]), torch.zeros_like(start[0])), (zeros, zeros)
        for number in range(decodes - 1):
            parameters = [one + more for one, more in zip(start, added, strict=True)]
            assert parameters[1].abs().max() < 5  # nothing is clamped
            epsilon = noises[number] * (number > 0)
            term = paper.loss(parameters, epsilon)
            step, state = paper.refined(parameters, epsilon, (h, c), state)
            if number < decodes - 2:
                term, step, *last = hold("earlier", term, step, *state)
                state = tuple(last)
            total = total + (number + 1) / decodes * term
            added = [one + more for one, more in zip(hold("added", *added), step.chunk(2, -1), strict=True)]
        parameters = [one + more for one, more in zip(start, added, strict=True)]
        epsilon = torch.randn_like(start[0])
        total = total + paper.loss(parameters, epsilon)
        if model.memory is None:
            h, c = paper.refined(parameters, epsilon, (h, c), state)[1]
        else:
            h, c = model.memory(parameters[0] + (0.5 * parameters[1]).exp() * epsilon, h, c)
    return total


def evaluated(memory, gradients, refinements=4, **options):
    model, guide = pair(memory, refinements=refinements, gradients=gradients, **options)
    with torch.no_grad():
        guide.network.step.weight *= 0.03
    return model, guide.eval()


def bounds(model, guide, frames=VIDEO):
    pyro.set_rng_seed(1)
    return RefinementBounds().differentiable_loss(model, guide, frames)


@MEMORIES
@pytest.mark.parametrize("gradients", MODES)
def test_gradients_are_those_with_constants_frozen(gradients, memory):
    model, guide = evaluated(memory, gradients)
    hold = Record(FROZEN[gradients])
    loss, again = bounds(model, guide), on_paper(model, guide, hold)
    torch.testing.assert_close(loss, again)

    def value():
        hold.freeze()
        return on_paper(model, guide, hold)

    start = [guide.start_mean, guide.start_log_variance, guide.log_scatter]
    parts = [(part, random_directions(part)) for part in (list(model.parameters()), list(guide.parameters()), start)]
    found = [gradient_along(*part, loss) for part in parts]
    expected = [slope_along(*part, value) for part in parts]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def gradients_of(model, guide, loss):
    parameters = [*model.parameters(), *guide.parameters()]
    return torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)


@MEMORIES
def test_values_are_the_same_in_all_modes(memory):
    """With and without gradients, of all terms and of the bound."""
    found = []
    for gradients in MODES:
        model, guide = evaluated(memory, gradients)
        with torch.no_grad():
            found.append(bounds(model, guide))
        found.append(bounds(model, guide).detach())
        assert torch.equal(found[-1], found[0])
        pyro.set_rng_seed(1)
        found.append(TraceMeanField_ELBO().differentiable_loss(model, guide, VIDEO).detach())
        torch.testing.assert_close(found[-1], found[2], rtol=0, atol=0)


@MEMORIES
def test_modes_coincide_with_one_refinement(memory):
    """The last refinement is the first; and on one frame, the network learns the same from it in all modes."""
    pairs = {gradients: evaluated(memory, gradients, refinements=2) for gradients in MODES}
    whole, last = (gradients_of(*pairs[name], bounds(*pairs[name])) for name in ("first_order", "implicit"))
    torch.testing.assert_close(last, whole)
    model, guide = pairs["first_order"]
    frame = VIDEO[:, :1]
    learned = list(guide.network.parameters())
    whole, inputs = (
        torch.autograd.grad(bounds(*pairs[name], frame), list(pairs[name][1].network.parameters()), allow_unused=True)
        for name in ("first_order", "truncated")
    )
    assert len(whole) == len(learned)
    torch.testing.assert_close(inputs, whole)


class Kept:
    """A tensor that a graph keeps for its gradient, for as long as there is the graph."""

    def __init__(self, tensor):
        self.tensor = tensor


def kept_bytes(gradients, refinements):
    """What the loss of one frame keeps."""
    model, guide = evaluated(True, gradients, refinements)
    alive = WeakSet()

    def keep(tensor):
        alive.add(kept := Kept(tensor))
        return kept

    with saved_tensors_hooks(keep, lambda kept: kept.tensor):
        loss = bounds(model, guide, VIDEO[:, :1])
    storages = {one.tensor.untyped_storage().data_ptr(): one.tensor.untyped_storage() for one in alive}
    assert loss.requires_grad
    return sum(storage.nbytes() for storage in storages.values())


def test_memory_of_implicit_gradients_does_not_grow():
    assert kept_bytes("implicit", 9) == kept_bytes("implicit", 3) < kept_bytes("first_order", 3)
    assert kept_bytes("first_order", 9) > 2.5 * kept_bytes("first_order", 3)


@pytest.mark.slow
@pytest.mark.parametrize("gradients", MODES)
def test_traced_steps_are_eager_ones(gradients, recwarn):
    found = []
    for mode in ("off", "trace"):
        model, guide = pair(refinements=4, gradients=gradients)
        parameters = [*model.parameters(), *guide.parameters()]
        svi = SVI(model, guide, torch.optim.SGD(parameters, 1e-3), RefinementBounds(), compile=mode)
        pyro.set_rng_seed(2)
        found.append(([svi.step(VIDEO) for _ in range(2)], parameters))
    torch.testing.assert_close(found[1], found[0])
    assert not recwarn.list


def test_a_loss_that_training_cannot_change_is_refused():
    """Weights of early refinements alone, which are constants."""
    model, guide = pair(refinements=4, gradients="implicit")
    first = RefinementBounds(weight=lambda number, of: float(number == 1))
    with pytest.raises(ValueError, match="weight: expected one above 0 for a refinement that training differentiates"):
        first.differentiable_loss(model, guide, VIDEO[:, :1])
    with torch.no_grad():
        assert first.differentiable_loss(model, guide, VIDEO[:, :1]) > 0


def test_recipes_choose_the_mode():
    recipe = RECIPES["spatio-temporal-balls-small"]
    _, guide = recipe.with_options(gradients="implicit").build()
    assert not guide.differentiated.earlier_steps
    with pytest.raises(OptionError, match="gradients: expected one of first_order, truncated, implicit"):
        recipe.with_options(gradients="second_order")
