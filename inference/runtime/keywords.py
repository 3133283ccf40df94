"""Keyword settings of functions, collected as `**settings`: a checked record of them, unknown ones refused by name."""

import difflib
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

T = TypeVar("T")


def settings_of(
    function: Callable[..., Any], kind: type[T], given: Mapping[str, Any], former: Mapping[str, str] | None = None
) -> T:
    """The record of a function's keyword settings, with defaults for those that are not given.

    Args:
        function: the function, which has other arguments besides.
        kind: a dataclass whose fields are the settings, with their defaults; it checks their values.
        given: what was given.
        former: names of earlier versions, and what to write instead.

    Raises:
        TypeError: for a keyword that is no setting; suggests the nearest, among settings and arguments.
    """
    names, former = [field.name for field in fields(kind)], former or {}  # pyright: ignore[reportArgumentType]
    unknown = [name for name in given if name not in names]
    if not unknown:
        return kind(**given)
    listed = f"{', '.join(unknown)}: expected settings of {function.__name__} ({', '.join(names)}), got"
    if renamed := [former[name] for name in unknown if name in former]:
        raise TypeError(f"{listed} what it no longer has; write {' or '.join(renamed)}")
    arguments = [name for name in inspect.signature(function).parameters if name != "settings"]
    raise TypeError(f"{listed} what it does not have; {suggestion(unknown, [*names, *arguments])}")


def split_settings(kind: type[T], given: Mapping[str, Any]) -> tuple[T, dict[str, Any]]:
    """The record of the settings among some keywords, and the other keywords.

    Args:
        kind: a dataclass whose fields are the settings, with their defaults.
        given: keywords.
    """
    names = {field.name for field in fields(kind)}  # pyright: ignore[reportArgumentType]
    others = {name: value for name, value in given.items() if name not in names}
    return kind(**{name: value for name, value in given.items() if name in names}), others


def suggestion(unknown: Iterable[str], known: Collection[str]) -> str:
    """What to do about unknown names: take the nearest known ones, or leave them out."""
    near = [match for name in unknown for match in difflib.get_close_matches(name, known, n=1)]
    return f"did you mean {', '.join(near)}?" if near else "leave it out"
