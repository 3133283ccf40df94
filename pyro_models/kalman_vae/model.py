"""The Kalman variational auto-encoder (Fraccaro, Kamronn, Paquet & Winther 2017)."""

from collections.abc import Sequence
from typing import NamedTuple

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Bool, Float
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Size, Tensor, nn
from torch.distributions import constraints

from pyro_models.components.arguments import check_video
from pyro_models.components.frame_networks import frame_decoder
from pyro_models.components.layout import merge_particles, to_time_plate
from pyro_models.components.likelihoods import frame_likelihood
from pyro_models.components.markov_video import VideoContext
from pyro_models.components.stepwise import StepwiseModel
from pyro_models.distributions.argument_checks import expanded_batch_shape
from pyro_models.kalman_vae.mixed_linear_dynamics import CodePrediction, MixedLinearDynamics
from videos.typed import Count, CountOrZero, FrameShape, typed


class CodePrior(TorchDistribution):
    """Distribution of codes whose linear dynamics are chosen by the codes themselves, with the states integrated out::

        alpha_t = f(a_0, ..., a_{t-1});   (A_t, B_t, C_t) = sum_k alpha_t[k] (A_k, B_k, C_k)
        p(a | u) = prod_t N(a_t; C_t m_{t|t-1}, C_t P_{t|t-1} C_t' + R)

    m and P are the Kalman filter's predictions (Fraccaro et al. 2017, eqs. 3 and 8). Since alpha_t depends only on
    earlier codes, this is a proper autoregressive density. Missing steps are integrated out; there f is fed the
    prediction C_t m_{t|t-1}, as in the reference code, and the distribution is that of the model with this rule.

    Args:
        dynamics: the mixture of linear dynamics.
        batch_shape: (*particles, sequences).
        num_steps: frames in a sequence.
        observed: bool (sequences, time), None = every step is seen.
        controls: (sequences, time, control); `controls[:, t]` acts between steps t - 1 and t.
    """

    arg_constraints = {}  # pyright: ignore[reportAssignmentType] - torch declares a property
    support = constraints.independent(constraints.real, 2)  # pyright: ignore[reportAssignmentType]
    has_rsample = True

    def __init__(
        self,
        dynamics: MixedLinearDynamics,
        batch_shape: Sequence[int],
        num_steps: int,
        observed: Bool[Tensor, "sequences time"] | None = None,
        controls: Float[Tensor, "sequences time control"] | None = None,
    ) -> None:
        self.dynamics = dynamics
        self.num_steps = num_steps
        self.observed = observed
        self.controls = controls
        super().__init__(Size(batch_shape), Size((num_steps, dynamics.code_dim)), validate_args=False)

    def expand(self, batch_shape: Sequence[int], _instance: "CodePrior | None" = None) -> "CodePrior":
        """The same distribution for a larger batch (particles to the left).

        Raises:
            ValueError: if the batch shape does not expand to this one (the rules of `torch.Tensor.expand`).
        """
        batch_shape = expanded_batch_shape(self.batch_shape, batch_shape)
        return CodePrior(self.dynamics, batch_shape, self.num_steps, self.observed, self.controls)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of the observed codes, (*batch), nats."""
        value = value.expand(torch.broadcast_shapes(value.shape, self.batch_shape + self.event_shape))
        return self.dynamics.condition(value, self.observed, self.controls).log_prob(value)

    def rsample(self, sample_shape: Size = Size()) -> Tensor:  # noqa: B008 - torch's own signature
        """Ancestral draw of all codes, those at missing steps included; reparameterised."""
        return self.dynamics.simulate(Size(sample_shape) + self.batch_shape, self.num_steps, self.controls)


class CodeState(NamedTuple):
    """State after a step of a Kalman VAE: its code, and the prediction of the next one (None after the last)."""

    code: Tensor
    prediction: CodePrediction | None


class KalmanVAE(StepwiseModel):
    """Frames decoded from codes; codes emitted by a linear-Gaussian state whose dynamics are mixed at each step::

        alpha_t = f(a_0, ..., a_{t-1})
        z_1 ~ N(0, Sigma);   z_t ~ N(A_t z_{t-1} + B_t u_t, Q)          A_t = sum_k alpha_t[k] A_k, same for B_t, C_t
        a_t ~ N(C_t z_t, R)
        x_t ~ Bernoulli(decoder(a_t)) or N(decoder(a_t), diag(s))

    (Fraccaro et al. 2017, eqs. 1, 8 and 9). Sites, in the plate `sequences`: `a`, the codes, event (time, code); `z`,
    the states, event (time, state), unless they are integrated out; and, in the plate `time` as well, the observed
    `frames`, event (channels, height, width).

    The joint is factorised so that it can be evaluated without a loop over sites: p(a) with all states integrated out
    by the Kalman filter, then p(z | a), exact by the smoother. Their product is prod_t p(z_t | z_{t-1}, a_{<t})
    p(a_t | z_t, a_{<t}), the model above, which scores any guide for `a` and `z`.

    Where a frame is missing, its terms are integrated out and f is fed the predicted code (see `CodePrior`).

    Step by step, for particle filters, the same joint is prod_t p(a_t | a_{<t}) p(x_t | a_t), with sites `a_1`, ...,
    `a_T` in place of `a`: each particle carries the Kalman filter's moments and the state of f.

    Args:
        frame_shape: (channels, height, width) of a frame.
        code_dim: size of a_t.
        state_dim: size of z_t.
        num_components: K, number of linear dynamics.
        control_dim: size of u_t, 0 = none.
        mixture: network that weights the dynamics: "lstm", "mlp" (the last code) or "fifo" (the last five).
        decoder: "conv", "mlp", or a module (*batch, code) -> (*batch, channels, height, width).
        likelihood: "bernoulli" or "gaussian" (one learned variance per pixel).
        marginalize_state: integrate z out exactly (no site `z`).
        dynamics: a ready-made mixture of linear dynamics instead of the paper's.

    Raises:
        ValueError: if frames, observed or controls have the wrong shape.
    """

    @typed
    def __init__(
        self,
        frame_shape: FrameShape = (1, 32, 32),
        *,
        code_dim: Count = 2,
        state_dim: Count = 4,
        num_components: Count = 3,
        control_dim: CountOrZero = 0,
        mixture: str = "lstm",
        decoder: str | nn.Module = "conv",
        likelihood: str = "bernoulli",
        marginalize_state: bool = True,
        dynamics: MixedLinearDynamics | None = None,
    ) -> None:
        super().__init__()
        self.frame_shape = frame_shape
        self.marginalize_state = marginalize_state
        self.dynamics = dynamics or MixedLinearDynamics(
            code_dim, state_dim, num_components, control_dim, mixture=mixture
        )
        self.decoder = frame_decoder(decoder, code_dim, frame_shape) if isinstance(decoder, str) else decoder
        self.likelihood = frame_likelihood(likelihood, frame_shape)

    def forward(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> Tensor:
        """Draw or score one batch.

        Args:
            frames: (sequences, time, channels, height, width) in [0, 1]; missing ones are never read.
            observed: bool (sequences, time), None = all.
            controls: (sequences, time, control) or None.

        Returns:
            The codes, (*particles, sequences, time, code).
        """
        context = self.prepare(frames, observed, controls)
        num_sequences, num_frames = frames.shape[:2]
        with pyro.plate("sequences", num_sequences, dim=-1):
            codes = pyro.sample("a", CodePrior(self.dynamics, (num_sequences,), num_frames, observed, controls))
            if not self.marginalize_state:
                pyro.sample("z", self.dynamics.condition(codes, observed, controls).posterior(codes))
            codes = merge_particles(codes, 2)
            self._emit(codes, context, slice(0, num_frames))
        return codes

    def prepare(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> VideoContext:
        """See `StepwiseModel.prepare`."""
        frames, seen = check_video(frames, observed, controls, self.frame_shape, self.control_dim, self)
        return VideoContext(frames, seen, controls)

    @property
    def control_dim(self) -> int:
        """Size of a control, 0 = none."""
        return self.dynamics.control_dim

    @property
    def runs_stepwise(self) -> bool:
        """Whether `step` can be used: states are integrated out."""
        return self.marginalize_state

    def step(self, index: int, state: CodeState | None, context: VideoContext) -> CodeState:
        """See `StepwiseModel.step`.

        Raises:
            ValueError: if the model has a site for its states, which is a whole path and not drawn step by step.
        """
        if not self.marginalize_state:
            raise ValueError("model: expected marginalize_state=True, since the site 'z' is a whole path; got False")
        prediction = self.prediction(state, context)
        seen = context.seen[:, index]
        mean, covariance = self.dynamics.code_moments(prediction)
        code = pyro.sample(f"a_{index + 1}", dist.MultivariateNormal(mean, covariance, validate_args=False).mask(seen))
        if index + 1 == context.frames.shape[1]:
            return CodeState(code, None)
        return CodeState(code, self.dynamics.next_prediction(prediction, code, seen, context.control(index + 1)))

    def prediction(self, state: CodeState | None, context: VideoContext) -> CodePrediction:
        """The prediction of the code of a step from the previous state."""
        if state is None:
            return self.dynamics.first_prediction(context.frames.shape[:1])
        assert state.prediction is not None
        return state.prediction

    def emit(self, states: Sequence[CodeState], context: VideoContext, first: int = 0) -> Tensor:
        """Frames of consecutive steps; returns their codes, (*particles, sequences, time, code)."""
        codes = merge_particles(torch.stack([state.code for state in states], -2), 2)
        self._emit(codes, context, slice(first, first + len(states)))
        return codes

    def _emit(self, codes: Tensor, context: VideoContext, steps: slice) -> None:
        likelihood = self.likelihood(to_time_plate(self.decoder(codes), 3))
        with pyro.plate("time", steps.stop - steps.start, dim=-2):
            pyro.sample(
                "frames",
                likelihood.mask(context.seen[:, steps].T),
                obs=to_time_plate(context.frames[:, steps], 3),
            )
