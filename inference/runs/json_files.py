"""JSON files of a run: read with a clear error whatever is in them, appended to line by line."""

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inference.runs.schema import brief
from inference.runs.writing import writing

DEEPEST = 50  # levels of lists and objects: no file of ours has more than six, and deep ones exhaust the stack


def to_json(value: Any) -> bytes:
    """A JSON file that people read."""
    return (json.dumps(value, indent=2) + "\n").encode()


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        ValueError: if it is not there, no JSON, or nested too deeply; names it.
    """
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: expected JSON ({error})") from error
    except RecursionError:
        value = None
    if value is None or _is_deeper_than(DEEPEST, value):
        what = "null" if value is None and path.stat().st_size < 100 else f"lists or objects more than {DEEPEST} deep"
        raise ValueError(f"{path}: expected a JSON record, got {what}")
    return value


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a file with one JSON object a line; a truncated last line is left out with a warning.

    Raises:
        ValueError: if another line is no JSON object; names it.
    """
    if not path.exists():
        return []
    records = []
    lines = path.read_bytes().decode(errors="replace").splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        try:
            if not line.endswith("\n"):
                raise ValueError("no end of line")
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError(f"expected an object, got {brief(record)}")
            records.append(record)
        except (ValueError, RecursionError) as error:
            if number < len(lines):
                raise ValueError(f"{path}: line {number} is not JSON ({error})") from error
            warnings.warn(f"{path}: the last line was cut off ({error}); leaving it out", stacklevel=3)
    return records


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Add a line to a file, or nothing if there is no room for the whole line.

    Raises:
        RunWriteError: if it cannot be written.
    """
    rest = (json.dumps(dict(record), allow_nan=False) + "\n").encode()
    with writing(path), open(path, "ab", buffering=0) as file:
        before = file.seek(0, os.SEEK_END)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(before)
            raise


def _is_deeper_than(limit: int, value: Any) -> bool:
    """Whether lists and mappings are nested more deeply, without recursion."""
    level = [value]
    for _ in range(limit):
        inner = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)]
        level = [item for items in inner for item in items]
        if not level:
            return False
    return True
