"""A mixture of linear-Gaussian state-space models, components and states integrated out."""

from collections.abc import Sequence
from typing import cast

import torch
from pyro.distributions import Categorical, TorchDistribution
from pyro.distributions.torch_distribution import MaskedDistribution
from torch import Tensor
from torch.distributions import Independent, Normal, constraints
from torch.distributions.kl import register_kl

from pyro_models.distributions.argument_checks import check_type, checked_values, expanded_batch_shape
from pyro_models.distributions.gaussian_numerics import factor_semidefinite, semidefinite_tolerance, symmetrize
from pyro_models.distributions.gaussian_path import GaussianPath
from pyro_models.distributions.linear_gaussian_ssm import LinearGaussianSSM


class MixtureLinearGaussianSSM(TorchDistribution):
    r"""The distribution of observations of one of K state-space models, chosen once per sequence.

    .. math::

        p(a) = \sum_k w_k \, p(a \mid k)

    as in the prior over trajectories of Chiappa and Paquet (2019, eq. 4), where the components differ in the
    distribution of the first state. `log_prob` is in nats per sequence.

    The choice of the component is discrete, so draws are not reparameterised: `sample` only.

    Example:
        >>> eye = torch.eye(2)
        >>> means = torch.tensor([[-1.0, 0.1], [1.0, -0.1]])
        >>> components = LinearGaussianSSM(means, eye, eye[None], eye[None], eye[None], eye[None], num_steps=5)
        >>> mixture = MixtureLinearGaussianSSM(torch.zeros(2), components)
        >>> a = mixture.sample(torch.Size([3]))
        >>> mixture.log_prob(a).shape, mixture.component_posterior(a).probs.shape
        (torch.Size([3]), torch.Size([3, 2]))

    Args:
        log_weights: log w, (*batch, component), or logits; normalised here.
        components: the models, with batch shape (*batch, component).
        validate_args: check that the weights are a distribution (types and shapes are always checked).

    Raises:
        TypeError: if `components` is not a `LinearGaussianSSM`, or `log_weights` not a floating-point tensor.
        ValueError: if the numbers of components differ or batch dims do not broadcast, or (with `validate_args`) no
            component has a positive weight, or one is NaN or infinite.
    """

    arg_constraints = {}  # pyright: ignore[reportAssignmentType]
    support = constraints.independent(constraints.real, 2)  # pyright: ignore[reportAssignmentType]
    has_rsample = False

    def __init__(
        self, log_weights: Tensor, components: LinearGaussianSSM, *, validate_args: bool | None = None
    ) -> None:
        if not isinstance(components, LinearGaussianSSM):
            raise TypeError(f"components: expected a LinearGaussianSSM, got {type(components).__name__}")
        check_type("log_weights", log_weights)
        expected = tuple(components.batch_shape)
        if not expected or log_weights.dim() < 1 or log_weights.shape[-1] != expected[-1]:
            raise ValueError(
                "log_weights: expected (*batch, component) with as many components as the last batch dim of "
                f"`components` {expected}, got {tuple(log_weights.shape)}"
            )
        try:
            shape = torch.broadcast_shapes(log_weights.shape, components.batch_shape)
        except RuntimeError:
            raise ValueError(
                f"log_weights: expected a shape that broadcasts with the batch of `components` {expected}, "
                f"got {tuple(log_weights.shape)}"
            ) from None
        self.log_weights = log_weights.log_softmax(-1)
        self.components = components if components.batch_shape == shape else components.expand(shape)
        super().__init__(shape[:-1], components.event_shape, validate_args=validate_args)
        if self._validate_args and bool(self.log_weights.isnan().any()):
            place = torch.nonzero(self.log_weights.isnan())[0, :-1].tolist()
            raise ValueError(
                "log_weights: expected numbers below infinity (-inf for a component that never occurs), one of them "
                f"finite; got {log_weights[tuple(place)].tolist()}{f' at {place}' if place else ''}. Pass logarithms "
                "of weights, of which one at least is positive"
            )

    @property
    def num_components(self) -> int:
        """Number of components."""
        return self.log_weights.shape[-1]

    def expand(
        self, batch_shape: Sequence[int], _instance: "MixtureLinearGaussianSSM | None" = None
    ) -> "MixtureLinearGaussianSSM":
        """The same distribution for a larger batch; nothing is copied.

        Raises:
            ValueError: if the batch shape does not expand to this one (the rules of `torch.Tensor.expand`).
        """
        batch_shape = expanded_batch_shape(self.batch_shape, batch_shape)
        new = cast(MixtureLinearGaussianSSM, self._get_checked_instance(MixtureLinearGaussianSSM, _instance))
        new.log_weights, new.components = self.log_weights, self.components.expand((*batch_shape, self.num_components))
        TorchDistribution.__init__(new, batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, a: Tensor) -> Tensor:
        """Log sum_k w_k p(a | k), (*batch), nats per sequence."""
        log_prob = self._joint(a).logsumexp(-1)
        return log_prob.expand(torch.broadcast_shapes(log_prob.shape, self.batch_shape))

    def expected_log_prob(self, mean: Tensor, variance: Tensor) -> Tensor:
        """A lower bound on E log p(a) for independent a_ti ~ N(mean_ti, variance_ti), (*batch), nats per sequence.

        The maximum over r of sum_k r_k (log w_k + E log p(a | k) - log r_k), log sum_k w_k exp(E log p(a | k)): exact
        for one component, tight where one of them explains a. `kl_divergence` uses it, so this site adds no noise to
        Pyro's `TraceMeanField_ELBO`.

        Args:
            mean: (*batch, time, obs).
            variance: (*batch, time, obs).
        """
        components = self.components.expected_log_prob(
            self._to_components(mean, "mean"), self._to_components(variance, "variance")
        )
        expected = (self.log_weights + components).logsumexp(-1)
        return expected.expand(torch.broadcast_shapes(expected.shape, self.batch_shape))

    def component_posterior(self, a: Tensor) -> Categorical:
        """p(k | a), a Categorical with batch (*batch)."""
        joint = self._joint(a)
        shape = torch.broadcast_shapes(joint.shape, (*self.batch_shape, self.num_components))
        return Categorical(logits=joint.expand(shape), validate_args=self._validate_args)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw a component for each sequence, then its observations of all steps."""
        shape = torch.Size(sample_shape) + self.batch_shape
        with torch.no_grad():
            logits = self.log_weights.expand(*shape, self.num_components)
            chosen = Categorical(logits=logits).sample()[..., None, None, None]
            draws = self.components.expand(torch.Size((*shape, self.num_components))).rsample()
            index = chosen.expand(*shape, 1, *self.event_shape)
            return draws.gather(-3, index).squeeze(-3)

    def filter(self, a: Tensor) -> GaussianPath:
        """Mean and covariance of z_t given a_1 .. a_t under the mixture, components weighted by p(k | a_1 .. a_t)."""
        path = self.components.filter(self._to_components(a))
        steps = path.step_log_prob
        assert steps is not None  # filter always fills it
        weights = (self.log_weights[..., None] + steps.cumsum(-1)).softmax(-2)
        return self._collapsed(path, weights, a)

    def smooth(self, a: Tensor) -> GaussianPath:
        """Mean and covariance of z_t given all of a under the mixture, components weighted by p(k | a)."""
        path = self.components.smooth(self._to_components(a))
        weights = self.component_posterior(a).probs[..., None].expand(path.mean.shape[:-1])
        return self._collapsed(path, weights, a)

    def impute(self, a: Tensor, weights: Tensor | None = None) -> Tensor:
        """E[C_t z_t + d_t | the observed steps of a], (*batch, time, obs): the noise-free positions, missing or not.

        Args:
            a: (*batch, time, obs).
            weights: (*batch, component), summing to one; None = p(k | a).
        """
        emitted = self.components.emit(self.components.smooth(self._to_components(a)).mean)
        if weights is None:
            weights = self.component_posterior(a).probs
        elif weights.dim() < 1 or weights.shape[-1] != self.num_components:
            raise ValueError(
                f"weights: expected (*batch, component) = (..., {self.num_components}), got {tuple(weights.shape)}. "
                "Pass probabilities of components, such as `component_posterior(a).probs`"
            )
        return (weights[..., None, None] * emitted).sum(-3)

    @torch.no_grad()
    def sample_posterior(self, a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A joint draw of components, states and missing observations given a.

        Args:
            a: (*batch, time, obs).

        Returns:
            Components (*batch); states (*batch, time, state); observations (*batch, time, obs), drawn at missing steps
            and those given elsewhere.
        """
        law = self.components
        chosen = self.component_posterior(a).sample()
        states = law.posterior(self._to_components(a)).rsample()
        emitted = law.emit(states)
        tolerance = semidefinite_tolerance(law.obs_dim, law.emission_covariance.dtype)
        factor = factor_semidefinite(law.emission_covariance, tolerance).to(emitted)
        drawn = emitted + (factor @ torch.randn_like(emitted).unsqueeze(-1)).squeeze(-1)
        if law.observed is None:
            drawn = a.unsqueeze(-3).expand_as(drawn)
        else:
            drawn = torch.where(law.observed[..., None], a.unsqueeze(-3), drawn)

        def of_chosen(values: Tensor) -> Tensor:
            index = chosen[..., None, None, None].expand(*chosen.shape, 1, *values.shape[-2:])
            return values.gather(-3, index).squeeze(-3)

        return chosen, of_chosen(states), of_chosen(drawn)

    def _joint(self, a: Tensor) -> Tensor:
        """Log w_k + log p(a | k), (*batch, component)."""
        return self.log_weights + self.components.log_prob(self._to_components(a))

    def _to_components(self, values: Tensor, name: str = "a") -> Tensor:
        """Values with a dim for the components; their shape is checked first, so that messages do not show that dim."""
        checked_values(name, values, self.event_shape, self.batch_shape, None, False)
        return values.unsqueeze(-3)

    def _collapsed(self, path: GaussianPath, weights: Tensor, a: Tensor) -> GaussianPath:
        """The moments of a mixture: E[m_k] and E[P_k + (m_k - m)(m_k - m)']."""
        mean = (weights[..., None] * path.mean).sum(-3)
        spread = path.mean - mean.unsqueeze(-3)
        covariance = (weights[..., None, None] * (path.covariance + spread[..., None] * spread[..., None, :])).sum(-4)
        return GaussianPath(mean=mean, covariance=symmetrize(covariance), log_prob=self.log_prob(a))


@register_kl(Independent, MixtureLinearGaussianSSM)
def _kl_of_independent_normals(q: Independent, p: MixtureLinearGaussianSSM) -> Tensor:
    """An upper bound on KL(q || p), by `expected_log_prob`; exact for one component. Steps masked in q do not count."""
    law, seen = q, None
    while isinstance(law, Independent | MaskedDistribution):
        if isinstance(law, MaskedDistribution):
            seen = law._mask
        law = law.base_dist
    if not isinstance(law, Normal) or len(q.event_shape) != 2:
        raise NotImplementedError
    entropy = law.entropy().sum(-1)
    if seen is not None:
        entropy = torch.where(torch.as_tensor(seen, device=entropy.device), entropy, 0.0)
    return -entropy.sum(-1) - p.expected_log_prob(law.mean, law.variance)
