"""Options of a recipe: which there are, and which words they accept."""

import difflib
import functools
import typing
from collections.abc import Collection, Iterable, Mapping
from typing import Any


class OptionError(ValueError):
    """An option that a recipe does not have, or a value that it does not accept."""


def dashed(name: str) -> str:
    """A field's name as an option of the command line."""
    return name.replace("_", "-")


def check_names(options: Iterable[str], known: Collection[str], whose: str = "this recipe") -> None:
    """Refuse options that do not exist.

    Args:
        options: names of fields.
        known: names of existing options.
        whose: owner of the options, in words.

    Raises:
        OptionError: suggests the nearest option and lists all.
    """
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean --{dashed(near[0])}?" if near else "."
            listed = ", ".join("--" + dashed(one) for one in known) or "none"
            raise OptionError(f"--{dashed(name)}: no such option{hint} Options of {whose}: {listed}")


def check_words(kind: type, values: Mapping[str, Any]) -> None:
    """Refuse words that an option does not accept, for fields of a `Literal` type.

    Args:
        kind: a dataclass.
        values: values of some of its fields.

    Raises:
        OptionError: lists the accepted words.
    """
    for name, value in values.items():
        hint = hints_of(kind)[name]
        if typing.get_origin(hint) is typing.Literal and value not in typing.get_args(hint):
            raise OptionError(f"--{dashed(name)}: expected one of {', '.join(typing.get_args(hint))}, got {value!r}")


@functools.cache
def hints_of(kind: type) -> dict[str, Any]:
    """Types of the fields of a dataclass, by name."""
    return typing.get_type_hints(kind)
