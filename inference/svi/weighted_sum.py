"""Several objectives at once, each with its weight and, if need be, its own model and guide."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from inference.estimators.objective import (
    Objective,
    begin_step,
    check_objective,
    check_weight,
    programs_of,
    scalar_loss,
)
from inference.programs.traces import Program
from inference.svi.schedules import Number, Schedule, value_at
from videos.typed import typed


@dataclass(frozen=True, eq=False)
class Term:
    """One objective of a `WeightedSum`.

    Attributes:
        objective: an estimator with `differentiable_loss`, such as `IWAE` or `pyro.infer.Trace_ELBO`, or another
            `Objective`.
        weight: a finite number >= 0, or a function of the global step.
        model: what the objective calls in place of the model that is trained; None calls that one.
        guide: what it calls in place of the guide.

    Raises:
        TypeError: if `objective` is no `Objective`.
        ValueError: if `weight` is negative or not finite.
    """

    objective: Objective
    weight: Schedule = 1.0
    model: Program | None = None
    guide: Program | None = None

    def __post_init__(self) -> None:
        check_objective(self.objective, "objective")
        if not callable(self.weight):
            check_weight(self.weight, "weight: expected a finite number >= 0")


class WeightedSum:
    """A weighted sum of objectives; an `Objective` itself.

        L = sum_i w_i(t) L_i(model_i, guide_i)

    with L_i in nats, summed over sequences, and w_i(t) its weight at global step t. Objectives draw one after the
    other, from one random stream. A term whose weight is the number 0 is never run; one whose schedule gives 0 is, so
    that eager and compiled steps draw alike.

    The sum is a bound only if its weights add up to 1 and its terms bound the same evidence: `train` reports the bound
    of another loss, see its `validation_loss`.

        loss = WeightedSum({
            "video": Term(VIMCO(5)),
            "frames": Term(VIMCO(5), LinearRamp(1.0, 0.0, 10_000), model=air, guide=air_guide),
        })

    A term's own model and guide are other arrangements of the modules that are trained: their learnable parameters
    have to be among those of the pair, `SVI` and `train` refuse others by name.

    Args:
        terms: by name; the names appear in settings, metrics and messages. Their objectives are copied, as what an ELBO
            finds out about its model differs between terms.

    Raises:
        ValueError: if there is no term, or every weight is the number 0.
        TypeError: if a term is no `Term`.
    """

    @typed
    def __init__(self, terms: Mapping[str, Term]) -> None:
        for name, term in terms.items():
            if not isinstance(term, Term):
                raise TypeError(
                    f"terms[{name!r}]: expected a Term, got {type(term).__name__}; write Term(objective, weight)"
                )
        if not any(callable(term.weight) or term.weight > 0 for term in terms.values()):
            raise ValueError(
                f"terms: expected one with a positive weight, got {', '.join(map(repr, terms)) or 'no term'}; "
                "give a weight > 0 or a schedule"
            )
        self.terms = {name: replace(term, objective=copy.copy(term.objective)) for name, term in terms.items()}
        self._device: torch.device | None = None
        self._scheduled: dict[tuple[str, torch.device], Tensor] = {}

    def __copy__(self) -> "WeightedSum":
        return WeightedSum(self.terms)

    @property
    def programs(self) -> dict[str, Program]:
        """Models and guides that its terms call besides the pair, by name."""
        found: dict[str, Program] = {}
        for name, term in self.terms.items():
            place = f"terms[{name!r}]"
            own = {f"{place}.model": term.model, f"{place}.guide": term.guide}
            found |= {key: program for key, program in own.items() if program is not None}
            found |= {f"{place}.objective.{key}": program for key, program in programs_of(term.objective).items()}
        return found

    def weights_at(self, step: int) -> dict[str, float]:
        """The weight of each term at a global step.

        Raises:
            ValueError: if one is negative or not finite; names the term.
        """
        weights = {name: value_at(term.weight, step) for name, term in self.terms.items()}
        for name, weight in weights.items():
            check_weight(weight, f"terms[{name!r}]: expected a finite weight >= 0 at step {step}")
        return weights

    def begin_step(self, step: int, device: torch.device) -> None:
        """Set the weights of a step; see `FollowsSteps`.

        Raises:
            ValueError: see `weights_at`.
        """
        self._device = device
        for name, weight in self.weights_at(step).items():
            term = self.terms[name]
            if callable(term.weight):
                if (name, device) not in self._scheduled:
                    self._scheduled[name, device] = torch.zeros((), dtype=torch.float64, device=device)
                self._scheduled[name, device].fill_(weight)
            begin_step(term.objective, step, device)

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Float[Tensor, ""]:
        """The weighted sum in nats, summed over sequences.

        Raises:
            ValueError: if a weight is a schedule and no step has begun; and what `scalar_loss` raises.
            TypeError: what `scalar_loss` raises.
        """
        weighted = []
        for name, term in self.terms.items():
            if not callable(term.weight) and term.weight == 0:
                continue
            own_model = model if term.model is None else term.model
            own_guide = guide if term.guide is None else term.guide
            value = scalar_loss(term.objective, own_model, own_guide, args, kwargs)
            weighted.append(self._weight(name, value.dtype) * value)
        return sum(weighted[1:], start=weighted[0])

    def _weight(self, name: str, dtype: torch.dtype) -> Number | Tensor:
        weight = self.terms[name].weight
        if not callable(weight):
            return weight
        if self._device is None:
            raise ValueError(
                f"terms[{name!r}]: expected to know the step that its schedule is asked about, got none; call "
                "begin_step(step, device) first, as SVI does"
            )
        return self._scheduled[name, self._device].to(dtype)
