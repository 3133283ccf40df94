"""Contract cases: how a tiny model or guide is built, and what it is exempt from.

Cases live beside the tests of their model or guide, in files `case_*.py` with a mapping `MODELS` or `GUIDES` from names
to cases; `registry.py` finds them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from pyro.nn import PyroModule

FRAME_SHAPE = (1, 8, 8)
SEQUENCES, TIME, CONTROL = 5, 7, 3


@dataclass(frozen=True)
class ModelCase:
    """A model to test.

    Attributes:
        build: builds the model, with weights drawn from the global generator.
        control_dim: size of its controls.
        idle: parameters that get no gradient, and why.
        has_latents: whether it has latent sites.
    """

    build: Callable[[], PyroModule]
    control_dim: int = 0
    idle: dict[str, str] = field(default_factory=dict)
    has_latents: bool = True


@dataclass(frozen=True)
class GuideCase:
    """A guide to test.

    Attributes:
        model: name of the case of the model it serves.
        build: builds the guide for a model.
        idle: parameters that get no gradient, and why.
        draws_aside: whether it has a density in evaluation mode only: in training it draws what is no site.
    """

    model: str
    build: Callable[[PyroModule], PyroModule]
    idle: dict[str, str] = field(default_factory=dict)
    draws_aside: bool = False
