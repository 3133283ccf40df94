"""An objective on the beginnings of videos."""

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from inference.estimators.objective import Objective, begin_step, check_objective, programs_of, scalar_loss
from inference.programs.traces import Program
from videos.typed import typed


class FirstFrames:
    """Another objective, of the first frames of each video; an `Objective` itself.

    As a term of a `WeightedSum` with a model of single frames, it trains networks on as many frames as another model
    reads of each video.

    Args:
        objective: an ELBO with `differentiable_loss`, or another `Objective`. A copy is kept.
        frames: number of frames, at least 1; shorter videos have as many as there are.

    Raises:
        TypeError: if `objective` is no `Objective`.
        ValueError: if `frames` is below 1.
    """

    @typed
    def __init__(self, objective: Objective, frames: int) -> None:
        check_objective(objective, "objective")
        if frames < 1:
            raise ValueError(f"frames: expected at least 1, got {frames}; leave the term out instead")
        self.objective = copy.copy(objective)
        self.frames = frames

    def __copy__(self) -> "FirstFrames":
        return FirstFrames(self.objective, self.frames)

    @property
    def programs(self) -> dict[str, Program]:
        """Models and guides of the objective's own, by name."""
        return {f"objective.{name}": program for name, program in programs_of(self.objective).items()}

    def begin_step(self, step: int, device: torch.device) -> None:
        """See `FollowsSteps`."""
        begin_step(self.objective, step, device)

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Float[Tensor, ""]:
        """The objective of the beginnings, in nats, summed over sequences.

        Args:
            model: the model.
            guide: the guide.
            args: frames, observed, controls, (sequences, time, ...) or None.
            kwargs: the same by keyword.
        """
        first = tuple(None if one is None else one[:, : self.frames] for one in args)
        named = {name: None if one is None else one[:, : self.frames] for name, one in kwargs.items()}
        return scalar_loss(self.objective, model, guide, first, named)
