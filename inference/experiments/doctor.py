"""What is whole in the folder of a run, what is not, and what can be done about it."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.experiments.evaluation import EVALUATION, read_evaluation
from inference.experiments.runs import recipe_of
from inference.experiments.source_records import check_data_set, check_sources
from inference.runs.checkpoints import SUMS, Checkpoint, list_checkpoints, read_checkpoint, read_weights
from inference.runs.folder import BEST, CHECKPOINTS, CONFIG, METRICS, PROVENANCE, TIMING, RunFolder, check_state
from inference.runs.json_files import read_json, read_lines
from inference.runs.lock import TRAINER, in_use, trainer
from inference.training.saved_state import check_training_state


@dataclass(frozen=True)
class Finding:
    """One file or folder of a run.

    Attributes:
        file: its name in the run's folder.
        whole: whether nothing is wrong with it.
        found: what it is, or what is wrong with it.
        remedy: what can be done, if something is wrong.
    """

    file: str
    whole: bool
    found: str
    remedy: str = ""


def examine(path: str | Path) -> list[Finding]:
    """Read every file of a run, and change nothing.

    Args:
        path: the run's folder, whatever is in it.

    Raises:
        ValueError: if it is no folder.
    """
    path = Path(path)
    if not path.is_dir():
        raise ValueError(f"run: expected a folder, {str(path)!r} is {'a file' if path.exists() else 'not there'}")
    checkpoints, newest = _checkpoints(path)
    best = path / CHECKPOINTS / BEST
    findings = [
        _tried(CONFIG, lambda: _configuration(path), "put config.json back; without it the run cannot be read"),
        _tried(PROVENANCE, lambda: _provenance(path), f"put it back; without {PROVENANCE} only this record is lost"),
        *(_lines(path, name, newest) for name in (METRICS, TIMING)),
        *checkpoints,
    ]
    if best.exists():
        remedy = "evaluation uses the last checkpoint" if newest else "put a copy of it back"
        findings.append(_tried(f"{CHECKPOINTS}/{BEST}", lambda: f"step {read_weights(best)[1]['step']}", remedy))
    if (path / EVALUATION).exists() and findings[0].whole:
        findings.append(_tried(EVALUATION, lambda: _evaluation(path), f"kinema evaluate {path} writes it again"))
    return [*findings, *_leftovers(path)]


def findings_table(findings: Sequence[Finding]) -> str:
    """A line for each file, with what can be done where something is wrong."""
    width = max(len(finding.file) for finding in findings)
    return "\n".join(
        f"{finding.file:{width}}  {'whole' if finding.whole else 'WRONG'}  {finding.found}"
        + (f"; {finding.remedy}" if finding.remedy else "")
        for finding in findings
    )


def _tried(file: str, look: Callable[[], str], remedy: str) -> Finding:
    try:
        return Finding(file, True, look())
    except (ValueError, OSError, LookupError, TypeError, AttributeError, UserWarning) as error:
        return Finding(file, False, str(error), remedy)


def _configuration(path: Path) -> str:
    config: dict[str, Any] = RunFolder.open(path).config
    if "recipe" not in config and "fields" not in config:
        return "of a training in Python, without a recipe"
    recipe = recipe_of(config)
    check_sources(config, path)
    check_data_set(config, path, recipe.videos.data_set())
    return f"recipe {recipe.name}, {recipe.num_steps} steps"


def _provenance(path: Path) -> str:
    read_json(path / PROVENANCE)  # lost is wrong here, though a training goes on without it
    count = len(RunFolder.open(path).provenance) if (path / CONFIG).exists() else 0
    return f"{count} process{'' if count == 1 else 'es'} worked on the run" if count else "a list"


def _evaluation(path: Path) -> str:
    evaluation = read_evaluation(RunFolder.open(path))
    return f"of step {evaluation.step}" if evaluation is not None else "none"


def _lines(path: Path, name: str, newest: Checkpoint | None) -> Finding:
    remedy = "training goes on from the last checkpoint without the lost lines; put a copy back to keep them"

    def look() -> str:
        needed = 0 if newest is None else newest.state["sizes"][name]
        size = (path / name).stat().st_size if (path / name).exists() else 0
        if size < needed:
            raise ValueError(f"{size} of the {needed} bytes that {newest and newest.path.name} recorded")
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # of a last line that is cut off
            return f"{len(read_lines(path / name))} lines"

    return _tried(name, look, remedy)


def _checkpoints(path: Path) -> tuple[list[Finding], Checkpoint | None]:
    """A finding for each checkpoint, oldest first, and the newest whole one."""
    findings: list[Finding] = []
    newest: Checkpoint | None = None
    for folder in list_checkpoints(path / CHECKPOINTS):
        name = f"{CHECKPOINTS}/{folder.name}"
        try:
            checkpoint = read_checkpoint(folder)
            check_state(checkpoint, check_training_state)
        except (ValueError, OSError) as error:
            back = f"falls back on {newest.path.name}" if newest else "has nothing to fall back on: put a copy back"
            findings.append(Finding(name, False, str(error), f"training {back}"))
            continue
        newest = checkpoint
        summed = "checksums agree" if (folder / SUMS).exists() else "without checksums, as by Kinema 0.1.0"
        findings.append(Finding(name, True, summed))
    if not findings:
        trained = (path / METRICS).exists() and (path / METRICS).stat().st_size > 0
        remedy = "put a copy back, or train into another folder" if trained else "kinema train starts it"
        findings.append(Finding(CHECKPOINTS, not trained, "no checkpoint", remedy))
    return findings, newest


def _leftovers(path: Path) -> Iterator[Finding]:
    holder = in_use(path)
    if holder is not None:
        yield Finding(TRAINER, True, f"in use: {holder}")
    elif trainer(path) is not None:
        yield Finding(TRAINER, True, "left by a process that was killed", "the next training takes its place")
    for folder in (path, path / CHECKPOINTS):
        for item in sorted(folder.glob(".*")):
            if item.name.endswith((".partial", ".old")):
                found = "left by a write that was cut off"
                yield Finding(str(item.relative_to(path)), True, found, "the next training deletes it")
    for item in sorted((path / CHECKPOINTS).glob("damaged-*")):
        found = "a damaged checkpoint that was set aside"
        yield Finding(str(item.relative_to(path)), True, found, "nothing needs it: delete it if you like")
