"""A guide that corrects the model's prediction of a latent given the current frame."""

from collections.abc import Callable

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from guides.guide_of import GuideOf
from guides.missing_frames import where_seen
from guides.stepwise import StepwiseGuide
from pyro_models.components.frame_networks import mlp
from pyro_models.components.layout import concatenate
from pyro_models.components.scales import scale_of
from pyro_models.vrnn.model import RecurrentState, VariationalRecurrentNetwork, VideoReadings
from videos.typed import typed

SCALE_OFFSET = 0.25  # added to raw standard deviations, as in the reference


class PriorCorrectionGuide(GuideOf[VariationalRecurrentNetwork], StepwiseGuide):
    """A filter for recurrent networks::

        q(z_t | z_{<t}, x_{<=t}) = N(m(o_t) + f([o_t, psi_x(x_t)]), diag(g([o_t, psi_x(x_t)]))^2)

    with m and o_t of the model, and g = softplus(raw + 0.25) + 0.01 (Chung et al. 2015, eq. 9; means as corrections of
    the prior's, as in the code of Maddison et al. 2017). It uses only past and present frames, so particles can be
    resampled. Where a frame is missing, the distribution is the prior.

    Args:
        model: the model served.

    Raises:
        ValueError: if frames, observed or controls have the wrong shape.
        TypeError: if the model is of another kind.
    """

    serves = VariationalRecurrentNetwork
    completion_methods = ("filtering",)

    @typed(left=("model",))
    def __init__(self, model: VariationalRecurrentNetwork) -> None:
        super().__init__(model)
        inputs, hidden = model.units + model.feature_dim, (model.units,) * model.layers
        self.correction = mlp(inputs, hidden, model.latent_dim, nn.ELU)
        self.scale = mlp(inputs, hidden, model.latent_dim, nn.ELU)

    def prepare(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> VideoReadings:
        """See `StepwiseGuide.prepare`."""
        return self.model.prepare(frames, observed, controls)

    def step(self, index: int, state: RecurrentState | None, context: VideoReadings) -> RecurrentState:
        """See `StepwiseGuide.step`."""
        return self._advance(index, state, context, pyro.sample)[1]

    @torch.no_grad()
    def complete(
        self,
        frames: Tensor,
        observed: Tensor | None = None,
        controls: Tensor | None = None,
        *,
        method: str = "filtering",
        num_samples: int | None = None,
    ) -> dict[str, Tensor]:
        """Latents of every step, by the guide where frames are seen and by the model's prior elsewhere.

        Args:
            frames: (sequences, time, 1, height, width).
            observed: bool (sequences, time), None = all.
            controls: None.
            method: "filtering".
            num_samples: number of draws, or None for one path in which each step has its mean given the means before.

        Returns:
            A value (sequences, latent) for each site of the model; with draws (num_samples, 1, sequences, latent).

        Raises:
            ValueError: if the method is not "filtering".
        """
        self.check_method(method)

        def draw(name: str, law: dist.Independent) -> Tensor:
            return law.mean if num_samples is None else law.expand((num_samples, 1, frames.shape[0])).sample()

        context = self.prepare(frames, observed, controls)
        latents, state = {}, None
        for index in range(frames.shape[1]):
            latents[f"z_{index + 1}"], state = self._advance(index, state, context, draw)
        return latents

    def _advance(
        self,
        index: int,
        state: RecurrentState | None,
        context: VideoReadings,
        draw: Callable[[str, dist.Independent], Tensor],
    ) -> tuple[Tensor, RecurrentState]:
        """A step's latent and the next state; `draw` turns a name and a distribution into a value."""
        output, memory = self.model.recur(index, state, context)
        prior = self.model.latent_law(output)
        known = concatenate(output, context.features[:, index])
        law = dist.Normal(prior.mean + self.correction(known), scale_of(self.scale(known) + SCALE_OFFSET)).to_event(1)
        seen = None if context.observed is None else context.observed[:, index]
        latent = draw(f"z_{index + 1}", where_seen(seen, law, prior))
        return latent, self.model.after(output, memory, latent)
