"""A recurrent cell with two predecessors: the previous frame and the previous refinement."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class TwoAxisCell(nn.Module):
    """An LSTM over a grid of frames t and refinements r, with one forget gate and one that mixes the two memories::

        [i, f, o, l, g] = W_x v + W_t h_{t-1} + W_r h_{r-1} + b;       i, f, o, l through the sigmoid
        c = f (l c_{t-1} + (1 - l) c_{r-1}) + i tanh(g);               h = o tanh(c)

    (Zablotskaia et al. 2020, supplement; the stable variant of Leifert et al. 2016 of the cell of Graves et al. 2007,
    whose two forget gates let the memory grow). Biases of f start at 1.

    Args:
        inputs: size of v.
        units: size of h and c.
    """

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.units = units
        self.from_input = nn.Linear(inputs, 5 * units)
        self.from_frame = nn.Linear(units, 5 * units)
        self.from_refinement = nn.Linear(units, 5 * units)
        with torch.no_grad():
            self.from_input.bias[units : 2 * units] += 1.0

    def forward(
        self,
        inputs: Float[Tensor, "*batch input"],
        frame: tuple[Float[Tensor, "*#batch units"], Float[Tensor, "*#batch units"]],
        refinement: tuple[Float[Tensor, "*#batch units"], Float[Tensor, "*#batch units"]],
    ) -> tuple[Float[Tensor, "*batch units"], Float[Tensor, "*batch units"]]:
        """Output h and memory c.

        Args:
            inputs: v.
            frame: h and c after the previous frame.
            refinement: h and c after the previous refinement of this frame.
        """
        units = self.from_input(inputs) + self.from_frame(frame[0]) + self.from_refinement(refinement[0])
        write, keep, show, mix, new = units.chunk(5, -1)
        kept = torch.lerp(refinement[1], frame[1], mix.sigmoid())
        memory = keep.sigmoid() * kept + write.sigmoid() * new.tanh()
        return show.sigmoid() * memory.tanh(), memory
