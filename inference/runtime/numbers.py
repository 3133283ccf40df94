"""Numbers that users give: whole and large enough, finite and positive."""

import math
import operator
from typing import Any


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
