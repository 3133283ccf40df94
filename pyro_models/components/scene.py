"""The objects in a video, in the forms in which metrics and pictures take them from any model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class Scene:
    """Objects of a batch of videos; leading dims are (*particles, sequences, time). Any field may be None.

    Attributes:
        presence: (..., objects), 1 where an object exists, else 0, or a probability.
        positions: (..., objects, 2), middles, pixels (x, y) from the middle of the top left pixel.
        box_sizes: (..., objects, 2), width and height of the objects' boxes, pixels.
        masks: (..., objects, height, width), in [0, 1], degree to which a pixel belongs to an object; for a mixture of
            K components the K weights, background included. Where their sum over objects is below 1, the rest is
            background.
        appearance: (..., objects, feature), codes of the objects' appearance.
        identities: (..., objects), integers that stay with an object from frame to frame; -1 without one. None if
            slots distinguish the objects, or nothing does.
    """

    presence: Tensor | None = None
    positions: Tensor | None = None
    box_sizes: Tensor | None = None
    masks: Tensor | None = None
    appearance: Tensor | None = None
    identities: Tensor | None = None

    def __repr__(self) -> str:
        return "\n".join(["Scene", *(f"  {name:10}  {words}" for name, words in self._described())])

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th>{name}</th><td>{words}</td></tr>" for name, words in self._described())
        return f"<p>Scene</p><table>{rows}</table>"

    def _described(self) -> list[tuple[str, str]]:
        """Fields that are there, in words; no value is read."""
        return [
            (name, f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')} on {value.device}")
            for name, value in vars(self).items()
            if value is not None
        ]


@runtime_checkable
class PlacesObjects(Protocol):
    """A model that can describe its latents as a scene."""

    def scene(self, latents: Mapping[str, Tensor]) -> Scene:
        """The objects for given values of the latent sites, laid out as in the model.

        Args:
            latents: by site. Answers of queries have them, together with those of `pyro.deterministic` sites, which a
                model without latents describes its objects by, as `values`.
        """
        ...


@runtime_checkable
class ShowsObjects(Protocol):
    """A model of objects that add light to a frame, and that can say which pixels show each of them."""

    def object_masks(
        self, latents: Mapping[str, Tensor], size: tuple[int, int] | None = None
    ) -> Bool[Tensor, "*batch time slots height width"]:
        """Visible pixels of each object, for given values of the latent sites; those of a frame never overlap.

        Slots are those of `PlacesObjects.scene`.

        Args:
            latents: as for `PlacesObjects.scene`.
            size: height and width of the masks, pixels; light is enlarged or reduced to it by interpolation before
                pixels are chosen. None = those of a frame.
        """
        ...


@dataclass(frozen=True)
class Decomposition:
    """Frames as sums of slots, each of which shows a picture through its mask: sum_k m_k mu_k.

    Leading dims are (*particles, sequences, time).

    Attributes:
        means: mu_k, what a slot shows; where its mask is 0 it may be anything.
        masks: m_k, in [0, 1], summing to 1 over slots.
    """

    means: Float[Tensor, "*batch slots channels height width"]
    masks: Float[Tensor, "*batch slots height width"]

    def __getitem__(self, index: int | slice) -> "Decomposition":
        """One sequence, or several: an index of the first of the leading dims."""
        return Decomposition(self.means[index], self.masks[index])

    @property
    def composite(self) -> Float[Tensor, "*batch channels height width"]:
        """The frames that all slots make up together."""
        return (self.masks.unsqueeze(-3) * self.means).sum(-4)


@runtime_checkable
class DecomposesFrames(Protocol):
    """A model whose slots share the pixels of a frame."""

    def decompose(self, latents: Mapping[str, Tensor]) -> Decomposition:
        """What each slot shows, and where, for given values of the latent sites.

        Args:
            latents: as for `PlacesObjects.scene`.
        """
        ...
