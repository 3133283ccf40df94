"""Arguments of the kinds that annotations state, refused in words where they are not."""

import functools
import inspect
import math
import operator
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints, overload

import numpy as np
import torch
from annotated_types import Ge, Gt
from typing_extensions import TypeAliasType

from videos.memory import check_room

Count = TypeAliasType("Count", Annotated[int, Ge(1)])
"""A number of things: 1, 2, 3, ..."""
CountOrZero = TypeAliasType("CountOrZero", Annotated[int, Ge(0)])
Positive = TypeAliasType("Positive", Annotated[float, Gt(0.0)])
PositiveOrZero = TypeAliasType("PositiveOrZero", Annotated[float, Ge(0.0)])
FrameShape = TypeAliasType("FrameShape", tuple[Count, Count, Count])
"""Channels, height and width."""
SMALLEST = 8
"""Bytes that a size takes at the very least: a weight and its gradient, or two numbers, for each of its elements."""

Function = TypeVar("Function", bound=Callable[..., Any])
Kind = TypeVar("Kind", bound=type)


@overload
def typed(function: Function) -> Function: ...
@overload
def typed(*, left: tuple[str, ...]) -> Callable[[Function], Function]: ...
def typed(function: Any = None, *, left: tuple[str, ...] = ()) -> Any:
    """Check a function's arguments by its annotations before it runs.

    These are whole and finite numbers and their bounds (`Count`, `Positive`), words, tensors, classes. What else
    annotations say, such as what is in a mapping, is left to the function. A whole number is handed on as a float where
    one is annotated, so that a buffer made of it holds floats.

    Args:
        function: the function.
        left: arguments whose kind the function checks by itself, since it knows what to write instead.

    Raises:
        TypeError: by the function, if an argument is of another kind; names it, and what it got.
        ValueError: by the function, if a number is NaN, infinite or out of bounds, a size does not fit into memory, or
            tensors are on different devices.
    """
    if function is None:
        return functools.partial(typed, left=left)

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        bound = _signature(function).bind(*args, **kwargs)
        for name, kind in _hints(function).items():
            if name in bound.arguments and name not in left:
                check_kind(name, bound.arguments[name], kind)
                bound.arguments[name] = _as_floats(bound.arguments[name], kind)
        _check_devices(bound.arguments)
        return function(*bound.args, **bound.kwargs)

    return checked


def _check_devices(given: dict[str, Any]) -> None:
    """Refuse tensors on different devices."""
    tensors = {name: value for name, value in given.items() if isinstance(value, torch.Tensor)}
    for name, value in tensors.items():
        first = next(iter(tensors))
        if value.device != tensors[first].device:
            there = tensors[first].device
            raise ValueError(f"{name}: expected a tensor on {there}, as {first}, got one on {value.device}; move it")


def device_of(device: torch.device | str) -> torch.device:
    """The device of an argument `device`.

    Raises:
        ValueError: if torch knows none of this name.
    """
    try:
        return torch.device(device)
    except RuntimeError:
        raise ValueError(f"device: expected cpu, cuda, cuda:1 or another device of torch, got {device!r}") from None


@overload
def typed_fields(kind: Kind) -> Kind: ...
@overload
def typed_fields(*, left: tuple[str, ...]) -> Callable[[Kind], Kind]: ...
def typed_fields(kind: Any = None, *, left: tuple[str, ...] = ()) -> Any:
    """The same for the fields of a dataclass: kinds before its own checks run, finite numbers after them.

    Args:
        kind: the dataclass.
        left: fields whose kind the class checks by itself, since it knows what to write instead.
    """
    if kind is None:
        return functools.partial(typed_fields, left=left)
    own = getattr(kind, "__post_init__", None)

    def checked(self: Any) -> None:
        given = {name: getattr(self, name) for name in _hints(type(self)) if hasattr(self, name) and name not in left}
        for name, value in given.items():
            _check_fits(name, value, _hints(type(self))[name])
        if own is not None:
            own(self)
        for name, value in given.items():
            _check_finite(name, value)

    kind.__post_init__ = checked  # pyright: ignore[reportAttributeAccessIssue]
    return kind


def check_kind(name: str, value: Any, kind: Any) -> None:
    """Refuse a value that is not of the kind of an annotation.

    Args:
        name: of the argument.
        value: given for it.
        kind: its annotation.

    Raises:
        TypeError: names the argument, what was expected, and what came.
        ValueError: if a number is NaN, infinite or out of bounds, or a size does not fit into memory.
    """
    _check_fits(name, value, kind)
    _check_finite(name, value)
    _check_bounds(name, value, kind)


def _check_fits(name: str, value: Any, kind: Any) -> None:
    kinds = tuple(_alternatives(kind))
    if not any(_fits(value, one) for one in kinds):
        got = f"{value!r:.60} ({type(value).__name__})" if isinstance(value, _PLAIN) else type(value).__name__
        raise TypeError(f"{name}: expected {_either(kinds)}, got {got}")


def _check_finite(name: str, value: Any) -> None:
    numbers = value if isinstance(value, tuple | list) else (value,)
    if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
        raise ValueError(f"{name}: expected finite numbers, got {value}")


def _check_bounds(name: str, value: Any, kind: Any) -> None:
    """Refuse numbers out of the bounds of their annotation, also in a tuple."""
    kinds = tuple(_alternatives(kind))
    kind = next(one for one in kinds if _fits(value, one))
    if _states_elements(kind):
        for one, its in zip(value, _kinds_inside(value, kind), strict=True):
            _check_bounds(name, one, its)
    elif get_origin(kind) is Annotated:
        least = _least(kind)
        if not (value > least.gt if isinstance(least, Gt) else value >= least.ge):
            raise ValueError(f"{name}: expected {_either(kinds)}, got {value}")
        if kind.__origin__ is int:
            check_room(name, value, SMALLEST, "numbers")


