"""Assigns each pixel to the object it shows, where several objects light it."""

import torch
from jaxtyping import Bool
from torch import Tensor

from videos.typed import typed


@typed
def visible_masks(
    layers: Tensor,
    background: Tensor | None = None,
) -> Bool[Tensor, "*batch objects height width"]:
    """Masks without overlap, from each object's light when drawn alone.

    Simulators draw light on black, so no object is inherently in front. A pixel belongs to the object that gives it
    most light, in a tie to the first. It belongs to none if no object lights it, or if the background gives more light
    than every object.

    Args:
        layers: (*batch, objects, height, width), each object's light, at least 0; 0 for absent objects.
        background: light of everything else, such as walls, (height, width), or with batch dims that broadcast; None =
            black.

    Raises:
        ValueError: if a shape is not as above.
    """
    if layers.dim() < 3 or layers.shape[-3] == 0:
        raise ValueError(
            f"layers: expected (*batch, objects, height, width) with at least one object, got {tuple(layers.shape)}; "
            "give a picture of each object alone, without channels"
        )
    if background is not None and background.shape[-2:] != layers.shape[-2:]:
        raise ValueError(
            f"background: expected height and width of layers, {tuple(layers.shape[-2:])}, "
            f"got {tuple(background.shape)}; draw both on one canvas"
        )
    brightest = layers.amax(-3)
    lit = brightest > 0 if background is None else (brightest > 0) & (brightest >= background)
    slots = torch.arange(layers.shape[-3], device=layers.device)[:, None, None]
    return (slots == layers.argmax(-3, keepdim=True)) & lit.unsqueeze(-3)
