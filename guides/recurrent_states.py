"""States inferred by a recurrent network instead of the smoother: the deep Markov family's guide for a Kalman VAE."""

from collections.abc import Callable, Sequence

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.nn import PyroModule
from torch import Size, Tensor, nn
from torch.distributions import constraints

from guides.encoders import FrameEncoder
from guides.guide_of import GuideOf
from guides.kalman import MixedDynamicsModel
from videos.typed import Count, Positive, typed


class StateCombiner(nn.Module):
    """N(z_t; L z_{t-1} + M c_t, diag s(c_t)) with c_t = (tanh(W z_{t-1}) + h_t) / 2.

    Krishnan et al. 2017, section 5.2, with a linear path added, since the states of a Kalman VAE are not confined to
    the range of tanh.
    """

    def __init__(self, state_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.state_dim = state_dim
        self.hidden = nn.Linear(state_dim, hidden_dim)
        self.carry = nn.Linear(state_dim, state_dim, bias=False)
        self.mean = nn.Linear(hidden_dim, state_dim)
        self.scale = nn.Linear(hidden_dim, state_dim)

    def forward(
        self, previous: Float[Tensor, "*batch state"], context: Float[Tensor, "*batch hidden"]
    ) -> tuple[Float[Tensor, "*batch state"], Float[Tensor, "*batch state"]]:
        """Mean and standard deviation of z_t."""
        combined = 0.5 * (torch.tanh(self.hidden(previous)) + context)
        return self.carry(previous) + self.mean(combined), nn.functional.softplus(self.scale(combined)) + 1e-4


class RecurrentStatePath(TorchDistribution):
    """q(z_{1:T}) = prod_t N(z_t; mean(z_{t-1}, h_t), diag s(z_{t-1}, h_t)^2).

    Event shape (time, state); the batch shape is that of the contexts.

    Args:
        combiner: mean and standard deviation of a state given the previous one and its context.
        initial_state: z_0, (state,).
        context: h_t, (*batch, time, hidden).
    """

    arg_constraints = {}  # pyright: ignore[reportAssignmentType] - torch declares a property
    support = constraints.independent(constraints.real, 2)  # pyright: ignore[reportAssignmentType]
    has_rsample = True

    def __init__(
        self,
        combiner: StateCombiner,
        initial_state: Float[Tensor, " state"],
        context: Float[Tensor, "*batch time hidden"],
    ) -> None:
        self.combiner, self.initial_state, self.context = combiner, initial_state, context
        super().__init__(context.shape[:-2], Size((context.shape[-2], combiner.state_dim)), validate_args=False)

    def expand(self, batch_shape: Sequence[int], _instance: "RecurrentStatePath | None" = None) -> "RecurrentStatePath":
        """The same distribution for a larger batch."""
        return RecurrentStatePath(
            self.combiner, self.initial_state, self.context.expand(*batch_shape, *self.context.shape[-2:])
        )

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of whole paths, (*batch), nats; all steps at once, since all states are given."""
        previous = torch.cat([self.initial_state.expand_as(value[..., :1, :]), value[..., :-1, :]], -2)
        context = self.context.expand(*value.shape[:-1], self.context.shape[-1])
        mean, scale = self.combiner(previous, context)
        return dist.Normal(mean, scale).log_prob(value).sum((-1, -2))

    def rsample(self, sample_shape: Size = Size()) -> Tensor:  # noqa: B008 - torch's own signature
        """Draw the states in sequence; reparameterised."""
        return self._walk(
            Size(sample_shape) + self.batch_shape, lambda mean, scale: mean + scale * torch.randn_like(mean)
        )

    def path_of_means(self) -> Float[Tensor, "*batch time state"]:
        """Each state is the mean given the previous one on this path; for a nonlinear network not the mean of draws."""
        return self._walk(self.batch_shape, lambda mean, scale: mean)

    def _walk(self, shape: Size, advance: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        state = self.initial_state.expand(*shape, self.combiner.state_dim)
        states = []
        for step in range(self.event_shape[0]):
            state = advance(*self.combiner(state, self.context[..., step, :].expand(*shape, -1)))
            states.append(state)
        return torch.stack(states, -2)


class RecurrentStateGuide(GuideOf[MixedDynamicsModel], PyroModule):
    """Codes frame by frame, states by a network that reads the codes backwards::

        q(a, z | x) = prod_t N(a_t; mu(x_t), diag v(x_t)) * prod_t q(z_t | z_{t-1}, h_t),   h_t = GRU(a_t, h_{t+1})

    (the DKS guide of Krishnan, Shalit & Sontag 2017, with codes in the place of observations). Its bound is at most
    that of `KalmanGuide(posterior="joint")`, which has p(z | a) exactly: the difference is the cost of amortising the
    states. A missing frame's code has no density and its value in the trace means nothing; `complete` infers it.

    Args:
        model: a Kalman VAE with `marginalize_state=False`.
        encoder: frames -> mean and variance of the codes; by default a convolutional one.
        hidden_dim: units of the backward GRU.
        variance_limit: upper limit of the recognition variance of the default encoder.

    Raises:
        ValueError: if the model integrates its states out, or an argument has the wrong shape.
        TypeError: if the model is of another kind.
    """

    serves = MixedDynamicsModel
    completion_methods = ("smoothing",)

    @typed(left=("model",))
    def __init__(
        self,
        model: MixedDynamicsModel,
        *,
        encoder: nn.Module | None = None,
        hidden_dim: Count = 64,
        variance_limit: Positive = 0.03,
    ) -> None:
        super().__init__(model)
        if model.marginalize_state:
            raise ValueError(
                "model: expected marginalize_state=False, since this guide draws the states, got marginalize_state=True"
            )
        code_dim, state_dim = model.dynamics.code_dim, model.dynamics.state_dim
        self.encoder = encoder or FrameEncoder(model.frame_shape, code_dim, variance_limit=variance_limit)
        self.backward_network = nn.GRU(code_dim + 1 + model.dynamics.control_dim, hidden_dim, batch_first=True)
        self.combiner = StateCombiner(state_dim, hidden_dim)
        self.initial_state = nn.Parameter(torch.zeros(state_dim))

    def forward(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> Tensor:
        """Draw codes and states.

        Args:
            frames: (sequences, time, channels, height, width) in [0, 1]; missing ones are never read.
            observed: bool (sequences, time), None = all.
            controls: (sequences, time, control) or None.

        Returns:
            The states, as drawn inside the plates.
        """
        frames, seen = self.check_video(frames, observed, controls)
        mean, variance = self.encoder(frames)
        law = dist.Normal(mean, variance.sqrt()).to_event(1)
        if observed is not None:
            law = law.mask(observed)
        with pyro.plate("sequences", frames.shape[0], dim=-1):
            codes = pyro.sample("a", law.to_event(1))
            context = self._context(codes, seen, controls)
            return pyro.sample("z", RecurrentStatePath(self.combiner, self.initial_state, context))

    @torch.no_grad()
    def complete(
        self,
        frames: Tensor,
        observed: Tensor | None = None,
        controls: Tensor | None = None,
        *,
        method: str = "smoothing",
        num_samples: int | None = None,
    ) -> dict[str, Tensor]:
        """States of every step by the network, given past and future, and the codes that they emit at missing frames::

            a_t = C_t z_t (+ e, e ~ N(0, R), in draws)

        Args:
            frames: (sequences, time, channels, height, width).
            observed: bool (sequences, time), None = all.
            controls: (sequences, time, control) or None.
            method: "smoothing".
            num_samples: number of draws, or None for one path in which each state has its mean given the one before.

        Returns:
            `{"a": (sequences, time, code), "z": (sequences, time, state)}`; draws are (num_samples, 1, sequences, ...).

        Raises:
            ValueError: if the method is not "smoothing".
        """
        self.check_method(method)
        dynamics = self.model.dynamics
        frames, seen = self.check_video(frames, observed, controls)
        codes, variance = self.encoder(frames)
        if num_samples is not None:
            codes = codes + variance.sqrt() * codes.new_empty(num_samples, 1, *codes.shape).normal_()
        path = RecurrentStatePath(self.combiner, self.initial_state, self._context(codes, seen, controls))
        states = path.path_of_means() if num_samples is None else path.rsample()
        if observed is None:
            return {"a": codes, "z": states}
        chain = dynamics.condition(codes, observed, controls)
        emitted = (chain.emission_matrix @ states.unsqueeze(-1)).squeeze(-1)
        if num_samples is not None:
            emitted = emitted + dynamics.emission_covariance.diagonal().sqrt() * torch.randn_like(emitted)
        return {"a": torch.where(observed.unsqueeze(-1), codes, emitted), "z": states}

    def _context(self, codes: Tensor, seen: Tensor, controls: Tensor | None) -> Tensor:
        """h_t for every step: a GRU over the codes from the last to this, with no input where frames are missing."""
        shown = seen.unsqueeze(-1).expand(*codes.shape[:-1], 1)
        inputs = [torch.where(shown, codes, codes.new_zeros(())), shown.to(codes.dtype)]
        if controls is not None:
            inputs.append(controls.expand(*codes.shape[:-1], controls.shape[-1]))
        inputs = torch.cat(inputs, -1)
        output, _ = self.backward_network(inputs.reshape(-1, *inputs.shape[-2:]).flip(-2))
        return output.flip(-2).reshape(*inputs.shape[:-1], -1)
