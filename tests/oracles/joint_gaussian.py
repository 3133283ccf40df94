"""The dense joint Gaussian of all states and observations of one sequence, in float64: an oracle without recursions.

The stacked vector (z_1 .. z_T, a_1 .. a_T) is a linear map of independent noises; every marginal and conditional of it
is read off by selecting rows. Independent of the code under test.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class JointGaussian:
    """Mean and covariance of (z_1 .. z_T, a_1 .. a_T) for one sequence."""

    mean: Tensor
    covariance: Tensor
    time: int
    state: int
    obs: int

    def seen_rows(self, observed: Tensor | None) -> Tensor:
        """Rows of the observations that are not missing."""
        seen = torch.ones(self.time, dtype=torch.bool) if observed is None else observed
        return self.time * self.state + torch.arange(self.time * self.obs)[seen.repeat_interleave(self.obs)]

    def log_prob(self, a: Tensor, observed: Tensor | None = None) -> Tensor:
        """log p(observed part of a)."""
        rows = self.seen_rows(observed)
        value = a.reshape(-1)[rows - self.time * self.state]
        return dense_log_prob(value, self.mean[rows], self.covariance[rows][:, rows])

    def states_given(self, a: Tensor, observed: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean (time * state) and covariance of the whole path given the observed part of a."""
        hidden, rows = torch.arange(self.time * self.state), self.seen_rows(observed)
        value = a.reshape(-1)[rows - self.time * self.state]
        if len(rows) == 0:
            return self.mean[hidden], self.covariance[hidden][:, hidden]
        gain = torch.linalg.solve(self.covariance[rows][:, rows], self.covariance[rows][:, hidden]).mT
        mean = self.mean[hidden] + gain @ (value - self.mean[rows])
        return mean, self.covariance[hidden][:, hidden] - gain @ self.covariance[rows][:, hidden]


def dense_log_prob(value: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """Log density of a dense Gaussian; 0 for no dimensions."""
    if value.numel() == 0:
        return value.new_zeros(())
    residual = value - mean
    quadratic = residual @ torch.linalg.solve(covariance, residual)
    return -0.5 * (quadratic + torch.linalg.slogdet(covariance)[1] + value.numel() * math.log(2 * math.pi))


def joint_gaussian(
    initial_mean: Tensor,
    initial_covariance: Tensor,
    transition_matrix: Tensor,
    transition_covariance: Tensor,
    emission_matrix: Tensor,
    emission_covariance: Tensor,
    transition_offset: Tensor | None,
    emission_offset: Tensor | None,
    time: int,
) -> JointGaussian:
    """The joint distribution of one sequence; parameters without batch dims."""

    def at(parameter: Tensor | None, step: int) -> Tensor | None:
        return None if parameter is None else parameter[step if parameter.shape[0] > 1 else 0]

    state, obs = initial_mean.shape[0], emission_matrix.shape[-2]
    rows: list[Tensor] = []  # each z_t as a linear map of (z_1, w_2, .., w_T)
    means: list[Tensor] = []
    noise = torch.zeros(time * state, time * state, dtype=initial_mean.dtype)
    for step in range(time):
        block = slice(step * state, (step + 1) * state)
        injected = torch.zeros(state, time * state, dtype=initial_mean.dtype)
        injected[:, block] = torch.eye(state, dtype=initial_mean.dtype)
        if step == 0:
            row, mean, covariance = injected, initial_mean, initial_covariance
        else:
            matrix = at(transition_matrix, step - 1)
            row, mean = matrix @ rows[-1] + injected, matrix @ means[-1]
            if transition_offset is not None:
                mean = mean + at(transition_offset, step - 1)
            covariance = at(transition_covariance, step - 1)
        rows.append(row)
        means.append(mean)
        embed = torch.zeros(time * state, state, dtype=initial_mean.dtype)
        embed[block] = torch.eye(state, dtype=initial_mean.dtype)
        noise = noise + embed @ covariance @ embed.mT
    hidden, hidden_mean = torch.cat(rows), torch.cat(means)
    emission = torch.block_diag(*(at(emission_matrix, step) for step in range(time)))
    emission_noise = torch.block_diag(*(at(emission_covariance, step) for step in range(time)))
    offset = torch.zeros(time * obs, dtype=initial_mean.dtype)
    if emission_offset is not None:
        offset = torch.cat([at(emission_offset, step) for step in range(time)])
    states = hidden @ noise @ hidden.mT
    cross = states @ emission.mT
    covariance = torch.cat(
        [torch.cat([states, cross], 1), torch.cat([cross.mT, emission @ cross + emission_noise], 1)], 0
    )
    return JointGaussian(torch.cat([hidden_mean, emission @ hidden_mean + offset]), covariance, time, state, obs)
