"""An encoder-decoder LSTM on pixels: the baseline without latents, which predicts each frame from earlier ones."""

from collections.abc import Sequence
from math import prod

import pyro
import torch
from jaxtyping import Bool, Float
from pyro.nn import PyroModule
from torch import Tensor, nn

from pyro_models.components.arguments import check_video
from pyro_models.components.controls import with_control
from pyro_models.components.frame_networks import MLPDecoder, mlp
from pyro_models.components.initial_weights import normal_by_size
from pyro_models.components.layout import to_time_plate
from pyro_models.components.likelihoods import BernoulliFrames
from videos.typed import Count, CountOrZero, FrameShape, typed


class EncoderDecoderLSTM(PyroModule):
    """Frames from frames, by a recurrent network::

        s_t = LSTM(s_{t-1}, [enc(v_{t-1}), u_t]);   v_t ~ Bernoulli(sigmoid(dec(s_t)))        s_0 = 0, v_0 = 0 (black)

    (the baseline of Chiappa & Paquet 2019, "ED-LSTM"). `enc` and `dec` are fully connected, with ReLUs after all layers
    but the last of each; weights are initialised by `normal_by_size`. The one site is the observed `frames`, event
    (channels, height, width), in the plates `sequences` and `time`: there are no latents, the guide is
    `NoLatentsGuide`, and the bound is the log evidence itself, log p(v) = sum_t log p(v_t | v_1, ..., v_{t-1}), exactly
    normalised. The paper's loss starts at t = 2; ours includes t = 1, so it is a distribution of whole videos,
    comparable with other models.

    A missing frame has no density, and the network is fed its expectation instead: the probability of each pixel, not a
    draw. So a forecast is the paper's (true frames while they are seen, its own predictions thereafter). The resulting
    distribution of the seen frames is normalised too, but it is not the marginal of the distribution of whole videos.

    If every frame is seen, encoder, LSTM and decoder each run once for all time steps; otherwise step by step.

    Args:
        frame_shape: (channels, height, width) of a frame.
        state_dim: size of s_t (and of the LSTM's cell).
        code_dim: size of enc(v_t).
        hidden: units of the layers between a frame and its code; in reverse between state and frame.
        control_dim: size of u_t, 0 = none; for instance the presence of objects. Unlike elsewhere the first control is
            used: it enters the distribution of the first frame.

    Raises:
        ValueError: if frames, observed or controls have the wrong shape.
    """

    @typed
    def __init__(
        self,
        frame_shape: FrameShape = (1, 48, 48),
        *,
        state_dim: Count = 2048,
        code_dim: Count = 1024,
        hidden: Sequence[Count] = (1024,),
        control_dim: CountOrZero = 0,
    ) -> None:
        super().__init__()
        self.frame_shape = frame_shape
        self.control_dim = control_dim
        self.encoder = mlp(prod(frame_shape), hidden, code_dim)
        self.lstm = nn.LSTM(code_dim + control_dim, state_dim, batch_first=True)
        self.decoder = MLPDecoder(state_dim, frame_shape, hidden=tuple(reversed(hidden)))
        self.likelihood = BernoulliFrames()
        self.apply(normal_by_size)

    def forward(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> Tensor:
        """Score one batch.

        Args:
            frames: (sequences, time, channels, height, width), zeros and ones; missing ones are never read.
            observed: bool (sequences, time), None = all.
            controls: (sequences, time, control) or None; `controls[:, t]` is fed in together with frame t - 1.

        Returns:
            The logits of each frame given those before it, (sequences, time, channels, height, width).
        """
        frames, _ = check_video(frames, observed, controls, self.frame_shape, self.control_dim, self)
        if observed is None:
            logits = self._predict_next(frames, controls)
        else:
            logits = self._predict_step_by_step(frames, observed, controls)
        law = self.likelihood(to_time_plate(logits, 3))
        law = law if observed is None else law.mask(observed.T)
        with pyro.plate("sequences", frames.shape[0], dim=-1), pyro.plate("time", frames.shape[1], dim=-2):
            pyro.sample("frames", law, obs=to_time_plate(frames, 3))
        return logits

    def _predict_next(
        self,
        frames: Float[Tensor, "sequences time channels height width"],
        controls: Float[Tensor, "sequences time control"] | None,
    ) -> Float[Tensor, "sequences time channels height width"]:
        """Logits of each frame from the true frames before it."""
        before = torch.cat([torch.zeros_like(frames[:, :1]), frames[:, :-1]], 1)
        return self.decoder(self.lstm(with_control(self.encoder(before.flatten(2)), controls))[0])

    def _predict_step_by_step(
        self,
        frames: Float[Tensor, "sequences time channels height width"],
        observed: Bool[Tensor, "sequences time"],
        controls: Float[Tensor, "sequences time control"] | None,
    ) -> Float[Tensor, "sequences time channels height width"]:
        """Logits of each frame from those before it, true where seen and expected where missing."""
        lstm, seen = self.lstm, observed[:, :, None, None, None]
        weights = lstm.all_weights[0]
        hidden = cell = frames.new_zeros(len(frames), lstm.hidden_size)
        before, logits = torch.zeros_like(frames[:, 0]), []
        for step in range(frames.shape[1]):
            inputs = with_control(self.encoder(before.flatten(1)), None if controls is None else controls[:, step])
            # On a CPU five times as fast as calling the layer for one step, which rearranges its weights at each call.
            hidden, cell = torch.lstm_cell(inputs, (hidden, cell), *weights)
            output = self.decoder(hidden)
            before = torch.where(seen[:, step], frames[:, step], self.likelihood(output).mean)
            logits.append(output)
        return torch.stack(logits, 1)
