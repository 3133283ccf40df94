"""Test videos taken apart into the slots of a model, and walks along the latents of a slot."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch

from guides.describe import describe_sites
from inference.gallery.picture import Picture, save
from inference.pictures import animate_slots, draw_latent_walk, draw_slots
from inference.programs.traces import evaluation_mode
from inference.queries.ask import reconstruct
from inference.queries.latent_walks import Walk, walk_latent
from inference.scores.score import Evaluated
from pyro_models.components.scene import DecomposesFrames


@dataclass(frozen=True, kw_only=True)
class SlotPictures(Picture):
    """Test videos taken apart: what each slot shows, through its mask. None for a model whose slots share no pixels.

    Attributes:
        num_videos: number of videos.
    """

    captions: ClassVar[Mapping[str, str]] = {
        "slots-*.png": "A test video, its reconstruction, and what each slot of the model shows through its mask. "
        "One slot for each object, and one for the background, is what the model should find.",
        "slots-*.gif": "A test video taken apart into slots, as a film.",
    }

    num_videos: int = 4

    def __post_init__(self) -> None:
        if self.num_videos < 1:
            raise ValueError(f"num_videos: expected at least 1, got {self.num_videos}; or leave out the picture")

    def draw(self, evaluated: Evaluated, folder: Path) -> list[Path]:
        """See `Picture.draw`."""
        model, guide = evaluated.model, evaluated.guide
        if not isinstance(model, DecomposesFrames):
            return []
        videos = evaluated.test.select(slice(0, self.num_videos))
        answer = reconstruct(model, guide, *videos.arguments, seed=0)
        with evaluation_mode(model), torch.no_grad():
            parts = model.decompose(answer.values)
        written = []
        for index in range(videos.num_sequences):
            shown = (
                videos.frames[index],
                parts[index],
                None if videos.observed is None else videos.observed[index],
                answer.frames[index],
            )
            written.append(save(draw_slots(*shown), folder / f"slots-{index}.png"))
            if videos.num_frames > 1:
                written.append(animate_slots(folder / f"slots-{index}.gif", *shown))
        return written


@dataclass(frozen=True, kw_only=True)
class LatentWalkPicture(Picture):
    """Walks along single entries of a slot's latent: figure 11 of Zablotskaia et al. (2020).

    There, what the slot remembers moves with its latent; here its latent moves alone. None for a model whose slots
    share no pixels, or without latents.

    Attributes:
        video: index of the test video.
        alone: add the slot alone below each row of whole frames.
        walk: where the walk starts, and how far it goes.
    """

    captions: ClassVar[Mapping[str, str]] = {
        "latent-walk.png": "One latent of one slot varied at a time, a row for each; the middle column is the latent "
        "as inferred. As figure 11 of Zablotskaia et al. (2020).",
    }

    video: int = 0
    alone: bool = False
    walk: Walk = field(default_factory=Walk)

    def draw(self, evaluated: Evaluated, folder: Path) -> list[Path]:
        """See `Picture.draw`."""
        model, test = evaluated.model, evaluated.test
        if not isinstance(model, DecomposesFrames):
            return []
        if not 0 <= self.video < test.num_sequences:
            raise ValueError(f"video: expected 0 to {test.num_sequences - 1}, got {self.video}")
        video = test.select(slice(self.video, self.video + 1))
        if not describe_sites(model, *video.arguments).latent:
            return []
        walk = walk_latent(model, evaluated.guide, *video.arguments, walk=self.walk)
        return [save(draw_latent_walk(walk, alone=self.alone), folder / "latent-walk.png")]
