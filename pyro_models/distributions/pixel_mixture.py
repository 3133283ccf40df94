"""Pictures whose pixels each come from one of several components."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor

from videos.typed import typed

SMALLEST_LOG = -100.0  # of a mask, in its entropy: 0 log 0 is 0


class PixelGradients(NamedTuple):
    """Derivatives of the negative log density of a picture, in nats.

    Attributes:
        means: with respect to the components' means.
        masks: with respect to the components' masks, each of them by itself.
        logits: with respect to the logits, of which the masks are the softmax.
    """

    means: Float[Tensor, "*batch components channels height width"]
    masks: Float[Tensor, "*batch components height width"]
    logits: Float[Tensor, "*batch components height width"]


class PixelMixture(TorchDistribution):
    """A spatial mixture of K components, with the assignment of pixels summed out::

        p(x) = prod_i sum_k m_ik prod_c N(x_ic; mu_ikc, scale^2),      m_i = softmax_k(logits_i)

    (Greff et al. 2019, eq. 1), i over pixels, c over channels: a pixel belongs to one component with all its channels.
    With `per_channel` each channel of a pixel is assigned by itself, prod_ic sum_k m_ik N(x_ic; mu_ikc, scale^2), as in
    the code of several later papers; for one channel it is the same.

    Args:
        logits: (*batch, components, height, width).
        means: (*batch, components, channels, height, width).
        scale: standard deviation of a channel, a number or a tensor with one.
        per_channel: see above.

    Raises:
        ValueError: if shapes do not fit, or the scale is not one positive number.
    """

    arg_constraints = {}  # pyright: ignore[reportAssignmentType] - torch declares a property
    support = constraints.independent(constraints.real, 3)  # pyright: ignore[reportAssignmentType]
    has_rsample = False

    @typed
    def __init__(
        self,
        logits: Tensor,
        means: Tensor,
        scale: Tensor | float,
        *,
        per_channel: bool = False,
        validate_args: bool | None = None,
    ) -> None:
        if not (means.is_floating_point() and logits.is_floating_point()):
            raise ValueError(f"means, logits: expected floating point numbers, got {means.dtype} and {logits.dtype}")
        if means.dim() < 4 or logits.dim() < 3:
            raise ValueError(
                "means, logits: expected (*batch, components, channels, height, width) and (*batch, components, "
                f"height, width), got {tuple(means.shape)} and {tuple(logits.shape)}"
            )
        if (means.shape[-4], *means.shape[-2:]) != tuple(logits.shape[-3:]):
            raise ValueError(
                f"logits: expected (components, height, width) of the means = "
                f"{(means.shape[-4], *means.shape[-2:])}, got {tuple(logits.shape[-3:])}"
            )
        self.scale = torch.as_tensor(scale, dtype=means.dtype, device=means.device)
        if self.scale.numel() != 1:
            raise ValueError(f"scale: expected one number for all pixels, got shape {tuple(self.scale.shape)}")
        if isinstance(scale, float | int) and not scale > 0:
            raise ValueError(f"scale: expected a positive number, got {scale}")
        try:
            batch = torch.broadcast_shapes(means.shape[:-4], logits.shape[:-3])
        except RuntimeError:
            shapes = f"{tuple(means.shape[:-4])} and {tuple(logits.shape[:-3])}"
            raise ValueError(f"means, logits: expected batch shapes that broadcast, got {shapes}") from None
        self.logits = logits.expand(*batch, *logits.shape[-3:])
        self.means = means.expand(*batch, *means.shape[-4:])
        self.per_channel = per_channel
        super().__init__(batch, means.shape[-3:], validate_args=validate_args)

    @property
    def num_components(self) -> int:
        """K."""
        return self.logits.shape[-3]

    @property
    def masks(self) -> Float[Tensor, "*batch components height width"]:
        """The probability of each component at each pixel, before the pixel is seen."""
        return self.logits.softmax(-3)

    @property
    def mean(self) -> Float[Tensor, "*batch channels height width"]:
        """Expected picture."""
        return (self.masks.unsqueeze(-3) * self.means).sum(-4)

    @property
    def variance(self) -> Float[Tensor, "*batch channels height width"]:
        """Variance of each channel of each pixel."""
        squares = (self.masks.unsqueeze(-3) * self.means.square()).sum(-4)
        return squares - self.mean.square() + self.scale.square()

    def expand(self, batch_shape: torch.Size | tuple[int, ...], _instance: object = None) -> "PixelMixture":
        """The same mixture with more batch dims."""
        batch = torch.Size(batch_shape)
        return PixelMixture(
            self.logits.expand(*batch, *self.logits.shape[-3:]),
            self.means.expand(*batch, *self.means.shape[-4:]),
            self.scale,
            per_channel=self.per_channel,
            validate_args=False,
        )

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:
        """Draws: a component for each pixel (or each channel of it), then a value."""
        shape = torch.Size(sample_shape)
        with torch.no_grad():
            masks = self.masks.movedim(-3, -1).unsqueeze(-4)  # (*batch, 1, height, width, components)
            if self.per_channel:
                masks = masks.expand(*self.batch_shape, *self.event_shape, -1)
            chosen = torch.distributions.Categorical(probs=masks, validate_args=False).sample(shape)
            means = self.means.expand(*shape, *self.means.shape)
            index = chosen.expand(*shape, *self.batch_shape, *self.event_shape).unsqueeze(-4)
            return torch.normal(means.gather(-4, index).squeeze(-4), self.scale)

    def log_prob(self, value: Float[Tensor, "*#batch channels height width"]) -> Float[Tensor, " *batch"]:
        """Log density in nats, summed over pixels."""
        if self._validate_args:
            self._validate_sample(value)
        return self.log_prob_of_pixels(value).sum((-2, -1))

    def log_prob_of_pixels(
        self, value: Float[Tensor, "*#batch channels height width"]
    ) -> Float[Tensor, "*batch height width"]:
        """Log density of each pixel, in nats; log p(x) is the sum."""
        masks = self.logits.log_softmax(-3)
        densities = self.component_log_probs(value)
        if self.per_channel:
            return (masks.unsqueeze(-3) + densities).logsumexp(-4).sum(-3)
        return (masks + densities.sum(-3)).logsumexp(-3)

    def component_log_probs(
        self, value: Float[Tensor, "*#batch channels height width"]
    ) -> Float[Tensor, "*batch components channels height width"]:
        """Log density of each channel of each pixel under each component, whatever its mask."""
        constant = self.scale.log() + 0.5 * math.log(2 * math.pi)
        return -0.5 * ((value.unsqueeze(-4) - self.means) / self.scale).square() - constant

    def responsibilities(
        self, value: Float[Tensor, "*#batch channels height width"]
    ) -> Float[Tensor, "*batch components channels height width"]:
        """Probability of each component given the pixel (per channel: given the channel); the same for all channels.

        r_ik = m_ik p_ik / sum_j m_ij p_ij
        """
        densities = self.component_log_probs(value)
        if not self.per_channel:
            densities = densities.sum(-3, keepdim=True).expand_as(densities)
        return (self.logits.log_softmax(-3).unsqueeze(-3) + densities).softmax(-4)

    def mask_posterior(
        self, value: Float[Tensor, "*#batch channels height width"]
    ) -> Float[Tensor, "*batch components height width"]:
        """Probability of each component given the pixel if all masks were equal: p_ik / sum_j p_ij."""
        return self.component_log_probs(value).sum(-3).softmax(-3)

    def leave_one_out(
        self, value: Float[Tensor, "*#batch channels height width"]
    ) -> Float[Tensor, "*batch components height width"]:
        """Log density of each pixel without one component, the masks of the others scaled to sum to 1, in nats.

        With one component it is that component's own, as there is no other.
        """
        masks, densities = self.logits.log_softmax(-3), self.component_log_probs(value)
        if self.num_components == 1:
            return densities.sum(-3)
        terms = masks.unsqueeze(-3) + densities if self.per_channel else (masks + densities.sum(-3)).unsqueeze(-3)
        return (_without_each(terms) - _without_each(masks.unsqueeze(-3))).sum(-3)

    def gradients(self, value: Float[Tensor, "*#batch channels height width"]) -> PixelGradients:
        """Derivatives of -log p(value), in closed form and without a graph.

        With r the responsibilities (pixel by pixel, for the joint mixture):
        d/dmu_k = r_k (mu_k - x) / scale^2,   d/dm_k = -p_k / sum_j m_j p_j = -r_k / m_k,   d/dlogit_k = m_k - r_k;
        per channel, the last two are sums over channels.
        """
        with torch.no_grad():
            masks, densities = self.logits.log_softmax(-3).unsqueeze(-3), self.component_log_probs(value)
            if not self.per_channel:
                densities = densities.sum(-3, keepdim=True)
            joint = masks + densities
            ratio = (densities - joint.logsumexp(-4, keepdim=True)).exp()  # r / m, where a mask may underflow
            shares = joint.softmax(-4)
            means = shares * (self.means - value.unsqueeze(-4)) / self.scale.square()
            return PixelGradients(means, -ratio.sum(-3), (masks.exp() - shares).sum(-3))

    def mixing_entropy(self) -> Float[Tensor, " *batch"]:
        """Entropy of the masks in nats, summed over pixels: 0 if each pixel is sure of its component."""
        masks = self.logits.log_softmax(-3)
        return -(masks.exp() * masks.clamp(min=SMALLEST_LOG)).sum((-3, -2, -1))


def _without_each(terms: Float[Tensor, "*batch components channels height width"]) -> Tensor:
    """Log of the sum of the exponentials of all components but one, for each of them."""
    count = terms.shape[-4]
    own = torch.eye(count, dtype=torch.bool, device=terms.device)[:, :, None, None, None]
    return terms.unsqueeze(-5).masked_fill(own, -math.inf).logsumexp(-4)
