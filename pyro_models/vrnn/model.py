"""The variational recurrent network: a recurrent network over frames with a latent at every step."""

from collections.abc import Sequence
from typing import NamedTuple

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Float
from torch import Tensor, nn

from pyro_models.components.arguments import check_video
from pyro_models.components.frame_networks import mlp
from pyro_models.components.isotropic_gaussian import IsotropicGaussian
from pyro_models.components.layout import concatenate, merge_particles, to_time_plate
from pyro_models.components.recurrent_cells import step_lstm
from pyro_models.components.scales import scale_of
from pyro_models.components.stepwise import StepwiseModel
from pyro_models.vrnn.mirrored_convolutions import MirroredConvolutions
from videos.typed import Count, FrameShape, Positive, typed


class VideoReadings(NamedTuple):
    """A checked batch of videos, and the features of each frame, computed once for all particles.

    Attributes:
        frames: frames, zero where missing.
        features: features of the frames.
        observed: bool, or None = all.
    """

    frames: Float[Tensor, "sequences time 1 height width"]
    features: Float[Tensor, "sequences time feature"]
    observed: Tensor | None


class RecurrentState(NamedTuple):
    """After a step, dims (*batch, units): the cell's two states, and the code of the latent that was drawn."""

    output: Float[Tensor, "*batch units"]
    memory: Float[Tensor, "*batch units"]
    code: Float[Tensor, "*batch units"]


class VariationalRecurrentNetwork(StepwiseModel):
    """A recurrent network gives the distribution of each frame's latent from all earlier frames and latents::

        o_t, c_t = LSTM([psi_x(x_{t-1}), psi_z(z_{t-1})], o_{t-1}, c_{t-1});      all zero before the first frame
        z_t ~ N(m(o_t), diag(s(o_t))^2);   x_t ~ N(d([psi_z(z_t), o_t]), frame_scale^2)

    (Chung et al. 2015, eqs. 5 and 6, as in the code of Maddison et al. 2017; the baseline of SQAIR). s is
    softplus + 0.01. Where the previous frame is missing, its expectation replaces it.

    Sites, in the plate `sequences`: `z_1` ... `z_T`; and the observed `frames`, in the plate `time` as well. Guide:
    `PriorCorrectionGuide`.

    Args:
        frame_shape: (1, height, width) of a frame.
        latent_dim: size of z.
        units: units of every layer.
        layers: number of hidden layers of every network but the LSTM.
        networks: convolutions that read and draw frames; None = fully connected networks with `layers` layers.
        frame_scale: standard deviation of a pixel.

    Raises:
        ValueError: if frames have more than one channel, or frames, observed or controls have the wrong shape.
    """

    @typed
    def __init__(
        self,
        frame_shape: FrameShape = (1, 50, 50),
        *,
        latent_dim: Count = 165,
        units: Count = 192,
        layers: Count = 2,
        networks: MirroredConvolutions | None = None,
        frame_scale: Positive = 0.3,
    ) -> None:
        super().__init__()
        if frame_shape[0] != 1:
            raise ValueError(f"frame_shape: expected 1 channel, got {frame_shape[0]}")
        self.frame_shape = frame_shape
        self.control_dim = 0
        self.latent_dim = latent_dim
        self.units = units
        self.layers = layers
        self.frame_scale = frame_scale
        size = (frame_shape[1], frame_shape[2])
        hidden = (units,) * layers
        if networks is None:
            self.frame_encoder: nn.Module = nn.Sequential(
                nn.Flatten(-2), mlp(size[0] * size[1], hidden, activation=nn.ELU)
            )
            decoder = mlp(2 * units, hidden, size[0] * size[1], nn.ELU)
            self.decoder: nn.Module = nn.Sequential(decoder, nn.Unflatten(-1, size))
        else:
            self.frame_encoder = networks.encoder(size)
            self.decoder = networks.decoder(2 * units, size)
        feature_dim = units if networks is None else networks.units
        self.feature_dim = feature_dim
        self.latent_encoder = mlp(latent_dim, hidden, activation=nn.ELU)
        self.recurrence = nn.LSTMCell(feature_dim + units, units)
        self.prior = mlp(units, hidden, 2 * latent_dim, nn.ELU)

    def prepare(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> VideoReadings:
        """See `StepwiseModel.prepare`."""
        frames, _ = check_video(frames, observed, controls, self.frame_shape, self.control_dim, self)
        return VideoReadings(frames, self.frame_encoder(frames[:, :, 0]), observed)

    def step(self, index: int, state: RecurrentState | None, context: VideoReadings) -> RecurrentState:
        """See `StepwiseModel.step`."""
        output, memory = self.recur(index, state, context)
        latent = pyro.sample(f"z_{index + 1}", self.latent_law(output))
        return self.after(output, memory, latent)

    def emit(self, states: Sequence[RecurrentState], context: VideoReadings, first: int = 0) -> Tensor:
        """Frames of consecutive steps; returns their means, (*particles, sequences, time, height, width)."""
        codes, outputs = (
            merge_particles(torch.stack(torch.broadcast_tensors(*values), -2), 2)
            for values in ([state.code for state in states], [state.output for state in states])
        )
        means = self.decoder(concatenate(codes, outputs))
        law = IsotropicGaussian(dist.Normal(to_time_plate(means.unsqueeze(-3), 3), self.frame_scale), 3)
        steps = slice(first, first + len(states))
        seen = None if context.observed is None else context.observed[:, steps].T
        with pyro.plate("time", len(states), dim=-2):
            law = law if seen is None else law.mask(seen)
            pyro.sample("frames", law, obs=to_time_plate(context.frames[:, steps], 3))
        return means

    def recur(self, index: int, state: RecurrentState | None, context: VideoReadings) -> tuple[Tensor, Tensor]:
        """The two states of the cell at a step, before its latent is drawn.

        Args:
            index: index of the frame, from 0.
            state: state after the previous step; None at the first.
            context: result of `prepare`.
        """
        if state is None:
            zeros = context.features.new_zeros(context.features.shape[0], self.units)
            features = torch.zeros_like(context.features[:, 0])
            state = RecurrentState(zeros, zeros, zeros)
        else:
            features = context.features[:, index - 1]
            if context.observed is not None:
                expected = self.frame_encoder(self.decoder(concatenate(state.code, state.output)))
                features = torch.where(context.observed[:, index - 1, None], features, expected)
        return step_lstm(self.recurrence, concatenate(features, state.code), state.output, state.memory)

    def latent_law(self, output: Tensor) -> dist.Independent:
        """The distribution of a latent, given the cell's output."""
        mean, raw = self.prior(output).chunk(2, -1)
        return dist.Normal(mean, scale_of(raw)).to_event(1)

    def after(self, output: Tensor, memory: Tensor, latent: Tensor) -> RecurrentState:
        """The state after the latent is drawn."""
        code = self.latent_encoder(latent)
        batch = torch.broadcast_shapes(code.shape[:-1], output.shape[:-1])
        return RecurrentState(*(value.expand(*batch, -1) for value in (output, memory, code)))
