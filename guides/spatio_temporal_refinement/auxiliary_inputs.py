"""What a refinement is told about each slot: pictures, masks, and in which direction the bound grows."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import layer_norm

from pyro_models.distributions.pixel_mixture import PixelGradients, PixelMixture

EPSILON = 1e-8  # of layer norms: gradients of sums may be tiny once a picture fits


def num_channels(channels: int, *, leave_one_out: bool) -> int:
    """Channels of the images of slots, for frames with so many."""
    return 3 * channels + 7 + leave_one_out


def images_of(
    mixture: PixelMixture,
    frames: Float[Tensor, "*#batch channels height width"],
    slopes: PixelGradients,
    *,
    leave_one_out: bool = True,
) -> Float[Tensor, "*batch slots inputs height width"]:
    """Image-sized inputs of each slot (Greff et al. 2019, table 1; no gradient flows through the normalised ones).

    The frame; the slot's means, mask and logits; the mask's posterior p_k / sum_j p_j; normalised over each slot's
    pixels: gradients with respect to means and masks, log p(x_i), and by how much the slot raises it (the frame's log
    density less the one without the slot); and two coordinates.

    Args:
        mixture: distribution of the frames, batch dims (*batch, sequences).
        frames: what it is compared with.
        slopes: gradients of the negative log density.
        leave_one_out: whether the last but two is there.
    """
    means = mixture.means
    channels, height, width = means.shape[-3:]
    with torch.no_grad():
        density = mixture.log_prob_of_pixels(frames).unsqueeze(-3).expand_as(slopes.masks)
        measured = [slopes.means, slopes.masks.unsqueeze(-3), density.unsqueeze(-3)]
        if leave_one_out:
            measured.append((density - mixture.leave_one_out(frames)).unsqueeze(-3))
        measured = [layer_norm(one, one.shape[-3:], eps=EPSILON) for one in measured]
        x, y = (torch.linspace(-1, 1, size, device=means.device, dtype=means.dtype) for size in (width, height))
        places = torch.stack(torch.meshgrid(x, y, indexing="xy"))
    parts = (
        frames.unsqueeze(-4).expand_as(means),
        means,
        mixture.masks.unsqueeze(-3),
        mixture.logits.unsqueeze(-3),
        mixture.mask_posterior(frames).unsqueeze(-3),
        *measured,
        places.expand(*means.shape[:-3], 2, height, width),
    )
    return torch.cat(parts, -3)


def vectors_of(
    mean: Float[Tensor, "*batch latent"],
    log_variance: Float[Tensor, "*batch latent"],
    slope: Float[Tensor, "*batch two"],
    *,
    norms: bool = True,
) -> Float[Tensor, "*batch vector"]:
    """The variational parameters, and their gradient normalised over all of them.

    Args:
        mean: of the latents.
        log_variance: of the latents.
        slope: gradient with respect to both, without a graph.
        norms: whether the log of the gradient's squared norm follows.
    """
    parts = [mean, log_variance, layer_norm(slope, slope.shape[-1:], eps=EPSILON)]
    if norms:
        parts.append((slope.square().sum(-1, keepdim=True) + EPSILON).log())
    return torch.cat(parts, -1)
