"""What can be minimised: the contract between a loss and the step that follows its gradient."""

import math
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from pyro.infer import ELBO, TraceEnum_ELBO, TraceTMC_ELBO
from torch import Tensor, nn

from inference.programs.traces import Program, evaluation_mode
from inference.runtime.generators import preserved_generators


@runtime_checkable
class Objective(Protocol):
    """A loss that `SVI`, `Stage` and `train` minimise: any object with this one method.

        L(theta, phi) = sum_n l_n(theta, phi)

    with theta the model's parameters, phi the guide's, and l_n what sequence n adds, in nats. For an estimator l_n is a
    negative bound on log p(x_n) (every `pyro.infer.ELBO` with `differentiable_loss` is an `Objective`); it may also be
    a weighted sum of bounds, or no bound at all, such as a reconstruction error plus a penalty. `SVI` divides by the
    number of sequences. Bounds that are reported never come from an objective that is no ELBO: see `train`.

    Model and guide that are called, inside plates or not, are seen by site weights, validation and the search for
    non-finite sites. In a compiled step the method runs once and its tensor operations are repeated: no value is read
    back, no branch depends on one. Numbers that change with the step need `FollowsSteps`, modules of its own
    `HasPrograms`.
    """

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Float[Tensor, ""]:
        """The loss of a batch in nats, summed over sequences: a scalar tensor whose gradient is followed downwards."""
        ...


@runtime_checkable
class FollowsSteps(Protocol):
    """An objective that changes with the global step."""

    def begin_step(self, step: int, device: torch.device) -> None:
        """Called before each step, and before an evaluation.

        A compiled step reads tensors, not numbers: keep what changes in one tensor for each device and fill it in
        place. It is a function of the step alone, as checkpoints do not hold it; if it is a buffer, register it with
        `persistent=False`.

        Args:
            step: the global step, counted from 0.
            device: of the batch.
        """
        ...


@runtime_checkable
class HasPrograms(Protocol):
    """An objective that calls models, guides or other modules besides the pair that is trained."""

    @property
    def programs(self) -> Mapping[str, Program]:
        """They, by the name that messages give them. Their learnable parameters are among those of the pair."""
        ...


Loss = ELBO | Objective


def check_loss(loss: object, argument: str) -> None:
    """Refuse what is neither a `pyro.infer.ELBO` nor an `Objective`.

    Args:
        loss: any object.
        argument: its name in messages.

    Raises:
        TypeError: says what came.
    """
    expected = f"{argument}: expected a pyro.infer.ELBO or an object with differentiable_loss(model, guide, *args)"
    if isinstance(loss, type):
        raise TypeError(f"{expected}, got the class {loss.__name__}; call it: {loss.__name__}(...)")
    if not isinstance(loss, ELBO) and not callable(getattr(loss, "differentiable_loss", None)):
        raise TypeError(
            f"{expected}, got {type(loss).__name__}; give it that method, which returns the loss summed over "
            "sequences as a scalar tensor (see inference.Objective)"
        )


def check_objective(objective: object, argument: str) -> None:
    """Refuse what cannot be added to other losses: `check_loss`, and ELBOs that only leave gradients behind.

    Args:
        objective: any object.
        argument: its name in messages.

    Raises:
        TypeError: says what came.
    """
    check_loss(objective, argument)
    if not hasattr(objective, "differentiable_loss"):
        raise TypeError(
            f"{argument}: expected one with differentiable_loss, {type(objective).__name__} has none, so it cannot be "
            "added to others; use IWAE or VIMCO, or give it to SVI alone"
        )


def check_weight(weight: int | float, expected: str) -> None:
    """Refuse a weight that is negative or not finite.

    Args:
        weight: of an objective.
        expected: how the message starts: which weight, and what it may be.

    Raises:
        ValueError: if it is.
    """
    if not (weight >= 0 and math.isfinite(weight)):
        raise ValueError(f"{expected}, got {weight}; to leave an objective out, give it the weight 0")


def scalar_loss(loss: Objective, model: Program, guide: Program, args: tuple, kwargs: Mapping[str, Any]) -> Tensor:
    """`differentiable_loss`, whose result is checked for its kind and shape.

    Raises:
        TypeError: if the result is no tensor.
        ValueError: if it is no scalar.
    """
    find_plate_nesting(loss, model, guide, args, kwargs)
    value = loss.differentiable_loss(model, guide, *args, **kwargs)
    name = f"loss: expected {type(loss).__name__}.differentiable_loss to return a scalar tensor, in nats"
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}, got {type(value).__name__}; compute with tensors throughout, without .item()")
    if value.dim() > 0:
        raise ValueError(f"{name}, got shape {tuple(value.shape)}; sum over sequences: .sum()")
    return value


def programs_of(loss: Loss) -> dict[str, Program]:
    """Models, guides and modules that a loss calls besides the pair, by name."""
    own: dict[str, Program] = dict(loss.programs) if isinstance(loss, HasPrograms) else {}
    return {"loss": loss} | own if isinstance(loss, nn.Module) else own


def begin_step(loss: Loss, step: int, device: torch.device) -> None:
    """Tell a loss that follows steps which one comes."""
    if isinstance(loss, FollowsSteps):
        loss.begin_step(step, device)


def find_plate_nesting(loss: Loss, model: Program, guide: Program, args: tuple, kwargs: Mapping[str, Any]) -> None:
    """Let Pyro's vectorised losses look for their plates here, where looking disturbs no random stream."""
    if not isinstance(loss, ELBO):
        return
    looks = loss.vectorize_particles or isinstance(loss, TraceEnum_ELBO | TraceTMC_ELBO)
    if looks and loss.max_plate_nesting == math.inf:
        with preserved_generators(), evaluation_mode(model, guide), torch.no_grad():
            loss._guess_max_plate_nesting(model, guide, args, dict(kwargs))
