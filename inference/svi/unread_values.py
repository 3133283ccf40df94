"""Pyro's losses without a look at their values."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor

LOSSES = ("trace_elbo", "trace_mean_field_elbo", "tracegraph_elbo", "traceenum_elbo", "renyi_elbo")


class _Tracing:
    """A module that looks the same, except that PyTorch seems to be tracing: Pyro then branches on no tensor's value.

    Only Pyro may see it so: modules of PyTorch would call another method.
    """

    def __init__(self, module: Any, **replaced: Any) -> None:
        self._module, self._replaced = module, replaced

    def __getattr__(self, name: str) -> Any:
        return self._replaced[name] if name in self._replaced else getattr(self._module, name)


@contextmanager
def unread_values() -> Iterator[None]:
    """Inside, Pyro's losses compute with tensors where they would read numbers back from the device.

    They read one for each site, to report a loss, and wait each time for all that the device has to do. A loss is then
    a tensor, and nothing warns of NaN: `SVI.check_finite` does. `RenyiELBO` and `ReweightedWakeSleep` read their losses
    even so.
    """
    places = _places()
    kept = [getattr(module, name) for module, name, _ in places]
    try:
        for module, name, stand_in in places:
            setattr(module, name, stand_in)
        yield
    finally:
        for (module, name, _), own in zip(places, kept, strict=True):
            setattr(module, name, own)


@cache
def _places() -> list[tuple[Any, str, Any]]:
    """Modules of Pyro, names in them, and what stands in for what they name."""
    stand_ins: dict[str, Any] = {
        "torch_item": lambda value: value.detach() if isinstance(value, Tensor) else value,
        "warn_if_nan": lambda value, *args, **kwargs: value,
    }
    tracing = _Tracing(torch, _C=_Tracing(torch._C, _get_tracing_state=lambda: True))
    utilities = importlib.import_module("pyro.infer.util")
    modules = [importlib.import_module(f"pyro.infer.{name}") for name in LOSSES]
    places: list[tuple[Any, str, Any]] = [(utilities, "torch", tracing)]
    for module in (*modules, utilities):
        places += [(module, name, stand_in) for name, stand_in in stand_ins.items() if hasattr(module, name)]
    return places
