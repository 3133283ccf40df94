"""Distributions that move a state from one frame to the next, driven by a control: state in, distribution out."""

from abc import ABC, abstractmethod

import pyro.distributions as dist
import torch
from jaxtyping import Float
from torch import Tensor, nn

from pyro_models.components.controls import with_control
from pyro_models.components.frame_networks import mlp
from pyro_models.components.initial_weights import glorot


class Transition(nn.Module, ABC):
    """A Markov chain of states s_t = g(s_{t-1}, u_t, v_t) with one Gaussian variable v_t per step.

    The variable is what a model draws and a guide infers; it may be the state itself or the noise that drives it. Four
    methods define the chain: the distribution of the variable and the resulting state, at the first step and at later
    ones.

    Args:
        state_dim: size of a state.
        variable_dim: size of a step's variable.
        control_dim: size of a control, 0 = none.
    """

    def __init__(self, state_dim: int, variable_dim: int, control_dim: int) -> None:
        super().__init__()
        self.state_dim = state_dim
        self.variable_dim = variable_dim
        self.control_dim = control_dim

    @abstractmethod
    def initial_law(self) -> dist.Independent:
        """Distribution of the first step's variable, a diagonal Gaussian, event (variable,)."""

    @abstractmethod
    def initial_state(self, variable: Float[Tensor, "*batch variable"]) -> Float[Tensor, "*batch state"]:
        """The first state."""

    @abstractmethod
    def law(
        self, state: Float[Tensor, "*batch state"], control: Float[Tensor, "*sequences control"] | None
    ) -> dist.Independent:
        """Distribution of the next step's variable, a diagonal Gaussian, event (variable,)."""

    @abstractmethod
    def next_state(
        self,
        state: Float[Tensor, "*batch state"],
        variable: Float[Tensor, "*batch variable"],
        control: Float[Tensor, "*sequences control"] | None,
    ) -> Float[Tensor, "*batch state"]:
        """The state that results from the variable."""


class GatedTransition(Transition):
    """The deep Markov model's transition (Krishnan, Shalit & Sontag 2017, section 5.1)::

        g = sigmoid(W2 relu(W1 [z, u]));   h = W4 relu(W3 [z, u])
        z' ~ N((1 - g) * (W z + b) + g * h, diag(softplus(W5 relu(h)))^2)

    W starts as the identity, so the chain can start as a random walk. The variable is the next state itself. The first
    state follows from a learned z_0 without a control.

    Args:
        state_dim: size of z.
        control_dim: size of u, concatenated to z; 0 = none.
        hidden_dim: units of the two hidden layers.
        minimum_scale: lower limit of every standard deviation.
    """

    def __init__(
        self, state_dim: int, control_dim: int = 0, hidden_dim: int = 128, minimum_scale: float = 1e-4
    ) -> None:
        super().__init__(state_dim, state_dim, control_dim)
        self.minimum_scale = minimum_scale
        self.start = nn.Parameter(torch.zeros(state_dim))
        self.gate = mlp(state_dim + control_dim, (hidden_dim,), state_dim)
        self.proposal = mlp(state_dim + control_dim, (hidden_dim,), state_dim)
        self.carry = nn.Linear(state_dim, state_dim).apply(glorot)
        self.scale = nn.Linear(state_dim, state_dim).apply(glorot)
        nn.init.eye_(self.carry.weight)

    def initial_law(self) -> dist.Independent:
        """N(z_1; z_0 and no control)."""
        return self.law(self.start, self.start.new_zeros(self.control_dim) if self.control_dim else None)

    def initial_state(self, variable: Float[Tensor, "*batch variable"]) -> Float[Tensor, "*batch state"]:
        """The variable itself."""
        return variable

    def law(
        self, state: Float[Tensor, "*batch state"], control: Float[Tensor, "*sequences control"] | None
    ) -> dist.Independent:
        """Distribution of the next state."""
        inputs = with_control(state, control)
        gate = self.gate(inputs).sigmoid()
        proposal = self.proposal(inputs)
        mean = (1 - gate) * self.carry(state) + gate * proposal
        scale = nn.functional.softplus(self.scale(proposal.relu())) + self.minimum_scale
        return dist.Normal(mean, scale).to_event(1)

    def next_state(
        self,
        state: Float[Tensor, "*batch state"],
        variable: Float[Tensor, "*batch variable"],
        control: Float[Tensor, "*sequences control"] | None,
    ) -> Float[Tensor, "*batch state"]:
        """The variable itself."""
        return variable


class LocallyLinearTransition(Transition):
    """The deep variational Bayes filter's transition, locally linear (Karl, Soelch, Bayer & van der Smagt 2017)::

        w_t ~ N(0, I);   alpha = softmax(V z_{t-1} + c);   (A, B, C)_t = sum_i alpha_i (A, B, C)_i
        z_1 = MLP(w_1);   z_t = z_{t-1} + A_t z_{t-1} + B_t u_t + C_t w_t

    The variable is the noise w_t. The residual z_{t-1} follows the authors' code; the paper's formula omits it. The
    base matrices are point estimates, where the authors have a Gaussian posterior over them.

    Args:
        state_dim: size of z.
        control_dim: size of u, 0 = none.
        noise_dim: size of w, None = that of z.
        num_matrices: number of base matrices.
        hidden_dim: units of the hidden layer that makes z_1.
    """

    def __init__(
        self,
        state_dim: int,
        control_dim: int = 0,
        noise_dim: int | None = None,
        num_matrices: int = 16,
        hidden_dim: int = 128,
    ) -> None:
        noise_dim = state_dim if noise_dim is None else noise_dim
        super().__init__(state_dim, noise_dim, control_dim)
        self.start = mlp(noise_dim, (hidden_dim,), state_dim)
        self.weights = nn.Linear(state_dim, num_matrices).apply(glorot)
        self.state_matrices = nn.Parameter(0.1 * torch.randn(num_matrices, state_dim, state_dim))
        self.noise_matrices = nn.Parameter(0.1 * torch.randn(num_matrices, state_dim, noise_dim))
        self.control_matrices = (
            nn.Parameter(0.1 * torch.randn(num_matrices, state_dim, control_dim)) if control_dim else None
        )

    def initial_law(self) -> dist.Independent:
        """N(0, I)."""
        zeros = self.noise_matrices.new_zeros(self.variable_dim)
        return dist.Normal(zeros, torch.ones_like(zeros)).to_event(1)

    def initial_state(self, variable: Float[Tensor, "*batch variable"]) -> Float[Tensor, "*batch state"]:
        """z_1 = MLP(w_1)."""
        return self.start(variable)

    def law(
        self, state: Float[Tensor, "*batch state"], control: Float[Tensor, "*sequences control"] | None
    ) -> dist.Independent:
        """N(0, I), whatever the state."""
        return self.initial_law()

    def next_state(
        self,
        state: Float[Tensor, "*batch state"],
        variable: Float[Tensor, "*batch variable"],
        control: Float[Tensor, "*sequences control"] | None,
    ) -> Float[Tensor, "*batch state"]:
        """The locally linear step."""
        weights = self.weights(state).softmax(-1)
        moved = torch.einsum("...k,kij,...j->...i", weights, self.state_matrices, state)
        driven = torch.einsum("...k,kij,...j->...i", weights, self.noise_matrices, variable)
        if control is None or self.control_matrices is None:
            return state + moved + driven
        pushed = torch.einsum("...k,kij,...j->...i", weights, self.control_matrices, control)
        return state + moved + driven + pushed
