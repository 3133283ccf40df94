"""Random parameters of linear-Gaussian state-space models, for tests."""

import torch
from torch import Tensor

TIME, STATE, OBS, SEQUENCES = 7, 4, 3, 5


def random_covariance(*shape: int, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> Tensor:
    """A well-conditioned covariance (..., size, size)."""
    root = torch.randn(*shape[:-1], shape[-1] + 2, dtype=dtype)
    return scale * (root @ root.mT / shape[-1])


def random_parameters(
    batch: tuple[int, ...] = (),
    per_step: tuple[bool, bool, bool, bool] = (False, False, False, False),
    offsets: bool = True,
    noise: str = "regular",
    time: int = TIME,
    state: int = STATE,
    obs: int = OBS,
) -> dict[str, Tensor | None]:
    """Keyword arguments of `LinearGaussianSSM`; `per_step` for transition matrix and noise, emission and noise."""

    def randn(*shape: int) -> Tensor:
        return torch.randn(*batch, *shape, dtype=torch.float64)

    a, q, c, r = (
        full if varies else 1 for varies, full in zip(per_step, (time - 1, time - 1, time, time), strict=True)
    )
    transition_covariance = random_covariance(*batch, q, state, state, scale=0.3)
    if noise == "zero":
        transition_covariance = torch.zeros_like(transition_covariance)
    if noise == "singular":
        root = randn(q, state, 1)
        transition_covariance = root @ root.mT
    return {
        "initial_mean": randn(state),
        "initial_covariance": random_covariance(*batch, state, state),
        "transition_matrix": 0.5 * randn(a, state, state) + 0.5 * torch.eye(state, dtype=torch.float64),
        "transition_covariance": transition_covariance,
        "emission_matrix": randn(c, obs, state),
        "emission_covariance": random_covariance(*batch, r, obs, obs, scale=0.5),
        "transition_offset": randn(a, state) if offsets else None,
        "emission_offset": randn(c, obs) if offsets else None,
    }


def constant_velocity(
    dt: float, noise: float, emission_noise: float, initial: float, dtype: torch.dtype = torch.float64
) -> dict[str, Tensor]:
    """Position and velocity in the plane: state 4, observation 2."""
    eye = torch.eye(2, dtype=dtype)
    zero = torch.zeros(2, 2, dtype=dtype)
    matrix = torch.cat([torch.cat([eye, dt * eye], 1), torch.cat([zero, eye], 1)])
    return {
        "initial_mean": torch.zeros(4, dtype=dtype),
        "initial_covariance": initial * torch.eye(4, dtype=dtype),
        "transition_matrix": matrix[None],
        "transition_covariance": noise * torch.eye(4, dtype=dtype)[None],
        "emission_matrix": torch.cat([eye, zero], 1)[None],
        "emission_covariance": emission_noise * eye[None],
    }
