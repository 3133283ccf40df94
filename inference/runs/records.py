"""Records read from JSON."""

from collections.abc import Mapping
from typing import Any


def with_tuples(record: Mapping[str, Any]) -> dict[str, Any]:
    """Convert lists, which JSON has instead of tuples, back to tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in record.items()}
