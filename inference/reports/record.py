"""Everything that the folder of a run says about it, read without building its model."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.experiments.evaluation import Evaluation, read_evaluation
from inference.experiments.render import PICTURES, TRAINING, training_history
from inference.experiments.runs import recipe_of
from inference.pictures.training_curves import History
from inference.recipes import Recipe
from inference.runs.checkpoints import DamagedCheckpointError, read_weights
from inference.runs.folder import RunFolder


@dataclass(frozen=True)
class RunRecord:
    """A run as its folder describes it.

    Attributes:
        folder: the folder.
        name: name of the folder.
        recipe: the recipe it was trained by; None if it was trained without one, by `inference.train`.
        history: what was recorded while it was trained.
        evaluation: scores; None if it has not been evaluated.
        pictures: files that `kinema render` has drawn, in the order of their names, but for the training curves.
        best: step and validation bound of its best weights; empty if they are not there.
    """

    folder: RunFolder
    name: str
    recipe: Recipe[Any, Any, Any] | None
    history: History
    evaluation: Evaluation | None
    pictures: tuple[Path, ...]
    best: Mapping[str, Any]

    @property
    def steps_taken(self) -> int:
        """Steps of training so far, as far as they are recorded."""
        return max([0, *(record["step"] for record in (*self.history.metrics, *self.history.timing))])

    @property
    def minutes(self) -> float | None:
        """Time in the training loop; None if it was not recorded."""
        return self.history.timing[-1]["seconds"] / 60 if self.history.timing else None

    @property
    def is_stale(self) -> bool:
        """Whether the evaluation is of other weights than those that are now the best."""
        return self.evaluation is not None and self.best.get("step", self.evaluation.step) != self.evaluation.step


def read_run(path: str | Path) -> RunRecord:
    """Read the folder of a run.

    Args:
        path: the folder; one that holds only records, without weights, will do.

    Raises:
        ValueError: if the folder is no run, a record is damaged, or its recipe is not known to this version.
    """
    folder = RunFolder.open(path)
    recipe = recipe_of(folder.config) if "recipe" in folder.config else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a run that is being trained has half a last line
        history = History(folder.metrics(), folder.timing()) if recipe is None else training_history(folder, recipe)
    pictures = folder.path / PICTURES
    return RunRecord(
        folder=folder,
        name=folder.path.absolute().name,
        recipe=recipe,
        history=history,
        evaluation=None if recipe is None else read_evaluation(folder),
        pictures=tuple(
            sorted(path for path in pictures.glob("*") if path.suffix in (".png", ".gif") and path.name != TRAINING)
        ),
        best=_best(folder),
    )


def _best(folder: RunFolder) -> Mapping[str, Any]:
    if not folder.best_path.is_file():
        return {}
    try:
        return read_weights(folder.best_path)[1]
    except (DamagedCheckpointError, OSError):
        return {}
