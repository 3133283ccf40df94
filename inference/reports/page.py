"""One self-contained HTML file about one run or several."""

import base64
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from inference.experiments.evaluate import evaluate
from inference.experiments.evaluation import write_evaluation
from inference.experiments.render import render
from inference.experiments.runs import load_run
from inference.gallery.picture import caption_of
from inference.pictures.training_curves import training_panels
from inference.reports.charts import NUM_COLOURS, chart
from inference.reports.diagnosis import diagnose
from inference.reports.record import RunRecord, read_run
from inference.reports.tables import imputation_tables, option_rows, score_table, score_texts
from inference.runs.checkpoints import write_bytes

TEMPLATES = Path(__file__).parent / "templates"
KINDS = {".png": "image/png", ".gif": "image/gif"}


@dataclass(frozen=True)
class Shown:
    """A picture or film in the page.

    Attributes:
        source: its content, as a data URL.
        caption: what it shows.
        name: name of its file.
        is_film: whether it moves.
    """

    source: str
    caption: str
    name: str
    is_film: bool


def write_report(paths: Sequence[str | Path], output: str | Path) -> Path:
    """Write one HTML file about some runs: everything is inside it, and it loads nothing.

    Args:
        paths: folders of the runs; several are overlaid in the curves and beside one another in the tables.
        output: file to write; an older one is replaced.

    Returns:
        The file.

    Raises:
        ValueError: if there is no run, two have the same name, or a folder is no run.
    """
    runs = [read_run(path) for path in paths]
    names = [run.name for run in runs]
    if not runs:
        raise ValueError("runs: expected the folders of the runs to report on, got none; kinema report RUN")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            "runs: expected folders with different names, by which the page tells runs apart, got two with the name "
            f"{twice[0]!r}; rename one of them"
        )
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    panels = training_panels({run.name: run.history for run in runs})
    text = environment.get_template("page.html.jinja").render(
        style=Markup((TEMPLATES / "page.css").read_text()),
        title=names[0] if len(runs) == 1 else f"{len(runs)} runs",
        runs=[_shown(run, index) for index, run in enumerate(runs)],
        charts=[(panel, Markup(chart(panel, names))) for panel in panels],
        scores=score_table(runs),
        imputations=imputation_tables(runs),
    )
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(output, text.encode())
    return output


def complete(path: str | Path, device: torch.device | str = "cpu", progress: bool = False) -> None:
    """Evaluate and render a run where that is missing, or was done with weights that are no longer the best.

    Args:
        path: the run's folder.
        device: where.
        progress: show bars.

    Raises:
        ValueError: what `load_run` and `evaluate` raise.
    """
    found = read_run(path)
    if found.evaluation is not None and not found.is_stale and found.pictures:
        return
    run = load_run(path, device)
    if found.evaluation is None or found.is_stale:
        write_evaluation(run.folder, evaluate(run, progress=progress))
    if not found.pictures or found.is_stale:
        render(run)


def _shown(run: RunRecord, index: int) -> dict[str, Any]:
    """What the template shows of one run."""
    pictures = [_picture(run, path) for path in run.pictures]
    bounds = None if run.evaluation is None else run.evaluation.bounds
    return {
        "record": run,
        "colour": f"var(--run-{index % NUM_COLOURS})",
        "options": option_rows(run),
        "command": _command(run),
        "state": _state(run),
        "diagnosis": [] if bounds is None else diagnose(bounds),
        "bounds": bounds,
        "texts": score_texts(run),
        "films": [picture for picture in pictures if picture.is_film],
        "pictures": [picture for picture in pictures if not picture.is_film],
        "steps": _next_steps(run),
    }


def _picture(run: RunRecord, path: Path) -> Shown:
    content = base64.b64encode(path.read_bytes()).decode()
    known = () if run.recipe is None else run.recipe.pictures()
    return Shown(
        f"data:{KINDS[path.suffix]};base64,{content}", caption_of(known, path), path.name, path.suffix == ".gif"
    )


def _state(run: RunRecord) -> str:
    """How far training is, in a sentence."""
    minutes = "" if run.minutes is None else f" in {run.minutes:.1f} minutes"
    if run.recipe is None:
        return f"{run.steps_taken:,} steps{minutes}."
    total = run.recipe.num_steps
    if run.steps_taken >= total:
        return f"Trained to its end: {total:,} steps{minutes}."
    return f"{run.steps_taken:,} of {total:,} steps{minutes}: interrupted, or still in training."


def _command(run: RunRecord) -> str:
    """The command that made the run; `python -m inference.cli` is `kinema`."""
    words = run.folder.provenance[0]["command"] if run.folder.provenance else []
    module = run.recipe is not None and words[:1] == ["__main__.py"]
    return shlex.join(["kinema", *words[1:]] if module else words)


def _next_steps(run: RunRecord) -> list[tuple[str, str]]:
    """What to do next: a reason and a command, those that are missing first."""
    path = shlex.quote(str(run.folder.path))
    if run.recipe is None:
        return []
    found = []
    if run.steps_taken < run.recipe.num_steps and (command := _command(run)):
        found.append(("Train to the end: the same command resumes where the last checkpoint is.", command))
    if run.evaluation is None:
        found.append(("Not evaluated yet. Bounds, evidence with a verdict, and scores:", f"kinema evaluate {path}"))
    elif run.is_stale:
        found.append(
            ("The scores above are of earlier weights. Evaluate those that are best now:", f"kinema evaluate {path}")
        )
    elif run.evaluation.bounds is not None and run.evaluation.bounds.is_lower_bound:
        found.append(
            ("Spend more on the evidence, with annealed populations:", f"kinema evaluate {path} --populations")
        )
    if not run.pictures:
        found.append(("No pictures yet. Pictures and films of test videos:", f"kinema render {path}"))
    found.append(("Compare it with another run by evidence on the same videos:", f"kinema compare {path} RUN"))
    found.append(("Use it in Python:", f'run = inference.load("{run.folder.path}")'))
    return found
