"""Whether there is room on the disk for what a training will write."""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

_log = logging.getLogger(__name__)

MOMENTS = 2  # tensors that Adam keeps for each parameter; other optimizers keep fewer


def needed_bytes(weights: Mapping[str, Tensor], parameters: Mapping[str, Tensor], keep_last: int) -> int:
    """About how much a training writes: checkpoints that are kept and a new one, best weights and their successor.

    Args:
        weights: of a checkpoint.
        parameters: those of them that learn.
        keep_last: checkpoints that are kept.
    """
    size = sum(tensor.nbytes for tensor in weights.values())
    state = MOMENTS * sum(tensor.nbytes for tensor in parameters.values())
    return (keep_last + 1) * (size + state) + 2 * size


def warn_of_little_room(folder: Path, needed: int) -> None:
    """Log a warning if there is less room on a folder's disk than is needed beyond what the folder already takes."""
    taken = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    free = shutil.disk_usage(folder).free
    if free < needed - taken:
        _log.warning(
            "%s: the training will take about %s, and %s are free; make room, or train into a folder on another disk",
            *(folder, _size(needed - taken), _size(free)),
        )


def _size(number: int | float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"
