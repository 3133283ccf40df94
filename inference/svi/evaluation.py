"""A loss as a number: without gradients, in evaluation mode."""

from collections.abc import Callable
from typing import Any

import pyro
import torch
from pyro.infer import ELBO
from pyro.infer.util import is_validation_enabled
from torch import Tensor

from inference.estimators.objective import Loss, find_plate_nesting, programs_of, scalar_loss
from inference.programs.traces import Program, evaluation_mode, local_parameters
from inference.programs.violations import explain
from inference.runtime.generators import capture_generators


def evaluate_loss(loss: Loss, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
    """The loss of a batch in nats per sequence: a negative bound, if it is an ELBO.

    Args:
        loss: a `pyro.infer.ELBO` or an `Objective`; one that follows steps has begun one.
        model: called with the arguments.
        guide: called with the arguments.
        args: positional arguments of both; the first is a tensor whose first dim counts sequences.
        kwargs: their keyword arguments.

    Raises:
        TypeError: if the first argument is not a tensor with a dim of sequences.
        SupportError: see `SVI.step`.
    """
    num_sequences = count_sequences(args)
    programs = (model, guide, *programs_of(loss).values())

    def run() -> Any:
        if not isinstance(loss, ELBO):
            return scalar_loss(loss, model, guide, args, kwargs)
        find_plate_nesting(loss, model, guide, args, kwargs)
        return loss.loss(model, guide, *args, **kwargs)  # pyright: ignore

    with local_parameters(*programs), pyro.get_param_store().scope(), torch.no_grad(), evaluation_mode(*programs):
        value = explained(run)
    return float(value[0] if isinstance(value, tuple) else value) / num_sequences


def explained(run: Callable[[], Any]) -> Any:
    """What a run returns; of a value that validation refuses, the site is named."""
    if not is_validation_enabled():
        return run()
    generators = capture_generators()
    try:
        return run()
    except ValueError as error:
        explain(error, run, generators)
        raise


def count_sequences(args: tuple) -> int:
    """The first dim of the first argument.

    Raises:
        TypeError: if that is not a tensor with a dim.
        ValueError: if it is 0.
    """
    if not args or not isinstance(args[0], Tensor) or args[0].dim() == 0:
        got = type(args[0]).__name__ if args else "no argument"
        remedy = "; pass its parts, *videos.arguments" if got == "VideoBatch" else ""
        raise TypeError(f"args: expected a tensor (sequences, ...) as first argument, got {got}{remedy}")
    if args[0].shape[0] == 0:
        got = tuple(args[0].shape)
        raise ValueError(f"args: expected at least one sequence, got none in {got}; leave such a batch out")
    return args[0].shape[0]
