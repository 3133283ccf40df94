"""Arguments of the kinds that annotations state, refused in words where they are not."""

import functools
import inspect
import math
import operator
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints, overload

import numpy as np
import torch

Function = TypeVar("Function", bound=Callable[..., Any])
Kind = TypeVar("Kind", bound=type)


@overload
def typed(function: Function) -> Function: ...
@overload
def typed(*, left: tuple[str, ...]) -> Callable[[Function], Function]: ...
def typed(function: Any = None, *, left: tuple[str, ...] = ()) -> Any:
    """Check the kinds of a function's arguments before it runs: whole and finite numbers, words, tensors, classes.

    What else annotations say, such as what is in a mapping, is left to the function.

    Args:
        function: the function.
        left: arguments whose kind the function checks by itself, since it knows what to write instead.

    Raises:
        TypeError: by the function, if an argument is of another kind; names it, and what it got.
        ValueError: by the function, if a number is NaN or infinite, or tensors are on different devices.
    """
    if function is None:
        return functools.partial(typed, left=left)

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        given = _signature(function).bind(*args, **kwargs).arguments
        for name, kind in _hints(function).items():
            if name in given and name not in left:
                check_kind(name, given[name], kind)
        _check_devices(given)
        return function(*args, **kwargs)

    return checked


def _check_devices(given: dict[str, Any]) -> None:
    """Refuse tensors on different devices."""
    tensors = {name: value for name, value in given.items() if isinstance(value, torch.Tensor)}
    for name, value in tensors.items():
        first = next(iter(tensors))
        if value.device != tensors[first].device:
            there = tensors[first].device
            raise ValueError(f"{name}: expected a tensor on {there}, as {first}, got one on {value.device}; move it")


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
        ValueError: if a number is NaN or infinite.
    """
    _check_fits(name, value, kind)
    _check_finite(name, value)


def _check_fits(name: str, value: Any, kind: Any) -> None:
    kinds = tuple(_alternatives(kind))
    if not any(_fits(value, one) for one in kinds):
        words = " or ".join(dict.fromkeys(map(_in_words, kinds)))
        got = f"{value!r:.60} ({type(value).__name__})" if isinstance(value, _PLAIN) else type(value).__name__
        raise TypeError(f"{name}: expected {words}, got {got}")


def _check_finite(name: str, value: Any) -> None:
    numbers = value if isinstance(value, tuple | list) else (value,)
    if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
        raise ValueError(f"{name}: expected finite numbers, got {value}")


_PLAIN = (bool, int, float, str, bytes, NoneType, list, tuple, dict)


@functools.cache
def _hints(thing: Any) -> dict[str, Any]:
    hints = get_type_hints(thing)
    hints.pop("return", None)
    return hints


_signature = functools.cache(inspect.signature)


def _alternatives(kind: Any) -> Iterator[Any]:
    if get_origin(kind) in (Union, UnionType):
        for one in get_args(kind):
            yield from _alternatives(one)
    else:
        yield kind


def _fits(value: Any, kind: Any) -> bool:
    origin = get_origin(kind)
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
    if origin is tuple:
        return _fits_tuple(value, get_args(kind))
    if kind is Path:
        return isinstance(value, str | os.PathLike)
    if isinstance(origin, type) and not isinstance(value, str):
        return isinstance(value, origin)  # a mapping, a sequence or a function, whatever is in it
    if not isinstance(kind, type):
        return not isinstance(origin, type)  # a word is no sequence here
    return isinstance(value, kind) if getattr(kind, "_is_runtime_protocol", True) else True


def _fits_tuple(value: Any, kinds: tuple[Any, ...]) -> bool:
    if not isinstance(value, tuple | list):
        return False
    if kinds[-1:] == (...,):
        return all(_fits(one, kinds[0]) for one in value)
    return len(value) == len(kinds) and all(map(_fits, value, kinds))


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


def _in_words(kind: Any) -> str:
    if _is_tensor(kind):
        return "a torch.Tensor"
    words = {int: "a whole number", float: "a number", str: "a word", bool: "True or False", NoneType: "None"}
    if kind in words:
        return words[kind]
    if get_origin(kind) is tuple:
        each = [_in_words(one) for one in get_args(kind) if one is not ...]
        return f"a tuple of {', '.join(each)}" if each else "a tuple"
    words = {"Callable": "a function", "Mapping": "a mapping", "Sequence": "a sequence"}
    name = getattr(get_origin(kind) or kind, "__name__", str(kind))
    return words.get(name, f"{'an' if name[0] in 'AEIO' else 'a'} {name}")
