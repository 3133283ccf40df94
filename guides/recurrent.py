"""A smoothing guide for models with one site per step: a backward recurrent network and the previous state."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Float
from torch import Tensor, nn

from guides.guide_of import GuideOf
from guides.missing_frames import where_seen
from guides.stepwise import StepwiseGuide
from pyro_models.components.controls import with_control, without_first
from pyro_models.components.frame_networks import MLPEncoder
from pyro_models.components.initial_weights import glorot
from pyro_models.components.markov_video import MarkovVideo
from pyro_models.components.stepwise import State
from videos.typed import Count, Positive, typed


@dataclass(frozen=True)
class GuideContext:
    """Features of a batch at each step, (sequences, time, hidden), with `observed` and `controls`."""

    features: Tensor
    observed: Tensor | None
    controls: Tensor | None


class RecurrentGuide(GuideOf[MarkovVideo], StepwiseGuide):
    """The structured guide of deep Markov models ("DKS", Krishnan, Shalit & Sontag 2017, section 5.2)::

        h_t = relu(V h_{t+1} + U [features(x_t), u_t] + c)              from the last frame to the first
        q(v_t | s_{t-1}, x, u) = N(M k_t + m, diag(softplus(L k_t + l))^2),   k_t = (tanh(W s_{t-1} + w) + h_t) / 2

    v_t is the variable that a `MarkovVideo` draws at step t and s_{t-1} the previous state; for a deep Markov model v_t
    is s_t, so this is q(z_t | z_{t-1}, x_{t:T}), the form of the true posterior. The backward network runs once per
    sequence, whatever the number of particles.

    Where a frame is missing, the variable has the distribution of the model's transition, so a forecast is the model's
    own; the backward network skips the frame.

    Args:
        model: the model served, a `MarkovVideo`.
        network: module (*batch, channels, height, width) -> (*batch, feature) with an attribute `feature_dim`; by
            default one fully connected layer.
        hidden_dim: units of the backward network, and of the default `network`.
        minimum_scale: lower limit of every standard deviation.

    Raises:
        ValueError: if frames, observed or controls have the wrong shape.
        TypeError: if the model is of another kind.
    """

    serves = MarkovVideo
    completion_methods = ("smoothing",)

    @typed(left=("model",))
    def __init__(
        self,
        model: MarkovVideo,
        *,
        network: nn.Module | None = None,
        hidden_dim: Count = 128,
        minimum_scale: Positive = 1e-4,
    ) -> None:
        super().__init__(model)
        transition = model.transition
        self.network = network or MLPEncoder(model.frame_shape, hidden=(hidden_dim,))
        inputs = cast(int, self.network.feature_dim) + 1 + transition.control_dim
        self.backward_network = nn.RNN(inputs, hidden_dim, nonlinearity="relu", batch_first=True).apply(glorot)
        self.end = nn.Parameter(torch.zeros(hidden_dim))
        self.start = nn.Parameter(torch.zeros(transition.state_dim))
        self.from_state = nn.Linear(transition.state_dim, hidden_dim).apply(glorot)
        self.mean = nn.Linear(hidden_dim, transition.variable_dim).apply(glorot)
        self.scale = nn.Linear(hidden_dim, transition.variable_dim).apply(glorot)
        self.minimum_scale = minimum_scale

    def prepare(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> GuideContext:
        """See `StepwiseGuide.prepare`."""
        frames, seen = self.check_video(frames, observed, controls)
        return GuideContext(self._read(frames, seen, controls), observed, controls)

    def step(self, index: int, state: State | None, context: GuideContext) -> Tensor:
        """See `StepwiseGuide.step`."""
        return self._advance(index, state, context, pyro.sample)[1]

    @torch.no_grad()
    def complete(
        self,
        frames: Tensor,
        observed: Tensor | None = None,
        controls: Tensor | None = None,
        *,
        method: str = "smoothing",
        num_samples: int | None = None,
    ) -> dict[str, Tensor]:
        """Variables of every step, by the guide where frames are seen and by the model's transition elsewhere.

        Args:
            frames: (sequences, time, channels, height, width).
            observed: bool (sequences, time), None = all.
            controls: (sequences, time, control) or None.
            method: "smoothing".
            num_samples: number of draws, or None for one path in which each step has its mean given the mean before;
                that is not the mean of the draws where the transition is not linear.

        Returns:
            A value (sequences, variable) for each site of the model; with draws (num_samples, 1, sequences, variable).

        Raises:
            ValueError: if the method is not "smoothing".
        """
        self.check_method(method)

        def draw(site: str, law: dist.Independent) -> Tensor:
            return law.mean if num_samples is None else law.expand((num_samples, 1, frames.shape[0])).rsample()

        context = self.prepare(frames, observed, controls)
        variables, state = {}, None
        for index in range(frames.shape[1]):
            variables[self.model.site(index)], state = self._advance(index, state, context, draw)
        return variables

    def _advance(
        self,
        index: int,
        state: State | None,
        context: GuideContext,
        draw: Callable[[str, dist.Independent], Tensor],
    ) -> tuple[Tensor, Tensor]:
        """A step's variable and the next state; `draw` turns a name and a distribution into a value."""
        transition = self.model.transition
        before = self.start if state is None else state
        control = None if context.controls is None else context.controls[:, index]
        law = self._law(before, context.features[:, index])
        if context.observed is not None:
            prior = transition.initial_law() if state is None else transition.law(before, control)
            law = where_seen(context.observed[:, index], law, prior)
        variable = draw(self.model.site(index), law)
        if state is None:
            return variable, transition.initial_state(variable)
        return variable, transition.next_state(before, variable, control)

    def _law(
        self, state: Float[Tensor, "*batch state"], context: Float[Tensor, "sequences hidden"]
    ) -> dist.Independent:
        combined = 0.5 * (self.from_state(state).tanh() + context)
        scale = nn.functional.softplus(self.scale(combined)) + self.minimum_scale
        return dist.Normal(self.mean(combined), scale).to_event(1)

    def _read(self, frames: Tensor, seen: Tensor, controls: Tensor | None) -> Float[Tensor, "sequences time hidden"]:
        """h_t, a summary of the frames from t to the last."""
        features = self.network(frames)
        shown = seen.unsqueeze(-1).to(features.dtype)
        inputs = torch.cat([features * shown, shown], -1)
        inputs = with_control(inputs, None if controls is None else without_first(controls))
        end = self.end.expand(1, frames.shape[0], -1).contiguous()
        output, _ = self.backward_network(inputs.flip(1), end)
        return output.flip(1)
