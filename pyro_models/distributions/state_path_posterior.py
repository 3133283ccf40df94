"""The law of a whole state path given the observations, as a Pyro distribution."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, cast

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyro_models.distributions.gaussian_joint import draw_posterior
from pyro_models.distributions.gaussian_path import GaussianPath
from pyro_models.distributions.gaussian_smoother import gaussian_smoothed_mean

if TYPE_CHECKING:
    from pyro_models.distributions.linear_gaussian_ssm import LinearGaussianSSM


class StatePathPosterior(TorchDistribution):
    """p(z_1 .. z_T | a) of a `LinearGaussianSSM`, with event (time, state).

    `rsample` draws the path jointly by Matheron's rule (valid for zero process noise, differentiable in the model's
    parameters and in a). `log_prob` is log p(a, z) - log p(a) (Bayes), in nats per sequence; it exists only if the
    initial and every transition and emission covariance are regular.

    Made by `LinearGaussianSSM.posterior`.

    Args:
        ssm: the model.
        a: the observations, (*batch, time, obs); values at missing steps are never read.
    """

    arg_constraints = {}  # pyright: ignore[reportAssignmentType]
    support = constraints.independent(constraints.real, 2)  # pyright: ignore[reportAssignmentType]
    has_rsample = True

    def __init__(self, ssm: "LinearGaussianSSM", a: Tensor) -> None:
        self.ssm = ssm
        self.a = a
        batch = torch.broadcast_shapes(ssm.batch_shape, a.shape[:-2])
        super().__init__(batch, torch.Size([ssm.num_steps, ssm.state_dim]), validate_args=ssm._validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: "StatePathPosterior | None" = None) -> "StatePathPosterior":
        """The same law for a larger batch; nothing is copied."""
        new = cast(StatePathPosterior, self._get_checked_instance(StatePathPosterior, _instance))
        new.ssm, new.a = self.ssm, self.a
        TorchDistribution.__init__(new, torch.Size(batch_shape), self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @cached_property
    def marginals(self) -> GaussianPath:
        """Laws of single states and the covariances of neighbours: `LinearGaussianSSM.smooth(a)`."""
        return self.ssm.smooth(self.a)

    @property
    def mean(self) -> Tensor:
        """E[z_t | a], (*batch, time, state)."""
        values, _ = self.ssm._values(self.a)
        return gaussian_smoothed_mean(self.ssm._model, values).expand(self.batch_shape + self.event_shape)

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
        log_prob = self.ssm.joint_log_prob(self.a, z) - self._log_evidence
        return log_prob.expand(torch.broadcast_shapes(self.batch_shape, z.shape[:-2]))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw whole paths, (*sample, *batch, time, state)."""
        values, _ = self.ssm._values(self.a)
        path = draw_posterior(self.ssm._model, values, torch.Size(sample_shape) + self.batch_shape)
        return path.to(self.ssm._result_dtype(self.a))