def _as_floats(value: Any, kind: Any) -> Any:
    """The value, with whole numbers as floats where floats are annotated."""
    kind = next(one for one in _alternatives(kind) if _fits(value, one))
    if get_origin(kind) is tuple:
        return (list if isinstance(value, list) else tuple)(map(_as_floats, value, _kinds_inside(value, kind)))
    plain = kind.__origin__ if get_origin(kind) is Annotated else kind
    return float(value) if plain is float else value


def _least(kind: Any) -> Ge | Gt:
    return next(one for one in kind.__metadata__ if isinstance(one, Ge | Gt))


_PLAIN = (bool, int, float, str, bytes, NoneType, list, tuple, dict)


@functools.cache
def _hints(thing: Any) -> dict[str, Any]:
    hints = get_type_hints(thing, include_extras=True)
    hints.pop("return", None)
    return {name: _without_aliases(kind) for name, kind in hints.items()}


def _without_aliases(kind: Any) -> Any:
    """An annotation with `Count` and the like written out."""
    if isinstance(kind, TypeAliasType):
        return _without_aliases(kind.__value__)
    inside = get_args(kind)
    if get_origin(kind) in (Union, UnionType):
        return Union[tuple(map(_without_aliases, inside))]  # noqa: UP007 - made of what was found
    if get_origin(kind) in (tuple, Sequence):
        return get_origin(kind)[tuple(one if one is ... else _without_aliases(one) for one in inside)]
    return kind


_signature = functools.cache(inspect.signature)


def _alternatives(kind: Any) -> Iterator[Any]:
    if get_origin(kind) in (Union, UnionType):
        for one in get_args(kind):
            yield from _alternatives(one)
    else:
        yield kind


def _fits(value: Any, kind: Any) -> bool:
    origin = get_origin(kind)
    if origin is Annotated:
        return _fits(value, kind.__origin__)
    if kind is Any:  # a class from Python 3.11 on, of which nothing is an instance
        return True
    if _is_tensor(kind):
        return isinstance(value, torch.Tensor)
    if kind is int:
        return not isinstance(value, bool | np.bool_) and _is_whole(value)
    if kind is float:
        return not isinstance(value, bool | np.bool_) and (isinstance(value, float | np.floating) or _is_whole(value))
    if origin is Literal:
        return isinstance(value, str) or value in get_args(kind)  # the function lists the words
    if _states_elements(kind):
        if not isinstance(value, (tuple, list) if origin is tuple else Sequence) or isinstance(value, str | bytes):
            return False
        inside = _kinds_inside(value, kind)
        return len(value) == len(inside) and all(map(_fits, value, inside))
    if kind is Path:
        return isinstance(value, str | os.PathLike)
    if isinstance(origin, type) and not isinstance(value, str):
        return isinstance(value, origin)  # a mapping, a sequence or a function, whatever is in it
    if not isinstance(kind, type):
        return not isinstance(origin, type)  # a word is no sequence here
    return isinstance(value, kind) if getattr(kind, "_is_runtime_protocol", True) else True


def _states_elements(kind: Any) -> bool:
    """Whether elements are looked at: those of tuples, and of sequences of numbers."""
    if get_origin(kind) is not Sequence:
        return get_origin(kind) is tuple
    (element,) = get_args(kind)
    return element in (int, float) or get_origin(element) is Annotated


def _kinds_inside(value: Any, kind: Any) -> tuple[Any, ...]:
    """Annotations of the elements of a tuple or a sequence; as many as there are, if it may be of any length."""
    kinds = get_args(kind)
    return kinds[:1] * len(value) if get_origin(kind) is Sequence or kinds[-1:] == (...,) else kinds


def _is_tensor(kind: Any) -> bool:
    """Whether an annotation is a tensor, of a shape that is written into it or not."""
    return isinstance(kind, type) and issubclass(getattr(kind, "array_type", kind), torch.Tensor)


def _is_whole(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return False
    try:
        operator.index(value)
    except TypeError:
        return False
    return True


def _either(kinds: tuple[Any, ...]) -> str:
    return " or ".join(dict.fromkeys(map(_in_words, kinds)))


def _in_words(kind: Any) -> str:
    if _is_tensor(kind):
        return "a torch.Tensor"
    if get_origin(kind) is Annotated:
        least = _least(kind)
        if isinstance(least, Gt):
            return "a positive number"
        return f"{_in_words(kind.__origin__)} of at least {least.ge:g}"
    words = {int: "a whole number", float: "a number", str: "a word", bool: "True or False", NoneType: "None"}
    if kind in words:
        return words[kind]
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, get_args(kind)))
    if get_origin(kind) is tuple:
        each = [_in_words(one) for one in get_args(kind) if one is not ...]
        if len(each) > 1 and len(set(each)) == 1:
            return f"a tuple of {len(each)}, each {each[0]}"
        return f"a tuple of {', '.join(each)}" if each else "a tuple"
    if get_origin(kind) is Sequence and _states_elements(kind):
        return f"a sequence of {_in_words(get_args(kind)[0])}"
    words = {"Callable": "a function", "Mapping": "a mapping", "Sequence": "a sequence"}
    name = getattr(get_origin(kind) or kind, "__name__", str(kind))
    return words.get(name, f"{'an' if name[0] in 'AEIO' else 'a'} {name}")
