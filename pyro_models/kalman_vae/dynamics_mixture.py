"""Networks that weight K linear dynamics given past codes (the "dynamics parameter network").

Each maps the codes a_0, a_1, ..., a_{t-1} to a point alpha_t of the K-simplex (Fraccaro et al. 2017, between eqs. 8 and
9). All share one contract: `forward` weights a whole sequence in one pass, `step` weights one step and carries a state,
and both agree.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pyro_models.components.initial_weights import glorot

State = tuple[Tensor, ...]


class DynamicsMixture(nn.Module, ABC):
    """Weights alpha_t = softmax(f(inputs_{1:t})) of K dynamics.

    The inputs are already shifted: `inputs[t]` is the code of step t - 1 and `inputs[0]` the learned code a_0. So the
    weights of step t never see the code of step t, and the prior over codes is a proper autoregressive density.

    Args:
        code_dim: size of a code.
        num_components: K.
    """

    def __init__(self, code_dim: int, num_components: int) -> None:
        super().__init__()
        self.code_dim = code_dim
        self.num_components = num_components

    @abstractmethod
    def initial_state(self, inputs: Float[Tensor, "*batch code"]) -> State:
        """State before the first step, for inputs of this batch shape, dtype and device."""

    @abstractmethod
    def step(
        self, inputs: Float[Tensor, "*batch code"], state: State
    ) -> tuple[Float[Tensor, "*batch component"], State]:
        """Weights of one step and the state after it."""

    @abstractmethod
    def forward(self, inputs: Float[Tensor, "*batch time code"]) -> Float[Tensor, "*batch time component"]:
        """Weights of every step of a sequence, in one pass."""


class LSTMDynamicsMixture(DynamicsMixture):
    """alpha_t = softmax(W h_t + b), h_t = LSTM(a_{t-1}, h_{t-1}).

    The initial state is zero and the forget gate is biased towards remembering. The paper writes softmax(h_t); the
    affine map follows the reference code, since h_t has more entries than there are dynamics.

    Args:
        code_dim: size of a code.
        num_components: K.
        hidden_dim: units of the LSTM.
    """

    def __init__(self, code_dim: int, num_components: int, hidden_dim: int = 50) -> None:
        super().__init__(code_dim, num_components)
        self.lstm = nn.LSTM(code_dim, hidden_dim, batch_first=True)
        self.head = nn.Linear(hidden_dim, num_components)
        self.apply(glorot)

    def initial_state(self, inputs: Float[Tensor, "*batch code"]) -> State:
        """Zero hidden and cell states."""
        zeros = inputs.new_zeros(*inputs.shape[:-1], self.lstm.hidden_size)
        return zeros, zeros

    def step(
        self, inputs: Float[Tensor, "*batch code"], state: State
    ) -> tuple[Float[Tensor, "*batch component"], State]:
        """One LSTM step."""
        batch = inputs.shape[:-1]
        hidden, cell = (value.reshape(1, -1, self.lstm.hidden_size) for value in state)
        output, (hidden, cell) = self.lstm(inputs.reshape(-1, 1, self.code_dim), (hidden, cell))
        weights = self.head(output).softmax(-1).reshape(*batch, self.num_components)
        return weights, (hidden.reshape(*batch, -1), cell.reshape(*batch, -1))

    def forward(self, inputs: Float[Tensor, "*batch time code"]) -> Float[Tensor, "*batch time component"]:
        """One pass of the LSTM over the sequence."""
        output, _ = self.lstm(inputs.reshape(-1, *inputs.shape[-2:]))
        return self.head(output).softmax(-1).reshape(*inputs.shape[:-1], self.num_components)


class WindowDynamicsMixture(DynamicsMixture):
    """alpha_t = softmax(MLP(a_{t-F}, ..., a_{t-1})), zeros before the first code.

    The paper's MLP for F = 1, its FIFO for F > 1.

    Args:
        code_dim: size of a code.
        num_components: K.
        window: F, number of past codes.
        hidden_dim: units of each of the two hidden layers.
    """

    def __init__(self, code_dim: int, num_components: int, window: int = 1, hidden_dim: int = 50) -> None:
        super().__init__(code_dim, num_components)
        if window < 1:
            raise ValueError(f"window: expected at least 1 code, got {window}")
        self.window = window
        self.network = nn.Sequential(
            nn.Linear(code_dim * window, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, num_components),
        )
        self.network.apply(glorot)

    def initial_state(self, inputs: Float[Tensor, "*batch code"]) -> State:
        """A buffer of F - 1 zero codes, oldest first."""
        return (inputs.new_zeros(*inputs.shape[:-1], self.window - 1, self.code_dim),)

    def step(
        self, inputs: Float[Tensor, "*batch code"], state: State
    ) -> tuple[Float[Tensor, "*batch component"], State]:
        """Push one code into the buffer and compute the weights."""
        buffer = torch.cat([state[0], inputs.unsqueeze(-2)], -2)
        return self.network(buffer.flatten(-2)).softmax(-1), (buffer[..., 1:, :],)

    def forward(self, inputs: Float[Tensor, "*batch time code"]) -> Float[Tensor, "*batch time component"]:
        """All windows at once."""
        padding = inputs.new_zeros(*inputs.shape[:-2], self.window - 1, self.code_dim)
        windows = torch.cat([padding, inputs], -2).unfold(-2, self.window, 1)  # (*batch, time, code, window)
        return self.network(windows.transpose(-1, -2).flatten(-2)).softmax(-1)


DYNAMICS_MIXTURES: dict[str, Callable[[int, int], DynamicsMixture]] = {
    "fifo": lambda code_dim, num_components: WindowDynamicsMixture(code_dim, num_components, window=5),
    "lstm": LSTMDynamicsMixture,
    "mlp": WindowDynamicsMixture,
}
