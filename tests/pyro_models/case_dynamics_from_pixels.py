"""Contract cases of dynamics from pixels."""

from functools import partial
from typing import Any

import torch

from pyro_models import DynamicsFromPixels
from pyro_models.dynamics_from_pixels.ballistic_mixture import IndependentPositions
from pyro_models.dynamics_from_pixels.object_renderers import GlyphRenderer, RecurrentRenderer
from tests.contracts.cases import CONTROL, FRAME_SHAPE, ModelCase


def _balls(**options: Any) -> DynamicsFromPixels:
    """Controls are the presence of objects."""
    renderer = options.pop("renderer", None) or RecurrentRenderer(FRAME_SHAPE, 11)
    return DynamicsFromPixels(FRAME_SHAPE, CONTROL, renderer=renderer, **options)


def _pasted_balls() -> DynamicsFromPixels:
    renderer = GlyphRenderer(FRAME_SHAPE, 3)
    torch.nn.init.normal_(renderer.scaled_glyph, std=0.1)  # it starts at zero, so that no two models would differ
    return _balls(renderer=renderer, prior=IndependentPositions())


MODELS = {
    "DynamicsFromPixels": ModelCase(_balls, CONTROL),
    "DynamicsFromPixels, states drawn": ModelCase(partial(_balls, marginalize=False), CONTROL),
    "DynamicsFromPixels, glyphs without dynamics": ModelCase(_pasted_balls, CONTROL),
}
