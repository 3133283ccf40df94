"""The objects of a scene with their identities, checked, as metrics of tracks read them."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from pyro_models.components.scene import Scene

NOBODY = -1  # track number of an object without a match, or a slot without an object


def objects_of(name: str, scene: Scene, *, boxes: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Presence, bool; positions and box sizes, float64, zeros if boxes are not wanted; all on the CPU.

    Args:
        name: of the argument, for messages.
        scene: leading dims (sequences, time); an object is present if its presence is above 0.5.
        boxes: whether box sizes are read.

    Raises:
        ValueError: if a field is missing, or has a wrong shape or dtype.
    """
    if scene.presence is None or scene.positions is None or (boxes and scene.box_sizes is None):
        wanted = "presence, positions and box sizes" if boxes else "presence and positions"
        raise ValueError(f"{name}: expected a scene with {wanted}, one of them is None")
    presence = scene.presence.detach().cpu()
    if presence.dim() != 3 or 0 in presence.shape:
        raise ValueError(
            f"{name}.presence: expected (sequences, time, slots), at least one of each, got {tuple(presence.shape)}; "
            "of several particles, choose one"
        )
    places = []
    for field in ("positions", "box_sizes"):
        value = getattr(scene, field)
        if field == "box_sizes" and not boxes:
            value = torch.zeros(*presence.shape, 2)
        if tuple(value.shape) != (*presence.shape, 2) or not value.is_floating_point():
            raise ValueError(
                f"{name}.{field}: expected floating point (sequences, time, slots, 2) = {(*presence.shape, 2)}, "
                f"got {value.dtype} {tuple(value.shape)}"
            )
        places.append(value.detach().cpu().double())
    return presence > 0.5, places[0], places[1]


def masks_of(
    name: str, scene: Scene, presence: Bool[Tensor, "sequences time slots"]
) -> Bool[Tensor, "sequences time slots height width"]:
    """Masks of the objects, above 0.5, on the CPU.

    Args:
        name: of the argument, for messages.
        scene: leading dims (sequences, time).
        presence: which slots hold an object.

    Raises:
        ValueError: if there are none, or the shape is wrong.
    """
    if scene.masks is None:
        raise ValueError(f"{name}: expected a scene with masks, got None; a score by boxes does without")
    if scene.masks.dim() != 5 or scene.masks.shape[:3] != presence.shape:
        raise ValueError(
            f"{name}.masks: expected (sequences, time, slots, height, width) = ({', '.join(map(str, presence.shape))}, "
            f"...), got {tuple(scene.masks.shape)}"
        )
    masks = scene.masks.detach().cpu()
    return masks if masks.dtype == torch.bool else masks > 0.5


def identities_of(identities: Tensor | None, presence: Bool[Tensor, "sequences time slots"]) -> Tensor:
    """Identities of the predicted objects, checked: int64 (sequences, time, slots), on the CPU.

    Raises:
        ValueError: if there are none, the shape or dtype is wrong, an object has no identity, or two of a frame have
            the same.
    """
    if identities is None:
        raise ValueError("predicted: expected a scene with identities, got None")
    if identities.shape != presence.shape or identities.is_floating_point() or identities.dtype == torch.bool:
        raise ValueError(
            f"predicted.identities: expected integers (sequences, time, slots) = {tuple(presence.shape)}, "
            f"got {identities.dtype} {tuple(identities.shape)}"
        )
    identities = identities.detach().cpu().long()
    if bool((identities[presence] < 0).any()):
        raise ValueError("predicted.identities: expected one, from 0 up, for each object that is present, got -1")
    pairs = (presence[..., :, None] & presence[..., None, :]).triu(1)
    if bool((pairs & (identities[..., :, None] == identities[..., None, :])).any()):
        raise ValueError("predicted.identities: expected different ones within a frame, got one twice")
    return identities


def number_tracks(
    identities: Int[Tensor, "sequences time slots"], presence: Bool[Tensor, "sequences time slots"]
) -> Int[Tensor, "sequences time slots"]:
    """Identities as 0, 1, 2, ... within each sequence, however large they are; -1 in empty slots."""
    sequence = torch.arange(len(presence))[:, None, None].expand(presence.shape)[presence]
    names, number = torch.stack([sequence, identities[presence]], -1).unique(dim=0, return_inverse=True)
    first = torch.searchsorted(names[:, 0].contiguous(), torch.arange(len(presence)))
    tracks = torch.full(presence.shape, NOBODY)
    tracks[presence] = number - first[sequence]
    return tracks
