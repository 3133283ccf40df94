"""The dynamics of an object: where it goes and how its motion changes."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pyro_models.components.layout import concatenate
from pyro_models.vtssi.gaussians import Gaussian, GaussianNetwork
from videos.typed import Count, Positive, typed


class Prediction(NamedTuple):
    """Distributions of an object's next position and motion, independent of one another."""

    position: Gaussian
    motion: Gaussian


class MotionTransition(nn.Module):
    """Position and motion given those of the previous frame, by two networks (Akhundov et al. 2019, appendix A)::

        p_t ~ N(gain tanh(f([p, m])), diag(g([p, m]))^2);   m_t ~ N(f'([p, m]), diag(g'([p, m]))^2)

    With `residual` the means are p + f and m + f'.

    Args:
        motion_dim: size of m.
        hidden: units of the hidden layers of each network.
        head_units: hidden units of each head.
        gain: largest absolute mean of a position; above 1 objects may leave the frame.
        residual: see above.
        motion_scale: initial standard deviations of m.
    """

    @typed
    def __init__(
        self,
        motion_dim: Count = 10,
        hidden: tuple[Count, ...] = (64, 64),
        head_units: Count = 32,
        *,
        gain: float = 1.0,
        residual: bool = False,
        motion_scale: Positive = 0.5,
    ) -> None:
        super().__init__()
        inputs = 2 + motion_dim
        self.motion_dim = motion_dim
        self.gain = gain
        self.residual = residual
        self.position = GaussianNetwork(inputs, 2, hidden, head_units)
        self.motion = GaussianNetwork(inputs, motion_dim, hidden, head_units, motion_scale)

    def forward(self, position: Float[Tensor, "*batch 2"], motion: Float[Tensor, "*batch motion"]) -> Prediction:
        """Distributions of the next position and motion."""
        inputs = concatenate(position, motion)
        where, how = self.position(inputs), self.motion(inputs)
        if self.residual:
            return Prediction(Gaussian(position + where.loc, where.scale), Gaussian(motion + how.loc, how.scale))
        return Prediction(Gaussian(self.gain * torch.tanh(where.loc), where.scale), how)
