"""The exact Gaussian marginal of a linear-Gaussian state-space model, as a Pyro distribution."""

from collections.abc import Sequence
from dataclasses import fields
from typing import cast

import torch
from pyro.distributions import MultivariateNormal, TorchDistribution
from torch import Tensor
from torch.distributions import Distribution, constraints

from pyro_models.distributions.argument_checks import (
    check_num_steps,
    check_numbers,
    check_variance,
    checked_values,
    expanded_batch_shape,
)
from pyro_models.distributions.gaussian_forecast import forecast_parameters
from pyro_models.distributions.gaussian_joint import (
    draw_joint,
    emitted_mean,
    joint_log_density,
    singular_covariances,
)
from pyro_models.distributions.gaussian_marginal import gaussian_log_prob
from pyro_models.distributions.gaussian_numerics import factor_semidefinite, semidefinite_tolerance
from pyro_models.distributions.gaussian_path import GaussianPath
from pyro_models.distributions.gaussian_steps import filter_states, prior_states, smooth_states
from pyro_models.distributions.gaussian_whitened import whiten
from pyro_models.distributions.state_path_posterior import StatePathPosterior
from pyro_models.distributions.state_space import EVENT_DIMS, StateSpace, checked_state_space


class LinearGaussianSSM(TorchDistribution):
    r"""The distribution of observations of a hidden state with linear-Gaussian dynamics, the state integrated out.

    .. math::

        z_1 \sim N(m, P), \quad z_t = A_t z_{t-1} + b_t + N(0, Q_t), \quad a_t = C_t z_t + d_t + N(0, R_t)

    `log_prob` is the sum of the log densities of the Kalman innovations (Kalman 1960; Schweppe 1965, eq. 15), in nats
    per sequence. The first state emits the first observation, without a transition before it.

    Missing steps are integrated out; the values stored there are never read (NaN is allowed) and get no gradient.
    Process noise may be singular or zero: only innovation covariances C P C^T + R of observed steps are inverted, and
    where one of these is not positive definite the result is NaN. Recursions run in float64 and return the dtype of
    parameters and values. Everything is differentiable in every parameter and in the observations.

    A covariance M means its symmetric part (M + M^T) / 2, and its gradient is symmetric. With `validate_args` one that
    is asymmetric beyond the rounding of its dtype is refused.

    Batch dims broadcast: parameters may have fewer batch dims than the observations (or size 1 there), and shared
    quantities are computed once.

    Example:
        >>> eye = torch.eye(2)
        >>> matrix = torch.tensor([[1.0, 0.1], [0.0, 1.0]])  # position and velocity
        >>> ssm = LinearGaussianSSM(
        ...     torch.zeros(2), eye, matrix[None], 0.01 * eye[None], eye[None, :1], torch.ones(1, 1, 1), num_steps=5
        ... )
        >>> a = ssm.rsample(torch.Size([3]))
        >>> a.shape, ssm.log_prob(a).shape, ssm.smooth(a).mean.shape
        (torch.Size([3, 5, 1]), torch.Size([3]), torch.Size([3, 5, 2]))

    Args:
        initial_mean: m, (*batch, state).
        initial_covariance: P, (*batch, state, state), positive semidefinite.
        transition_matrix: A, (*batch, time - 1 or 1, state, state); index 0 moves the first state to the second.
        transition_covariance: Q, (*batch, time - 1 or 1, state, state), positive semidefinite, may be zero.
        emission_matrix: C, (*batch, time or 1, obs, state).
        emission_covariance: R, (*batch, time or 1, obs, obs), positive semidefinite.
        transition_offset: b, (*batch, time - 1 or 1, state), for instance the effect of controls.
        emission_offset: d, (*batch, time or 1, obs).
        observed: bool (*batch, time), False where the observation is missing.
        num_steps: number of time steps, needed only if every time dim above is 1.
        validate_args: check numbers of parameters and values (types and shapes are always checked).

    Raises:
        TypeError: if a parameter is no floating-point tensor, `observed` no bool tensor or `num_steps` no int.
        ValueError: if a shape does not fit, or (with `validate_args`) a parameter is not finite, or a covariance is not
            symmetric and positive semidefinite.
    """

    arg_constraints = {  # pyright: ignore[reportAssignmentType]
        "initial_mean": constraints.real_vector,
        "initial_covariance": constraints.positive_semidefinite,
        "transition_matrix": constraints.independent(constraints.real, 3),
        "transition_covariance": constraints.independent(constraints.positive_semidefinite, 1),
        "emission_matrix": constraints.independent(constraints.real, 3),
        "emission_covariance": constraints.independent(constraints.positive_semidefinite, 1),
    }
    support = constraints.independent(constraints.real, 2)  # pyright: ignore[reportAssignmentType]
    has_rsample = True

    initial_mean: Tensor
    initial_covariance: Tensor
    transition_matrix: Tensor
    transition_covariance: Tensor
    emission_matrix: Tensor
    emission_covariance: Tensor
    transition_offset: Tensor | None
    emission_offset: Tensor | None
    observed: Tensor | None
    num_steps: int

    def __init__(
        self,
        initial_mean: Tensor,
        initial_covariance: Tensor,
        transition_matrix: Tensor,
        transition_covariance: Tensor,
        emission_matrix: Tensor,
        emission_covariance: Tensor,
        transition_offset: Tensor | None = None,
        emission_offset: Tensor | None = None,
        observed: Tensor | None = None,
        num_steps: int | None = None,
        *,
        validate_args: bool | None = None,
    ) -> None:
        parameters = {
            "initial_mean": initial_mean,
            "initial_covariance": initial_covariance,
            "transition_matrix": transition_matrix,
            "transition_covariance": transition_covariance,
            "emission_matrix": emission_matrix,
            "emission_covariance": emission_covariance,
            "transition_offset": transition_offset,
            "emission_offset": emission_offset,
            "observed": observed,
        }
        model, batch_shape = checked_state_space(parameters, num_steps)
        self._adopt(model)
        # the checks below are cheaper than torch's eigenvalues of every covariance, and name the fault
        super().__init__(batch_shape, torch.Size([model.num_steps, model.obs_dim]), validate_args=False)
        self._validate_args = TorchDistribution._validate_args if validate_args is None else validate_args
        if self._validate_args:
            numbers = zip(EVENT_DIMS, model.tensors[:-1], strict=False)  # all but `observed`
            check_numbers({name: value for name, value in numbers if value is not None})

    def _adopt(self, model: StateSpace) -> None:
        self._model = model
        for field in fields(model):
            setattr(self, field.name, getattr(model, field.name))

    @property
    def state_space(self) -> StateSpace:
        """The parameters, and those of each step."""
        return self._model

    @property
    def state_dim(self) -> int:
        """Dimension of the hidden state."""
        return self._model.state_dim

    @property
    def obs_dim(self) -> int:
        """Dimension of one observation."""
        return self._model.obs_dim

    def expand(self, batch_shape: Sequence[int], _instance: "LinearGaussianSSM | None" = None) -> "LinearGaussianSSM":
        """The same distribution for a larger batch; parameters are shared, not copied.

        Raises:
            ValueError: if the batch shape does not expand to this one (the rules of `torch.Tensor.expand`).
        """
        batch_shape = expanded_batch_shape(self.batch_shape, batch_shape)
        new = cast(LinearGaussianSSM, self._get_checked_instance(LinearGaussianSSM, _instance))
        new._adopt(self._model)
        TorchDistribution.__init__(new, batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def mean(self) -> Tensor:
        """E[a_t], (*batch, time, obs)."""
        model = self._model.double()
        mean = emitted_mean(model, prior_states(model, self.batch_shape).mean)
        return mean.to(self._model.dtype).expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        """Var[a_t], (*batch, time, obs)."""
        model = self._model.double()
        states = prior_states(model, self.batch_shape).covariance
        covariance = model.emission_matrix @ states @ model.emission_matrix.mT + model.emission_covariance
        variance = covariance.diagonal(dim1=-2, dim2=-1)
        return variance.to(self._model.dtype).expand(self.batch_shape + self.event_shape)

    def log_prob(self, a: Tensor) -> Tensor:
        """Log p(a) over the observed steps, (*batch), nats per sequence."""
        values, batch = self._values(a)
        return gaussian_log_prob(self._model, values).expand(batch)

    def expected_log_prob(self, mean: Tensor, variance: Tensor) -> Tensor:
        """E log p(a) for independent a_ti ~ N(mean_ti, variance_ti) at the observed steps, (*batch), nats; exact.

        Meant for parameters shared by many sequences: time and memory grow with the cube and the square of time * obs,
        once for each set of parameters.

        Args:
            mean: (*batch, time, obs).
            variance: (*batch, time, obs).
        """
        values, batch = self._values(mean, "mean")
        spread, spread_batch = self._values(variance, "variance")
        if self._validate_args:
            check_variance("variance", spread)
        expected = whiten(self._model).expected_log_prob(values.double(), spread.double())
        dtype = torch.promote_types(self._result_dtype(mean), variance.dtype)
        return expected.to(dtype).expand(torch.broadcast_shapes(batch, spread_batch))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw observations of all steps, missing ones included; differentiable in every parameter."""
        return self.rsample_joint(sample_shape)[1]

    def rsample_joint(self, sample_shape: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
        """Draw states (*batch, time, state) together with the observations (*batch, time, obs) that they emit."""
        states, values = draw_joint(self._model, torch.Size(sample_shape) + self.batch_shape)
        return states.to(self._model.dtype), values.to(self._model.dtype)

    def joint_log_prob(self, a: Tensor, z: Tensor) -> Tensor:
        """Log p(a, z) = log p(z_1) + sum_t log p(z_t | z_{t-1}) + sum_t log p(a_t | z_t) over observed a_t, in nats.

        Args:
            a: (*batch, time, obs).
            z: (*batch, time, state).

        Raises:
            ValueError: with `validate_args`, if a covariance is singular, so that there is no density; otherwise the
                result is NaN.
        """
        values, batch = self._values(a)
        path, path_batch = checked_values("z", z, self._path_shape, self.batch_shape, None, self._validate_args)
        if self._validate_args and (names := singular_covariances(self._model)):
            raise ValueError(
                f"{', '.join(names)}: expected nonsingular matrices, as the states have no joint density otherwise; "
                "got a singular one (`log_prob` integrates the states out, and `posterior` can still be drawn from)"
            )
        result = joint_log_density(self._model, values, path)
        dtype = torch.promote_types(self._result_dtype(a), z.dtype)
        return result.to(dtype).expand(torch.broadcast_shapes(batch, path_batch))

    def filter(self, a: Tensor) -> GaussianPath:
        """Distributions of z_t given a_1 .. a_t, with predicted moments and log p(a_t | a_1 .. a_{t-1})."""
        values, batch = self._values(a)
        path = filter_states(self._model.double(), values.double(), batch)
        return path.to(self._result_dtype(a))

    def smooth(self, a: Tensor) -> GaussianPath:
        """Distributions of z_t given all of a, with the covariances of neighbouring states."""
        values, batch = self._values(a)
        path = smooth_states(self._model.double(), values.double(), batch)
        return path.to(self._result_dtype(a))

    def smoothed_marginals(self, a: Tensor) -> Distribution:
        """Independent distributions of z_t given all of a: event (time, state).

        The product of the marginals, not the joint distribution: the guide of the reference code of Fraccaro et al.
        (2017), whose bound is looser than that of `posterior`.

        Raises:
            ValueError: with `validate_args`, if a state has a singular covariance given a, so that there is no density;
                otherwise `log_prob` of the result is NaN there.
        """
        values, batch = self._values(a)
        path = smooth_states(self._model.double(), values.double(), batch)
        assert path.predicted_covariance is not None  # the smoother always fills it
        tolerance = semidefinite_tolerance(self.state_dim, torch.float64)
        variance = path.predicted_covariance.diagonal(dim1=-2, dim2=-1)
        dtype = self._result_dtype(a)
        factor = factor_semidefinite(path.covariance, tolerance, variance).to(dtype)
        regular = (factor.diagonal(dim1=-2, dim2=-1) > 0).all(-1)
        if self._validate_args and not bool(regular.all()):
            step = torch.nonzero(~regular)[0, -1].item()
            names = ", ".join(singular_covariances(self._model)) or "a"
            raise ValueError(
                f"{names}: expected states with a nonsingular covariance given a, as their marginals have no density "
                f"otherwise; got a singular one at step {step}. Draw from `posterior(a)`, which needs none, or read "
                "the moments of `smooth(a)`"
            )
        return MultivariateNormal(path.mean.to(dtype), scale_tril=factor, validate_args=self._validate_args).to_event(1)

    def posterior(self, a: Tensor) -> StatePathPosterior:
        """The distribution of the state path given a: event (time, state), joint `rsample`, exact `log_prob`."""
        return StatePathPosterior(self, a)

    def emit(self, z: Tensor) -> Tensor:
        """C_t z_t + d_t, (*batch, time, obs), for states (*batch, time, state)."""
        path, _ = checked_values("z", z, self._path_shape, self.batch_shape, None, False)
        return emitted_mean(self._model, path)

    def state_marginals(self) -> GaussianPath:
        """Distributions of z_t before any observation."""
        return prior_states(self._model.double(), self.batch_shape).to(self._model.dtype)

    def forecast(
        self,
        a: Tensor,
        num_steps: int,
        *,
        transition_matrix: Tensor | None = None,
        transition_covariance: Tensor | None = None,
        emission_matrix: Tensor | None = None,
        emission_covariance: Tensor | None = None,
        transition_offset: Tensor | None = None,
        emission_offset: Tensor | None = None,
    ) -> "LinearGaussianSSM":
        """The distribution of the next states and observations given a, itself a state-space model.

        `state_marginals()`, `mean`, `variance`, `rsample` and `log_prob` of the result refer to steps time + 1 ...
        time + num_steps.

        Args:
            a: (*batch, time, obs).
            num_steps: number of steps to look ahead.
            transition_matrix: (*batch, num_steps or 1, state, state); index 0 moves the last state to the first new
                one. This and the other parameters may be left out where the model's own hold for every step.
            transition_covariance: (*batch, num_steps or 1, state, state).
            emission_matrix: (*batch, num_steps or 1, obs, state).
            emission_covariance: (*batch, num_steps or 1, obs, obs).
            transition_offset: (*batch, num_steps or 1, state).
            emission_offset: (*batch, num_steps or 1, obs).

        Raises:
            ValueError: if a parameter that changes over time is left out, or has the wrong number of steps.
        """
        given = {
            "transition_matrix": transition_matrix,
            "transition_covariance": transition_covariance,
            "emission_matrix": emission_matrix,
            "emission_covariance": emission_covariance,
            "transition_offset": transition_offset,
            "emission_offset": emission_offset,
        }
        check_num_steps(num_steps)
        values, batch = self._values(a)
        parameters = forecast_parameters(self._model, values, batch, given, num_steps)
        for name in ("initial_mean", "initial_covariance"):
            parameters[name] = parameters[name].to(self._result_dtype(a))
        return LinearGaussianSSM(**parameters, num_steps=num_steps, validate_args=self._validate_args)

    @property
    def _path_shape(self) -> torch.Size:
        return torch.Size([self.num_steps, self.state_dim])

    def _values(self, a: Tensor, name: str = "a") -> tuple[Tensor, torch.Size]:
        return checked_values(name, a, self.event_shape, self.batch_shape, self.observed, self._validate_args)

    def _result_dtype(self, a: Tensor) -> torch.dtype:
        return torch.promote_types(self._model.dtype, a.dtype)
