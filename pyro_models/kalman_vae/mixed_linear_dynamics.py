"""Linear-Gaussian dynamics whose matrices are mixed at each step by a network of past emissions."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Size, Tensor, nn

from pyro_models.distributions import LinearGaussianSSM
from pyro_models.distributions.gaussian_numerics import symmetrize
from pyro_models.distributions.gaussian_steps import Moments, apply, condition, predict
from pyro_models.kalman_vae.dynamics_mixture import DYNAMICS_MIXTURES, DynamicsMixture, State


class CodePrediction(NamedTuple):
    """The prediction of a step from the codes before it, and the recursion's state.

    Attributes:
        moments: mean and covariance of the state z_t, before the code of this step.
        weights: alpha_t, (*batch, component).
        emission: C_t, (*batch, code, state).
        mixture: state of the network that weights the dynamics.
    """

    moments: Moments
    weights: Tensor
    emission: Tensor
    mixture: State

    def expand(self, batch_shape: Sequence[int]) -> "CodePrediction":
        """The same for a larger batch (particles to the left)."""
        own = self.weights.dim() - 1

        def larger(value: Tensor) -> Tensor:
            return value.expand(*batch_shape, *value.shape[own:])

        return CodePrediction(
            Moments(larger(self.moments.mean), larger(self.moments.covariance)),
            larger(self.weights),
            larger(self.emission),
            tuple(map(larger, self.mixture)),
        )


class MixedLinearDynamics(nn.Module):
    """K linear-Gaussian dynamics, mixed by weights that depend on past codes::

        alpha_t = f(a_0, ..., a_{t-1});   (A_t, B_t, C_t) = sum_k alpha_t[k] (A_k, B_k, C_k)
        z_1 ~ N(0, Sigma);  z_t ~ N(A_t z_{t-1} + B_t u_t, Q);  a_t ~ N(C_t z_t, R)

    (Fraccaro et al. 2017, eqs. 8 and 9). Given all codes the chain is a `LinearGaussianSSM`, so filter, smoother and
    marginal are exact. Noise is isotropic and fixed at the reference code's variances; these set the scale of the
    codes.

    Args:
        code_dim: size of an emission a_t.
        state_dim: size of a state z_t.
        num_components: K.
        control_dim: size of a control u_t, 0 = none.
        mixture: "lstm", "mlp" or "fifo", or a `DynamicsMixture`.
        transition_variance: diagonal of Q.
        emission_variance: diagonal of R.
        initial_variance: diagonal of Sigma.
        learn_noise: train the diagonals of Q and R (log-variances, floored at 1e-4).

    Raises:
        ValueError: if the mixture is unknown or does not fit the sizes.
    """

    log_transition_variance: Tensor
    log_emission_variance: Tensor
    noise_floor = 1e-4  # lower limit of learned variances, below which the marginal would explode

    def __init__(
        self,
        code_dim: int,
        state_dim: int,
        num_components: int,
        control_dim: int = 0,
        *,
        mixture: str | DynamicsMixture = "lstm",
        transition_variance: float = 0.08,
        emission_variance: float = 0.03,
        initial_variance: float = 20.0,
        learn_noise: bool = False,
    ) -> None:
        super().__init__()
        if isinstance(mixture, str):
            if mixture not in DYNAMICS_MIXTURES:
                raise ValueError(f"mixture: expected one of {sorted(DYNAMICS_MIXTURES)}, got {mixture!r}")
            mixture = DYNAMICS_MIXTURES[mixture](code_dim, num_components)
        if (mixture.code_dim, mixture.num_components) != (code_dim, num_components):
            raise ValueError(
                f"mixture: expected code_dim, num_components = {code_dim}, {num_components}, "
                f"got {mixture.code_dim}, {mixture.num_components}"
            )
        self.code_dim, self.state_dim, self.control_dim = code_dim, state_dim, control_dim
        self.initial_variance = initial_variance
        self.mixture = mixture
        self.initial_code = nn.Parameter(torch.zeros(code_dim))
        self.transition_matrices = nn.Parameter(torch.eye(state_dim).repeat(num_components, 1, 1))
        self.emission_matrices = nn.Parameter(0.05 * torch.randn(num_components, code_dim, state_dim))
        if control_dim:
            self.control_matrices = nn.Parameter(0.05 * torch.randn(num_components, state_dim, control_dim))
        noise = {
            "log_transition_variance": (state_dim, transition_variance),
            "log_emission_variance": (code_dim, emission_variance),
        }
        for name, (size, variance) in noise.items():
            value = torch.full((size,), variance).log()
            if learn_noise:
                setattr(self, name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)

    @property
    def transition_covariance(self) -> Float[Tensor, "state state"]:
        """Q."""
        return torch.diag(self.log_transition_variance.exp().clamp_min(self.noise_floor))

    @property
    def emission_covariance(self) -> Float[Tensor, "code code"]:
        """R."""
        return torch.diag(self.log_emission_variance.exp().clamp_min(self.noise_floor))

    @property
    def initial_covariance(self) -> Float[Tensor, "state state"]:
        """Sigma, the covariance of the state at the first step."""
        return self.initial_variance * torch.eye(
            self.state_dim, dtype=self.transition_matrices.dtype, device=self.transition_matrices.device
        )

    def weights(self, codes: Float[Tensor, "*batch time code"]) -> Float[Tensor, "*batch time component"]:
        """alpha_1, ..., alpha_T given every code; alpha_t sees the codes before t only."""
        first = self.initial_code.expand_as(codes[..., :1, :])
        return self.mixture(torch.cat([first, codes[..., :-1, :]], -2))

    def given_weights(
        self,
        weights: Float[Tensor, "*batch time component"],
        observed: Bool[Tensor, "*sequences time"] | None = None,
        controls: Float[Tensor, "*sequences time control"] | None = None,
    ) -> LinearGaussianSSM:
        """The linear-Gaussian chain under given mixture weights."""
        later = weights[..., 1:, :]
        offset = None
        if controls is not None:
            offset = torch.einsum("...tk,kij,...tj->...ti", later, self.control_matrices, controls[..., 1:, :])
        return LinearGaussianSSM(
            initial_mean=weights.new_zeros(self.state_dim),
            initial_covariance=self.initial_covariance,
            transition_matrix=torch.einsum("...k,kij->...ij", later, self.transition_matrices),
            transition_covariance=self.transition_covariance.unsqueeze(0),
            emission_matrix=torch.einsum("...k,kij->...ij", weights, self.emission_matrices),
            emission_covariance=self.emission_covariance.unsqueeze(0),
            transition_offset=offset,
            observed=observed,
            validate_args=False,  # the covariances are diagonal and positive by construction
        )

    def condition(
        self,
        codes: Float[Tensor, "*batch time code"],
        observed: Bool[Tensor, "*sequences time"] | None = None,
        controls: Float[Tensor, "*sequences time control"] | None = None,
        *,
        sample_missing: bool = False,
    ) -> LinearGaussianSSM:
        """The linear-Gaussian chain that these codes select.

        With every code seen the weights follow from one pass of the mixture network. With missing steps the network is
        interleaved with the Kalman filter: at a missing step it is fed the prediction C_t m_{t|t-1} of the code, or a
        draw from its distribution N(C_t m_{t|t-1}, C_t P_{t|t-1} C_t' + R) (Fraccaro et al. 2017, eqs. 11 and 12; the
        reference code feeds the mean).

        Args:
            codes: (*batch, time, code); values at missing steps are never read.
            observed: bool (*sequences, time), None = all; broadcasts over leading particles.
            controls: (*sequences, time, control) or None.
            sample_missing: feed draws instead of means at missing steps.
        """
        if observed is None:
            return self.given_weights(self.weights(codes), None, controls)
        return self.given_weights(self._filtered_weights(codes, observed, controls, sample_missing), observed, controls)

    def first_prediction(self, batch_shape: Sequence[int] = ()) -> CodePrediction:
        """The prediction of the first step.

        Args:
            batch_shape: plates in front of everything, such as (*particles, sequences).
        """
        inputs = self.initial_code.expand(*batch_shape, self.code_dim)
        weights, mixture = self.mixture.step(inputs, self.mixture.initial_state(inputs))
        mean = inputs.new_zeros(*batch_shape, self.state_dim)
        covariance = self.initial_covariance.expand(*batch_shape, self.state_dim, self.state_dim)
        return CodePrediction(Moments(mean, covariance), weights, self._mix(weights, self.emission_matrices), mixture)

    def next_prediction(
        self,
        prediction: CodePrediction,
        code: Float[Tensor, "*batch code"],
        observed: Bool[Tensor, "*#batch"] | None = None,
        control: Float[Tensor, "*#batch control"] | None = None,
        missing: Float[Tensor, "*batch code"] | None = None,
    ) -> CodePrediction:
        """The prediction of a step given the code of the previous step; one step of the Kalman filter.

        Args:
            prediction: prediction of the previous step.
            code: code of the previous step; not read where missing.
            observed: mask of seen codes, None = all.
            control: control that acts between the two steps.
            missing: input of the mixture network where the code is missing; None = the mean C_t m_{t|t-1}.
        """
        prediction = prediction.expand(code.shape[:-1])
        if observed is not None:
            missing = apply(prediction.emission, prediction.moments.mean) if missing is None else missing
            code = torch.where(observed.unsqueeze(-1), code, missing)
        moments = condition(
            prediction.moments, prediction.emission, self.emission_covariance, None, code, observed
        ).moments
        weights, mixture = self.mixture.step(code, prediction.mixture)
        offset = None if control is None else apply(self._mix(weights, self.control_matrices), control)
        moments = predict(moments, self._mix(weights, self.transition_matrices), self.transition_covariance, offset)
        return CodePrediction(moments, weights, self._mix(weights, self.emission_matrices), mixture)

    def code_moments(self, prediction: CodePrediction) -> Moments:
        """Mean C_t m_{t|t-1} and covariance C_t P_{t|t-1} C_t' + R of the code of the step."""
        mean, covariance = prediction.moments
        emission = prediction.emission
        return Moments(
            apply(emission, mean), symmetrize(emission @ covariance @ emission.mT + self.emission_covariance)
        )

    @staticmethod
    def _mix(weights: Float[Tensor, "*batch component"], matrices: Tensor) -> Float[Tensor, "*batch row column"]:
        return torch.einsum("...k,kij->...ij", weights, matrices)

    def _filtered_weights(
        self, codes: Tensor, observed: Tensor, controls: Tensor | None, sample_missing: bool
    ) -> Float[Tensor, "*batch time component"]:
        codes = torch.where(observed.unsqueeze(-1), codes, codes.new_zeros(()))
        prediction = self.first_prediction(codes.shape[:-2])
        weights = [prediction.weights]
        for step in range(1, codes.shape[-2]):
            missing = None
            if sample_missing:
                mean, covariance = self.code_moments(prediction)
                missing = mean + apply(torch.linalg.cholesky(covariance), torch.randn_like(mean))
            control = None if controls is None else controls[..., step, :]
            prediction = self.next_prediction(
                prediction, codes[..., step - 1, :], observed[..., step - 1], control, missing
            )
            weights.append(prediction.weights)
        return torch.stack(weights, -2)

    def simulate(
        self, batch_shape: Size, num_steps: int, controls: Float[Tensor, "*sequences time control"] | None = None
    ) -> Float[Tensor, "*batch time code"]:
        """Ancestral draw of codes; reparameterised."""
        inputs = self.initial_code.expand(*batch_shape, self.code_dim)
        weights_state = self.mixture.initial_state(inputs)
        transition_scale = self.transition_covariance.diagonal().sqrt()
        emission_scale = self.emission_covariance.diagonal().sqrt()
        state = inputs.new_zeros(())
        codes = []
        for step in range(num_steps):
            weights, weights_state = self.mixture.step(inputs, weights_state)
            noise = torch.randn(*batch_shape, self.state_dim, dtype=inputs.dtype, device=inputs.device)
            if step == 0:
                state = self.initial_variance**0.5 * noise
            else:
                state = torch.einsum("...k,kij,...j->...i", weights, self.transition_matrices, state)
                if controls is not None:
                    state = state + torch.einsum(
                        "...k,kij,...j->...i", weights, self.control_matrices, controls[..., step, :]
                    )
                state = state + transition_scale * noise
            emission = torch.einsum("...k,kij,...j->...i", weights, self.emission_matrices, state)
            inputs = emission + emission_scale * torch.randn_like(emission)
            codes.append(inputs)
        return torch.stack(codes, -2)
