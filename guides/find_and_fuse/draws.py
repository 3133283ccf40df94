"""How the guide's sites get their values, and draws that no site has."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, runtime_checkable

import pyro
import torch
from torch import Tensor, nn

from guides.aside import normal_aside
from pyro_models.vtssi.gaussians import Gaussian
from pyro_models.vtssi.object_scenes import ObjectScenes

FULL = 16.0  # values of c beyond which opacities are 0 or 1 to single precision


@runtime_checkable
class Draws(Protocol):
    """Gives values to sites."""

    def objects(self, opacity: Tensor) -> AbstractContextManager[None]:
        """What the sites of objects are drawn in."""
        ...

    def draw(self, name: str, law: Any) -> Tensor:
        """A value of a site."""
        ...


class PyroDraws:
    """Sample sites.

    Args:
        scenes: the model's.
    """

    def __init__(self, scenes: ObjectScenes) -> None:
        self._scenes = scenes

    def objects(self, opacity: Tensor) -> AbstractContextManager[None]:
        """The model's plate of objects, with its mask."""
        return self._scenes.objects(opacity)

    def draw(self, name: str, law: Any) -> Tensor:
        """A sample site."""
        return pyro.sample(name, law)


class CompletionDraws:
    """Values without sites, kept by name.

    Args:
        scenes: the model's.
        num_samples: number of draws; None = means, and a whole number of objects.
        num_sequences: number of sequences in the batch.
        num_frames: number of frames, if sites are in the plate of time.
    """

    def __init__(
        self, scenes: ObjectScenes, num_samples: int | None, num_sequences: int, num_frames: int | None = None
    ) -> None:
        self.values: dict[str, Tensor] = {}
        self._num_objects = scenes.num_objects
        self._drawn = num_samples is not None
        time = (1,) * self._drawn if num_frames is None else (num_frames,)
        self._left = (*(() if num_samples is None else (num_samples,)), *time)
        self._sequences = num_sequences
        self._inside = False

    @contextmanager
    def objects(self, opacity: Tensor) -> Iterator[None]:
        """Draws have a dim of objects inside."""
        self._inside = True
        yield
        self._inside = False

    def draw(self, name: str, law: Any) -> Tensor:
        """A draw; or the mean of an object's variable, and the c of the nearest whole number of objects."""
        objects = (self._num_objects,) if self._inside else (1,) * bool(self._left)
        law = law.expand(torch.Size([*self._left, *objects, self._sequences]))
        if self._drawn:
            value = law.sample()
        else:
            value = law.mean if law.event_shape else whole_count(law.mean, self._num_objects)
        self.values[name] = value
        return value


def whole_count(count: Tensor, num_objects: int) -> Tensor:
    """The c with the number of objects N sigmoid(c) rounded, so that opacities are 0 or 1.

    Args:
        count: c.
        num_objects: N.
    """
    return ((num_objects * count.sigmoid()).round() / num_objects).logit().clamp(-FULL, FULL)


def draw_aside(module: nn.Module, gaussian: Gaussian) -> Tensor:
    """A draw that is no site, see `guides.aside`; in evaluation mode the mean.

    Args:
        module: tells whether this is training.
        gaussian: distribution of the draw.
    """
    if not module.training:
        return gaussian.loc
    return gaussian.loc + gaussian.scale * normal_aside(gaussian.loc)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Inside, a module and its parts are in evaluation mode.

    Args:
        module: the module.
    """
    training = [part for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True
