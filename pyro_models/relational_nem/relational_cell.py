"""The recurrent cell of slots that act on one another in pairs."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class CellStep(NamedTuple):
    """Result of one step of the cell.

    Attributes:
        memory: theta, what the next step starts from.
        output: what is decoded.
    """

    memory: Float[Tensor, "sequences slots state"]
    output: Float[Tensor, "sequences slots state"]


class RelationalCell(nn.Module):
    """One step of all slots, each with its own input and the effects of the others::

        e_k = f(theta_k);   c_kj = f([e_k, e_j]), j != k;   E_k = sum_{j != k} a(c_kj) f(c_kj)
        n_k = W [e_k, E_k, input_k];   theta_k' = sigmoid(n_k);   output_k = sigmoid(LN(n_k))

    (van Steenkiste et al. 2018) with f = ReLU LN linear, each with weights of its own, and the attention
    a = sigmoid linear tanh LN linear, a number. Weights are shared by all slots and pairs, so that the number of slots
    is free, and their order has no meaning. A single slot has the effect 0.

    Args:
        input_dim: size of a slot's input.
        state_dim: size of theta_k, e_k, c_kj and E_k.
        attention_dim: units of the attention's hidden layer.
    """

    def __init__(self, input_dim: int, state_dim: int, attention_dim: int) -> None:
        super().__init__()
        self.state_dim = state_dim
        self.code = _normalised_layer(state_dim, state_dim)
        self.pair = nn.Linear(2 * state_dim, state_dim)
        self.pair_norm = nn.LayerNorm(state_dim)
        self.effect = _normalised_layer(state_dim, state_dim)
        self.attention = nn.Sequential(
            nn.Linear(state_dim, attention_dim), nn.LayerNorm(attention_dim), nn.Tanh(), nn.Linear(attention_dim, 1)
        )
        self.update = nn.Linear(2 * state_dim + input_dim, state_dim)
        self.output_norm = nn.LayerNorm(state_dim)

    def forward(
        self, memory: Float[Tensor, "sequences slots state"], inputs: Float[Tensor, "sequences slots input"]
    ) -> CellStep:
        """One step.

        Args:
            memory: theta after the previous step; zero at the start.
            inputs: one for each slot.
        """
        codes = self.code(memory)
        new = self.update(torch.cat([codes, self.effects(codes), inputs], -1))
        return CellStep(new.sigmoid(), self.output_norm(new).sigmoid())

    def effects(self, codes: Float[Tensor, "sequences slots state"]) -> Float[Tensor, "sequences slots state"]:
        """The sum of the effects of all others on each slot.

        Args:
            codes: e.
        """
        slots = codes.shape[1]
        # A pair's layer is linear in each of the two: it is computed per slot, and added per pair
        on_this, on_other = self.pair.weight.chunk(2, 1)
        place = torch.arange(slots, device=codes.device)
        others = (place[:, None] + place[None, 1:]) % slots
        other = F.linear(codes, on_other).index_select(1, others.flatten()).unflatten(1, (slots, slots - 1))
        pairs = F.relu(self.pair_norm(F.linear(codes, on_this, self.pair.bias).unsqueeze(2) + other))
        return (self.attention(pairs).sigmoid() * self.effect(pairs)).sum(2)


def _normalised_layer(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.ReLU())
