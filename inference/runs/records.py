"""Records that were written as JSON."""

from collections.abc import Mapping
from typing import Any


def with_tuples(record: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has lists where our records have tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in record.items()}
