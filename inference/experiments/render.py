"""Draw a run: its training curves, and the pictures of its recipe."""

from dataclasses import replace
from pathlib import Path

from pyro.infer import ELBO

from inference.experiments.evaluate import evaluated_run
from inference.experiments.evaluation import read_evaluation
from inference.experiments.runs import TrainedRun
from inference.gallery.picture import caption_of, save
from inference.pictures.theme import colours_of
from inference.pictures.training_curves import History, draw_training_curves, training_panels
from inference.recipes import Recipe
from inference.runs.checkpoints import write_bytes
from inference.runs.folder import RunFolder

PICTURES = "pictures"  # in the run's folder
TRAINING = "training.png"
CAPTIONS = "captions.md"  # what each picture shows, beside the pictures
TRAINING_CAPTION = (
    "The course of training. Bound: solid on validation videos, dashed on training batches under the site weights of "
    "that step; higher is better. Axes are scaled to the values after the first tenth of the steps."
)


def render(run: TrainedRun, folder: Path | None = None) -> list[Path]:
    """Draw what a run has learned.

    Args:
        run: from `load_run`.
        folder: output folder; None = `pictures` in the run's folder.

    Returns:
        The pictures written; captions.md beside them says what each shows.
    """
    folder = run.folder.path / PICTURES if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    evaluation = read_evaluation(run.folder)
    evaluated = replace(evaluated_run(run), found={} if evaluation is None else evaluation.scores)
    drawn = [path for picture in run.recipe.pictures() for path in picture.draw(evaluated, folder)]
    drawn = [*_training(run, folder), *drawn]
    write_bytes(folder / CAPTIONS, "".join(f"**{path.name}**: {caption(run, path)}\n\n" for path in drawn).encode())
    return drawn


def caption(run: TrainedRun, path: Path) -> str:
    """What a picture that `render` has drawn shows.

    Args:
        run: the run.
        path: the picture.
    """
    return TRAINING_CAPTION if path.name == TRAINING else caption_of(run.recipe.pictures(), path)


def training_history(run: RunFolder, recipe: Recipe) -> History:
    """What a run of a recipe recorded while it was trained."""
    return History(run.metrics(), run.timing(), loss_is_bound=isinstance(recipe.loss(), ELBO))


def _training(run: TrainedRun, folder: Path) -> list[Path]:
    """The training curves; none if the run has no records of its training."""
    name = run.folder.path.absolute().name
    panels = training_panels({name: training_history(run.folder, run.recipe)})
    return [save(draw_training_curves(panels, colours_of([name])), folder / TRAINING)] if panels else []
