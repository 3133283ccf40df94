"""What a person sees while a run trains: a bar and curves."""

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
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


class TensorBoard:
    """Scalars as TensorBoard event files.

    Args:
        folder: where.
        step: the step from which a resumed run continues; later events of the folder are void.

    Raises:
        ValueError: if the package tensorboard is not installed.
    """

    def __init__(self, folder: Path, step: int) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            raise ValueError(
                "tensorboard: expected the package tensorboard, it is not installed; pip install tensorboard"
            )
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def write(self, record: Mapping[str, Any]) -> None:
        """Write every number of a record of metrics at its step."""
        for name, value in record.items():
            if name != "step" and isinstance(value, int | float):
                self._writer.add_scalar(name, value, record["step"])

    def close(self) -> None:
        """Write what is left and close the file."""
        self._writer.close()
