"""The loss of a guide that refines each frame of a video in turn: bounds at all refinements of all frames."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from inference.estimators.objective import check_weight
from inference.programs.traces import Program
from videos.typed import typed

Weight = int | float | Callable[[int], int | float]


class RefinementBounds:
    """A weighted sum over frames t and refinements r of what a guide measured on its way; an `Objective`::

        L = sum_t sum_r w(r, n_t) (-log p(x_t | z_tr) + v KL(q_tr || p_t) + gamma H_tr),      w(r, n) = r / n

    (Zablotskaia et al. 2020, eqs. 7 and 12), H the entropy of the masks: minimised, it makes them sure of their pixels.
    The guide has decoded each of these draws for its own gradients, so nothing is computed twice. L is no bound, even
    with gamma = 0 and v = 1; `train` reports the bound of model and guide.

    The guide has a method `refinement_terms(frames, observed, controls)`, which gives for each frame a list of terms
    with `negative_log_likelihood`, `divergence` and `entropy`, and v as its attribute `divergence_weight`.

    Args:
        entropy: gamma, nats per nat; a number, or a function of the step, such as a ramp that starts once pictures are
            right: masks that are sure too early belong to one slot.
        weight: called as weight(r, n), r from 1: a number >= 0.
    """

    @typed
    def __init__(self, entropy: Weight = 0.0, weight: Callable[[int, int], int | float] | None = None) -> None:
        self.entropy = entropy
        self.weight = weight
        self._gammas: dict[torch.device, Tensor] = {}

    def __copy__(self) -> "RefinementBounds":
        return RefinementBounds(self.entropy, self.weight)

    def begin_step(self, step: int, device: torch.device) -> None:
        """See `FollowsSteps`."""
        gamma = self.entropy(step) if callable(self.entropy) else self.entropy
        check_weight(gamma, "entropy: expected a finite number >= 0")
        self._gammas.setdefault(device, torch.zeros((), device=device)).fill_(gamma)

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Float[Tensor, ""]:
        """The weighted sum in nats, summed over sequences.

        Raises:
            TypeError: if the guide has no `refinement_terms` or no `divergence_weight`.
            ValueError: if a weight is negative or not finite, or all that have a weight are constants to training.
        """
        measure: Any = getattr(guide, "refinement_terms", None)
        divergence_weight: Any = getattr(guide, "divergence_weight", None)
        if measure is None or divergence_weight is None:
            raise TypeError(
                "guide: expected one with a method refinement_terms and a number divergence_weight, as "
                f"SpatioTemporalRefinementGuide has, got {type(guide).__name__}; use IntermediateBounds, or an ELBO"
            )
        if args[0].device not in self._gammas:
            self.begin_step(0, args[0].device)
        gamma = self._gammas[args[0].device]
        total, learns = gamma.new_zeros(()), False
        for terms in measure(*args, **kwargs):
            for number, term in enumerate(terms, 1):
                weight = number / len(terms) if self.weight is None else self.weight(number, len(terms))
                check_weight(weight, f"weight: expected a finite number >= 0 for refinement {number} of {len(terms)}")
                loss = term.negative_log_likelihood + divergence_weight * term.divergence + gamma * term.entropy
                learns = learns or loss.requires_grad
                if weight > 0:  # a product with 0 would still be differentiated
                    total = total + weight * loss.sum()
        if learns and not total.requires_grad:
            raise ValueError(
                "weight: expected one above 0 for a refinement that training differentiates, got weights of constants "
                "alone; implicit gradients of a guide are those of the last refinement of a frame"
            )
        return total
