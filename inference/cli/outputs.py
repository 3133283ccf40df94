"""Files that a command is told to write: refused before the work, not after it."""

from collections.abc import Mapping
from pathlib import Path

PICTURES = (".png", ".pdf", ".svg")


def check_output(
    option: str,
    path: Path | None,
    kinds: tuple[str, ...] = (),
    *,
    others: Mapping[str, Path] | None = None,
    replaces: bool = False,
) -> None:
    """Refuse a file that cannot be written, or that would replace another.

    Args:
        option: the option that names it, without dashes.
        path: the file; None = not given.
        kinds: endings, one of which it must have; none = any.
        others: files that it must not be, by what they are.
        replaces: whether it may replace a file that is there.

    Raises:
        ValueError: if it is refused.
    """
    if path is None:
        return
    if kinds and path.suffix not in kinds:
        raise ValueError(f"--{option}: expected a file ending in {', '.join(kinds)}, got {path}")
    if path.is_dir():
        raise ValueError(f"--{option}: expected a file to write, got the folder {path}")
    for name, other in (others or {}).items():
        if path.absolute() == other.absolute():
            raise ValueError(f"--{option}: expected a file other than {name}, got {path}")
    if path.exists() and not replaces:
        raise ValueError(f"--{option}: expected a file that is not there yet, got {path}; --overwrite replaces it")
