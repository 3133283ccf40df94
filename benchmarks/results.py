"""Write RESULTS.md, a page of claims with their margins, and a file for each paper with its numbers beside ours.

    python benchmarks/results.py runs/*

Copies the records of evaluated runs (configuration, provenance, scores, time; no weights) into `results/`, which is
committed, and writes RESULTS.md, the files beside the records and their pictures from all records there, so that they
cover runs of several days and machines. Reads the output of `kinema train`, `kinema evaluate` and the other programs of
this folder; measures nothing itself. Tables contain only what has been measured.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from chapters import chapters
from judged import Chapter
from records import EVIDENCE_NOTE, Run, keep_records, read_runs

INTRODUCTION = (
    "# Results",
    "",
    "Written by `python benchmarks/results.py` from the records in `results/`. Every number comes from a run or a",
    "measurement whose command is listed with it, or in [commands](COMMANDS).",
    "",
)
DIGITS_NOTE = (
    "Digits of half size (`air-small`, `sqair-small`, `vrnn-small` and their kind) lacked a rim on the left and above",
    "in records of commits before 1603cd8, and their true positions lay half a pixel off.",
)


def page_of_claims(found: Sequence[Chapter], places: dict[str, str]) -> str:
    """RESULTS.md.

    Args:
        found: the files.
        places: path of each, relative to this page.
    """
    judged = [one for chapter in found for _, claims in chapter.claims for one in claims]
    lines = [line.replace("COMMANDS", places["commands"]) for line in INTRODUCTION]
    lines += ["| what was measured | |", "|---|---|"]
    for chapter in found:
        titles = "; ".join(title for title, section in chapter.sections if section)
        lines.append(f"| [{chapter.title}]({places[chapter.name]}) | {titles} |")
    lines += [
        *("", *EVIDENCE_NOTE, "", *DIGITS_NOTE, ""),
    ]
    if judged:
        lines += [
            "## Claims",
            "",
            f"{sum(one.holds for one in judged)} of {len(judged)} tests of claims of the papers hold. A margin is that",
            "of the case closest to failing, in the units of the file, and negative where the claim fails. Seeds: how",
            "many were trained, or how many of them hold.",
            "",
        ]
    for chapter in found:
        lines += claims_of(chapter)
    return "\n".join(lines).rstrip() + "\n"


def claims_of(chapter: Chapter) -> list[str]:
    """A table of its claims, or nothing without claims."""
    rows = [
        f"| {one.claim} | {on} | {one.verdict} | {one.margin} | {one.seeds} |"
        for on, claims in chapter.claims
        for one in claims
    ]
    if not rows:
        return []
    return [f"### {chapter.title}", "", "| claim | on | | margin | seeds |", "|---|---|---|---:|---:|", *rows, ""]


def write(runs: Sequence[Run], records: Path, document: Path) -> list[Path]:
    """Write all files.

    Args:
        runs: evaluated runs.
        records: folder of the records; files of papers go there.
        document: the page of claims.

    Returns:
        What was written.
    """
    found = [chapter for chapter in chapters(runs, records) if any(section for _, section in chapter.sections)]
    paths = {chapter.name: records / f"{chapter.name}.md" for chapter in found}
    for chapter in found:
        paths[chapter.name].write_text(chapter.text())
    places = {name: os.path.relpath(path, document.parent) for name, path in paths.items()}
    document.write_text(page_of_claims(found, places))
    return [document, *paths.values()]


def main() -> None:
    """Copy, read, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="*", help="folders of runs and files of measurements to add")
    parser.add_argument("--records", type=Path, default=Path("results"))
    parser.add_argument("--output", type=Path, default=Path("RESULTS.md"))
    options = parser.parse_args()
    options.records.mkdir(parents=True, exist_ok=True)
    for path in options.runs:
        keep_records(path, options.records)
    runs = read_runs(sorted(options.records.iterdir()))
    print(*write(runs, options.records, options.output), sep="\n")


if __name__ == "__main__":
    main()
