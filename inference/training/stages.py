"""The stages of a training run: which parameters learn, by which loss, under which weights, for how long."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from inference.estimators.objective import Loss, check_loss
from inference.runs.folder import describe
from inference.runtime.numbers import check_count
from inference.svi.schedules import Schedule, value_at
from inference.training.loss_settings import loss_settings
from videos.typed import typed_fields


@dataclass(frozen=True)
@typed_fields(left=("loss",))
class Stage:
    """A part of a training run with its own rules.

    Attributes:
        steps: number of steps.
        frozen: glob patterns over `model.<parameter>` and `guide.<parameter>`: parameters that stay fixed.
        site_weights: weights on log probabilities by site name, numbers or functions of the global step (counted from
            the start of the run, not of the stage); see `SiteWeights`.
        prepare: called with model and guide before the stage's first step, to initialise or rearrange parameters.
        fresh_optimizer: start with a new optimizer; otherwise it keeps its moments from the stage before.
        buffers: values of buffers `model.<name>` and `guide.<name>`, numbers or functions of the global step: a prior
            that is annealed, say. As this changes the model, the best weights are chosen again in the stage after it.
        loss: what this stage minimises: a `pyro.infer.ELBO` or another `Objective`, such as a `WeightedSum`; None for
            the loss of the run. Validation and the choice of the best weights do not depend on it.

    Raises:
        ValueError: if `steps` is not positive.
        TypeError: if `loss` is neither an ELBO nor an `Objective`.
    """

    steps: int
    frozen: tuple[str, ...] = ()
    site_weights: Mapping[str, Schedule] = field(default_factory=dict)
    prepare: Callable[[nn.Module, nn.Module], None] | None = None
    fresh_optimizer: bool = True
    buffers: Mapping[str, Schedule] = field(default_factory=dict)
    loss: Loss | None = None

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        if self.loss is not None:
            check_loss(self.loss, "loss")

    def settings(self) -> dict[str, Any]:
        """The stage as plain values, the same in every process."""
        settings = {
            "steps": self.steps,
            "frozen": list(self.frozen),
            "site_weights": {name: describe(weight) for name, weight in self.site_weights.items()},
            "buffers": {name: describe(value) for name, value in self.buffers.items()},
            "prepare": describe(self.prepare),
            "fresh_optimizer": self.fresh_optimizer,
        }
        return settings if self.loss is None else settings | {"loss": loss_settings(self.loss)}

    def values_at(self, step: int) -> dict[str, float]:
        """What schedules give at a global step: `site_weight/<site>` and `buffer/<name>`."""
        named = (("site_weight", self.site_weights), ("buffer", self.buffers))
        return {
            f"{kind}/{name}": value_at(schedule, step) for kind, values in named for name, schedule in values.items()
        }


def check_stages(stages: Any) -> None:
    """Refuse what is no stages.

    Raises:
        TypeError: if it is no sequence of `Stage`.
        ValueError: if it is empty.
    """
    if not isinstance(stages, Sequence) or not all(isinstance(stage, Stage) for stage in stages):
        got = f"{stages!r:.60}"
        raise TypeError(f"stages: expected a number of steps or a list of Stage, got {got}; write [Stage(1000)]")
    if not stages:
        raise ValueError("stages: expected at least one, got none")


def first_steps(stages: Sequence[Stage], steps: int) -> list[Stage]:
    """The same stages, cut after so many steps in all.

    Args:
        stages: of a run.
        steps: positive.
    """
    kept: list[Stage] = []
    for stage in stages:
        if steps > 0:
            kept.append(replace(stage, steps=min(stage.steps, steps)))
        steps -= stage.steps
    return kept


def learnable_parameters(model: nn.Module, guide: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters that require a gradient, each once: `model.<name>`, then those of the guide that the model has not."""
    named: dict[str, nn.Parameter] = {}
    known: set[int] = set()
    for prefix, module in (("model", model), ("guide", guide)):
        for name, parameter in module.named_parameters():
            if parameter.requires_grad and id(parameter) not in known:
                known.add(id(parameter))
                named[f"{prefix}.{name}"] = parameter
    return named


def scheduled_buffers(model: nn.Module, guide: nn.Module, names: Iterable[str]) -> dict[str, Tensor]:
    """Buffers by name.

    Raises:
        ValueError: if there is no buffer of a name; names the nearest.
    """
    known = {
        f"{prefix}.{name}": buffer
        for prefix, module in (("model", model), ("guide", guide))
        for name, buffer in module.named_buffers()
    }
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.0)
            raise ValueError(f"buffers: there is no buffer {name!r}; the nearest is {near[0] if near else None!r}")
    return {name: known[name] for name in names}


def split_frozen(
    parameters: Mapping[str, nn.Parameter], frozen: tuple[str, ...]
) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The parameters that learn in a stage, and those that do not.

    Raises:
        ValueError: if a pattern matches no parameter (names the nearest), or if nothing is left to learn.
    """
    for pattern in frozen:
        if not any(fnmatchcase(name, pattern) for name in parameters):
            near = get_close_matches(pattern, parameters, n=1, cutoff=0.0)
            raise ValueError(f"frozen: {pattern!r} matches no parameter; the nearest is {near[0] if near else None!r}")
    still = [name for name in parameters if any(fnmatchcase(name, pattern) for pattern in frozen)]
    learning = [parameter for name, parameter in parameters.items() if name not in still]
    if not learning:
        raise ValueError(f"frozen: {', '.join(map(repr, frozen))} leaves no parameter to learn")
    return learning, [parameters[name] for name in still]
