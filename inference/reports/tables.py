"""The tables of a page: options, scores of several runs side by side, imputation errors beside a paper's."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

import docstring_parser

from inference.experiments.evaluation import Bounds, plain_numbers
from inference.gallery.imputations import ErrorCurvePictures
from inference.recipes import RECIPES
from inference.recipes.options import dashed
from inference.recipes.recipe import PARTS
from inference.reports.record import RunRecord
from inference.scores.imputation_curves import ImputationCurve

UNITS = {
    "elbo": ("bound (ELBO)", "nats per sequence"),
    "importance_weighted": ("importance-weighted bound", "nats per sequence"),
    "log_evidence": ("log evidence", "nats per sequence; ≥ marks a lower bound"),
    "reconstruction": ("reconstruction, log p(x | z)", "nats per sequence"),
    "divergence": ("divergence, log q(z | x) − log p(z)", "nats per sequence"),
}
ABSENT = "–"


@dataclass(frozen=True)
class Row:
    """A row of a table: its name, what it means, and a cell for each run."""

    name: str
    meaning: str
    cells: tuple[str, ...]
    paper: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under a heading.

    Attributes:
        heading: above all.
        columns: names of the cells' columns.
        rows: the rows.
        note: how to read it.
    """

    heading: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""


def option_rows(run: RunRecord) -> tuple[Row, ...]:
    """Options of a run that differ from its recipe's own values: value, the recipe's value."""
    if run.recipe is None:
        return tuple(Row(name, "", (str(value), "")) for name, value in run.folder.config.items())
    usual = RECIPES[run.recipe.name].options
    meanings = _meanings_of_options(run)
    rows = []
    for name, value in run.recipe.options.items():
        if name not in usual or value != usual[name]:
            before = _word(usual[name]) if name in usual else ABSENT
            rows.append(Row(f"--{dashed(name)}", meanings.get(name, ""), (_word(value), before)))
    return tuple(rows)


def score_table(runs: Sequence[RunRecord]) -> Table:
    """Bounds, evidence and every score that is a number, a column for each run."""
    rows: dict[str, Row] = {}
    cells: dict[str, dict[str, str]] = {}
    for run in runs:
        for name, meaning, cell in _numbers(run):
            rows.setdefault(name, Row(name, meaning, ()))
            cells.setdefault(name, {})[run.name] = cell
    filled = tuple(
        Row(name, row.meaning, tuple(cells[name].get(run.name, ABSENT) for run in runs)) for name, row in rows.items()
    )
    return Table("Scores on held-out videos", tuple(run.name for run in runs), filled)


def imputation_tables(runs: Sequence[RunRecord]) -> list[Table]:
    """Share of wrong pixels in missing frames by how many are missing, and a paper's where one has the same videos."""
    ours = [(run.name, curve) for run in runs for curve in _curves(run)]
    published: list[ImputationCurve] = []
    for run in runs:
        pictures = () if run.recipe is None else run.recipe.pictures()
        for picture in pictures:
            if isinstance(picture, ErrorCurvePictures) and _curves(run):
                published += [curve for curve in picture.published if curve not in published]
    headings = {"random": "Frames missing at random, by probability", "gap": "Frames missing in a row, by number"}
    tables = []
    for pattern in dict.fromkeys(curve.pattern for _, curve in ours):
        levels = list(dict.fromkeys(level for _, curve in ours if curve.pattern == pattern for level in curve.levels))
        rows = [
            Row(f"{name}, {curve.method}" if len(runs) > 1 else curve.method, "", _errors(curve, levels))
            for name, curve in ours
            if curve.pattern == pattern
        ]
        rows += [
            Row(f"{curve.method}, paper", "", _errors(curve, levels), paper=True)
            for curve in published
            if curve.pattern == pattern
        ]
        tables.append(
            Table(
                headings.get(pattern, pattern),
                tuple(f"{level:g}" for level in levels),
                tuple(rows),
                "Share of wrong pixels in the missing frames; lower is better.",
            )
        )
    return tables


def score_texts(run: RunRecord) -> list[tuple[str, str]]:
    """Scores that are no list of numbers, as `kinema evaluate` prints them: name and text."""
    if run.recipe is None or run.evaluation is None:
        return []
    tables = {score.name: score.table for score in run.recipe.scores()}
    return [
        (_words(name), tables.get(name, str)(value))
        for name, value in run.evaluation.scores.items()
        if plain_numbers(value) is None and not _is_curves(value)
    ]


def _numbers(run: RunRecord) -> list[tuple[str, str, str]]:
    """Name, meaning and cell of each number of an evaluation."""
    if run.evaluation is None:
        return []
    found = [] if run.evaluation.bounds is None else _bounds(run.evaluation.bounds)
    for name, value in run.evaluation.scores.items():
        meanings = _attributes(type(value)) if is_dataclass(value) else {}
        for key, number in (plain_numbers(value) or {}).items():
            label = _words(name) if not key else f"{_words(name)}: {_words(key)}"
            found.append((label, meanings.get(key, ""), f"{number:.4g}"))
    return found


def _bounds(bounds: Bounds) -> list[tuple[str, str, str]]:
    errors = {"elbo": bounds.elbo_error, "log_evidence": bounds.log_evidence_error}
    found = []
    for name, (label, meaning) in UNITS.items():
        value = getattr(bounds, name)
        if value is not None:
            mark = "≥ " if name == "log_evidence" and bounds.is_lower_bound else ""
            error = f" ± {errors[name]:.2f}" if name in errors else ""
            found.append((label, meaning, f"{mark}{value:.2f}{error}"))
    return found


def _is_curves(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(one, ImputationCurve) for one in value)


def _curves(run: RunRecord) -> tuple[ImputationCurve, ...]:
    scores = () if run.evaluation is None else run.evaluation.scores.values()
    return next((value for value in scores if value and _is_curves(value)), ())


def _errors(curve: ImputationCurve, levels: Sequence[float | int]) -> tuple[str, ...]:
    known = dict(zip(curve.levels, curve.errors, strict=True))
    return tuple(f"{known[level]:.4f}" if level in known else ABSENT for level in levels)


def _meanings_of_options(run: RunRecord) -> dict[str, str]:
    meanings: dict[str, str] = {"seed": "seed of everything random"}
    for part in PARTS:
        for kind in reversed(type(getattr(run.recipe, part)).__mro__):
            meanings |= _attributes(kind)
    return meanings


def _attributes(kind: type) -> dict[str, str]:
    """What a class's docstring says about its attributes."""
    parsed = docstring_parser.parse(str(kind.__doc__)).params
    return {entry.arg_name: re.sub(r"\s+", " ", entry.description or "") for entry in parsed}


def _words(name: str) -> str:
    return name.replace("_", " ")


def _word(value: Any) -> str:
    if isinstance(value, tuple | list):
        return " ".join(map(str, value))
    return str(value) if not isinstance(value, Path) else value.name
