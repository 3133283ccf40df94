"""The parameters of a linear-Gaussian state-space model as one checked record."""

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class StateSpace:
    """Parameters of z_1 ~ N(m, P), z_t = A_t z_{t-1} + b_t + N(0, Q_t), a_t = C_t z_t + d_t + N(0, R_t).

    Batch dims broadcast and are kept as given, so what is shared by all sequences is stored and computed once. A time
    dim of size 1 holds for every step. Index t of a transition parameter moves the state from step t to step t + 1
    (counted from 0).
    """

    initial_mean: Float[Tensor, "*#batch state"]
    initial_covariance: Float[Tensor, "*#batch state state"]
    transition_matrix: Float[Tensor, "*#batch #steps state state"]
    transition_covariance: Float[Tensor, "*#batch #steps state state"]
    emission_matrix: Float[Tensor, "*#batch #time obs state"]
    emission_covariance: Float[Tensor, "*#batch #time obs obs"]
    transition_offset: Float[Tensor, "*#batch #steps state"] | None
    emission_offset: Float[Tensor, "*#batch #time obs"] | None
    observed: Bool[Tensor, "*#batch time"] | None
    num_steps: int

    @property
    def tensors(self) -> tuple[Tensor | None, ...]:
        """The nine parameters in the order of the constructor, None where absent."""
        return tuple(getattr(self, field.name) for field in fields(self))[:-1]

    @property
    def state_dim(self) -> int:
        """Dimension of z_t."""
        return self.initial_mean.shape[-1]

    @property
    def obs_dim(self) -> int:
        """Dimension of a_t."""
        return self.emission_matrix.shape[-2]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype in which results are returned."""
        dtype = self.initial_mean.dtype
        for tensor in self.tensors[1:-1]:
            if tensor is not None:
                dtype = torch.promote_types(dtype, tensor.dtype)
        return dtype

    @property
    def batch_shape(self) -> torch.Size:
        """Broadcast of the batch dims of all parameters."""
        return torch.broadcast_shapes(*(_batch(self, name) for name in EVENT_DIMS if getattr(self, name) is not None))

    def double(self) -> "StateSpace":
        """The same model in float64, in which the recursions run."""
        cast = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("observed", "num_steps")}
        return replace(self, **{name: None if value is None else value.double() for name, value in cast.items()})

    def centred(self) -> "StateSpace":
        """The same model with zero means: what differences of two of its paths follow."""
        return replace(
            self, initial_mean=torch.zeros_like(self.initial_mean), transition_offset=None, emission_offset=None
        )

    def transition(self, step: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Matrix, covariance and offset that move the state from `step` to `step + 1`."""
        offset = None if self.transition_offset is None else at_step(self.transition_offset, step, 1)
        return at_step(self.transition_matrix, step, 2), at_step(self.transition_covariance, step, 2), offset

    def emission(self, step: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Matrix, covariance and offset of the observation at `step`."""
        offset = None if self.emission_offset is None else at_step(self.emission_offset, step, 1)
        return at_step(self.emission_matrix, step, 2), at_step(self.emission_covariance, step, 2), offset


# how many dims of each parameter are not batch dims (time included)
EVENT_DIMS = {
    "initial_mean": 1,
    "initial_covariance": 2,
    "transition_matrix": 3,
    "transition_covariance": 3,
    "emission_matrix": 3,
    "emission_covariance": 3,
    "transition_offset": 2,
    "emission_offset": 2,
    "observed": 1,
}


def at_step(parameter: Tensor, step: int, event_dims: int) -> Tensor:
    """The value at one step of a parameter whose time dim, left of `event_dims`, may be 1."""
    dim = -event_dims - 1
    return parameter.select(dim, step if parameter.shape[dim] > 1 else 0)


def checked_state_space(
    initial_mean: Tensor,
    initial_covariance: Tensor,
    transition_matrix: Tensor,
    transition_covariance: Tensor,
    emission_matrix: Tensor,
    emission_covariance: Tensor,
    transition_offset: Tensor | None,
    emission_offset: Tensor | None,
    observed: Tensor | None,
    num_steps: int | None,
) -> StateSpace:
    """Build the record, or say which argument has the wrong type or shape.

    Raises:
        TypeError: if a parameter is no floating-point tensor, or `observed` is no bool tensor.
        ValueError: if a shape does not fit, or the number of steps cannot be known.
    """
    given = {
        "initial_mean": initial_mean,
        "initial_covariance": initial_covariance,
        "transition_matrix": transition_matrix,
        "transition_covariance": transition_covariance,
        "emission_matrix": emission_matrix,
        "emission_covariance": emission_covariance,
        "transition_offset": transition_offset,
        "emission_offset": emission_offset,
        "observed": observed,
    }
    tensors: dict[str, Tensor] = {}
    for name, value in given.items():
        if value is None and name in ("transition_offset", "emission_offset", "observed"):
            continue
        if value.dtype != torch.bool if name == "observed" else not value.is_floating_point():
            kind = "a bool tensor" if name == "observed" else "a floating-point tensor"
            raise TypeError(f"{name}: expected {kind}, got {value.dtype}")
        if value.dim() < EVENT_DIMS[name]:
            raise ValueError(f"{name}: expected (*batch, {_layout(name)}), got {tuple(value.shape)}")
        tensors[name] = value
    steps = _count_steps(tensors, num_steps)
    _check_events(tensors, steps)
    _check_batches(tensors)
    _check_devices(tensors)
    absent: dict[str, None] = {"transition_offset": None, "emission_offset": None, "observed": None}
    return StateSpace(**(absent | tensors), num_steps=steps)  # pyright: ignore[reportArgumentType]


def _layout(name: str) -> str:
    layouts = {
        "initial_mean": "state",
        "initial_covariance": "state, state",
        "transition_matrix": "time - 1 or 1, state, state",
        "transition_covariance": "time - 1 or 1, state, state",
        "emission_matrix": "time or 1, obs, state",
        "emission_covariance": "time or 1, obs, obs",
        "transition_offset": "time - 1 or 1, state",
        "emission_offset": "time or 1, obs",
        "observed": "time",
    }
    return layouts[name]


def _batch(source: "StateSpace", name: str) -> torch.Size:
    return getattr(source, name).shape[: -EVENT_DIMS[name]]


def _count_steps(tensors: dict[str, Tensor], num_steps: int | None) -> int:
    """The number of time steps: given, or read from the first time dim that is not 1."""
    if num_steps is not None:
        if not isinstance(num_steps, int) or num_steps < 1:
            raise ValueError(f"num_steps: expected a positive int, got {num_steps!r}")
        return num_steps
    if "observed" in tensors:
        return tensors["observed"].shape[-1]
    for name, value in tensors.items():
        size = value.shape[-EVENT_DIMS[name]]
        if name.startswith("emission") and size != 1:
            return size
        if name.startswith("transition") and size != 1:
            return size + 1
    raise ValueError("num_steps: expected the number of time steps, as every time dim is 1; got None")


def _check_events(tensors: dict[str, Tensor], steps: int) -> None:
    state, obs = tensors["initial_mean"].shape[-1], tensors["emission_matrix"].shape[-2]
    sizes = {"state": state, "obs": obs, "time": steps, "time - 1 or 1": steps - 1, "time or 1": steps}
    for name, value in tensors.items():
        words = _layout(name).split(", ")
        event = tuple(value.shape[-len(words) :])
        for word, size in zip(words, event, strict=True):
            if size != sizes[word] and not (size == 1 and word.endswith("or 1")):
                wanted = ", ".join(str(sizes[word]) for word in words)
                got = ", ".join(map(str, event))
                raise ValueError(f"{name}: expected (*batch, {', '.join(words)}) = (..., {wanted}), got (..., {got})")


def _check_batches(tensors: dict[str, Tensor]) -> None:
    shapes = {name: value.shape[: -EVENT_DIMS[name]] for name, value in tensors.items()}
    try:
        torch.broadcast_shapes(*shapes.values())
    except RuntimeError:
        got = ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items())
        raise ValueError(f"batch dims of the parameters: expected shapes that broadcast, got {got}") from None


def _check_devices(tensors: dict[str, Tensor]) -> None:
    devices = {str(value.device) for value in tensors.values()}
    if len(devices) > 1:
        got = ", ".join(f"{name} on {value.device}" for name, value in tensors.items())
        raise ValueError(f"devices of the parameters: expected one device, got {got}")


def checked_values(
    name: str,
    value: Tensor,
    event_shape: torch.Size,
    batch_shape: torch.Size,
    observed: Tensor | None,
    validate: bool,
) -> tuple[Tensor, torch.Size]:
    """The value with zeros at missing steps, so that nothing there is ever read, and its broadcast batch shape.

    Raises:
        TypeError: if it is no floating-point tensor.
        ValueError: if its shape does not fit, or (with `validate`) it is not finite where observed.
    """
    if not value.is_floating_point():
        raise TypeError(f"{name}: expected a floating-point tensor, got {value.dtype}")
    given = value.shape[:-2]
    try:
        fits = value.dim() >= 2 and value.shape[-2:] == event_shape
        batch = torch.broadcast_shapes(given, batch_shape)
    except RuntimeError:
        fits, batch = False, batch_shape
    if not fits:
        wanted = ", ".join(map(str, (*batch_shape, *event_shape)))
        raise ValueError(f"{name}: expected (..., {wanted}) up to broadcasting, got {tuple(value.shape)}")
    if observed is not None:
        value = torch.where(observed[..., None], value, 0.0)
    if validate and not torch._is_all_true(value.isfinite()):
        raise ValueError(f"{name}: expected finite values at every observed step")
    return value, batch
