"""The deep variational Bayes filter with locally linear transitions (Karl, Soelch, Bayer & van der Smagt 2017)."""

from torch import nn

from pyro_models.components.frame_networks import MLPDecoder, frame_decoder
from pyro_models.components.markov_video import MarkovVideo
from pyro_models.components.transitions import LocallyLinearTransition
from videos.typed import Count, CountOrZero, FrameShape, typed


class DeepVariationalBayesFilter(MarkovVideo):
    """States moved by mixed linear maps and driven by noise, frames decoded from them::

        w_t ~ N(0, I);   z_1 = MLP(w_1)
        z_t = z_{t-1} + A_t z_{t-1} + B_t u_t + C_t w_t         A_t, B_t, C_t mixed by weights that depend on z_{t-1}
        x_t ~ N(decoder(z_t), diag(s)) or Bernoulli(decoder(z_t))

    (DVBF-LL, Karl et al. 2017; see `LocallyLinearTransition`). Only the noise is inferred, so the gradients of every
    frame reach the transition. Sites, in the plate `sequences`: `w_1`, ..., `w_T`, event (noise,); and, in the plate
    `time` as well, the observed `frames`. The sizes are those of the paper's torque-controlled pendulum; its Gaussian
    posterior over the base matrices is replaced by point estimates. Guide: `RecurrentGuide`, q(w_t | z_{t-1}, h_t) with
    h_t read from x_t, ..., x_T, which sees all that the paper's q(w_t | z_{t-1}, x_t, u_t) sees.

    Args:
        frame_shape: (channels, height, width) of a frame.
        state_dim: size of z_t.
        noise_dim: size of w_t, None = that of z_t.
        num_matrices: number of base matrices of each kind.
        control_dim: size of u_t, 0 = none.
        hidden_dim: units of every hidden layer.
        decoder: "mlp" (one hidden layer), "conv", or a module (*batch, state) -> (*batch, channels, height, width).
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
        noise_dim: Count | None = None,
        num_matrices: Count = 16,
        control_dim: CountOrZero = 0,
        hidden_dim: Count = 128,
        decoder: str | nn.Module = "mlp",
        likelihood: str = "gaussian",
    ) -> None:
        if decoder == "mlp":
            decoder = MLPDecoder(state_dim, frame_shape, hidden=(hidden_dim,))
        super().__init__(
            frame_shape,
            variable="w",
            transition=LocallyLinearTransition(state_dim, control_dim, noise_dim, num_matrices, hidden_dim),
            decoder=frame_decoder(decoder, state_dim, frame_shape) if isinstance(decoder, str) else decoder,
            likelihood=likelihood,
        )
