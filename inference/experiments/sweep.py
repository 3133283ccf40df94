"""Runs of one recipe with several seeds and options, side by side on this machine, and their scores in one table.

Each run is a process of its own, `kinema train` and then `kinema evaluate`, with its own threads: what one run needs
memory or time for, or breaks by, touches no other. There is one machine for now. Runs are independent, resumable and
write only into their own folders, so a cluster needs nothing from a library beyond starting commands: those that are
listed by `Sweep.commands` go into a job array of Slurm as they are. (Ray and Dask bring schedulers for tasks that pass
objects to one another, which nothing here does; submitit would fit, and would only wrap the same commands.)
"""

import itertools
import os
import re
import shlex
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from inference.evidence.tables import text_table
from inference.experiments.evaluation import plain_numbers, read_evaluation
from inference.recipes import RECIPES, OptionError, Recipe
from inference.recipes.options import check_names, dashed
from inference.runs.checkpoints import read_weights
from inference.runs.folder import CONFIG, RunFolder

PROGRAM = (sys.executable, "-m", "kinema")


@dataclass(frozen=True)
class Member:
    """One run of a sweep.

    Attributes:
        setting: options that distinguish it from runs of the same seed, as words; empty if nothing is varied.
        seed: its seed.
        path: its folder.
        train: words of the command line that trains it, after the program.
        evaluate: words that evaluate it; empty if it is not evaluated.
    """

    setting: str
    seed: int
    path: Path
    train: tuple[str, ...]
    evaluate: tuple[str, ...]

    @property
    def log(self) -> Path:
        """What its processes print."""
        return self.path.with_name(f"{self.path.name}.log")


