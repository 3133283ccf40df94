"""Memory of this machine, and numbers whose tensors cannot fit in it."""

import math
import os

GIGABYTE = 1e9


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
