"""`kinema compare RUN RUN ...`."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from inference.cli.devices import device_named
from inference.cli.evidence_options import EvidenceOptions
from inference.cli.exit_status import FAILED
from inference.cli.outputs import PICTURES, check_output
from inference.cli.words import parse
from inference.evidence.comparison import IncomparableError, tabulate_evidence
from inference.evidence.comparison import compare as compare_evidence
from inference.experiments.evaluate import check_has_evidence, run_evidence
from inference.experiments.given_videos import with_test_videos
from inference.experiments.runs import load_run
from inference.pictures import draw_comparison
from inference.runs.checkpoints import write_bytes
from inference.runs.provenance import provenance
from inference.runtime.processes import joined_processes


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is compared.

    Attributes:
        runs: folders of the runs.
        num_sequences: test sequences for the evidence.
        test: .npz file of videos to score instead of the runs' own test videos.
        picture: picture of the comparison to write, such as compare.png.
        json: file to write the comparison to, as JSON, with command, commit and machine.
        device: cpu or cuda.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN RUN ...", help_behavior_hint="")]
    num_sequences: int = 100
    test: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    picture: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE.json")] = None
    device: str = "cpu"


def compare(words: Sequence[str]) -> int:
    """Compare runs by their evidence on the same test videos."""
    options = parse(
        words,
        prog="kinema compare",
        description=str(compare.__doc__),
        comparison=Comparison,
        evidence=EvidenceOptions(),
    )
    given: Comparison = options.comparison
    budget = options.evidence.budget
    check_output("picture", given.picture, PICTURES, replaces=True)
    check_output("json", given.json, (".json",), replaces=True)
    names = [path.absolute().name for path in given.runs]
    if not names:
        raise ValueError("runs: expected the folders of the runs to compare, got none; kinema compare RUN RUN")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(
            "runs: expected folders with different names, since the table lists runs by name, got two with the same "
            f"name {twice[0]!r}; rename one of them"
        )
    with joined_processes(device_named(given.device)) as (processes, device):
        runs = {name: load_run(path, device) for name, path in zip(names, given.runs, strict=True)}
        if given.test is not None:
            runs = {name: with_test_videos(run, given.test) for name, run in runs.items()}
        for run in runs.values():
            check_has_evidence(run)
        # Runs of one world share their first test videos, so the shortest test set is common to all.
        count = min(given.num_sequences, *(run.test.num_sequences for run in runs.values()))
        progress = sys.stderr.isatty() and processes.leads
        evidence = {
            name: run_evidence(run, count, budget, progress=progress, processes=processes) for name, run in runs.items()
        }
        try:
            comparison = compare_evidence(evidence)
        except IncomparableError as error:
            if processes.leads:
                print(tabulate_evidence(evidence))
                print(f"kinema: {error}", file=sys.stderr)
            return FAILED
        if processes.leads:
            print(comparison)
            if given.picture is not None:
                draw_comparison(comparison).savefig(given.picture)
                print(given.picture)
            if given.json is not None:
                record = {"provenance": provenance(), "runs": dict(zip(names, map(str, given.runs), strict=True))}
                given.json.parent.mkdir(parents=True, exist_ok=True)
                write_bytes(given.json, json.dumps(record | {"comparison": comparison.record()}, indent=1).encode())
                print(given.json)
    return 0
