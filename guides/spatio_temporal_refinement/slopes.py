"""A frame decoded from latents, with the gradient of its log likelihood: in training, evaluation and traced steps."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pyro_models.distributions.pixel_mixture import PixelGradients, PixelMixture
from pyro_models.spatio_temporal_mixture.model import SpatioTemporalMixture


class DecodedFrame(NamedTuple):
    """Batch dims (*particles, sequences); gradients are of -log p(x_t | z, h), without a graph, 0 where missing.

    Attributes:
        mixture: distribution of the frame.
        pictures: gradients with respect to what slots draw.
        latent: gradient with respect to z, (*particles, slots, sequences, latent).
    """

    mixture: PixelMixture
    pictures: PixelGradients
    latent: Float[Tensor, "*batch slots sequences latent"]


def decode_frame(
    model: SpatioTemporalMixture,
    latent: Float[Tensor, "*batch slots sequences latent"],
    given: Float[Tensor, "*#batch slots sequences units"],
    frame: Float[Tensor, "sequences channels height width"],
    seen: Bool[Tensor, " sequences"],
) -> DecodedFrame:
    """Decode a frame once, for the bound and for its gradient.

    The mixture is differentiable if gradients are recorded. Gradients with respect to pictures are in closed form; from
    there the decoder is differentiated, with respect to z alone.

    Args:
        model: decodes.
        latent: z.
        given: h, the memory before the frame.
        frame: x_t.
        seen: False where the frame is missing.
    """
    recording = torch.is_grad_enabled()
    with torch.enable_grad():
        point = latent if recording and latent.requires_grad else latent.detach().requires_grad_()
        mixture = model.mixture(point, given)
        shown = seen[:, None, None, None]
        slopes = mixture.gradients(frame)
        means = torch.where(shown.unsqueeze(-1), slopes.means, 0.0)
        masks, logits = (torch.where(shown, one, 0.0) for one in (slopes.masks, slopes.logits))
        (slope,) = torch.autograd.grad((mixture.means, mixture.logits), point, (means, logits), retain_graph=recording)
    if not recording:
        mixture = PixelMixture(
            mixture.logits.detach(), mixture.means.detach(), mixture.scale, per_channel=mixture.per_channel
        )
    return DecodedFrame(mixture, PixelGradients(means, masks, logits), slope)
