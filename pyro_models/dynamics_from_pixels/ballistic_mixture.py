"""Distributions of the positions of one object over time, as mixtures of exact linear-Gaussian marginals."""

import torch
from jaxtyping import Bool, Float, Shaped
from pyro.distributions import MultivariateNormal
from torch import Tensor, nn

from pyro_models.distributions import LinearGaussianSSM, MixtureLinearGaussianSSM
from pyro_models.dynamics_from_pixels.covariances import LearnedCovariance

COORDINATES = 2
STATE = 2 * COORDINATES


class BallisticMixture(nn.Module):
    r"""Bodies under one constant force, of K kinds that differ in their initial state::

        k ~ Categorical(w);   h_1 ~ N(mu_k, Sigma_k);   h_t = A h_{t-1} + u + N(0, Q);   a_t = C h_t + N(0, R)
        A = [[I, delta I], [0, I]],   C = [I, 0]

    with h = (position, velocity) (Chiappa and Paquet 2019, eqs. 3 and 4). All objects share the parameters.

    Pixels determine positions only up to one affine map, and the dynamics have further symmetries: the unit of time,
    and a velocity added to all objects against a drift of positions. So by default delta is fixed and u = (delta / 2 v,
    v), as for a falling body; both can be learned.

    Args:
        num_components: K.
        full: learn correlations in Q, R and Sigma_k; otherwise they are diagonal.
        step: initial delta.
        learn_step: learn delta too.
        tie_offset: fix the positional part of u at delta / 2 times the rest.
        transition_variance: initial diagonal of Q.
        emission_variance: initial diagonal of R.
        initial_variance: initial diagonal of Sigma_k.

    The positions in mu_k start at draws of N(0, I), velocities at 0 (their section 5).

    Raises:
        ValueError: if the number of components or the step is not positive.
    """

    def __init__(
        self,
        num_components: int = 2,
        *,
        full: bool = True,
        step: float = 0.1,
        learn_step: bool = False,
        tie_offset: bool = True,
        transition_variance: float = 1e-3,
        emission_variance: float = 1.0,
        initial_variance: float = 1.0,
    ) -> None:
        super().__init__()
        if num_components < 1 or not step > 0:
            raise ValueError(
                f"num_components, step: expected positive numbers, got num_components={num_components}, step={step}"
            )
        log_step = torch.tensor(step).log()
        if learn_step:
            self.log_step = nn.Parameter(log_step)
        else:
            self.register_buffer("log_step", log_step)
        self.tie_offset = tie_offset
        self.offset = nn.Parameter(torch.zeros(COORDINATES if tie_offset else STATE))
        self.logits = nn.Parameter(torch.zeros(num_components))
        starts = torch.cat([torch.randn(num_components, COORDINATES), torch.zeros(num_components, COORDINATES)], -1)
        self.initial_mean = nn.Parameter(starts)
        self.initial_covariance = LearnedCovariance(STATE, initial_variance, full, num_components)
        self.transition_covariance = LearnedCovariance(STATE, transition_variance, full)
        self.emission_covariance = LearnedCovariance(COORDINATES, emission_variance, full)

    @property
    def num_components(self) -> int:
        """K."""
        return self.logits.shape[0]

    @property
    def step(self) -> Tensor:
        """Delta."""
        return self.log_step.exp()

    def transition_matrix(self) -> Float[Tensor, "4 4"]:
        """A."""
        eye = torch.eye(STATE, dtype=self.offset.dtype, device=self.offset.device)
        return eye + self.step * eye.roll(COORDINATES, 1).triu(1)

    def transition_offset(self) -> Float[Tensor, "4"]:
        """U."""
        return torch.cat([0.5 * self.step * self.offset, self.offset]) if self.tie_offset else self.offset

    def acceleration(self) -> Float[Tensor, "2"]:
        """The mean second difference of positions, delta times the velocities' part of u: the same in every gauge."""
        return self.step * self.transition_offset()[COORDINATES:]

    def law(self, num_steps: int, observed: Bool[Tensor, "*batch time"] | None = None) -> MixtureLinearGaussianSSM:
        """The distribution of positions, event (time, 2).

        Args:
            num_steps: number of positions.
            observed: which of them are observed; the others are integrated out.
        """
        seen = None if observed is None else observed.unsqueeze(-2)
        components = self._chain(self.initial_mean, self.initial_covariance(), num_steps, seen)
        return MixtureLinearGaussianSSM(self.logits, components)

    def collapsed(
        self,
        weights: Float[Tensor, "*#batch component"],
        num_steps: int,
        observed: Bool[Tensor, "*#batch time"] | None = None,
    ) -> LinearGaussianSSM:
        """One component instead of K: its first state has the mixture's mean and covariance under these weights."""
        mean = weights @ self.initial_mean
        apart = self.initial_mean - mean.unsqueeze(-2)
        spread = self.initial_covariance() + apart.unsqueeze(-1) * apart.unsqueeze(-2)
        covariance = (weights[..., None, None] * spread).sum(-3)
        return self._chain(mean, 0.5 * (covariance + covariance.mT), num_steps, observed)

    def driven(
        self, component: Shaped[Tensor, "*#batch"], noise: Float[Tensor, "*#batch time 4"]
    ) -> Float[Tensor, "*batch time 4"]:
        """States of given components driven by standard normal noises: h_1 = mu + L noise_1, and so on."""
        chosen = component.long()
        first = self.initial_mean[chosen] + _apply(self.initial_covariance.factor()[chosen], noise[..., 0, :])
        moves = self.transition_offset() + _apply(self.transition_covariance.factor(), noise[..., 1:, :])
        states, matrix = [first], self.transition_matrix()
        for move in moves.unbind(-2):
            states.append(_apply(matrix, states[-1]) + move)
        return torch.stack(states, -2)

    def noise_posterior(
        self,
        component: Shaped[Tensor, "*#batch"],
        positions: Float[Tensor, "*#batch time 2"],
        observed: Bool[Tensor, "*#batch time"] | None = None,
    ) -> MultivariateNormal:
        """p(noise | positions, component) for the noises that drive states, one vector (time * 4) per object.

        Positions are an affine map c + G noise of independent standard normals, plus N(0, R): the precision I + G'
        R^-1 G is never singular.
        """
        steps = positions.shape[-2]
        size = steps * STATE
        kinds = torch.arange(self.num_components, device=positions.device)
        basis = torch.cat([positions.new_zeros(1, size), torch.eye(size).to(positions)]).unflatten(-1, (steps, STATE))
        driven = self.driven(kinds[:, None], basis.expand(len(kinds), -1, -1, -1))[..., :COORDINATES].double()
        start, effects = driven[:, 0], driven[:, 1:] - driven[:, :1]  # (component, noise, time, 2)
        factor = self.emission_covariance.factor().double()
        white = torch.linalg.solve_triangular(factor, effects.unsqueeze(-1), upper=False).squeeze(-1)
        chosen = component.long()
        residual = positions.double() - start[chosen]
        residual = torch.linalg.solve_triangular(factor, residual.unsqueeze(-1), upper=False).squeeze(-1)
        white = white[chosen]  # (*batch, noise, time, 2)
        if observed is not None:
            seen = observed[..., None]
            residual, white = torch.where(seen, residual, 0.0), torch.where(seen.unsqueeze(-3), white, 0.0)
        white = white.flatten(-2)
        identity = torch.eye(size, dtype=white.dtype, device=white.device)
        precision = torch.linalg.cholesky_ex(identity + white @ white.mT)[0]
        mean = torch.cholesky_solve(white @ residual.flatten(-2).unsqueeze(-1), precision).squeeze(-1)
        # L^-T is a factor of the covariance but not lower triangular, so the covariance itself is factored
        scale = torch.linalg.cholesky_ex(torch.cholesky_inverse(precision))[0]
        return MultivariateNormal(mean.to(positions), scale_tril=scale.to(positions), validate_args=False)

    def _chain(
        self, initial_mean: Tensor, initial_covariance: Tensor, num_steps: int, observed: Tensor | None
    ) -> LinearGaussianSSM:
        emission = torch.eye(COORDINATES, STATE, dtype=self.offset.dtype, device=self.offset.device)
        return LinearGaussianSSM(
            initial_mean,
            initial_covariance,
            self.transition_matrix()[None],
            self.transition_covariance()[None],
            emission[None],
            self.emission_covariance()[None],
            transition_offset=self.transition_offset()[None],
            observed=observed,
            num_steps=num_steps,
        )


