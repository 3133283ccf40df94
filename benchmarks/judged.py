"""Claims of papers, tested: what every section of RESULTS.md says of a claim."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from records import table


class Judged(NamedTuple):
    """A claim that was tested.

    Attributes:
        claim: its number in the paper's sheet, and what it says.
        holds: whether it holds in all cases.
        margin: the margin of the case closest to failing; negative ones fail. Empty if it is met or not.
        seeds: how many seeds were tested, or how many of them hold.
        case: the case closest to failing.
    """

    claim: str
    holds: bool
    margin: str = ""
    seeds: str = ""
    case: str = ""

    @property
    def verdict(self) -> str:
        """In a word."""
        return "holds" if self.holds else "fails"


def by_smallest(claim: str, margins: Iterable[float], seeds: str = "") -> Judged:
    """A claim judged by the smallest of several margins; one that is not a number fails.

    Args:
        claim: see `Judged`.
        margins: one for each case; negative ones fail.
        seeds: see `Judged`.
    """
    worst = min(margins, key=lambda margin: -math.inf if math.isnan(margin) else margin)
    return Judged(claim, worst >= 0, f"{worst:+.2f}", seeds)


def claims_table(claims: Sequence[Judged], *explained: str) -> list[str]:
    """Claims as rows; no lines without claims.

    Args:
        claims: the claims.
        explained: lines above the table, which say what a margin is.
    """
    if not claims:
        return []
    header, rows = ["claim", "", "margin"], [[one.claim, one.verdict, one.margin] for one in claims]
    for name, cells in (("seeds", [one.seeds for one in claims]), ("case", [one.case for one in claims])):
        if any(cells):
            header.append(name)
            rows = [[*row, cell] for row, cell in zip(rows, cells, strict=True)]
    return [*explained, "", *table(header, rows)]


class Chapter(NamedTuple):
    """A paper, or another subject, with a file of its own.

    Attributes:
        name: of its file.
        title: its heading; for a paper, authors and year.
        sections: titles and lines; those without lines are left out.
        claims: claims of the paper that were tested, with what they were tested on.
    """

    name: str
    title: str
    sections: Sequence[tuple[str, Sequence[str]]]
    claims: Sequence[tuple[str, Sequence[Judged]]] = ()

    def text(self) -> str:
        """The file."""
        lines = [f"# {self.title}", ""]
        for title, section in self.sections:
            if section:
                lines += [f"## {title}", "", *section]
        return "\n".join(lines).rstrip() + "\n"
