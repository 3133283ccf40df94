"""Spatial mixtures of slots with memory, on CLEVRER and scenes like it (Zablotskaia et al. 2020)."""

from dataclasses import replace
from typing import Any

from inference.recipes.clevrer_segmentation import SMALL_SCENES, ClevrerVideos
from inference.recipes.recipe import Recipe
from inference.recipes.spatio_temporal import FRAMES, SMALL_SLOTS, SlotPair, SlotTraining

CLEVRER = Recipe(
    name="spatio-temporal-clevrer",
    paper="Zablotskaia et al. 2020, table 1 (CLEVRER)",
    videos=ClevrerVideos(),
    pair=SlotPair(num_slots=6, refinements=5),
    training=SlotTraining(epochs=400, scale_epochs=(0, 40)),
)
IODINE = replace(
    CLEVRER.named("iodine-clevrer", **FRAMES, num_train=40_000, epochs=40, scale_epochs=(0, 4)),
    paper="Zablotskaia et al. 2020, table 1, IODINE (CLEVRER)",
)
SHORT_STEPS: dict[str, Any] = {"batch_size": 8, "epochs": 40, "scale_epochs": (0, 5)}
"""A third of a second for up to four frames, on a core."""
RECIPES = (
    CLEVRER,
    CLEVRER.named("spatio-temporal-clevrer-small", **{**SMALL_SCENES, **SMALL_SLOTS, **SHORT_STEPS}),
    IODINE,
    IODINE.named("iodine-clevrer-small", **{**SMALL_SCENES, **SMALL_SLOTS, **FRAMES, "num_train": 16_000}, epochs=20),
)
