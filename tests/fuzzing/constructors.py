"""Every exported model, guide and part of one, constructed as in a contract case, and called."""

import functools
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

import guides
import pyro_models
from tests.contracts.registry import GUIDES, MODELS, exported_guides, exported_models
from tests.fuzzing.targets import Target

KINDS = [
    kind
    for package in (pyro_models, guides)
    for kind in (getattr(package, name) for name in package.__all__)
    if isinstance(kind, type) and issubclass(kind, nn.Module)
]
CALLED = tuple(exported_models() | exported_guides())
FRAMES = 12  # more than any default needs


def constructor_targets() -> dict[str, Target]:
    """Models, guides and parts of these that are exported, by the name of their class."""
    found: dict[str, Target] = {}
    for case in (*MODELS, *GUIDES):
        for kind in _recorded(case):
            found.setdefault(kind.__name__, _target(kind, case))
    return found


def _target(kind: type[nn.Module], case: str) -> Target:
    return Target(kind.__name__, functools.partial(_used, kind), lambda: _sensible(kind, case), constructs=True)


def _sensible(kind: type[nn.Module], case: str) -> dict[str, Any]:
    """The arguments of a contract case, and the defaults of the others."""
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.default is not parameter.empty
    }
    return defaults | _recorded(case)[kind]


def _recorded(case: str) -> dict[type, dict[str, Any]]:
    """By class, the arguments with which a case constructs it."""
    with _recording() as calls:
        model = MODELS[case if case in MODELS else GUIDES[case].model].build()
        if case in GUIDES:
            GUIDES[case].build(model)
    return calls


@contextmanager
def _recording() -> Iterator[dict[type, dict[str, Any]]]:
    """Note the arguments of every exported class that is constructed, those of its last construction."""
    calls: dict[type, dict[str, Any]] = {}
    former = {kind: kind.__init__ for kind in KINDS}

    def noting(kind: type) -> Any:
        @functools.wraps(former[kind])
        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
            if type(self) is kind:
                bound = inspect.signature(former[kind]).bind(self, *args, **kwargs).arguments
                more = bound.pop("options", {})  # of a base class
                calls[kind] = {**bound, **more}
                del calls[kind]["self"]
            former[kind](self, *args, **kwargs)

        return __init__

    for kind in KINDS:
        kind.__init__ = noting(kind)
    try:
        yield calls
    finally:
        for kind in KINDS:
            kind.__init__ = former[kind]


def _used(kind: type[nn.Module], **given: Any) -> None:
    """Construct it, and call what was made: a model on frames of its shape, a guide on those of its model."""
    made = kind(**given)
    if not isinstance(made, CALLED):
        return
    model: Any = given.get("model", made)
    frames = (torch.rand(2, FRAMES, *model.frame_shape) > 0.5).float()
    controls = torch.zeros(2, FRAMES, model.control_dim) if model.control_dim else None
    made(frames, None, controls)
