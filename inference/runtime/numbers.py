"""Numbers that users give: whole and large enough, finite and positive, small enough for this machine's memory."""

import math
import operator
import os
from typing import Any

GIGABYTE = 1e9


def check_count(name: str, number: Any, least: int = 1) -> None:
    """Refuse what is no whole number of at least `least`.

    Raises:
        TypeError: if it is no integer.
        ValueError: if it is too small.
    """
    try:
        if isinstance(number, bool):
            raise TypeError
        operator.index(number)
    except TypeError:
        raise TypeError(
            f"{name}: expected a whole number of at least {least}, got {number!r} ({type(number).__name__})"
        ) from None
    if number < least:
        raise ValueError(f"{name}: expected at least {least}, got {number}")


def check_positive(name: str, number: Any, *, or_zero: bool = False) -> None:
    """Refuse what is no positive, finite number; or no number from 0 on.

    Raises:
        TypeError: if it is no number.
        ValueError: if it is not positive, infinite or NaN.
    """
    kind = "number of at least 0" if or_zero else "positive number"
    try:
        value = float(number)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected a {kind}, got {number!r} ({type(number).__name__})") from None
    if not 0 <= value < math.inf or (value == 0 and not or_zero):
        finite = "" if math.isfinite(value) else "finite " if or_zero else "finite, "
        raise ValueError(f"{name}: expected a {finite}{kind}, got {number}")


def check_room(name: str, number: int, bytes_each: int, what: str) -> None:
    """Refuse a number whose tensors cannot fit in the memory of this machine.

    Args:
        name: of the argument.
        number: given for it.
        bytes_each: least memory that each of them takes.
        what: what takes it, in words.

    Raises:
        ValueError: with the gigabytes that it would take.
    """
    needed, there = number * bytes_each, memory()
    if needed > there:
        raise ValueError(
            f"{name}: expected at most {int(there / bytes_each):,}, whose {what} fit in the {there / GIGABYTE:.1f} GB "
            f"of memory of this machine, got {number:,}, which take {needed / GIGABYTE:,.1f} GB; give fewer"
        )


def memory() -> float:
    """Memory of this machine, bytes; infinite where it is not known."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return math.inf
