"""The distribution of observations given noisy readings of them, as a Pyro distribution."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import cast

import torch
from jaxtyping import Float
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyro_models.distributions.argument_checks import check_variance, checked_values, expanded_batch_shape
from pyro_models.distributions.gaussian_joint import draw_noises, emitted_mean
from pyro_models.distributions.gaussian_marginal import gaussian_log_prob
from pyro_models.distributions.gaussian_numerics import symmetrize
from pyro_models.distributions.gaussian_smoother import gaussian_smoothed_mean
from pyro_models.distributions.linear_gaussian_ssm import LinearGaussianSSM
from pyro_models.distributions.state_space import StateSpace


class ObservationsGivenReadings(TorchDistribution):
    r"""The observations of a state-space model, given a reading m_t = a_t + N(0, diag r_t) of each, event (time, obs).

    .. math::

        q(a) = p(a) \prod_t N(m_t; a_t, \mathrm{diag}\, r_t) / Z,   \qquad   Z = p(m)

    with p the model and p(m) the same model with r_t added to its emission noise: the Gaussian potentials of a network,
    combined with exact dynamics (Johnson et al. 2016; Pearce, Chiappa and Paquet 2018). Draws are joint over time, by
    Matheron's rule, and differentiable in the model, the readings and their variances.

    Steps that are missing in the model have no reading; draws there follow the model given the others, and `log_prob`
    is that of the observed steps.

    Args:
        ssm: the model of the observations.
        readings: m, (*batch, time, obs); never read where missing.
        variance: r, (*batch, time, obs), positive.

    Raises:
        TypeError: if `ssm` is not a `LinearGaussianSSM`, or readings or variances are not floating-point tensors.
        ValueError: if a shape does not fit, or (with the model's `validate_args`) numbers are not finite, or variances
            not positive, where observed.
    """

    arg_constraints = {}  # pyright: ignore[reportAssignmentType]
    support = constraints.independent(constraints.real, 2)  # pyright: ignore[reportAssignmentType]
    has_rsample = True

    def __init__(self, ssm: LinearGaussianSSM, readings: Tensor, variance: Tensor) -> None:
        if not isinstance(ssm, LinearGaussianSSM):
            got = type(ssm).__name__
            raise TypeError(f"ssm: expected a LinearGaussianSSM, got {got}. Of a mixture, pass `components`")
        readings, batch = ssm._values(readings, "readings")
        variance, spread = ssm._values(variance, "variance")
        if ssm.observed is not None:
            variance = torch.where(ssm.observed[..., None], variance, 1.0)
        if ssm._validate_args:
            check_variance("variance", variance, positive=True)
        try:
            batch = torch.broadcast_shapes(batch, spread)
        except RuntimeError:
            raise ValueError(
                f"variance: expected batch dims that broadcast with those of readings {tuple(batch)}, got "
                f"{tuple(spread)}"
            ) from None
        self.ssm, self.readings, self.variances = ssm, readings, variance
        super().__init__(batch, ssm.event_shape, validate_args=False)

    def expand(
        self, batch_shape: Sequence[int], _instance: "ObservationsGivenReadings | None" = None
    ) -> "ObservationsGivenReadings":
        """The same distribution for a larger batch; nothing is copied.

        Raises:
            ValueError: if the batch shape does not expand to this one (the rules of `torch.Tensor.expand`).
        """
        batch_shape = expanded_batch_shape(self.batch_shape, batch_shape)
        new = cast(ObservationsGivenReadings, self._get_checked_instance(ObservationsGivenReadings, _instance))
        new.ssm, new.readings, new.variances = self.ssm, self.readings, self.variances
        TorchDistribution.__init__(new, batch_shape, self.event_shape, validate_args=False)
        return new

    @property
    def _noise(self) -> Tensor:
        """R, symmetrised."""
        return symmetrize(self.ssm._model.emission_covariance)

    @cached_property
    def _noisy(self) -> StateSpace:
        """The model of the readings."""
        return replace(self.ssm._model, emission_covariance=self._noise + torch.diag_embed(self.variances))

    @cached_property
    def log_evidence(self) -> Float[Tensor, "*batch"]:
        """Log Z, nats: how well the readings fit the model."""
        return gaussian_log_prob(self._noisy, self.readings)

    @property
    def mean(self) -> Tensor:
        """E[a_t | m], (*batch, time, obs)."""
        states = gaussian_smoothed_mean(self._noisy, self.readings)
        expected = emitted_mean(self._noisy, states)
        return (expected + self._gain(self.readings - expected)).expand(self.batch_shape + self.event_shape)

    def log_prob(self, a: Tensor) -> Tensor:
        """Log q(a) over the observed steps, (*batch), nats."""
        observed = self.ssm.observed
        values, _ = checked_values("a", a, self.event_shape, self.batch_shape, observed, self.ssm._validate_args)
        potentials = torch.distributions.Normal(values, self.variances.sqrt(), validate_args=False)
        fit = potentials.log_prob(self.readings).sum(-1)
        if self.ssm.observed is not None:
            fit = torch.where(self.ssm.observed, fit, 0.0)
        log_prob = self.ssm.log_prob(values) + fit.sum(-1) - self.log_evidence
        return log_prob.expand(torch.broadcast_shapes(log_prob.shape, self.batch_shape))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw all observations, those without a reading included."""
        model, batch = self.ssm._model, torch.Size(sample_shape) + self.batch_shape
        first, moves, emissions = (noise.to(model.dtype) for noise in draw_noises(model, batch))
        misread = self.variances.sqrt() * torch.randn_like(emissions)
        offsets = (model.transition_offset, moves), (model.emission_offset, emissions + misread)
        transition, emission = (noise if offset is None else offset + noise for offset, noise in offsets)
        driven = replace(
            self._noisy,
            initial_mean=model.initial_mean + first,
            transition_offset=transition,
            emission_offset=emission,
        )
        states = gaussian_smoothed_mean(driven, self.readings.expand(batch + self.event_shape))
        expected = emitted_mean(self._noisy, states)
        return expected + emissions + self._gain(self.readings - expected - emissions - misread)

    def _gain(self, residual: Tensor) -> Tensor:
        """R (R + r)^-1 residual: the part of a reading's residual due to the emission noise R; 0 where missing."""
        solved, _ = torch.linalg.solve_ex(self._noisy.emission_covariance, residual.unsqueeze(-1))
        share = (self._noise @ solved).squeeze(-1)
        return share if self.ssm.observed is None else torch.where(self.ssm.observed[..., None], share, 0.0)
