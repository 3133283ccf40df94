"""Trained weights that come with the package: `load("air-small")`.

Each is a run folder in `trained/`, with the weights of the best validation bound in half precision, and CARD.md, which
says how they were trained, what they score, and what they are bad at. `benchmarks/package_run.py` makes one.
"""

import difflib
from pathlib import Path

from inference.runs.folder import CONFIG

TRAINED = Path(__file__).parent / "trained"
CARD = "CARD.md"


def packaged_names() -> list[str]:
    """Names of the trained weights that come with the package."""
    return sorted(path.parent.name for path in TRAINED.glob(f"*/{CONFIG}"))


def found_run(path: str | Path) -> Path:
    """The folder of a run: the given one, or that of the weights of this name if there is no such folder.

    Args:
        path: a folder, or a name.

    Raises:
        ValueError: if there is neither; lists the names.
    """
    folder = Path(path)
    if folder.exists():
        return folder
    names = packaged_names()
    if str(path) in names:
        return TRAINED / str(path)
    near = difflib.get_close_matches(str(path), names, n=1)
    raise ValueError(
        f"run: expected a folder, or the name of weights that come with the package ({', '.join(names) or 'none'}), "
        f"got {str(path)!r}" + (f"; did you mean {near[0]!r}?" if near else "")
    )


def card(name: str) -> str:
    """The card of some weights, as text.

    Raises:
        ValueError: if there are no weights of this name.
    """
    path = found_run(name) / CARD
    if not path.is_file():
        raise ValueError(
            f"run: expected weights that come with the package ({', '.join(packaged_names())}), got {name!r}"
        )
    return path.read_text()
