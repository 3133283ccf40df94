"""Guides for the components and noises that generate positions, where the model does not integrate them out."""

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from guides.objects.filter import ObjectFilterGuide
from guides.objects.guide import LOG_SCALES
from pyro_models.components.initial_weights import normal_by_size
from pyro_models.dynamics_from_pixels.ballistic_mixture import STATE, BallisticMixture
from pyro_models.dynamics_from_pixels.model import DynamicsFromPixels
from videos.typed import typed

POSTERIORS = ("exact", "learned")


class ObjectStatesGuide(ObjectFilterGuide):
    """Positions as in `ObjectFilterGuide`, then components and noises of every object::

        q(a, z, e | v) = q(a | v) p(z | a) p(e | a, z)          "exact": the same bound as with both integrated out
        q(a, z, e | v) = q(a | v) q(z | v) prod_t q(e_t | v)    "learned": looser; z has a score-function gradient only

    for a model without `marginalize`. p(e | a, z) is the Gaussian posterior of the noises, dense in time, which also
    exists at zero process noise. For comparison only: drawing what can be integrated out gains nothing.

    Args:
        model: the model served, with `marginalize=False`.
        posterior: "exact" or "learned".
        options: options of `ObjectGuide`.

    Raises:
        ValueError: if `posterior` is unknown or the model integrates out.
    """

    @typed(left=("model",))
    def __init__(
        self,
        model: DynamicsFromPixels,
        posterior: str = "exact",
        **options: Any,
    ) -> None:
        super().__init__(model, **options)
        if posterior not in POSTERIORS:
            raise ValueError(f"posterior: expected one of {', '.join(POSTERIORS)}, got {posterior!r}")
        if model.marginalize or not isinstance(model.prior, BallisticMixture):
            raise ValueError("model: expected one with a BallisticMixture and marginalize=False")
        self.posterior = posterior
        learned = posterior == "learned"
        components = model.prior.num_components
        self.component = nn.Linear(self.feature_dim, components).apply(normal_by_size) if learned else None
        self.noise = nn.Linear(self.feature_dim, 2 * STATE).apply(normal_by_size) if learned else None

    def forward(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
        """Draw positions, components and noises of all objects; arguments as in `ObjectGuide.forward`."""
        frames, _ = self.check_video(frames, observed, controls)
        presence = self.model.presence(frames, controls)
        features = self.features(frames, presence)
        law = self.law(*self.position_of(features, frames, presence), observed)
        with pyro.plate("sequences", frames.shape[0], dim=-1), pyro.plate("objects", len(presence), dim=-2):
            positions = pyro.sample("a", law.mask(presence))
            component = pyro.sample("z", self._component_law(features, positions, observed).mask(presence))
            pyro.sample("noise", self._noise_law(features, positions, component, observed).mask(presence))

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
        """Positions as in `ObjectGuide.complete`, with their components and noises: the most likely, or draws."""
        values = super().complete(frames, observed, controls, method=method, num_samples=num_samples)
        positions = values["a"]
        law = self.model.prior.law(positions.shape[-2]).component_posterior(positions)
        component = law.probs.argmax(-1) if num_samples is None else law.sample()
        noise = self._dynamics.noise_posterior(component, positions)
        return values | {"z": component, "noise": noise.mean if num_samples is None else noise.sample()}

    @property
    def _dynamics(self) -> BallisticMixture:
        assert isinstance(self.model.prior, BallisticMixture)
        return self.model.prior

    def _component_law(self, features: Tensor, positions: Tensor, observed: Tensor | None) -> dist.Categorical:
        if self.component is not None:
            return dist.Categorical(logits=self.component(features).mean(-2))
        posterior = self._dynamics.law(features.shape[-2], observed).component_posterior(positions)
        return dist.Categorical(logits=posterior.logits)

    def _noise_law(
        self, features: Tensor, positions: Tensor, component: Tensor, observed: Tensor | None
    ) -> dist.MultivariateNormal | dist.Independent:
        if self.noise is None:
            return self._dynamics.noise_posterior(component, positions, observed)
        mean, log_scale = self.noise(features).chunk(2, -1)
        return dist.Normal(mean.flatten(-2), log_scale.flatten(-2).clamp(*LOG_SCALES).exp()).to_event(1)
