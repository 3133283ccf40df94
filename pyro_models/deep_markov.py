"""The deep Markov model (Krishnan, Shalit & Sontag 2017)."""

from torch import nn

from pyro_models.components.frame_networks import MLPDecoder, frame_decoder
from pyro_models.components.markov_video import MarkovVideo
from pyro_models.components.transitions import GatedTransition
from videos.typed import Count, CountOrZero, FrameShape, typed


class DeepMarkovModel(MarkovVideo):
    """States moved by a gated network, frames decoded from them::

        z_t ~ N(mean(z_{t-1}, u_t), diag(scale(z_{t-1}, u_t))^2)          see `GatedTransition`; z_0 is learned
        x_t ~ N(decoder(z_t), diag(s)) or Bernoulli(decoder(z_t))

    (Krishnan, Shalit & Sontag 2017, section 5.1). Sites, in the plate `sequences`: `z_1`, ..., `z_T`, event (state,);
    and, in the plate `time` as well, the observed `frames`. The sizes are those used for the torque-controlled pendulum
    (Karl et al. 2017). Guide: `RecurrentGuide`.

    Args:
        frame_shape: (channels, height, width) of a frame.
        state_dim: size of z_t.
        control_dim: size of u_t, concatenated to the state; 0 = none.
        hidden_dim: units of every hidden layer.
        decoder: "mlp" (two hidden layers), "conv", or a module (*batch, state) -> (*batch, channels, height, width).
        likelihood: "gaussian" (one learned variance per pixel) or "bernoulli".

    Raises:
        ValueError: if a name is unknown, or frames, observed or controls have the wrong shape.
    """

    @typed
    def __init__(
        self,
        frame_shape: FrameShape = (1, 16, 16),
        *,
        state_dim: Count = 3,
        control_dim: CountOrZero = 0,
        hidden_dim: Count = 128,
        decoder: str | nn.Module = "mlp",
        likelihood: str = "gaussian",
    ) -> None:
        if decoder == "mlp":
            decoder = MLPDecoder(state_dim, frame_shape, hidden=(hidden_dim, hidden_dim))
        super().__init__(
            frame_shape,
            variable="z",
            transition=GatedTransition(state_dim, control_dim, hidden_dim),
            decoder=frame_decoder(decoder, state_dim, frame_shape) if isinstance(decoder, str) else decoder,
            likelihood=likelihood,
        )
