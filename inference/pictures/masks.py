"""Masks of objects as pictures: one colour for each object, blended where masks are soft."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Shaped
from matplotlib.colors import to_rgb
from torch import Tensor

from inference.pictures.theme import IDENTITIES
from pyro_models.components.scene import Scene

UNMATCHED = "#E0E0E0"  # of true objects for which there is no mask


class MaskVideo(NamedTuple):
    """Painted masks of one scene: a row of a figure, or a panel of a film.

    Attributes:
        name: name of the row.
        video: (..., 3, height, width); leading dims are those of the frames.
        labels: legend of the colours that occur: words -> colour.
    """

    name: str
    video: Tensor
    labels: Mapping[str, str]


def paint_masks(
    masks: Shaped[Tensor, "*batch objects height width"],
    numbers: Int[Tensor, "*batch objects"] | None = None,
    palette: Sequence[str] = IDENTITIES,
) -> Float[Tensor, "*batch 3 height width"]:
    """Colour pictures of masks, sum_k m_k c_k / max(1, sum_k m_k): black where there is no object.

    An object with number k has colour k of the palette, the same in all frames; after the last colour they repeat. The
    result has the layout of frames, so that `draw_strips` and `write_film` take it beside them.

    Args:
        masks: in [0, 1], or bool.
        numbers: which object each mask belongs to, negative to leave it out; None = its place among the masks.
        palette: matplotlib colours.

    Raises:
        ValueError: if masks are not in [0, 1].
    """
    weights = masks.detach().float().cpu()
    if not bool(((weights >= 0) & (weights <= 1)).all()):
        raise ValueError(
            f"masks: expected finite values in [0, 1], got {float(weights.min()):.4g} to {float(weights.max()):.4g}; "
            "take the softmax of logits over components"
        )
    numbers = torch.arange(weights.shape[-3]) if numbers is None else numbers.detach().cpu()
    colours = torch.tensor([to_rgb(colour) for colour in palette])[numbers.long() % len(palette)]
    weights = weights * (numbers >= 0)[..., None, None]
    mixed = torch.einsum("...khw,...kc->...chw", weights, colours.expand(*weights.shape[:-2], 3))
    return mixed / weights.sum(-3).clamp(min=1).unsqueeze(-3)


def mask_videos(
    scene: Scene | None,
    truth: Scene | None,
    leading: tuple[int, ...],
    size: tuple[int, int],
    palette: Sequence[str] = IDENTITIES,
) -> list[MaskVideo]:
    """The masks of a scene, then those of its true objects, each if there are any.

    A mask has the colour of its identity, or, in a scene without identities, of its slot. Slots whose presence is not
    above 0.5, and those whose identity is -1, are left out.

    A true object has the colour of the mask matched to it in its video: objects and masks are paired to maximise the
    number of shared pixels, each counted for its largest mask. An object without a match is pale grey. Without a scene
    that has masks, a true object has the colour of its slot.

    Args:
        scene: masks (*leading, slots, *size), presence and identities (*leading, slots) or None.
        truth: in the same layout; the identity of an object is its slot.
        leading: leading dims of the frames, time last.
        size: height and width.
        palette: colours of numbers.

    Raises:
        ValueError: if a shape is wrong, or masks are not in [0, 1].
    """
    videos = []
    masks, numbers = None, None
    if scene is not None and scene.masks is not None:
        masks = scene.masks
        numbers = numbers_of("scene.masks", masks, leading, size, scene.presence, scene.identities)
        word, start = ("slot", 1) if scene.identities is None else ("identity", 0)
        labels = {f"{word} {number + start}": palette[number % len(palette)] for number in _shown(masks, numbers)}
        videos.append(MaskVideo("masks", paint_masks(masks, numbers, palette), labels))
    if truth is not None and truth.masks is not None:
        true_numbers = numbers_of("truth.masks", truth.masks, leading, size, truth.presence)
        if masks is None or numbers is None:
            labels = {f"object {k + 1}": palette[k % len(palette)] for k in _shown(truth.masks, true_numbers)}
            videos.append(MaskVideo("true masks", paint_masks(truth.masks, true_numbers, palette), labels))
        else:
            matched = match_masks(truth.masks, true_numbers, masks, numbers, len(palette))
            labels = {"true object without a mask": UNMATCHED} if len(palette) in _shown(truth.masks, matched) else {}
            painted = paint_masks(truth.masks, matched, (*palette, UNMATCHED))
            videos.append(MaskVideo("true masks", painted, labels))
    return videos


def match_masks(
    truth: Shaped[Tensor, "*sequences time objects height width"],
    true_numbers: Int[Tensor, "*sequences time objects"],
    masks: Shaped[Tensor, "*sequences time slots height width"],
    numbers: Int[Tensor, "*sequences time slots"],
    num_colours: int,
) -> Int[Tensor, "*sequences time objects"]:
    """The colour of the mask matched to each true object in its video, by the rule of `mask_videos`.

    Args:
        truth: masks of true objects.
        true_numbers: negative where an object is left out.
        masks: the model's masks.
        numbers: numbers of these masks, negative where one is left out.
        num_colours: number of colours before they repeat.

    Returns:
        Places in the palette; `num_colours` for an object without a mask, -1 for one that is left out.
    """
    from scipy.optimize import linear_sum_assignment

    true_masks, weights, numbers = (value.detach().cpu() for value in (truth > 0.5, masks.float(), numbers))
    time, objects, *size = true_masks.shape[-4:]
    largest, slot = torch.where((numbers >= 0)[..., None, None], weights, 0.0).max(-3)
    owner = numbers.gather(-1, slot.flatten(-2)).reshape(slot.shape)
    owner = torch.where(largest > 0, owner, -1)
    colours = torch.full((*true_masks.shape[:-4], objects), num_colours)
    for true, part, row in zip(
        true_masks.reshape(-1, time, objects, *size),
        owner.reshape(-1, time, 1, *size),
        colours.view(-1, objects),
        strict=True,
    ):
        names = [name for name in part.unique().tolist() if name >= 0]
        overlap = torch.zeros(objects, len(names), dtype=torch.long)
        for column, name in enumerate(names):
            overlap[:, column] = (true & (part == name)).sum((0, 2, 3))
        for one, other in zip(*linear_sum_assignment(overlap.numpy(), maximize=True), strict=True):
            if overlap[one, other] > 0:
                row[one] = names[other] % num_colours
    return torch.where(true_numbers < 0, -1, colours.unsqueeze(-2))


def numbers_of(
    name: str,
    masks: Tensor,
    leading: tuple[int, ...],
    size: tuple[int, int],
    presence: Tensor | None = None,
    identities: Tensor | None = None,
) -> Tensor:
    """Identities of masks, or else their slots, (*leading, slots), -1 for what is left out.

    Args:
        name: of the masks, for messages.
        masks: (*leading, slots, *size).
        leading: leading dims of the frames.
        size: height and width.
        presence: (*leading, slots), left out where it is not above 0.5.
        identities: (*leading, slots), left out where it is negative.

    Raises:
        ValueError: if a shape is wrong.
    """
    slots = masks.shape[-3] if masks.dim() == len(leading) + 3 else "slots"
    if tuple(masks.shape) != (*leading, slots, *size):
        raise ValueError(
            f"{name}: expected {(*leading, slots, *size)}, one mask for each frame and slot, of the size of a frame, "
            f"got {tuple(masks.shape)}; leave out channels and particles"
        )
    for field, value in (("presence", presence), ("identities", identities)):
        if value is not None and value.shape != masks.shape[:-2]:
            raise ValueError(
                f"{name.removesuffix('masks')}{field}: expected {tuple(masks.shape[:-2])}, one for each frame and "
                f"mask, got {tuple(value.shape)}; give all fields of a scene the same slots"
            )
    numbers = torch.arange(masks.shape[-3]).expand(masks.shape[:-2])
    numbers = numbers if identities is None else identities.detach().cpu().long()
    return numbers if presence is None else torch.where(presence.detach().cpu() > 0.5, numbers, -1)


def _shown(masks: Tensor, numbers: Tensor) -> list[int]:
    """Numbers of the masks that have a pixel and are not left out."""
    lit = masks.detach().cpu().flatten(-2).amax(-1) > 0
    return [number for number in numbers[lit].unique().tolist() if number >= 0]
