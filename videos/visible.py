"""Which pixels show which object, where several light the same one."""

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor


def visible_masks(
    layers: Shaped[Tensor, "*batch objects height width"],
    background: Shaped[Tensor, "*#batch height width"] | None = None,
) -> Bool[Tensor, "*batch objects height width"]:
    """Masks without overlap from the light that each object gives when it is drawn alone.

    Simulators draw light on black, so no object is in front by nature. A pixel belongs to the object that gives it
    most light, and to the first of several that give the same. It belongs to none if no object lights it, or if the
    background gives more light than every object.

    Args:
        layers: each object's light, at least 0; where there is no object, 0.
        background: light of what is no object, such as walls; None = black.
    """
    brightest = layers.amax(-3)
    lit = brightest > 0 if background is None else (brightest > 0) & (brightest >= background)
    slots = torch.arange(layers.shape[-3], device=layers.device)[:, None, None]
    return (slots == layers.argmax(-3, keepdim=True)) & lit.unsqueeze(-3)
