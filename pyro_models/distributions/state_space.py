"""The parameters of a linear-Gaussian state-space model as one checked record."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache, reduce
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pyro_models.distributions.argument_checks import check_num_steps, check_type
from pyro_models.distributions.gaussian_numerics import symmetrize


@dataclass(frozen=True)
class StateSpace:
    """Parameters of z_1 ~ N(m, P), z_t = A_t z_{t-1} + b_t + N(0, Q_t), a_t = C_t z_t + d_t + N(0, R_t).

    Batch dims broadcast and are kept as given, so parameters shared by all sequences are stored and used once. A time
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
        return (
            self.initial_mean,
            self.initial_covariance,
            self.transition_matrix,
            self.transition_covariance,
            self.emission_matrix,
            self.emission_covariance,
            self.transition_offset,
            self.emission_offset,
            self.observed,
        )

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
        dtypes = {tensor.dtype for tensor in self.tensors[:-1] if tensor is not None}
        return reduce(torch.promote_types, dtypes)

    def double(self) -> "StateSpace":
        """The same model in float64, in which the recursions run, with exactly symmetric covariances."""
        cast = {
            field.name: value.double()
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        covariances = {name: symmetrize(value) for name, value in cast.items() if name.endswith("covariance")}
        return replace(self, **(cast | covariances | {"observed": self.observed}))

    def transition(self, step: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Matrix, covariance and offset that move the state from `step` to `step + 1`."""
        offset = None if self.transition_offset is None else at_step(self.transition_offset, step, 1)
        return at_step(self.transition_matrix, step, 2), at_step(self.transition_covariance, step, 2), offset

    def emission(self, step: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Matrix, covariance and offset of the observation at `step`."""
        offset = None if self.emission_offset is None else at_step(self.emission_offset, step, 1)
        return at_step(self.emission_matrix, step, 2), at_step(self.emission_covariance, step, 2), offset


def at_step(parameter: Tensor, step: int, event_dims: int) -> Tensor:
    """The value at one step of a parameter whose time dim, left of `event_dims`, may be 1."""
    dim = -event_dims - 1
    return parameter.select(dim, step if parameter.shape[dim] > 1 else 0)


def checked_state_space(
    parameters: Mapping[str, Tensor | None], num_steps: int | None
) -> tuple[StateSpace, torch.Size]:
    """Build the record, and the batch shape to which its parameters broadcast; errors name the wrong parameter.

    Args:
        parameters: the nine tensors of a `StateSpace` by name; offsets and `observed` may be None.
        num_steps: number of time steps; None = read it from the time dims.

    Raises:
        TypeError: if a parameter is not a floating-point tensor, or `observed` is not a bool tensor.
        ValueError: if a shape does not fit, or the number of steps cannot be determined.
    """
    tensors: dict[str, Any] = {
        name: value for name, value in parameters.items() if value is not None or name in _REQUIRED
    }
    for name, value in tensors.items():
        check_type(name, value, boolean=name == "observed")
    if num_steps is not None:
        check_num_steps(num_steps)
    _check_devices(tensors)
    steps, batch_shape = _check_shapes(tuple((name, value.shape) for name, value in tensors.items()), num_steps)
    return StateSpace(**{name: tensors.get(name) for name in _LAYOUTS}, num_steps=steps), batch_shape  # pyright: ignore[reportArgumentType]


_LAYOUTS = {
    "initial_mean": ("state",),
    "initial_covariance": ("state", "state"),
    "transition_matrix": ("time - 1 or 1", "state", "state"),
    "transition_covariance": ("time - 1 or 1", "state", "state"),
    "emission_matrix": ("time or 1", "obs", "state"),
    "emission_covariance": ("time or 1", "obs", "obs"),
    "transition_offset": ("time - 1 or 1", "state"),
    "emission_offset": ("time or 1", "obs"),
    "observed": ("time",),
}
_REQUIRED = tuple(_LAYOUTS)[:6]
# number of dims of each parameter that are not batch dims (time included)
EVENT_DIMS = {name: len(words) for name, words in _LAYOUTS.items()}
# parameters that determine the number of steps, the most reliable first
_TIMED = (*(name for start in ("emission", "transition") for name in _LAYOUTS if name.startswith(start)), "observed")


@lru_cache(maxsize=256)
def _check_shapes(given: tuple[tuple[str, torch.Size], ...], num_steps: int | None) -> tuple[int, torch.Size]:
    """The number of steps and the batch shape of parameters of these shapes; models of one shape are built often."""
    shapes = dict(given)
    for name, shape in shapes.items():
        if len(shape) < EVENT_DIMS[name]:
            layout = ", ".join(_LAYOUTS[name])
            raise ValueError(f"{name}: expected (*batch, {layout}), got {tuple(shape)}{_remedy(name, shape)}")
    steps = _count_steps(shapes, num_steps)
    _check_events(shapes, steps)
    batches = {name: shape[: -EVENT_DIMS[name]] for name, shape in shapes.items()}
    try:
        return steps, torch.broadcast_shapes(*batches.values())
    except RuntimeError:
        got = ", ".join(f"{name} {tuple(batch)}" for name, batch in batches.items())
        raise ValueError(f"batch dims of the parameters: expected shapes that broadcast, got {got}") from None


def _count_steps(shapes: dict[str, torch.Size], num_steps: int | None) -> int:
    """The number of time steps: given, or read from the first time dim that is not 1."""
    if num_steps is not None:
        return num_steps
    # emissions first: they have one step per observation, so a wrong count elsewhere is reported where it is
    for name in (name for name in _TIMED if name in shapes):
        size = shapes[name][-EVENT_DIMS[name]]
        if size != 1 or name == "observed":
            return size + 1 if name.startswith("transition") else size
    raise ValueError(
        "num_steps: expected the number of time steps, as every time dim is 1; got None. Pass num_steps=a.shape[-2]"
    )


def _check_events(shapes: dict[str, torch.Size], steps: int) -> None:
    state, obs = shapes["initial_mean"][-1], _count_obs(shapes)
    sizes = {"state": state, "obs": obs, "time": steps, "time - 1 or 1": steps - 1, "time or 1": steps}
    for name, shape in shapes.items():
        wanted = tuple(sizes[word] for word in _LAYOUTS[name])
        if not _fits(name, shape, wanted):
            layout, expected = ", ".join(_LAYOUTS[name]), ", ".join(map(str, wanted))
            got = ", ".join(map(str, shape[-EVENT_DIMS[name] :]))
            raise ValueError(
                f"{name}: expected (*batch, {layout}) = (..., {expected}), got (..., {got})"
                f"{_remedy(name, shape, wanted)}"
            )


def _fits(name: str, shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether the sizes right of the batch are as expected; a time dim may be 1 where its word allows it."""
    sizes = zip(shape[-len(wanted) :], _LAYOUTS[name], wanted, strict=True)
    return all(size == right or (size == 1 and word.endswith("or 1")) for size, word, right in sizes)


def _count_obs(shapes: dict[str, torch.Size]) -> int:
    """The size of an observation: rows of the emission matrix, unless its columns do not match the states."""
    emission, noise = shapes["emission_matrix"], shapes["emission_covariance"]
    return noise[-1] if emission[-1] != shapes["initial_mean"][-1] and noise[-1] == noise[-2] else emission[-2]


def _remedy(name: str, shape: torch.Size, wanted: tuple[int, ...] = ()) -> str:
    """What to do about a wrong shape, if it is wrong in a usual way; `wanted` is empty where dims are missing."""
    dims = EVENT_DIMS[name]
    if name.endswith("covariance") and (len(shape) < 2 or shape[-1] != shape[-2]):
        return ". A vector of variances (standard deviations squared) becomes a covariance by torch.diag_embed"
    if not wanted:
        return f". If it holds for every step, pass {name}.unsqueeze({-dims})" if len(shape) == dims - 1 else ""
    if len(shape) > 1 and _fits(name, (*shape[:-2], shape[-1], shape[-2]), wanted):
        return f". Transposed it would fit: pass {name}.mT"
    if shape[1 - dims :] == wanted[1:] and name.startswith("transition") and shape[-dims] == wanted[0] + 1:
        return f". There is no transition into the first step: pass {name}.narrow({-dims}, 1, {wanted[0]})"
    if shape[1 - dims :] == wanted[1:] and dims > 1 and not name.startswith("initial"):
        return f". If dim {-dims} is a batch, and the values hold for every step, pass {name}.unsqueeze({-dims})"
    return ""


def _check_devices(tensors: dict[str, Tensor]) -> None:
    if len({value.device for value in tensors.values()}) > 1:
        got = ", ".join(f"{name} on {value.device}" for name, value in tensors.items())
        raise ValueError(f"devices of the parameters: expected one device, got {got}")
