"""What a slot remembers from frame to frame, alone or in view of the other slots."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pyro_models.components.initial_weights import glorot
from pyro_models.components.recurrent_cells import step_lstm
from videos.typed import Count, CountOrZero, typed


class SlotMemory(nn.Module):
    """The memory of each slot after a frame::

        h_t, c_t = LSTM([z_t, r_t], h_{t-1}, c_{t-1});      one network, shared by all slots
        r_tk = sum_j softmax_j(q_k . k_j / sqrt(d)) v_j,    q, k, v linear in [z_t, h_{t-1}]

    With `relations`, r lets each slot see the others, itself included: objects that collide. Without, slots evolve
    alone, as in Zablotskaia et al. (2020).

    Args:
        latent_dim: size of z.
        units: size of h.
        relations: size of r; 0 = none.
    """

    @typed
    def __init__(self, latent_dim: Count = 64, units: Count = 128, *, relations: CountOrZero = 0) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.units = units
        self.relations = relations
        self.cell = nn.LSTMCell(latent_dim + relations, units)
        self.attention = nn.Linear(latent_dim + units, 3 * relations).apply(glorot) if relations else None

    def forward(
        self,
        latent: Float[Tensor, "*batch slots sequences latent"],
        output: Float[Tensor, "*batch slots sequences units"],
        memory: Float[Tensor, "*batch slots sequences units"],
    ) -> tuple[Float[Tensor, "*batch slots sequences units"], Float[Tensor, "*batch slots sequences units"]]:
        """Output and memory after a frame.

        Args:
            latent: z_t.
            output: h_{t-1}.
            memory: c_{t-1}.
        """
        inputs = latent
        if self.attention is not None:
            known = torch.cat([latent, output], -1).transpose(-2, -3)  # slots side by side, sequences in front
            queries, keys, values = self.attention(known).chunk(3, -1)
            shares = (queries @ keys.transpose(-1, -2) / self.relations**0.5).softmax(-1)
            inputs = torch.cat([latent, (shares @ values).transpose(-2, -3)], -1)
        return step_lstm(self.cell, inputs, output, memory)
