"""The command line: `kinema demo | recipes | clip | train | evaluate | compare | render`."""

import argparse
import difflib
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from inference.evidence import Budget
from inference.evidence.automatic import RUNGS, USUAL
from inference.evidence.comparison import IncomparableError, compare, tabulate_evidence
from inference.experiments.clip import clip_videos, show_clip
from inference.experiments.demo import run_demo
from inference.experiments.evaluate import (
    check_has_evidence,
    evaluate,
    run_evidence,
    score_options,
)
from inference.experiments.evaluation import write_evaluation
from inference.experiments.evaluation_table import evaluation_table
from inference.experiments.given_videos import with_test_videos
from inference.experiments.render import render
from inference.experiments.restarts import train_with_restarts
from inference.experiments.runs import load_run
from inference.pictures import draw_comparison
from inference.recipes import RECIPES, OptionError, Recipe
from inference.recipes.options import as_text, check_names, dashed
from inference.runtime.processes import joined_processes
from inference.svi.compiled import COMPILE_MODES
from inference.svi.step import NonFiniteError

PREDICTED = 8  # videos scored by --predictive without a number
USAGE_ERROR, FAILED, INTERRUPTED = 2, 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: command-line words; None = `sys.argv[1:]`.

    Returns:
        Exit status: 0 = success, 1 = the work failed, 2 = wrong usage, 130 = interrupted.
    """
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command not in ("train", "clip"):
        known = re.findall(r"--[a-z-]+", options.describe())
        near = difflib.get_close_matches(rest[0], known, n=1, cutoff=0.5)
        parser.error(f"unrecognized arguments: {' '.join(rest)}{f'; did you mean {near[0]}?' if near else ''}")
    try:
        return options.run_command(options, rest)
    except NonFiniteError as error:
        print(f"kinema: {error}", file=sys.stderr)
        return FAILED
    except (OptionError, ValueError, FileNotFoundError, ImportError) as error:
        print(f"kinema: {error}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        print("\nkinema: interrupted", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kinema", description="Generative models of objects moving in video, in Pyro."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, function: object, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run_command=function, describe=sub.format_help)
        return sub

    demo = command(
        "demo", _demo, "train a small Kalman VAE on simulated videos and show what it can do (three minutes)"
    )
    demo.add_argument("--run", type=Path, default=Path("runs/demo"), help="folder of the run (default: runs/demo)")
    demo.add_argument("--seed", type=int, default=0)
    demo.add_argument("--num-train", type=int, default=None, help="training videos (default: enough for two minutes)")

    command("recipes", _recipes, "list the recipes and their options")

    clip = command("clip", _clip, "cut videos out of a static-camera clip, count them and draw one")
    clip.add_argument("clip", type=Path, metavar="FILE")
    clip.add_argument("--recipe", default="sqair-pedestrians", help="recipe to cut videos for (default: %(default)s)")
    clip.add_argument("--num-sequences", type=int, default=200, help="videos to cut per split (default: %(default)s)")
    clip.add_argument(
        "--picture", type=Path, help="picture to write (default: the clip's name with .png, in this folder)"
    )
    clip.epilog = "Every field of the recipe is an option: --width 160 --height 117 --frame-size 40 ..."

    training = command("train", _train, "train a recipe; the same command resumes an interrupted run")
    training.add_argument("recipe")
    training.add_argument("--run", type=Path, default=None, help="folder of the run (default: runs/RECIPE-SEED)")
    training.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    training.add_argument(
        "--compile", choices=COMPILE_MODES, default="off", help="how training steps are compiled (default: off, eager)"
    )
    training.add_argument(
        "--restarts",
        type=int,
        default=0,
        help="restarts from new seeds if training fails the recipe's health check (default: 0; for SQAIR)",
    )
    training.add_argument("--quiet", action="store_true", help="no progress bar")
    training.epilog = (
        "Every field of the recipe is an option: --epochs 20 --data FOLDER ...; "
        "kinema train RECIPE --help-options lists them with their default values."
    )

    evaluation = command("evaluate", _evaluate, "compute bounds, evidence and scores of a run on its test videos")
    evaluation.add_argument("run", type=Path)
    evaluation.add_argument(
        "--num-particles",
        type=int,
        default=100,
        help="guide samples per sequence for the bounds (default: %(default)s)",
    )
    evaluation.add_argument(
        "--num-sequences", type=int, default=100, help="test sequences for the evidence (default: %(default)s)"
    )
    _add_evidence_options(evaluation)
    evaluation.add_argument(
        "--predictive",
        type=_num_videos,
        nargs="?",
        const=PREDICTED,
        default=0,
        metavar="VIDEOS",
        help="score one-step-ahead prediction and a forecast of the last quarter on the first VIDEOS test videos "
        "(default: 0 = off; without a number: %(const)s)",
    )
    test_help = ".npz file of videos to score instead of the run's own test videos"
    evaluation.add_argument("--test", type=Path, metavar="FILE", help=f"{test_help}; evaluation.json is not written")
    evaluation.add_argument("--device", default="cpu")
    group = evaluation.add_argument_group("options of scores", "for runs whose recipe has the score")
    for name, value in _score_options().items():
        group.add_argument(
            f"--{dashed(name)}",
            type=type(value),
            default=argparse.SUPPRESS,
            metavar=type(value).__name__.upper(),
            help=f"(default: {value})",
        )

    comparison = command("compare", _compare, "compare runs by their evidence on the same test videos")
    comparison.add_argument("runs", type=Path, nargs="+", metavar="run")
    comparison.add_argument("--num-sequences", type=int, default=100)
    _add_evidence_options(comparison)
    comparison.add_argument("--test", type=Path, metavar="FILE", help=test_help)
    comparison.add_argument("--picture", type=Path, help="picture of the comparison to write, such as compare.png")
    comparison.add_argument("--device", default="cpu")

    pictures = command("render", _render, "draw a run's reconstructions, imputations, codes and learning curve")
    pictures.add_argument("run", type=Path)
    pictures.add_argument("--device", default="cpu")
    return parser


def _demo(options: argparse.Namespace, rest: list[str]) -> int:
    run_demo(options.run, seed=options.seed, num_train=options.num_train)
    return 0


def _recipes(options: argparse.Namespace, rest: list[str]) -> int:
    width = max(map(len, RECIPES))
    for name, recipe in RECIPES.items():
        steps = f"{recipe.num_steps:6} steps of {recipe.training.batch_size:3}"
        print(f"{name:{width}}  {recipe.videos.world:12} {steps}   {recipe.paper}")
    print("\nkinema train RECIPE --help-options lists a recipe's options with their default values")
    return 0


def _clip(options: argparse.Namespace, rest: list[str]) -> int:
    recipe = _recipe_named(options.recipe)
    clip_videos(recipe)  # refuse a wrong kind of recipe before complaining about its options
    recipe = recipe.override({**_pairs(rest), "data": str(options.clip)})
    picture = options.picture or Path(options.clip.with_suffix(".png").name)
    print(show_clip(recipe, options.clip, options.num_sequences, picture))
    print(picture)
    return 0


def _train(options: argparse.Namespace, rest: list[str]) -> int:
    name = options.recipe
    recipe = _recipe_named(name)
    if "--help-options" in rest:
        for field, value in recipe.options.items():
            print(f"--{dashed(field)} {as_text(value)}")
        return 0
    recipe = recipe.override(_pairs(rest))
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise OptionError(
            f"--device: this machine has no CUDA device, got {options.device}; leave it out to train on the CPU"
        )
    path = options.run or Path("runs") / f"{name}-{recipe.seed}"
    with joined_processes(device) as (processes, device):
        say = print if processes.leads else _nothing
        together = "" if processes.size == 1 else f", {processes.size} processes"
        say(
            f"{name}: {recipe.num_steps} steps of {recipe.training.batch_size} sequences of "
            f"{recipe.videos.data or 'the simulator'}{together}; {path}"
        )
        try:
            result = train_with_restarts(
                recipe,
                path,
                restarts=options.restarts,
                device=device,
                progress=not options.quiet,
                compile=options.compile,
                processes=processes,
            )
        except KeyboardInterrupt:
            given = {"--run": options.run, "--device": options.device, "--compile": options.compile}
            given["--restarts"] = options.restarts
            changed = [f"{key} {value}" for key, value in given.items() if value not in (None, "cpu", "off", 0)]
            several = f"torchrun --nproc-per-node {processes.size} -m -- inference.cli"
            program = "kinema" if processes.size == 1 else several
            say(f"\ninterrupted; resume with: {program} train {' '.join([name, *rest, *changed])}", file=sys.stderr)
            return INTERRUPTED
        bound = (
            "" if result.best_bound is None else f", best validation bound {result.best_bound:.1f} nats per sequence"
        )
        say(f"{result.steps} steps in {result.seconds / 60:.1f} minutes{bound}")
        say(f"next: kinema evaluate {path}; kinema render {path}")
    return 0


def _recipe_named(name: str) -> Recipe:
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise OptionError(f"there is no recipe {name!r}.{hint} Recipes: {', '.join(RECIPES)}")
    return RECIPES[name]


def _nothing(*words: object, **options: object) -> None:
    """Print nothing: replaces `print` in every process except the leader."""


def _evaluate(options: argparse.Namespace, rest: list[str]) -> int:
    budget = _budget(options)
    with joined_processes(torch.device(options.device)) as (processes, device):
        run = load_run(options.run, device)
        chosen = {name: getattr(options, name) for name in _score_options() if hasattr(options, name)}
        check_names(chosen, score_options(run.recipe.scores()), f"the scores of {run.recipe.name!r}")
        run = run if options.test is None else with_test_videos(run, options.test)
        evaluation = evaluate(
            run,
            num_particles=options.num_particles,
            num_evidence_sequences=options.num_sequences,
            budget=budget,
            num_predictive_sequences=options.predictive,
            progress=sys.stderr.isatty() and processes.leads,
            processes=processes,
            **chosen,
        )
        if processes.leads:
            print(evaluation_table(evaluation))
            if options.test is None:  # evaluation.json records the run's own test videos only
                print(f"written to {write_evaluation(run.folder, evaluation)}")
    return 0


def _score_options() -> dict[str, Any]:
    """Options that the scores of any recipe have, with their values."""
    return score_options(score for recipe in RECIPES.values() for score in recipe.scores())


def _compare(options: argparse.Namespace, rest: list[str]) -> int:
    names = [path.absolute().name for path in options.runs]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(
            "runs: expected folders with different names, since the table lists runs by name, got two with the same "
            f"name {twice[0]!r}; rename one of them"
        )
    budget = _budget(options)
    with joined_processes(torch.device(options.device)) as (processes, device):
        runs = {name: load_run(path, device) for name, path in zip(names, options.runs, strict=True)}
        if options.test is not None:
            runs = {name: with_test_videos(run, options.test) for name, run in runs.items()}
        for run in runs.values():
            check_has_evidence(run)
        # Runs of one world share their first test videos, so the shortest test set is common to all.
        count = min(options.num_sequences, *(run.test.num_sequences for run in runs.values()))
        progress = sys.stderr.isatty() and processes.leads
        evidence = {
            name: run_evidence(run, count, budget, progress=progress, processes=processes) for name, run in runs.items()
        }
        try:
            comparison = compare(evidence)
        except IncomparableError as error:
            if processes.leads:
                print(tabulate_evidence(evidence))
                print(f"kinema: {error}", file=sys.stderr)
            return FAILED
        if processes.leads:
            print(comparison)
            if options.picture is not None:
                draw_comparison(comparison).savefig(options.picture)
                print(options.picture)
    return 0


def _add_evidence_options(parser: argparse.ArgumentParser) -> None:
    """Options for the evidence budget."""
    parser.add_argument(
        "--evidence-particles",
        type=int,
        default=None,
        metavar="N",
        help=f"maximum number of particles per repeat for the evidence, at least {RUNGS[0]} (default: {USUAL})",
    )
    parser.add_argument(
        "--populations",
        action="store_true",
        help="run annealed SMC on videos whose cheaper estimates have not converged; slow",
    )
    parser.add_argument(
        "--certify",
        action="store_true",
        help="bracket from both sides the evidence of videos sampled from the model close to the test videos",
    )


def _num_videos(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a whole number of test videos, or nothing for {PREDICTED}, got {text!r}; put the run's folder "
            "before it: kinema evaluate RUN --predictive"
        ) from None


def _budget(options: argparse.Namespace) -> Budget:
    given = options.evidence_particles
    if given is not None and given < RUNGS[0]:
        raise OptionError(
            f"--evidence-particles: expected at least {RUNGS[0]} particles per repeat, got {given}; "
            f"leave it out for the default of {USUAL}"
        )
    budget = Budget(populations=options.populations, certify=options.certify)
    return budget if given is None else replace(budget, particles=given)


def _render(options: argparse.Namespace, rest: list[str]) -> int:
    for path in render(load_run(options.run, options.device)):
        print(path)
    return 0


def _pairs(rest: Sequence[str]) -> dict[str, str]:
    """Parse `--name value` and `--name=value` into a dict."""
    options: dict[str, str] = {}
    words = iter(rest)
    for word in words:
        if not word.startswith("--"):
            raise OptionError(f"expected --option value, got {word!r}")
        name, equals, value = word[2:].partition("=")
        if not equals:
            value = next(words, "")
            if not value:
                raise OptionError(f"--{name}: expected a value, got none; write --{name} VALUE")
        options[name] = value
    return options


if __name__ == "__main__":
    sys.exit(main())
