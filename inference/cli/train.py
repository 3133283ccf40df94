"""`kinema train RECIPE`."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from inference.cli.devices import device_named
from inference.cli.exit_status import INTERRUPTED, TERMINATED, USAGE_ERROR
from inference.cli.recipes import recipe_named, with_words
from inference.cli.words import last_value
from inference.experiments.restarts import train_with_restarts
from inference.recipes import OptionError, Recipe
from inference.recipes.given_videos import fitted, on_videos
from inference.runs.writing import RunWriteError
from inference.runtime.processes import joined_processes
from inference.svi.compiled import CompileMode
from inference.training.interrupts import Terminated


@dataclass(frozen=True, kw_only=True)
class Run:
    """Where and how the recipe runs.

    Attributes:
        run: folder of the run; None = runs/RECIPE-SEED.
        videos: your own videos in place of the recipe's: an .npz or .npy file, a video file, a folder of images, or a
            folder of video files; --help after it lists their options, such as --test and --num-frames.
        seed: seed of everything random, below a million.
        device: cpu or cuda.
        compile: how training steps are compiled; off = eager.
        restarts: restarts from new seeds if training fails the recipe's health check, as for SQAIR.
        checkpoint_every: steps between checkpoints; a process that is killed loses the steps since the last one.
        quiet: show no progress bar.
        force: take the run from another process that trains in its folder, which then stops.
    """

    run: Path | None = None
    videos: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    seed: int = 0
    device: str = "cpu"
    compile: CompileMode = "off"
    restarts: int = 0
    checkpoint_every: int = 500
    quiet: tyro.conf.FlagCreatePairsOff[bool] = False
    force: tyro.conf.FlagCreatePairsOff[bool] = False


def train(words: Sequence[str]) -> int:
    """Train a recipe; the same command resumes an interrupted run."""
    chosen = recipe_named(words, prog="kinema train", description=str(train.__doc__))
    name = chosen.name
    given = last_value(words, "videos")
    if given is not None:
        chosen = _on(chosen, Path(given), words)
    elif last_value(words, "test") is not None and "test" not in chosen.options:
        raise OptionError("--test: expected --videos too, your own videos to train on, got --test alone")
    recipe, options = with_words(
        chosen, words[1:], prog=f"kinema train {name}", description=f"{train.__doc__} {chosen.paper}.", run=Run()
    )
    run: Run = options.run
    if given is not None and recipe.videos.data != Path(given).resolve():
        raise OptionError(f"--data: expected none with --videos, got {recipe.videos.data}; leave one of them out")
    if run.checkpoint_every < 1:
        raise OptionError(f"--checkpoint-every: expected at least 1, got {run.checkpoint_every}")
    recipe = fitted(replace(recipe, seed=run.seed))
    device = device_named(run.device)
    path = run.run or Path("runs") / f"{name}-{recipe.seed}"
    with joined_processes(device) as (processes, device):
        say = print if processes.leads else _nothing
        together = "" if processes.size == 1 else f", {processes.size} processes"
        say(
            f"{name}: {recipe.num_steps} steps of {recipe.training.batch_size} sequences of "
            f"{recipe.videos.data or 'the simulator'}{together}; {path}"
        )
        several = f"torchrun --nproc-per-node {processes.size} -m -- kinema"
        again = f"{'kinema' if processes.size == 1 else several} train {shlex.join(words)}"
        try:
            result = train_with_restarts(
                recipe,
                path,
                restarts=run.restarts,
                device=device,
                progress=not run.quiet,
                compile=run.compile,
                processes=processes,
                force=run.force,
                checkpoint_every=run.checkpoint_every,
            )
        except (KeyboardInterrupt, Terminated) as stop:
            terminated = isinstance(stop, Terminated)
            say(f"\n{'terminated' if terminated else 'interrupted'}; resume with: {again}", file=sys.stderr)
            return TERMINATED if terminated else INTERRUPTED
        except RunWriteError as error:
            say(f"kinema: {error}; make room, then resume with: {again}", file=sys.stderr)
            return USAGE_ERROR
        bound = (
            "" if result.best_bound is None else f", best validation bound {result.best_bound:.1f} nats per sequence"
        )
        say(f"{result.steps} steps in {result.seconds / 60:.1f} minutes{bound}")
        say(f"next: kinema evaluate {path}; kinema render {path}")
    return 0


def _on(recipe: Recipe, videos: Path, words: Sequence[str]) -> Recipe:
    """The recipe on given videos."""
    if last_value(words, "frame-shape") is not None:
        raise OptionError(
            "--frame-shape: expected none with --videos, where --frame-size and --colour set it; leave it out"
        )
    return on_videos(recipe, videos, layout=last_value(words, "layout"))


def _nothing(*words: object, **options: object) -> None:
    """Print nothing: replaces `print` in every process except the leader."""