@dataclass(frozen=True)
class Sweep:
    """A recipe with several seeds and values of options.

    Attributes:
        recipe: name of the recipe.
        seeds: one run for each of them and each combination of values.
        options: option -> its values, as words of the command line.
        folder: where the folders of the runs are.
        evaluation: words for `kinema evaluate`, such as ("--num-sequences", "20"); None = runs are not evaluated.

    Raises:
        OptionError: for an unknown recipe or option, without a seed, or with one twice.
    """

    recipe: str
    seeds: tuple[int, ...]
    options: Mapping[str, tuple[str, ...]]
    folder: Path
    evaluation: tuple[str, ...] | None = ()

    def __post_init__(self) -> None:
        if self.recipe not in RECIPES:
            raise OptionError(f"recipe: expected one of {', '.join(RECIPES)}, got {self.recipe!r}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise OptionError(f"--seeds: expected different numbers, such as 0-4 or 0,3, got {self.seeds or 'none'}")
        known = [name for name in RECIPES[self.recipe].options if name != "seed"]
        check_names([name.replace("-", "_") for name in self.options], known, f"{self.recipe!r}")

    @property
    def members(self) -> list[Member]:
        """All runs, seed by seed."""
        values = [[(name, word) for word in words] for name, words in self.options.items()]
        varied = {name for name, words in self.options.items() if len(words) > 1}
        return [self._member(seed, chosen, varied) for seed in self.seeds for chosen in itertools.product(*values)]

    def _member(self, seed: int, chosen: Sequence[tuple[str, str]], varied: set[str]) -> Member:
        setting = " ".join(f"{dashed(name)}={word}" for name, word in chosen if name in varied)
        distinct = re.sub(r"[^\w.=-]+", "-", setting)
        path = self.folder / "-".join(part for part in (self.recipe, distinct, str(seed)) if part)
        words = [word for name, value in chosen for word in (f"--{dashed(name)}", *value.split())]
        train = ("train", self.recipe, "--run", str(path), "--seed", str(seed), "--quiet", *words)
        evaluate = () if self.evaluation is None else ("evaluate", str(path), *self.evaluation)
        return Member(setting, seed, path, train, evaluate)

    def commands(self) -> list[str]:
        """What to run, a line for each run, for a machine or a job array elsewhere."""
        joined = ((member.train, member.evaluate) for member in self.members)
        return [" && ".join(shlex.join(("kinema", *words)) for words in pair if words) for pair in joined]


@dataclass(frozen=True)
class Outcome:
    """How a run of a sweep ended.

    Attributes:
        member: the run.
        numbers: validation bound, bounds and scores by name; empty if it failed.
        failure: why it failed, in a line; None if it did not.
    """

    member: Member
    numbers: Mapping[str, float]
    failure: str | None = None


def run_sweep(
    sweep: Sweep, *, jobs: int, threads: int = 1, say: Callable[[str], None] = lambda line: None
) -> list[Outcome]:
    """Train and evaluate all runs, `jobs` at a time; what is done already is not done again.

    Args:
        sweep: which runs.
        jobs: processes at a time.
        threads: threads of each.
        say: called with a line whenever a run ends.

    Returns:
        The outcomes, in the order of `sweep.members`.

    Raises:
        OptionError: if `jobs` or `threads` is below 1.
        KeyboardInterrupt: after Ctrl-C, which every run answers with a checkpoint; the same call resumes.
    """
    for name, number in (("jobs", jobs), ("threads", threads)):
        if number < 1:
            raise OptionError(f"--{name}: expected at least 1, got {number}")
    members = sweep.members
    sweep.folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    stopped = threading.Event()
    recipe = RECIPES[sweep.recipe]

    def work(member: Member) -> Outcome:
        outcome = _worked(member, recipe, environment, stopped)
        if not stopped.is_set():
            say(f"{member.path.name}: {outcome.failure or 'done'}")
        return outcome

    with ThreadPoolExecutor(jobs) as pool:
        try:
            return list(pool.map(work, members))
        except KeyboardInterrupt:
            stopped.set()  # the runs, which got the signal too, end with a checkpoint; the others do not start
            raise


def _worked(member: Member, recipe: Recipe, environment: Mapping[str, str], stopped: threading.Event) -> Outcome:
    for words in (member.train, member.evaluate):
        if not words or stopped.is_set() or _is_done(member, words):
            continue
        with open(member.log, "a") as log:
            status = subprocess.run([*PROGRAM, *words], env=dict(environment), stdout=log, stderr=log).returncode
        if status:
            lines = [line for line in member.log.read_text().splitlines() if line.strip()]
            last = lines[-1].removeprefix("kinema: ") if lines else f"exit status {status}"
            return Outcome(member, {}, f"{words[0]} failed: {last} (see {member.log})")
    return Outcome(member, numbers_of(member.path) if (member.path / CONFIG).is_file() else {})


def _is_done(member: Member, words: Sequence[str]) -> bool:
    """Whether a command has nothing left to do. Training decides that itself: it checks its options, too."""
    if words[0] == "train" or not (member.path / CONFIG).is_file():
        return False
    folder = RunFolder.open(member.path)
    evaluation = read_evaluation(folder)
    return evaluation is not None and evaluation.step == _best(folder).get("step", evaluation.step)


def _best(folder: RunFolder) -> Mapping[str, float]:
    return read_weights(folder.best_path)[1] if folder.best_path.is_file() else {}


def numbers_of(path: Path) -> dict[str, float]:
    """The numbers of a run: validation bound, bounds on test videos, and scores that are numbers.

    Args:
        path: the run's folder.
    """
    folder = RunFolder.open(path)
    best = _best(folder)
    found = {"validation bound": best["validation_bound"]} if best else {}
    evaluation = read_evaluation(folder)
    if evaluation is None:
        return found
    if evaluation.bounds is not None:
        found |= {"ELBO": evaluation.bounds.elbo, "log evidence": evaluation.bounds.log_evidence}
    for name, value in evaluation.scores.items():
        for key, number in (plain_numbers(value) or {}).items():
            found[" ".join(part for part in (name, key) if part).replace("_", " ")] = float(number)
    return found


def sweep_table(outcomes: Sequence[Outcome]) -> str:
    """Mean and standard deviation over seeds of each number, a column for each setting, and the failures below.

    Args:
        outcomes: of `run_sweep`.
    """
    settings = list(dict.fromkeys(one.member.setting for one in outcomes))
    groups = {setting: [one for one in outcomes if one.member.setting == setting] for setting in settings}
    names = list(dict.fromkeys(name for one in outcomes for name in one.numbers))
    done = [f"{sum(one.failure is None for one in group)} of {len(group)}" for group in groups.values()]
    rows = [["", *(setting or "mean ± sd over seeds" for setting in settings)], ["runs that ended well", *done]]
    for name in names:
        values = [[one.numbers[name] for one in group if name in one.numbers] for group in groups.values()]
        rows.append([name, *map(_spread, values)])
    failures = [f"failed: {one.member.path.name}: {one.failure}" for one in outcomes if one.failure is not None]
    return "\n".join([text_table(rows), *failures])


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "–"
    deviation = f" ± {statistics.stdev(values):.3g}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.5g}{deviation}"
