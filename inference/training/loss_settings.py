"""What a loss was set to, as plain values: for the record of a run, which a resumed run is compared with."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pyro.infer import ELBO
from torch import nn

from inference.estimators.objective import Loss
from inference.runs.folder import describe


def loss_settings(loss: Loss) -> dict[str, Any]:
    """The class of a loss and its options, the same in every process.

    Recorded are public attributes that are numbers, flags, text, schedules and other functions, losses inside a loss,
    and tuples, mappings and dataclasses of these; of modules, the class. What a loss finds out about a model is not.

    Args:
        loss: of a run or a stage.
    """
    public = {name: value for name, value in sorted(vars(loss).items()) if not name.startswith("_")}
    return {"name": type(loss).__name__} | dict(_recorded(public))


def flat_loss_settings(loss: Loss) -> dict[str, Any]:
    """What checkpoints of Kinema 0.1.0 recorded: numbers, flags and text alone."""
    recorded = loss_settings(loss)
    flat = [name for name, value in vars(loss).items() if isinstance(value, bool | int | float | str)]
    return {name: value for name, value in recorded.items() if name == "name" or name in flat}


def _recorded(values: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        plain = None if name == "max_plate_nesting" else _plain(value)
        if plain is not None:
            yield str(name), plain


def _plain(value: Any) -> Any:
    """Text, or a mapping or list of such; None for what is not recorded."""
    if isinstance(value, nn.Module):
        return type(value).__name__
    if isinstance(value, ELBO) or hasattr(value, "differentiable_loss"):
        return loss_settings(value)
    if isinstance(value, bool | int | float | str) or callable(value):
        return describe(value)
    if is_dataclass(value):
        return dict(_recorded({field.name: getattr(value, field.name) for field in fields(value)}))
    if isinstance(value, Mapping):
        return dict(_recorded(value))
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return None
