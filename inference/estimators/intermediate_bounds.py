"""The loss of a guide that refines its parameters: bounds after each refinement, with larger weights for later ones."""

import copy
from collections.abc import Callable
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
from videos.typed import typed


class IntermediateBounds:
    """A weighted sum of the bounds after each of N refinements of a guide; an `Objective`.

        L = - sum_{n=1}^N w_n B(lambda_n),      w_n = n / N unless given

    (Greff et al. 2019) with B the bound of an estimator, in nats, summed over sequences. Each refinement is judged on
    its own, so that early ones learn to make progress. L is no bound, as its weights do not add up to 1: `train`
    reports that of the guide after its last refinement.

    The guide is a `RefiningGuide`, or any with its methods `refine` and `draw`: refinements are computed once, and the
    estimator is run for each of them. Its draws are seen by site weights as in any loss.

    Args:
        estimator: of the bounds: an ELBO with `differentiable_loss`, or another `Objective`. A copy is kept.
        weight: called as weight(n, N), n from 1: a number >= 0.

    Raises:
        TypeError: if `estimator` is no `Objective`.
    """

    @typed(left=("estimator",))
    def __init__(self, estimator: Objective, weight: Callable[[int, int], int | float] | None = None) -> None:
        check_objective(estimator, "estimator")
        self.estimator = copy.copy(estimator)
        self.weight = weight
        self._guide: Program | None = None
        self._refined: list[_Refined] = []

    def __copy__(self) -> "IntermediateBounds":
        return IntermediateBounds(self.estimator, self.weight)

    @property
    def programs(self) -> dict[str, Program]:
        """Models and guides of the estimator's own, by name."""
        return {f"estimator.{name}": program for name, program in programs_of(self.estimator).items()}

    def begin_step(self, step: int, device: torch.device) -> None:
        """See `FollowsSteps`."""
        begin_step(self.estimator, step, device)

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Float[Tensor, ""]:
        """The weighted sum of negative bounds in nats, summed over sequences.

        Raises:
            TypeError: if the guide has no methods `refine` and `draw`.
            ValueError: if it has no refinement, or a weight is negative or not finite.
        """
        refine: Any = getattr(guide, "refine", None)
        draw: Any = getattr(guide, "draw", None)
        if refine is None or draw is None:
            raise TypeError(
                f"guide: expected one with methods refine and draw, as RefiningGuide has, got {type(guide).__name__}; "
                "IntermediateBounds needs its refinements one by one"
            )
        refinements = refine(*args, **kwargs)
        if not refinements:
            raise ValueError("guide: expected at least one refinement, its refine returned none; let it refine once")
        count, terms = len(refinements), []
        for number, (parameters, refined) in enumerate(zip(refinements, self._guides(guide, count), strict=True), 1):
            weight = number / count if self.weight is None else self.weight(number, count)
            check_weight(weight, f"weight: expected a finite number >= 0 for refinement {number} of {count}")
            refined.parameters = parameters
            terms.append(weight * scalar_loss(self.estimator, model, refined, args, kwargs))
            refined.parameters = None  # its graph is not kept beyond the step
        return sum(terms[1:], start=terms[0])

    def _guides(self, guide: Program, count: int) -> "list[_Refined]":
        """The guide after each refinement: the same objects in each step, as estimators know programs by identity."""
        if self._guide is not guide or len(self._refined) != count:
            self._guide, self._refined = guide, [_Refined(guide) for _ in range(count)]
        return self._refined


class _Refined:
    """A guide that draws from given parameters."""

    @typed
    def __init__(self, guide: Any) -> None:
        self.parameters: Any = None
        self._draw = guide.draw

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        self._draw(self.parameters, *args, **kwargs)
