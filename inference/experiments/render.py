"""Draw a run: the pictures of its recipe."""

from dataclasses import replace
from pathlib import Path

from inference.experiments.evaluate import evaluated_run
from inference.experiments.evaluation import read_evaluation
from inference.experiments.runs import TrainedRun


def render(run: TrainedRun, folder: Path | None = None) -> list[Path]:
    """Draw what a run has learned.

    Args:
        run: from `load_run`.
        folder: output folder; None = `pictures` in the run's folder.

    Returns:
        The files written.
    """
    folder = run.folder.path / "pictures" if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    evaluation = read_evaluation(run.folder)
    evaluated = replace(evaluated_run(run), found={} if evaluation is None else evaluation.scores)
    return [path for picture in run.recipe.pictures() for path in picture.draw(evaluated, folder)]
