"""`LinearGaussianSSM` against the dense joint Gaussian.

These tests pin: log_prob, filtered, smoothed and lag-one moments for shared and per-step parameters, offsets and every
kind of missing pattern, also with zero process noise.
"""

import pytest
import torch

from tests.oracles.joint_gaussian import joint_gaussian

TIME, STATE, OBS, SEQUENCES = 7, 4, 3, 5


def spd(*shape, scale=1.0):
    root = torch.randn(*shape[:-1], shape[-1] + 2, dtype=torch.float64)
    return scale * (root @ root.mT / shape[-1])


def parameters(batch=(), steps=(1, 1, 1, 1), offsets=False, noise="regular", time=TIME):
    """Random parameters; `steps` says for A, Q, C, R whether there is one per step (0) or one for all (1)."""
    randn = lambda *shape: torch.randn(*batch, *shape, dtype=torch.float64)  # noqa: E731
    a, q, c, r = (size or full for size, full in zip(steps, (time - 1, time - 1, time, time), strict=True))
    covariance = spd(*batch, q, STATE, STATE, scale=0.3)
    if noise == "zero":
        covariance = torch.zeros_like(covariance)
    if noise == "singular":
        root = randn(q, STATE, 1)
        covariance = root @ root.mT
    return {
        "initial_mean": randn(STATE),
        "initial_covariance": spd(*batch, STATE, STATE),
        "transition_matrix": 0.5 * randn(a, STATE, STATE) + 0.5 * torch.eye(STATE, dtype=torch.float64),
        "transition_covariance": covariance,
        "emission_matrix": randn(c, OBS, STATE),
        "emission_covariance": spd(*batch, r, OBS, OBS, scale=0.5),
        "transition_offset": randn(a, STATE) if offsets else None,
        "emission_offset": randn(c, OBS) if offsets else None,
    }


MASKS = {
    "all": None,
    "none": [0] * TIME,
    "first": [0, 0, 1, 1, 1, 1, 1],
    "last": [1, 1, 1, 1, 1, 0, 0],
    "gap": [1, 1, 0, 0, 0, 1, 1],
    "mixed": [0, 1, 0, 1, 1, 0, 1],
    "one": [0, 0, 0, 1, 0, 0, 0],
}


def mask(name):
    return None if MASKS[name] is None else torch.tensor(MASKS[name], dtype=torch.bool)


@pytest.mark.parametrize("observed", MASKS)
@pytest.mark.parametrize("noise", ["regular", "zero", "singular"])
@pytest.mark.parametrize("steps", [(1, 1, 1, 1), (0, 0, 0, 0), (0, 1, 0, 1), (1, 0, 1, 0)])
def test_moments_match_the_dense_joint(steps, noise, observed):
    from pyro_models.distributions import LinearGaussianSSM

    given, seen = parameters(steps=steps, offsets=True, noise=noise), mask(observed)
    ssm = LinearGaussianSSM(**given, observed=seen, num_steps=TIME)
    oracle = joint_gaussian(**given, time=TIME)
    a = ssm.sample()
    torch.testing.assert_close(ssm.log_prob(a), oracle.log_prob(a, seen))
    mean, covariance = oracle.states_given(a, seen)
    blocks = covariance.reshape(TIME, STATE, TIME, STATE)
    smoothed = ssm.smooth(a)
    torch.testing.assert_close(smoothed.mean, mean.reshape(TIME, STATE))
    torch.testing.assert_close(smoothed.covariance, torch.stack([blocks[t, :, t] for t in range(TIME)]))
    torch.testing.assert_close(smoothed.lag_one_covariance, torch.stack([blocks[t, :, t + 1] for t in range(TIME - 1)]))
    filtered = ssm.filter(a)
    for t in range(TIME):
        past = (torch.ones(TIME, dtype=torch.bool) if seen is None else seen) & (torch.arange(TIME) <= t)
        mean, covariance = oracle.states_given(a, past)
        rows = slice(t * STATE, (t + 1) * STATE)
        torch.testing.assert_close(filtered.mean[t], mean[rows])
        torch.testing.assert_close(filtered.covariance[t], covariance[rows, rows])
    torch.testing.assert_close(filtered.log_prob, smoothed.log_prob)
    torch.testing.assert_close(filtered.step_log_prob.sum(-1), ssm.log_prob(a))
    torch.testing.assert_close(filtered.predicted_mean[0], given["initial_mean"])
