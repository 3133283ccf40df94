"""The two pictures that flicker learns."""

from dataclasses import dataclass
from pathlib import Path

from inference.gallery.picture import Picture, save
from inference.pictures import draw_strips
from inference.scores.score import Evaluated


@dataclass(frozen=True, kw_only=True)
class FlickerPictures(Picture):
    """A test video and what the model makes of it."""

    def draw(self, evaluated: Evaluated, folder: Path) -> list[Path]:
        """See `Picture.draw`."""
        panels = {"truth": evaluated.test.frames[0], "flicker": evaluated.reconstruction.frames[0]}
        return [save(draw_strips(panels), folder / "flicker.png")]
