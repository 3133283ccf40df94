"""A loss that a model computes itself."""

from typing import Any

from jaxtyping import Float
from pyro import poutine
from torch import Tensor

from inference.programs.traces import Program


class OwnLoss:
    """What a model's own method computes, in place of a bound; an `Objective`.

        L = sum_n l_n,      l = model.<method>(frames, observed, controls)

    for models whose authors minimise something else than a bound of the pair. The guide is not called. `train` reports
    the bound of the pair, as for every loss that is no ELBO. Sites in the method, if any, are not traced, and take no
    site weights.

        OwnLoss("expectation_loss")            for a RelationalNeuralEM

    Args:
        method: name of a method of the model. It is called with what model and guide are called with, and returns the
            loss of each sequence, (sequences,), summed over its frames, in nats.

    Raises:
        TypeError: if `method` is no text; in a run, if the model has no such method, or it returns no tensor.
        ValueError: in a run, if the result is not one number for each sequence.
    """

    def __init__(self, method: str) -> None:
        if not isinstance(method, str):
            raise TypeError(
                f"method: expected the name of a method of the model, got {type(method).__name__}; write "
                "OwnLoss('expectation_loss'), without the model"
            )
        self.method = method

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Float[Tensor, ""]:
        """The model's own loss in nats, summed over sequences.

        Args:
            model: has the method.
            guide: not used.
            args: frames, observed, controls, (sequences, time, ...) or None.
            kwargs: the same by keyword.
        """
        compute = getattr(poutine.unwrap(model), self.method, None)
        if not callable(compute):
            raise TypeError(
                f"model: expected one with a method {self.method!r}, got {type(poutine.unwrap(model)).__name__}; train "
                "it with pyro.infer.Trace_ELBO() or another estimator, or give OwnLoss a method that it has"
            )
        losses = compute(*args, **kwargs)
        place = f"model: expected {self.method!r} to return the loss of each sequence"
        if not isinstance(losses, Tensor):
            raise TypeError(f"{place}, a tensor, got {type(losses).__name__}; compute with tensors throughout")
        sequences = len(args[0] if args else next(iter(kwargs.values())))
        if losses.shape != (sequences,):
            raise ValueError(
                f"{place}, ({sequences},), got shape {tuple(losses.shape)}; sum over frames and pixels, not over "
                "sequences"
            )
        return losses.sum()
