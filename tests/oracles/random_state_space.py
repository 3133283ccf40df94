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


# batch dims of single parameters, by letter: a, initial mean m and covariance P, A, Q, C, R, the offsets b and d, and
# which steps are observed, o; () where a letter is absent
SHARING: dict[str, dict[str, tuple[int, ...]]] = {
    "all shared": {},
    "nothing shared": dict.fromkeys("amPAQCRbdo", (5,)),
    "few models, many sequences": {"a": (3, 19), "A": (3, 1), "o": (3, 1), "d": (19,)},
    "particles": {"a": (2, 1, 5), "m": (5,), "A": (2, 1, 5), "C": (2, 1, 5), "o": (5,), "b": (2, 1, 1)},
    "more parameters than values": {"m": (7,), "P": (3, 1), "R": (7,), "d": (3, 7)},
    "a full vector": {"a": (8,), "A": (8,)},
    "crossed": {"a": (3, 1), "A": (1, 4), "Q": (3, 1), "o": (4,)},
}


def random_shared_parameters(
    sharing: dict[str, tuple[int, ...]],
    per_step: bool,
    optional: str,
    time: int,
    state: int,
    obs: int,
    dtype: torch.dtype,
) -> tuple[Tensor, dict[str, Tensor | None]]:
    """Observations and keyword arguments of `LinearGaussianSSM`, leaves; `optional`: some of the letters b, d, o."""

    def randn(letter: str, *shape: int) -> Tensor:
        return torch.randn(*sharing.get(letter, ()), *shape, dtype=torch.float64)

    def covariance(letter: str, *shape: int, scale: float = 1.0) -> Tensor:
        return random_covariance(*sharing.get(letter, ()), *shape, scale=scale)

    steps = (time - 1, time) if per_step else (1, 1)
    given = {
        "initial_mean": randn("m", state),
        "initial_covariance": covariance("P", state, state),
        "transition_matrix": randn("A", steps[0], state, state) / state,
        "transition_covariance": covariance("Q", steps[0], state, state, scale=0.3),
        "emission_matrix": randn("C", steps[1], obs, state),
        "emission_covariance": covariance("R", steps[1], obs, obs, scale=0.5),
        "transition_offset": randn("b", steps[0], state) if "b" in optional else None,
        "emission_offset": randn("d", steps[1], obs) if "d" in optional else None,
    }
    leaves = {name: None if value is None else value.to(dtype).requires_grad_() for name, value in given.items()}
    observed = torch.rand(*sharing.get("o", ()), time) > 0.3 if "o" in optional else None
    return randn("a", time, obs).to(dtype).requires_grad_(), leaves | {"observed": observed}


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