def _apply(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


class IndependentPositions(nn.Module):
    """No dynamics: every position is a draw of N(0, I) (the paper's model without its state-space model).

    Written as a state-space model that forgets its state, so it can replace a `BallisticMixture` everywhere.
    """

    num_components = 1

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("identity", torch.eye(COORDINATES))

    def law(self, num_steps: int, observed: Bool[Tensor, "*batch time"] | None = None) -> MixtureLinearGaussianSSM:
        """The distribution of positions, event (time, 2); see `BallisticMixture.law`."""
        weights = self.get_buffer("identity").new_zeros(1)
        seen = None if observed is None else observed.unsqueeze(-2)
        return MixtureLinearGaussianSSM(weights, self._chain((1,), num_steps, seen))

    def collapsed(
        self,
        weights: Float[Tensor, "*#batch component"],
        num_steps: int,
        observed: Bool[Tensor, "*#batch time"] | None = None,
    ) -> LinearGaussianSSM:
        """The same distribution as a single component; the weights do not matter."""
        return self._chain((), num_steps, observed)

    def _chain(self, batch: tuple[int, ...], num_steps: int, observed: Tensor | None) -> LinearGaussianSSM:
        eye = self.get_buffer("identity")
        nothing = torch.zeros_like(eye)[None]
        return LinearGaussianSSM(
            eye.new_zeros(*batch, COORDINATES),
            eye,
            nothing,
            eye[None],
            eye[None],
            nothing,
            observed=observed,
            num_steps=num_steps,
        )


PositionPrior = BallisticMixture | IndependentPositions
