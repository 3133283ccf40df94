"""What is where in a video, whatever model says so: the common ground of metrics and pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor


@dataclass(frozen=True)
class Scene:
    """Objects of a batch of videos; leading dims are (*particles, sequences, time). Any field may be None.

    Attributes:
        presence: (..., objects), 1 where an object exists, else 0, or a probability.
        positions: (..., objects, 2), middles, pixels (x, y) from the middle of the top left pixel.
        box_sizes: (..., objects, 2), width and height of the objects' boxes, pixels.
        masks: (..., objects, height, width), in [0, 1], how far a pixel belongs to an object; of a mixture of K
            components the K weights, background included. They may add up to less than 1 over objects, where the rest
            is background.
        appearance: (..., objects, feature), codes of what objects look like.
        identities: (..., objects), whole numbers that stay with an object from frame to frame; -1 without one. None if
            objects are told apart by their place among the slots, or not at all.
    """

    presence: Tensor | None = None
    positions: Tensor | None = None
    box_sizes: Tensor | None = None
    masks: Tensor | None = None
    appearance: Tensor | None = None
    identities: Tensor | None = None


@runtime_checkable
class PlacesObjects(Protocol):
    """A model that can say what is where."""

    def scene(self, latents: Mapping[str, Tensor]) -> Scene:
        """The objects of given values of the latent sites, laid out as in the model."""
        ...
