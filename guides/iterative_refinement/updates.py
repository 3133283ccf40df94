"""The rule by which the parameters of a site are changed: learned, and open to be exchanged."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from guides.iterative_refinement.site_parameters import Shift
from pyro_models.components.recurrent_cells import step_lstm

EPSILON = 1e-8
DECADES = 10.0  # divisor of log norms, which reach -18 for a slope of zero
LARGEST_STEP = 5.0  # standard deviations, and logarithm of a ratio of them


class SiteView(NamedTuple):
    """What an update sees of a family of sites: one row for each entry of their plates, all rows treated alike.

    Attributes:
        loc: means, in the units of the latent.
        log_scale: logarithms of standard deviations.
        shift: parameters, relative to the start.
        slopes: gradients of the bound of each sequence with respect to `shift`, nats.
        taps: further inputs, or None.
    """

    loc: Float[Tensor, "rows size"]
    log_scale: Float[Tensor, "rows size"]
    shift: Shift
    slopes: Shift
    taps: Float[Tensor, "rows taps"] | None


class LearnedUpdate(nn.Module):
    """A recurrent update (Marino, Yue and Mandt 2018; Greff et al. 2019)::

        h, c = LSTM([loc, log scale, LN(g), log rms(g) / 10, mean(g) / rms(g), taps]; h, c),     change = W h + b

    g is the gradient with respect to both parameters. Layer norm takes away its size and its mean, which is much of it
    in a small site: they are inputs of their own. W and b are zero at first: an untrained update changes nothing.

    An update of your own is a module with this `forward`; a rule without state returns None for it.

    Args:
        size: entries of the site along its last event dim.
        tap_size: number of further inputs.
        hidden_dim: units of the LSTM.
    """

    def __init__(self, size: int, tap_size: int = 0, hidden_dim: int = 64) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(4 * size + 2 + tap_size, hidden_dim)
        self.change = nn.Linear(hidden_dim, 2 * size)
        nn.init.zeros_(self.change.weight)
        nn.init.zeros_(self.change.bias)

    def forward(self, view: SiteView, state: Any) -> tuple[Shift, Any]:
        """The change of the parameters, and the state after it.

        Args:
            view: the parameters, their slopes and further inputs.
            state: of the last step; None at the first.
        """
        slopes = torch.cat(view.slopes, -1)
        inputs = [view.loc, view.log_scale, normalised(slopes), magnitude(slopes)]
        inputs += [] if view.taps is None else [view.taps]
        blank = slopes.new_zeros(self.cell.hidden_size)
        output, memory = step_lstm(self.cell, torch.cat(inputs, -1), *(state or (blank, blank)))
        loc, log_scale = self.change(output).clamp(-LARGEST_STEP, LARGEST_STEP).chunk(2, -1)
        return Shift(loc, log_scale), (output, memory)


def normalised(slopes: Float[Tensor, "rows slopes"]) -> Float[Tensor, "rows slopes"]:
    """Layer norm without learned parameters, the same for slopes of any size; zero for slopes of zero."""
    return nn.functional.layer_norm(slopes, slopes.shape[-1:], eps=EPSILON)


def magnitude(slopes: Float[Tensor, "rows slopes"]) -> Float[Tensor, "rows two"]:
    """What layer norm takes away: log rms(g) / 10, and the mean as a share of the root mean square rms(g)."""
    square = slopes.square().mean(-1, keepdim=True) + EPSILON**2
    return torch.cat([0.5 * square.log() / DECADES, slopes.mean(-1, keepdim=True) / square.sqrt()], -1)
