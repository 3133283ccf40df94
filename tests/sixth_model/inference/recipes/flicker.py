"""Flicker on videos of a ball in a box."""

from dataclasses import dataclass
from typing import Any

from pyro.nn import PyroModule

from guides.flicker_reader import FlickerReader
from inference.gallery.flicker import FlickerPictures
from inference.gallery.picture import Picture
from inference.recipes.recipe import Pair, Recipe, Training
from inference.recipes.simulated_videos import SimulatedVideos
from inference.scores.flicker_pixels import FlickerPixels
from inference.scores.score import Score
from pyro_models.flicker import Flicker


@dataclass(frozen=True, kw_only=True)
class FlickerPair(Pair):
    """Flicker and its guide.

    Attributes:
        frame_shape: channels, height, width.
    """

    frame_shape: tuple[int, int, int] = (1, 32, 32)

    @property
    def label(self) -> str:
        """Name of the model in tables."""
        return "flicker"

    def build(self, recipe: Recipe[Any, Any, Any]) -> tuple[PyroModule, PyroModule]:
        """Model and guide, freshly initialised."""
        model = Flicker(self.frame_shape)
        return model, FlickerReader(model)

    def scores(self, recipe: Recipe[Any, Any, Any]) -> tuple[Score, ...]:
        """Wrong pixels."""
        return (FlickerPixels(),)

    def pictures(self, recipe: Recipe[Any, Any, Any]) -> tuple[Picture, ...]:
        """A test video."""
        return (FlickerPictures(),)


@dataclass(frozen=True, kw_only=True)
class FlickerVideos(SimulatedVideos):
    """Few videos.

    Attributes:
        num_train: training sequences.
    """

    num_train: int = 8
    num_validation: int = 2
    num_test: int = 4

    def pictures(self, recipe: Recipe[Any, Any, Any]) -> tuple[Picture, ...]:
        """None of its own."""
        return ()


RECIPES = (
    Recipe(
        name="flicker",
        paper="a toy",
        videos=FlickerVideos(),
        pair=FlickerPair(),
        training=Training(batch_size=4, epochs=2, learning_rate=0.01),
    ),
)
