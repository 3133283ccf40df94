"""The distribution of a whole state path given the observations, as a Pyro distribution."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol, cast, runtime_checkable

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyro_models.distributions.argument_checks import checked_values, expanded_batch_shape
from pyro_models.distributions.gaussian_joint import draw_posterior
from pyro_models.distributions.gaussian_path import GaussianPath
from pyro_models.distributions.gaussian_smoother import gaussian_smoothed_mean


@runtime_checkable
class PathModel(Protocol):
    """What is needed of a `LinearGaussianSSM`, which makes these posteriors."""

    num_steps: int
    _model: Any
    _validate_args: bool

    @property
    def state_dim(self) -> int:
        """Size of a state."""
        ...

    def smooth(self, a: Tensor) -> GaussianPath:
        """Distributions of single states given the observations."""
        ...

    def log_prob(self, a: Tensor) -> Tensor:
        """Log p(a)."""
        ...

    def joint_log_prob(self, a: Tensor, z: Tensor) -> Tensor:
        """Log p(a, z)."""
        ...

    def _values(self, a: Tensor, name: str = "a") -> tuple[Tensor, torch.Size]: ...

    def _result_dtype(self, a: Tensor) -> torch.dtype: ...


class StatePathPosterior(TorchDistribution):
    """p(z_1 .. z_T | a) of a `LinearGaussianSSM`, with event (time, state).

    `rsample` draws the path jointly by Matheron's rule (valid for zero process noise, differentiable in the model's
    parameters and in a). `log_prob` is log p(a, z) - log p(a) (Bayes), in nats per sequence; it exists only if the
    initial and every transition and emission covariance are regular.

    Made by `LinearGaussianSSM.posterior`.

    Args:
        ssm: the model, a `LinearGaussianSSM`.
        a: the observations, (*batch, time, obs); values at missing steps are never read.

    Raises:
        TypeError: if `ssm` is no state-space model, or `a` is not a floating-point tensor.
        ValueError: if its shape does not fit, or (with the model's `validate_args`) it is not finite where observed.
    """

    arg_constraints = {}  # pyright: ignore[reportAssignmentType]
    support = constraints.independent(constraints.real, 2)  # pyright: ignore[reportAssignmentType]
    has_rsample = True

    def __init__(self, ssm: PathModel, a: Tensor) -> None:
        if not hasattr(ssm, "_values"):
            raise TypeError(f"ssm: expected a LinearGaussianSSM, got {type(ssm).__name__}. Or call its `posterior`")
        self._values, batch = ssm._values(a)
        self.ssm, self.a = ssm, a
        super().__init__(batch, torch.Size([ssm.num_steps, ssm.state_dim]), validate_args=ssm._validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: "StatePathPosterior | None" = None) -> "StatePathPosterior":
        """The same distribution for a larger batch; nothing is copied.

        Raises:
            ValueError: if the batch shape does not expand to this one (the rules of `torch.Tensor.expand`).
        """
        batch_shape = expanded_batch_shape(self.batch_shape, batch_shape)
        new = cast(StatePathPosterior, self._get_checked_instance(StatePathPosterior, _instance))
        new.ssm, new.a, new._values = self.ssm, self.a, self._values
        TorchDistribution.__init__(new, batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @cached_property
    def marginals(self) -> GaussianPath:
        """Distributions of single states and the covariances of neighbours: `LinearGaussianSSM.smooth(a)`."""
        return self.ssm.smooth(self.a)

    @property
    def mean(self) -> Tensor:
        """E[z_t | a], (*batch, time, state)."""
        return gaussian_smoothed_mean(self.ssm._model, self._values).expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        """Var[z_t | a], (*batch, time, state)."""
        return self.marginals.covariance.diagonal(dim1=-2, dim2=-1).expand(self.batch_shape + self.event_shape)

    @cached_property
    def _log_evidence(self) -> Tensor:
        return self.ssm.log_prob(self.a)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log p(z | a), (*batch), nats per sequence.

        Raises:
            ValueError: with argument validation, if a covariance of the model is singular, so that the path has no
                density; without, the result is NaN.
        """
        checked_values("z", z, self.event_shape, self.batch_shape, None, False)
        log_prob = self.ssm.joint_log_prob(self.a, z) - self._log_evidence
        return log_prob.expand(torch.broadcast_shapes(self.batch_shape, z.shape[:-2]))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw whole paths, (*sample, *batch, time, state)."""
        path = draw_posterior(self.ssm._model, self._values, torch.Size(sample_shape) + self.batch_shape)
        return path.to(self.ssm._result_dtype(self.a))
