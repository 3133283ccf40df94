"""A guide that attends to one object after the other, each through a window that it draws."""

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Float
from pyro.nn import PyroModule
from torch import Tensor, nn

from guides.guide_of import GuideOf
from guides.missing_frames import where_seen
from pyro_models.air import AttendInferRepeat
from pyro_models.components.frame_networks import mlp
from pyro_models.components.glimpses import Windows, read_glimpses
from pyro_models.components.initial_weights import glorot
from pyro_models.components.layout import concatenate
from pyro_models.components.markov_video import VideoContext
from pyro_models.components.recurrent_cells import step_lstm
from pyro_models.components.scales import scale_of
from videos.typed import Count, Positive, typed


class GlimpseAttentionGuide(GuideOf[AttendInferRepeat], PyroModule):
    """The attention of Eslami et al. (2016), section 3.1, slot by slot::

        h_i = LSTM(h_{i-1}; features(x), z_pres_{i-1}, z_where_{i-1}, z_what_{i-1})
        q(z_pres_i) = Bernoulli(z_pres_{i-1} sigmoid(u h_i));   q(z_where_i) = N(m_0 + m(h_i), diag(s(h_i))^2)
        q(z_what_i) = N(encoder(read(x, z_where_i)))                            for the window that was drawn

    m_0 is the prior mean. Frames are read once for all particles. Where a frame is missing, every distribution is the
    model's prior.

    With a `baseline`, a second LSTM predicts the cost downstream of each presence from the same inputs, detached (Mnih
    and Gregor 2014): `pyro.infer.TraceGraph_ELBO` then has less variance, and trains the baseline as well.

    Args:
        model: the model served.
        hidden_dim: units of the LSTM, and of every hidden layer.
        baseline: whether to predict costs with a second LSTM.
        enumerate_presence: mark presences for `pyro.infer.TraceEnum_ELBO`, which sums over all of them: 2^N terms, and
            no variance from presence.
        presence_bias: initial bias of the presence logit; positive = look for objects first, and unlearn it.
        where_offset: added to the raw scales of z_where; smaller = more certain positions at the start.
        baseline_scale: nats per unit of the baseline's output. Costs are hundreds of nats, and an output layer grows by
            only about its learning rate per step.

    Raises:
        ValueError: if frames, observed or controls have the wrong shape.
        TypeError: if the model is of another kind.
    """

    serves = AttendInferRepeat
    completion_methods = ("modes",)

    @typed(left=("model",))
    def __init__(
        self,
        model: AttendInferRepeat,
        *,
        hidden_dim: Count = 256,
        baseline: bool = False,
        enumerate_presence: bool = False,
        presence_bias: float = 2.0,
        where_offset: float = -1.0,
        baseline_scale: Positive = 100.0,
    ) -> None:
        super().__init__(model)
        _, height, width = model.frame_shape
        where_dim = model.where_mean.shape[-1]
        inputs = hidden_dim + 1 + where_dim + model.what_dim
        self.features = mlp(height * width, (hidden_dim,))
        self.recurrence = nn.LSTMCell(inputs, hidden_dim)
        self.presence = nn.Linear(hidden_dim, 1).apply(glorot)
        self.where = mlp(hidden_dim, (hidden_dim,), 2 * where_dim)
        self.what = mlp(model.glimpse_size**2, (hidden_dim,), 2 * model.what_dim)
        nn.init.constant_(self.presence.bias, presence_bias)
        self.where_offset = where_offset
        self.baseline_scale = baseline_scale
        self.enumerate_presence = enumerate_presence
        self.baseline_recurrence = nn.LSTMCell(inputs, hidden_dim) if baseline else None
        self.baseline_value = nn.Linear(hidden_dim, 1).apply(glorot) if baseline else None

    def forward(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
        """Draw the objects of all frames.

        Args:
            frames: (sequences, time, 1, height, width) in [0, 1]; missing ones are never read.
            observed: bool (sequences, time), None = all.
            controls: None.
        """
        self.check_video(frames, observed, controls)  # before plates take sizes from it
        with pyro.plate("sequences", frames.shape[0], dim=-1), pyro.plate("time", frames.shape[1], dim=-2):
            self._sample(frames, observed, controls)

    def prepare(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> VideoContext:
        """See `StepwiseGuide.prepare`."""
        return self.model.prepare(frames, observed, controls)

    def step(self, index: int, state: None, context: VideoContext) -> None:
        """Draw the objects of one frame."""
        frame = slice(index, index + 1)
        self._sample(context.frames[:, frame], context.seen[:, frame], None)

    def _sample(self, frames: Tensor, observed: Tensor | None, controls: Tensor | None) -> None:
        def sample(name: str, law: Any, alive: Tensor, infer: Any) -> Tensor:
            return pyro.sample(name, law if law.event_shape == () else law.mask(alive > 0), infer=infer)

        self._unroll(frames, observed, controls, sample)

    @torch.no_grad()
    def complete(
        self,
        frames: Tensor,
        observed: Tensor | None = None,
        controls: Tensor | None = None,
        *,
        method: str = "modes",
        num_samples: int | None = None,
    ) -> dict[str, Tensor]:
        """Objects of all frames: present if that is more likely than not, with the mean window and appearance.

        Args:
            frames: (sequences, time, 1, height, width).
            observed: bool (sequences, time), None = all.
            controls: None.
            method: "modes".
            num_samples: number of draws, or None for the above.

        Returns:
            A value (time, sequences, ...) for each site of the model; with draws (num_samples, time, sequences, ...).

        Raises:
            ValueError: if the method is not "modes".
        """
        self.check_method(method)
        batch = (() if num_samples is None else (num_samples,)) + (frames.shape[1], frames.shape[0])

        def sample(name: str, law: Any, alive: Tensor, infer: Any) -> Tensor:
            if num_samples is not None:
                return law.expand(batch).sample()
            return (law.mean > 0.5).to(law.mean) if law.event_shape == () else law.mean

        return self._unroll(frames, observed, controls, sample)

    def _unroll(
        self,
        frames: Tensor,
        observed: Tensor | None,
        controls: Tensor | None,
        sample: Callable[[str, Any, Tensor, Any], Tensor],
    ) -> dict[str, Tensor]:
        """Loop over slots; `sample` turns a name, a distribution, presence and Pyro's options into a value."""
        model = self.model
        frames, _ = self.check_video(frames, observed, controls)
        images = frames[:, :, 0].transpose(0, 1)
        features = self.features(images.flatten(-2))
        seen = None if observed is None else observed.T
        alive = torch.ones_like(features[..., 0])
        where = images.new_zeros(*alive.shape, model.where_mean.shape[-1])
        what = images.new_zeros(*alive.shape, model.what_dim)
        blank = images.new_zeros(self.recurrence.hidden_size)
        memory = baseline_memory = (blank, blank)
        values = {}
        for index in range(1, model.num_slots + 1):
            inputs = concatenate(features, alive[..., None], alive[..., None] * where, alive[..., None] * what)
            memory = step_lstm(self.recurrence, inputs, *memory)
            infer: Any = {"enumerate": "parallel"} if self.enumerate_presence else {}
            if self.baseline_recurrence is not None and self.baseline_value is not None:
                baseline_memory = step_lstm(self.baseline_recurrence, inputs.detach(), *baseline_memory)
                value = self.baseline_scale * self.baseline_value(baseline_memory[0])[..., 0] * alive.detach()
                while value.dim() > 1 and value.shape[0] == 1:
                    value = value[0]  # Pyro's costs come without leading singletons, and it compares shapes
                infer["baseline"] = {"baseline_value": value}
            chance = self.presence(memory[0])[..., 0].sigmoid()
            chance = chance if seen is None else torch.where(seen, chance, model.another)
            presence = sample(f"z_pres_{index}", dist.Bernoulli(chance * alive), alive, infer)
            alive = alive * presence
            mean, scale = self.where(memory[0]).chunk(2, -1)
            law = _gaussian(model.where_mean + mean, scale + self.where_offset)
            where = sample(f"z_where_{index}", where_seen(seen, law, model.where_law()), alive, {})
            glimpses = read_glimpses(images, Windows.from_logits(where), (model.glimpse_size, model.glimpse_size))
            law = _gaussian(*self.what(glimpses.flatten(-2)).chunk(2, -1))
            what = sample(f"z_what_{index}", where_seen(seen, law, model.what_law()), alive, {})
            values |= {f"z_pres_{index}": presence, f"z_where_{index}": where, f"z_what_{index}": what}
        return values


def _gaussian(mean: Float[Tensor, "*batch event"], scale: Float[Tensor, "*batch event"]) -> dist.Independent:
    """A diagonal Gaussian from means and raw scales, with standard deviations above 0.01."""
    return dist.Normal(mean, scale_of(scale)).to_event(1)
