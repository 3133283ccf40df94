"""A level with a slope, both with a vague start: linear-Gaussian, the whole path in one draw.

    s = (slope, level):  s_0 ~ N(0, 10^6 I),  s_t ~ N(((1, 0), (1, 1)) s_{t-1}, diag(0.02, 0.1)),  x_t ~ N(level_t, 0.2)

    q(s | x) = N(m + 0.3 L e, 1.5 L L')   with N(m, L L') the posterior of the path, and e = (1, 0, 0, ...)
    "exact guide": q(s | x) = N(m, L L')

The evidence is that of the dense joint Gaussian of a video, in float64; the guide's moments come from precisions, which
stay well-conditioned however vague the start.
"""

from functools import partial

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from tests.oracles.conformance.case import Case, hide, seen_frames
from tests.oracles.joint_gaussian import joint_gaussian

START, WANDER, NOISE = 1e6, [0.02, 0.1], 0.2
MATRIX = torch.tensor([[1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
SEQUENCES, TIME = 4, 5


def prior_factor(time: int) -> Tensor:
    """L with path = L e, e ~ N(0, I): lower triangular, (2 time, 2 time)."""
    scales = torch.tensor([START, START, *WANDER * (time - 1)], dtype=torch.float64).sqrt()
    powers = [torch.linalg.matrix_power(MATRIX, number) for number in range(time)]
    rows = [torch.cat([powers[later - earlier] for earlier in range(later + 1)], 1) for later in range(time)]
    padded = [torch.nn.functional.pad(row, (0, 2 * time - row.shape[1])) for row in rows]
    return torch.cat(padded) * scales


def smoothed(frames: Tensor, observed: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean (sequences, 2 time) and lower factor of the covariance of the path given the frames that are seen."""
    x, mask = seen_frames(frames, observed)
    factor = prior_factor(x.shape[1])
    eye = torch.eye(len(factor), dtype=x.dtype)
    inverse = torch.linalg.solve_triangular(factor, eye, upper=False)
    levels = eye[1::2]
    precision = inverse.mT @ inverse + levels.mT @ (mask[..., None] * levels) / NOISE
    covariance = torch.linalg.inv(precision)
    mean = covariance @ (levels.mT @ x) / NOISE
    return mean[..., 0], torch.linalg.cholesky(0.5 * (covariance + covariance.mT))


def model(frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
    x, mask = seen_frames(frames, observed)
    sequences, time = mask.shape
    with pyro.plate("sequences", sequences, dim=-1):
        prior = dist.MultivariateNormal(torch.zeros(2 * time, dtype=x.dtype), scale_tril=prior_factor(time))
        level = pyro.sample("path", prior)[..., 1::2]  # (particles, 1, sequences, time), or without the first two
        level = level.squeeze(-3) if level.dim() > 2 else level
        with pyro.plate("time", time, dim=-2):
            seen = dist.Normal(level.mT[..., None], NOISE**0.5).to_event(1).mask(mask.mT)
            pyro.sample("frames", seen, obs=x.transpose(0, 1))


def guide(
    frames: Tensor,
    observed: Tensor | None = None,
    controls: Tensor | None = None,
    *,
    shift: float,
    widening: float,
) -> None:
    mean, factor = smoothed(frames, observed)
    with pyro.plate("sequences", frames.shape[0], dim=-1):
        moved = dist.MultivariateNormal(mean + shift * factor[..., 0], scale_tril=widening**0.5 * factor)
        pyro.sample("path", moved)


def exact(frames: Tensor, observed: Tensor) -> Tensor:
    eye = torch.eye(2, dtype=torch.float64)
    wander = torch.diag(torch.tensor(WANDER, dtype=torch.float64))
    values = []
    for x, mask in zip(frames, observed, strict=True):
        joint = joint_gaussian(
            initial_mean=eye[0] * 0,
            initial_covariance=START * eye,
            transition_matrix=MATRIX[None],
            transition_covariance=wander[None],
            emission_matrix=eye[None, 1:],
            emission_covariance=NOISE * eye[None, :1, :1],
            transition_offset=None,
            emission_offset=None,
            time=frames.shape[1],
        )
        values.append(joint.log_prob(x, mask))
    return torch.stack(values)


def vague_trend(exact_guide: bool = False) -> Case:
    generator = torch.Generator().manual_seed(12)
    noise = torch.randn(SEQUENCES, 2 * TIME, dtype=torch.float64, generator=generator)
    path = noise @ prior_factor(TIME).mT
    seen = path[:, 1::2] + NOISE**0.5 * torch.randn(SEQUENCES, TIME, dtype=torch.float64, generator=generator)
    frames, observed = hide(seen[..., None], [(0, 0), (1, 4), (1, 2), (3, 1)])
    evidence = exact(frames, observed)
    if exact_guide:
        posterior = partial(guide, shift=0.0, widening=1.0)
        return Case("exact guide", model, posterior, frames, evidence, observed, demand="equality")
    return Case("vague trend", model, partial(guide, shift=0.3, widening=1.5), frames, evidence, observed)
