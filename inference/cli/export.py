"""`kinema export RUN --output FOLDER`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from inference.cli.devices import device_named
from inference.cli.words import parse
from inference.experiments.evaluation import read_evaluation
from inference.experiments.export import export_run
from inference.experiments.runs import load_run


@dataclass(frozen=True, kw_only=True)
class Export:
    """What is written, and where.

    Attributes:
        run: folder of the run.
        output: folder to write; None = `export` in the run's folder.
        num_sequences: number of test videos, and of videos from the prior.
        seed: seed of all draws.
        overwrite: also write into a folder that has files in it, replacing those of the same names.
        device: cpu or cuda.
    """

    run: tyro.conf.Positional[Path]
    output: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    num_sequences: int = 16
    seed: int = 0
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False
    device: str = "cpu"


def export(words: Sequence[str]) -> int:
    """Write what a run infers for other programs: tracks, codes, samples, evidence, a film."""
    given: Export = parse(words, prog="kinema export", description=str(export.__doc__), export=Export).export
    run = load_run(given.run, device_named(given.device))
    written = export_run(
        run,
        given.output or given.run / "export",
        num_sequences=given.num_sequences,
        seed=given.seed,
        overwrite=given.overwrite,
    )
    for path in written:
        print(path)
    if read_evaluation(run.folder) is None:
        print(
            f"kinema: no evidence.json, as the run has not been evaluated: kinema evaluate {given.run}", file=sys.stderr
        )
    return 0
