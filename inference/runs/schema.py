"""Fields of records that are read from files: which there must be, and of which type."""

import reprlib
from collections.abc import Mapping
from typing import Any, get_type_hints

from typeguard import TypeCheckError, check_type


def check_fields(record: Any, kind: type, where: object) -> None:
    """Refuse a record that is not as described; fields that are not described are let through.

    Args:
        record: what was read.
        kind: a `TypedDict` of the fields.
        where: the file, and the place in it, for messages.

    Raises:
        ValueError: names every field that is missing or of another type, what was expected, and what came.
    """
    hints = get_type_hints(kind)
    if not isinstance(record, Mapping):
        raise ValueError(f"{where}: expected a record with the fields {', '.join(hints)}, got {brief(record)}")
    required = kind.__required_keys__  # pyright: ignore[reportAttributeAccessIssue]
    missing = [f"{name}: expected {words_for(hints[name])}, got none" for name in hints if name in required - {*record}]
    if problems := missing + mismatches(record, hints):
        raise ValueError(f"{where}: {'; '.join(problems)}")


def mismatches(record: Mapping[str, Any], hints: Mapping[str, Any]) -> list[str]:
    """The fields of a record whose values are of another type than they should be, with what was expected and came."""
    found = []
    for name, hint in hints.items():
        if name in record:
            try:
                check_type(record[name], hint)
            except TypeCheckError:
                found.append(f"{name}: expected {words_for(hint)}, got {brief(record[name])}")
    return found


def brief(value: Any) -> str:
    """A value and its type, shortened."""
    return f"{reprlib.repr(value)} ({type(value).__name__})"


def words_for(hint: Any) -> str:
    """A type in words."""
    return (
        hint.__name__ if isinstance(hint, type) and not hasattr(hint, "__args__") else str(hint).replace("typing.", "")
    )
