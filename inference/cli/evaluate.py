"""`kinema evaluate RUN`."""

import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import docstring_parser
import tyro

from inference.cli.devices import device_named
from inference.cli.evidence_options import EvidenceOptions
from inference.cli.words import parse
from inference.experiments.evaluate import evaluate as evaluate_run
from inference.experiments.evaluate import score_options
from inference.experiments.evaluation import write_evaluation
from inference.experiments.evaluation_table import evaluation_table
from inference.experiments.given_videos import with_test_videos
from inference.experiments.runs import load_run
from inference.recipes import RECIPES
from inference.recipes.options import check_names
from inference.runtime.processes import joined_processes


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is evaluated.

    Attributes:
        run: folder of the run.
        num_particles: guide samples per sequence for the bounds.
        num_sequences: test sequences for the evidence.
        predictive: score one-step-ahead prediction, and a forecast of the last quarter, on this many test videos; 0 =
            off, 8 take a minute or more.
        test: videos to score instead of the run's own test videos: an .npz file, a video file, or a folder of images or
            of video files; evaluation.json is not written.
        device: cpu or cuda.
    """

    run: tyro.conf.Positional[Path]
    num_particles: int = 100
    num_sequences: int = 100
    predictive: Annotated[int, tyro.conf.arg(metavar="VIDEOS")] = 0
    test: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    device: str = "cpu"


def evaluate(words: Sequence[str]) -> int:
    """Compute bounds, evidence and scores of a run on its test videos."""
    options = parse(
        words,
        prog="kinema evaluate",
        description=str(evaluate.__doc__),
        evaluation=Evaluation,
        evidence=EvidenceOptions(),
        scores=_score_options(),
    )
    given: Evaluation = options.evaluation
    budget = options.evidence.budget
    chosen = {name: value for name, value in asdict(options.scores).items() if value is not None}
    with joined_processes(device_named(given.device)) as (processes, device):
        run = load_run(given.run, device)
        check_names(chosen, score_options(run.recipe.scores()), f"the scores of {run.recipe.name!r}")
        run = run if given.test is None else with_test_videos(run, given.test)
        evaluation = evaluate_run(
            run,
            num_particles=given.num_particles,
            num_evidence_sequences=given.num_sequences,
            budget=budget,
            num_predictive_sequences=given.predictive,
            progress=sys.stderr.isatty() and processes.leads,
            processes=processes,
            **chosen,
        )
        if processes.leads:
            print(evaluation_table(evaluation))
            if given.test is None:  # evaluation.json records the run's own test videos only
                print(f"written to {write_evaluation(run.folder, evaluation)}")
    return 0


def _score_options() -> Any:
    """Options that the scores of any recipe have; None = the score's own value."""
    found: dict[str, Any] = {}
    defaults: dict[str, set[Any]] = defaultdict(set)
    for score in (score for recipe in RECIPES.values() for score in recipe.scores()):
        meanings = {entry.arg_name: entry.description for entry in docstring_parser.parse(str(score.__doc__)).params}
        for name, value in score_options([score]).items():
            defaults[name].add(value)
            listed = isinstance(value, tuple)
            own = (" ".join(map(str, value)) or "empty") if listed else value
            known = own if len(defaults[name]) == 1 else "the recipe's"
            argument = tyro.conf.arg(help=meanings.get(name), help_behavior_hint=f"(default: {known})")
            found[name] = Annotated[(tuple[int, ...] if listed else type(value)) | None, argument]
    kind = make_dataclass("Scores", [(name, hint, field(default=None)) for name, hint in found.items()], frozen=True)
    kind.__doc__ = "For runs whose recipe has the score."
    return kind()
