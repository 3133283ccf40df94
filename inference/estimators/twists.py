"""What a filter's particles are worth for the frames to come: functions of their states, fitted to each video."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from inference.estimators.corrected_draws import tempered_shares

PENALTIES = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 1e3)  # of ridge regression, in mean eigenvalues of the kernel matrix
EFFECTIVE = 0.5  # share of the particles that have to count in a regression
POINTS = 128  # particles of a regression, whose time grows with their third power
SAME = 1e-6  # standard deviation below which an entry of a state is the same for all particles

Features = Float[Tensor, "particles sequences feature"]


class TwistStep(NamedTuple):
    """log psi of one step, a quadratic function of the state, video by video.

        log psi(s) = b + sum_j a_j k(u_j, u),      k(u, u') = (1 + u . u' / D)^2,      u = (s - centre) * scale

    for states of D entries, cut to the range from `lowest` to `highest`.
    """

    centre: Float[Tensor, "sequences feature"]
    scale: Float[Tensor, "sequences feature"]
    points: Float[Tensor, "sequences points feature"]
    coefficients: Float[Tensor, "sequences points"]
    offset: Float[Tensor, " sequences"]
    lowest: Float[Tensor, " sequences"]
    highest: Float[Tensor, " sequences"]

    def log_values(self, features: Features) -> Float[Tensor, "particles sequences"]:
        """Evaluate log psi."""
        standard = (features.transpose(0, 1) - self.centre[:, None]) * self.scale[:, None]
        values = (_kernel(standard, self.points) @ self.coefficients[..., None])[..., 0] + self.offset[:, None]
        return values.clamp(self.lowest[:, None], self.highest[:, None]).T


class Twist(NamedTuple):
    """Functions psi_1, ..., psi_{T-1} of states, which approximate p(x_{t+1}, ..., x_T | s_t) up to a factor.

    A filter that also weights its particles by psi keeps those that explain later frames; without psi it recognises
    them only when those frames arrive, too late (Guarniero, Johansen and Lee 2017; Heng et al. 2020). Since psi_t
    cancels at step t + 1, the estimate stays unbiased for any functions that were fitted to other draws.

    Attributes:
        steps: log psi_t for every step but the last.
    """

    steps: tuple[TwistStep, ...]

    def repeat_sequences(self, count: int) -> "Twist":
        """For a batch that holds every sequence `count` times, one copy of the batch after the other."""
        return Twist(tuple(TwistStep(*(torch.cat([value] * count) for value in step)) for step in self.steps))


class FilteredStates(NamedTuple):
    """The particles of one step before they are resampled: their states, log weights of this step, and log shares."""

    features: Features
    increments: Float[Tensor, "particles sequences"]
    log_shares: Float[Tensor, "particles sequences"]


def state_features(state: Any, particle_dim: int, like: Float[Tensor, "particles sequences"]) -> Features:
    """The numbers of a state, side by side.

    Args:
        state: what a step of the model hands on, see `State`.
        particle_dim: dim of the particle plate.
        like: a number of each particle and sequence.
    """
    found = [like[..., None][..., :0]]
    for value in _numbers(state):
        rows = value.to(like).movedim(-particle_dim - 1, 1).flatten(2)
        found.append(rows.expand(*like.shape, rows.shape[-1]))
    return torch.cat(found, -1)


def _numbers(state: Any) -> list[Tensor]:
    if isinstance(state, dict):
        state = tuple(state.values())
    if isinstance(state, (tuple, list)):
        return [value for part in state for value in _numbers(part)]
    return [] if state is None else [state]


def fit_twist(steps: Sequence[FilteredStates], ancestors: Int[Tensor, "moves particles sequences"]) -> Twist:
    """Regress what became of a filter's particles on their states, from the last step back.

        log psi_t(s_t) ~ E[ log w_{t+1} + log psi_{t+1}(s_{t+1}) | s_t ],      psi_T = 1

    Args:
        steps: of the filter.
        ancestors: of its result.
    """
    every = -(-len(steps[-1].increments) // POINTS)
    ahead = torch.zeros_like(steps[-1].increments)
    found: list[TwistStep] = []
    for parents, there, after in zip(ancestors.flip(0), steps[-2::-1], steps[:0:-1], strict=True):
        parents, targets, log_shares = (each[::every] for each in (parents, after.increments + ahead, after.log_shares))
        came_from = there.features.gather(0, parents[..., None].expand(-1, -1, there.features.shape[-1]))
        found.append(_regress(came_from, targets, tempered_shares(log_shares, EFFECTIVE * len(parents))))
        ahead = found[-1].log_values(there.features)
    return Twist(tuple(reversed(found)))


def choose_twists(first: Twist | None, second: Twist, better: Bool[Tensor, " sequences"]) -> Twist:
    """For each video the second twist where it is better.

    Args:
        first: None is psi = 1.
        second: the same for the same steps and particles.
        better: which videos take the second.
    """
    if first is None:
        first = Twist(tuple(step._replace(lowest=0 * step.lowest, highest=0 * step.highest) for step in second.steps))
    steps = []
    for old, new in zip(first.steps, second.steps, strict=True):
        pairs = zip(old, new, strict=True)
        steps.append(TwistStep(*(torch.where(better.reshape(-1, *[1] * (b.dim() - 1)), b, a) for a, b in pairs)))
    return Twist(tuple(steps))


def _regress(
    features: Features,
    targets: Float[Tensor, "particles sequences"],
    shares: Float[Tensor, "particles sequences"],
) -> TwistStep:
    """Weighted kernel ridge regression, with the penalty that predicts particles best that are left out.

    Particles that came to an impossible frame do not count: psi says nothing of them, and is 1 if all did.
    """
    possible = targets.isfinite()
    shares = torch.where(possible, shares, 0.0)
    shares = shares / shares.sum(0).clamp_min(torch.finfo(shares.dtype).tiny)
    weights, values = shares.T, torch.where(possible, targets, 0.0).T
    centre = (shares[..., None] * features).sum(0)
    off = features.transpose(0, 1) - centre[:, None]
    spread = (weights[..., None] * off.square()).sum(1).sqrt()
    scale = torch.where(spread > SAME, 1 / spread.clamp_min(SAME), 0.0)
    points = off * scale[:, None]
    offset = (weights * values).sum(1)
    root = weights.sqrt().double()
    kernel = root[:, :, None] * _kernel(points, points).double() * root[:, None]
    wanted = root * (values - offset[:, None]).double()
    coefficients = (root * _ridge(kernel, wanted)).to(features)
    seen = torch.where(possible.T, values, offset[:, None])
    return TwistStep(centre, scale, points, coefficients, offset, seen.amin(1), seen.amax(1))


def _ridge(
    kernel: Float[Tensor, "sequences points points"], wanted: Float[Tensor, "sequences points"]
) -> Float[Tensor, "sequences points"]:
    """(K + c I)^-1 y with the c of least leave-one-out error; 0 where none is better than no regression."""
    eigenvalues, vectors = torch.linalg.eigh(kernel)
    eigenvalues = eigenvalues.clamp_min(0.0)
    turned = (vectors.mT @ wanted[..., None])[..., 0]
    coefficients, least = torch.zeros_like(wanted), wanted.square().sum(-1)
    for penalty in PENALTIES:
        inverse = 1 / (eigenvalues + penalty * eigenvalues.mean(-1, keepdim=True))
        found = (vectors @ (inverse * turned)[..., None])[..., 0]
        errors = (found / (vectors.square() * inverse[:, None]).sum(-1)).square().sum(-1)
        coefficients = torch.where((errors < least)[:, None], found, coefficients)
        least = torch.minimum(errors, least)
    return coefficients


def _kernel(
    first: Float[Tensor, "sequences some feature"], second: Float[Tensor, "sequences others feature"]
) -> Float[Tensor, "sequences some others"]:
    return (1 + first @ second.mT / max(first.shape[-1], 1)).square()
