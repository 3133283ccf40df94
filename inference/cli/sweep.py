"""`kinema sweep RECIPE --seeds 0-4 --set guide=...`."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from inference.cli.exit_status import FAILED, INTERRUPTED
from inference.cli.recipes import recipe_named
from inference.cli.words import parse
from inference.experiments.sweep import Sweep, run_sweep, sweep_table
from inference.recipes import OptionError


@dataclass(frozen=True, kw_only=True)
class Sweeping:
    """Which runs, and how many at a time.

    Attributes:
        seeds: seeds, such as 0-4, or 0,3,7.
        set: options of the recipe as NAME=VALUE; NAME=VALUE,VALUE makes a run for each. May be repeated.
        folder: folder for the runs; None = runs/sweep-RECIPE.
        jobs: runs at a time; None = cores of this machine over threads.
        threads: threads of each run.
        evaluate: evaluate each run when it is trained.
        num_sequences: test sequences for the evidence; None = what kinema evaluate takes.
        evidence_particles: maximum number of particles of the evidence; None = what kinema evaluate takes.
        commands: only print the commands, a line for each run, for a job array or another machine.
    """

    seeds: str = "0-4"
    set: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="NAME=VALUE", help_behavior_hint="")
    ] = ()
    folder: Path | None = None
    jobs: int | None = None
    threads: int = 1
    evaluate: tyro.conf.FlagCreatePairsOff[bool] = True
    num_sequences: int | None = None
    evidence_particles: int | None = None
    commands: tyro.conf.FlagCreatePairsOff[bool] = False


def sweep(words: Sequence[str]) -> int:
    """Train a recipe with several seeds and options, side by side; the same command resumes."""
    recipe = recipe_named(words, prog="kinema sweep", description=str(sweep.__doc__))
    prog = f"kinema sweep {recipe.name}"
    given: Sweeping = parse(words[1:], prog=prog, description=str(sweep.__doc__), sweep=Sweeping()).sweep
    chosen = Sweep(
        recipe=recipe.name,
        seeds=seeds_in(given.seeds),
        options=_options_in(given.set),
        folder=given.folder or Path("runs") / f"sweep-{recipe.name}",
        evaluation=_evaluation(given) if given.evaluate else None,
    )
    for option, values in chosen.options.items():  # refused here rather than by each run
        for value in values:
            _check(option, value)
    if given.commands:
        print("\n".join(chosen.commands()))
        return 0
    jobs = given.jobs if given.jobs is not None else max(1, (os.cpu_count() or 1) // max(1, given.threads))
    print(f"{len(chosen.members)} runs of {recipe.name}, {jobs} at a time, in {chosen.folder}", flush=True)
    try:
        outcomes = run_sweep(chosen, jobs=jobs, threads=given.threads, say=lambda line: print(line, flush=True))
    except KeyboardInterrupt:
        print("\ninterrupted; the same command resumes", file=sys.stderr)
        return INTERRUPTED
    print(f"\n{sweep_table(outcomes)}")
    return FAILED if any(one.failure is not None for one in outcomes) else 0


def seeds_in(text: str) -> tuple[int, ...]:
    """Seeds from words such as 0-4 or 0,3,7.

    Raises:
        OptionError: if they are of another form.
    """
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()) or (dash and int(last) < int(first)):
            raise OptionError(f"--seeds: expected numbers such as 0-4 or 0,3,7, got {text!r}")
        found += range(int(first), int(last if dash else first) + 1)
    return tuple(found)


def _options_in(assignments: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for assignment in assignments:
        name, equals, values = assignment.partition("=")
        name = name.strip().removeprefix("--").replace("-", "_")
        if not (name and equals and values):
            raise OptionError(
                f"--set: expected NAME=VALUE, such as epochs=20 or guide=states,filter, got {assignment!r}"
            )
        if name == "seed":
            raise OptionError("--set: expected an option other than the seed; give --seeds 0-4")
        if name in found:
            raise OptionError(f"--set: expected {name} once, with all of its values: {name}=VALUE,VALUE")
        found[name] = tuple(value.strip() for value in values.split(","))
    return found


def _check(option: str, value: str) -> None:
    if not value or value.startswith("-") and not value[1:].replace(".", "").isdigit():
        raise OptionError(f"--set: expected values of {option}, got {value!r}")


def _evaluation(given: Sweeping) -> tuple[str, ...]:
    words = {"--num-sequences": given.num_sequences, "--evidence-particles": given.evidence_particles}
    return tuple(word for name, number in words.items() if number is not None for word in (name, str(number)))
