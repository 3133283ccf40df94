"""What a person sees while a run trains: a bar."""

import sys
from collections.abc import Mapping
from typing import Any

from tqdm.auto import tqdm


class ProgressBar:
    """Steps done, with the latest loss, validation bound and learning rate; silent when nobody would see it.

    Args:
        total: steps in all.
        done: steps behind.
        wanted: False keeps it silent; True shows it if standard error is a terminal, or in a notebook.
    """

    def __init__(self, total: int, done: int, wanted: bool) -> None:
        seen = sys.stderr.isatty() or "ipykernel" in sys.modules
        self._bar = tqdm(total=total, initial=done, unit="step", disable=not (wanted and seen))
        self._values: dict[str, str] = {}

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def advance(self, record: Mapping[str, Any] | None) -> None:
        """One step further; a record of metrics, if there is one, replaces the numbers shown."""
        if record is not None:
            names = {"loss": "loss", "validation_bound": "validation", "learning_rate": "lr"}
            self._values |= {
                names[name]: f"{value:.5g}" for name, value in record.items() if name in names and value is not None
            }
            self._bar.set_postfix(self._values, refresh=False)
        self._bar.update()
