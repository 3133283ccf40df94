"""Positions of an object step by step: a mixture of Kalman filters, one per component."""

from typing import NamedTuple

import pyro.distributions as dist
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pyro_models.distributions import MixtureLinearGaussianSSM
from pyro_models.distributions.gaussian_numerics import symmetrize
from pyro_models.distributions.gaussian_steps import Moments, apply, condition, predict


class PositionPrediction(NamedTuple):
    """The prediction of a step from earlier positions, by component.

    Attributes:
        log_weights: log p(k | a_1, ..., a_{t-1}), (*batch, component).
        moments: mean (*batch, component, state) and covariance (*batch, component, state, state) of the state.
    """

    log_weights: Tensor
    moments: Moments


def first_prediction(mixture: MixtureLinearGaussianSSM, batch_shape: torch.Size) -> PositionPrediction:
    """The prediction of the first position.

    Args:
        mixture: distribution of whole paths.
        batch_shape: plates in front, such as (objects, sequences).
    """
    model, components = mixture.components.state_space, mixture.num_components
    state = model.initial_mean.shape[-1]
    return PositionPrediction(
        mixture.log_weights.expand(*batch_shape, components),
        Moments(
            model.initial_mean.expand(*batch_shape, components, state),
            model.initial_covariance.expand(*batch_shape, components, state, state),
        ),
    )


def position_moments(mixture: MixtureLinearGaussianSSM, index: int, prediction: PositionPrediction) -> Moments:
    """Mean and covariance of the position of a step, by component."""
    matrix, noise, offset = mixture.components.state_space.emission(index)
    mean = apply(matrix, prediction.moments.mean)
    covariance = symmetrize(matrix @ prediction.moments.covariance @ matrix.mT + noise)
    return Moments(mean if offset is None else mean + offset, covariance)


def position_distribution(
    mixture: MixtureLinearGaussianSSM, index: int, prediction: PositionPrediction
) -> dist.MixtureSameFamily:
    """p(a_t | a_1, ..., a_{t-1}), event (coordinate,)."""
    mean, covariance = position_moments(mixture, index, prediction)
    return dist.MixtureSameFamily(
        dist.Categorical(logits=prediction.log_weights, validate_args=False),
        dist.MultivariateNormal(mean, covariance, validate_args=False),
        validate_args=False,
    )


def next_prediction(
    mixture: MixtureLinearGaussianSSM,
    index: int,
    prediction: PositionPrediction,
    position: Float[Tensor, "*batch coordinate"],
    observed: Bool[Tensor, "*#batch"] | None,
) -> PositionPrediction:
    """The prediction of a step given the position of the previous step, `index`.

    Args:
        mixture: distribution of whole paths.
        index: step of the position.
        prediction: prediction of that step.
        position: the position drawn there; not read where missing.
        observed: mask of seen positions, None = all.
    """
    model = mixture.components.state_space
    batch = position.shape[:-1]
    moments = Moments(
        *(value.expand(*batch, *value.shape[-dims:]) for value, dims in zip(prediction.moments, (2, 3), strict=True))
    )
    seen = None if observed is None else observed.unsqueeze(-1)
    position = position if observed is None else torch.where(observed.unsqueeze(-1), position, 0.0)
    update = condition(moments, *model.emission(index), position.unsqueeze(-2), seen)
    log_weights = (prediction.log_weights + update.log_prob).log_softmax(-1)
    return PositionPrediction(log_weights, predict(update.moments, *model.transition(index)))
