"""Options of a recipe as text, for the command line and a run's config.json."""

import difflib
import functools
import types
import typing
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a word", Path: "a path"}


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


def parse(option: str, text: str, hint: Any) -> Any:
    """A value of a field's type from its text on the command line.

    Args:
        option: name on the command line, without leading dashes.
        text: the value.
        hint: type of the field.

    Raises:
        OptionError: if the text is not a value of this type.
    """
    if typing.get_origin(hint) is typing.Literal:
        return text  # `check_words` checks it
    choices = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if type(None) in choices and text.lower() == "none":
        return None
    for choice in choices:
        if choice is bool and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if choice in (int, float, str, Path):
            try:
                return choice(text)
            except ValueError:
                continue
        if typing.get_origin(choice) is tuple:
            items = typing.get_args(choice)
            try:
                values = tuple(items[0](part) for part in text.split(",") if part)
            except ValueError:
                continue
            if Ellipsis in items or len(values) == len(items):
                return values
    raise OptionError(f"--{option}: expected {_describe(choices)}, got {text!r}")


def as_text(value: object) -> str:
    """A value as text that `parse` reads back."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "none" if value is None else str(value)


def _describe(choices: tuple[Any, ...]) -> str:
    return " or ".join(
        "none" if choice is type(None) else WORDS.get(choice, "numbers with commas") for choice in choices
    )
