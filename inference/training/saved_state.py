"""What a training keeps in `state.pt` besides weights, checked field by field before a run resumes from it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from torch import Tensor

from inference.runs.schema import check_fields


class Settings(TypedDict):
    """What the numbers of a run depend on; see `TrainingOptions.settings`."""

    stages: list[dict[str, Any]]
    loss: Any


class Optimizer(TypedDict):
    """The state of an optimizer."""

    state: dict[Any, Any]
    param_groups: list[dict[str, Any]]


class Generators(TypedDict):
    """The states of all random generators; see `capture_generators`."""

    torch: Tensor
    cuda: list[Tensor]
    python: tuple[Any, ...]
    numpy: tuple[Any, ...]


class TrainingState(TypedDict):
    """A training after some step.

    Attributes:
        step: steps taken.
        stage: index of the stage; -1 before the first.
        settings: of the training; others are refused.
        optimizer: its state; empty before the first stage.
        generators: states of all random generators.
        window: sum of losses since the last line of metrics.
        window_steps: number of these losses.
        last_loss: mean loss of the last line of metrics.
        best_bound: highest validation bound.
        best_step: step of the highest validation bound.
        stale: validations in a row without a new best.
        ended_early: whether patience has run out.
        seconds: time in the loop.
        sizes: bytes of metrics and timing, see `RunFolder.sizes`.
        nested_losses: whether settings of losses within losses are recorded; not in Kinema 0.1.0.
        streams: version of the random streams; not in Kinema 0.1.0.
    """

    step: int
    stage: int
    settings: dict[str, Any]
    optimizer: dict[str, Any]
    generators: dict[str, Any]
    window: Tensor
    window_steps: int
    last_loss: float | None
    best_bound: float | None
    best_step: int | None
    stale: int
    ended_early: bool
    seconds: float
    sizes: dict[str, int]
    nested_losses: NotRequired[bool]
    streams: NotRequired[int]


def check_training_state(state: Mapping[str, Any]) -> None:
    """Refuse what is no state of a training.

    Raises:
        ValueError: names every field that is missing or of another type.
    """
    check_fields(state, TrainingState, "state")
    check_fields(state["settings"], Settings, "settings")
    check_fields(state["generators"], Generators, "generators")
    if state["stage"] >= 0:
        check_fields(state["optimizer"], Optimizer, "optimizer")


@contextmanager
def resuming_from(path: Path, state: Mapping[str, Any], stage_steps: list[int]) -> Iterator[None]:
    """Inside, a training is put into a saved state.

    Args:
        path: of the checkpoint, for messages.
        state: its state.
        stage_steps: steps of each stage of the training that resumes.

    Raises:
        ValueError: if the state is beyond the end of this training, or is refused by what it is given to: an optimizer,
            a generator, a model.
    """
    end = sum(stage_steps[: state["stage"] + 1])
    if not (-1 <= state["stage"] < len(stage_steps) and 0 <= state["step"] <= end):
        raise ValueError(
            f"{path}: expected a step up to {sum(stage_steps)} in one of {len(stage_steps)} stages, got step "
            f"{state['step']} in stage {state['stage']}, which this training never reaches"
        )
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a state of this model, guide and training ({error!r})") from error
