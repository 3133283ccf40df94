"""`kinema report RUN [RUN ...]`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from inference.cli.devices import device_named
from inference.cli.outputs import check_output
from inference.cli.words import parse
from inference.reports.page import complete, write_report


@dataclass(frozen=True, kw_only=True)
class Report:
    """What the page is about.

    Attributes:
        runs: folders of the runs.
        output: HTML file to write; None = report.html in the folder of a single run, and in this folder for several.
        complete: first evaluate and render the runs that have not been; may take minutes.
        device: where --complete computes: cpu or cuda.
    """

    runs: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]", help_behavior_hint="")
    ]
    output: Annotated[Path | None, tyro.conf.arg(metavar="FILE.html")] = None
    complete: tyro.conf.FlagCreatePairsOff[bool] = False
    device: str = "cpu"


def report(words: Sequence[str]) -> int:
    """Write a page about a run, or several: curves, scores, evidence, pictures, provenance, in one HTML file."""
    given: Report = parse(words, prog="kinema report", description=str(report.__doc__), report=Report).report
    check_output("output", given.output, (".html",), replaces=True)
    if given.complete:
        device = device_named(given.device)
        for path in given.runs:
            complete(path, device, progress=sys.stderr.isatty())
    place = given.output or (given.runs[0] / "report.html" if len(given.runs) == 1 else Path("report.html"))
    written = write_report(given.runs, place)
    print(f"{written} ({written.stat().st_size / 2**20:.1f} MiB)")
    return 0
