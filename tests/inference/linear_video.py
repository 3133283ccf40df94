"""A linear-Gaussian model of tiny frames, made of steps; its guides, and its exact answers by the dense joint."""

import pyro
import pyro.distributions as dist
import torch

from guides.stepwise import StepwiseGuide
from pyro_models.components.layout import merge_particles, to_time_plate
from pyro_models.components.stepwise import StepwiseModel
from tests.oracles.joint_gaussian import joint_gaussian
from tests.oracles.random_state_space import random_parameters

STEPS, SIZE = 5, 2  # of a video; states, and pixels of a frame (1, 1, 2)


def parameters(seed=3, spread=1.0, offset=0.0):
    """Of a linear-Gaussian model with independent pixels."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        given = random_parameters(time=STEPS, state=SIZE, obs=SIZE)
    noise = given["emission_covariance"].diagonal(dim1=-2, dim2=-1).diag_embed()
    covariances = {name: value for name, value in (given | {"emission_covariance": noise}).items() if "covar" in name}
    shifted = {"emission_offset": given["emission_offset"] + offset}
    return given | {name: spread * value for name, value in covariances.items()} | shifted


P = parameters()


def oracle(p=P):
    return joint_gaussian(**p, time=STEPS)


def exact(frames, seen, p=P):
    """log p of the seen frames of each video, by the dense joint."""
    videos = frames.flatten(2).double()
    return torch.stack([oracle(p).log_prob(a, mask) for a, mask in zip(videos, seen, strict=True)])


def exact_prefixes(frames, seen):
    steps = torch.arange(STEPS)
    return torch.stack([exact(frames, seen & (steps <= last)) for last in steps])


class LinearVideo(StepwiseModel):
    """z_t ~ N(A z_{t-1} + b, Q), pixels ~ N(C z_t + d, diag r); sites z_1, ..., z_T and frames."""

    frame_shape = (1, 1, SIZE)

    def __init__(self, p=P):
        super().__init__()
        self.p = {name: value[0] if name[0] in "te" else value for name, value in p.items()}

    def law(self, before):
        p = self.p
        if before is None:
            return dist.MultivariateNormal(p["initial_mean"], p["initial_covariance"])
        mean = before @ p["transition_matrix"].mT + p["transition_offset"]
        return dist.MultivariateNormal(mean, p["transition_covariance"])

    def prepare(self, frames, observed=None, controls=None):
        seen = torch.ones(frames.shape[:2], dtype=torch.bool) if observed is None else observed
        return torch.where(seen[:, :, None, None, None], frames, 0.0), seen

    def step(self, index, state, context):
        return pyro.sample(f"z_{index + 1}", self.law(state))

    def emit(self, states, context, first=0):
        path = to_time_plate(merge_particles(torch.stack(list(states), -2), 2), 1)
        steps = slice(first, first + len(states))
        mean = path @ self.p["emission_matrix"].mT + self.p["emission_offset"]
        scale = self.p["emission_covariance"].diagonal().sqrt()
        pixels = dist.Normal(mean[..., None, None, :], scale).to_event(3)
        with pyro.plate("time", len(states), dim=-2):
            pyro.sample("frames", pixels.mask(context[1][:, steps].T), obs=context[0][:, steps].transpose(0, 1))


class LinearGuide(StepwiseGuide):
    """q(z_t | z_{t-1}, x_t), the best that looks at one frame; the prior where it is missing ("blind": everywhere).

    It completes by exact draws from the posterior, by the dense joint.
    """

    completion_methods = ("exact",)

    def __init__(self, model, blind=False, p=P):
        super().__init__()
        self.served, self.blind, self.joint, self.given = [model], blind, oracle(p), []

    def prepare(self, frames, observed=None, controls=None):
        return self.served[0].prepare(frames, observed)

    def step(self, index, state, context):
        p, prior = self.served[0].p, self.served[0].law(state)
        spread = p["initial_covariance" if state is None else "transition_covariance"]
        emission = p["emission_matrix"]
        gain = spread @ emission.mT @ torch.linalg.inv(emission @ spread @ emission.mT + p["emission_covariance"])
        expected = prior.mean @ emission.mT + p["emission_offset"]
        mean = prior.mean + (context[0][:, index].flatten(1) - expected) @ gain.mT
        covariance = spread - gain @ emission @ spread
        seen = context[1][:, index, None] & (not self.blind)
        law = dist.MultivariateNormal(
            torch.where(seen, mean, prior.mean),
            torch.where(seen[..., None], (covariance + covariance.mT) / 2, spread),
        )
        return pyro.sample(f"z_{index + 1}", law)

    def complete(self, frames, observed=None, controls=None, *, method="exact", num_samples=None):
        self.given.append(frames)
        pairs = zip(frames.flatten(2).double(), observed, strict=True)
        found = [self.joint.states_given(a, seen) for a, seen in pairs]
        mean, covariance = (torch.stack(part) for part in zip(*found, strict=True))
        paths = mean
        if num_samples is not None:
            paths = dist.MultivariateNormal(mean, (covariance + covariance.mT) / 2).sample((num_samples, 1))
        paths = paths.unflatten(-1, (STEPS, SIZE))
        return {f"z_{index + 1}": paths[..., index, :] for index in range(STEPS)}


def whole(model, **options):
    """A model and its guide that are run as wholes, never step by step."""
    guide = LinearGuide(model, **options)
    model.runs_stepwise = guide.runs_stepwise = False
    return model, guide


def videos(count, p=P, seed=0):
    """Drawn from the dense joint."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        joint = oracle(p)
        rows = joint.seen_rows(None)
        law = torch.distributions.MultivariateNormal(joint.mean[rows], joint.covariance[rows][:, rows])
        return law.sample((count,)).reshape(count, STEPS, 1, 1, SIZE)


def mask(count, *steps):
    held_out = torch.zeros(count, STEPS, dtype=torch.bool)
    held_out[:, list(steps)] = True
    return held_out


GAPS = torch.tensor([[1, 1, 1, 1, 1], [0, 1, 0, 1, 1], [1, 1, 0, 0, 1]], dtype=torch.bool)
