"""Tables of models by log evidence: as text, as Markdown, and as HTML for notebooks."""

import html
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

LOWER_BOUND = "lower bound"  # the verdict on an estimate that may lie far below the log evidence


@dataclass(frozen=True, kw_only=True)
class ModelEvidence:
    """Summary of one model; nats per sequence.

    Attributes:
        name: the model's name.
        log_evidence: mean of the estimates over sequences; `verdict` says whether it is only a lower bound.
        standard_error: of that mean, over sequences; nan for one sequence.
        elbo: mean over sequences.
        monte_carlo_error: standard error of log_evidence over draws of the particles, sequences held fixed.
        effective_sample_size: median over sequences.
        unreliable: share of sequences with k-hat above 0.7; nan if k-hat was not computed.
        num_particles: draws per sequence.
        num_sequences: number of sequences.
        verdict: how reliable the estimate is: the record's "exact", "certified", "converged" or "lower bound"; without
            one, "lower bound" if k-hat is above 0.7 or unknown for any sequence, else "k-hat below 0.7".
    """

    name: str
    log_evidence: float
    standard_error: float
    elbo: float
    monte_carlo_error: float
    effective_sample_size: float
    unreliable: float
    num_particles: int
    num_sequences: int
    verdict: str

    @property
    def is_lower_bound(self) -> bool:
        """Whether the estimate is a lower bound (in expectation) rather than the log evidence."""
        return self.verdict == LOWER_BOUND


@dataclass(frozen=True, kw_only=True)
class ComparedModel(ModelEvidence):
    """One line of a comparison; nats per sequence.

    Attributes:
        difference: log_evidence minus that of the best model, 0 for the best.
        difference_error: standard error of the difference, from the paired differences of the sequences: usually far
            below what the two standard errors suggest, since hard sequences are hard for every model. It includes the
            Monte Carlo error of both models.
        interval: confidence interval of the difference; see `Comparison.level`.
        p_value: of the hypothesis that the model and the best one do not differ, corrected; nan for the best.
        significant: whether they differ after correction: p_value is at most 1 - level.
        difference_monte_carlo: Monte Carlo part of difference_error: standard error of the difference with sequences
            held fixed. More draws reduce it.
        bracketed: limits of the true difference in log evidence, assuming that each estimate is too low by at most the
            width of its model's bracket on videos near the given ones; None without brackets.
    """

    difference: float
    difference_error: float
    interval: tuple[float, float]
    p_value: float
    significant: bool
    difference_monte_carlo: float
    bracketed: tuple[float, float] | None = None


@dataclass(frozen=True)
class Comparison:
    """A table of models, the best first. Prints as text and, in a notebook, as a table; see also `to_markdown`.

    Attributes:
        models: one line per model, by falling log evidence.
        num_sequences: number of sequences, the same for all models.
        warnings: reasons not to rely on the table.
        level: probability that the intervals of all pairs of models cover their differences simultaneously.
    """

    models: tuple[ComparedModel, ...]
    num_sequences: int
    warnings: tuple[str, ...]
    level: float = 0.95

    def __str__(self) -> str:
        warnings = (f"warning: {warning}" for warning in self.warnings)
        return "\n".join([text_table(self._rows()), "", *self._notes(), *warnings])

    def record(self) -> dict[str, Any]:
        """All fields as plain values, ready for JSON: a number that is not known is None."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    def to_markdown(self) -> str:
        """The table for a README or a report."""
        headings, *rows = self._rows()
        rows = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
        lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
        notes = "; ".join(self._notes()).replace("*", "\\*")
        return "\n".join([*lines, "", notes, *(f"\n**Warning:** {warning}" for warning in self.warnings)])

    def _repr_html_(self) -> str:
        def row(cells: Sequence[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        headings, *rows = self._rows()
        table = (
            f"<table><thead>{row(headings, 'th')}</thead><tbody>{''.join(row(r, 'td') for r in rows)}</tbody></table>"
        )
        notes = "<br>".join(map(html.escape, self._notes()))
        warnings = "".join(f"<p><b>Warning:</b> {html.escape(warning)}</p>" for warning in self.warnings)
        return f"{table}<p>{notes}</p>{warnings}"

    def _rows(self) -> list[list[str]]:
        rows = []
        for place, model in enumerate(self.models):
            low, high = model.interval
            difference = f"{model.difference:.2f} [{_number(low)}, {_number(high)}]"
            p_value = "?" if math.isnan(model.p_value) else _probability(model.p_value) + " *" * model.significant
            own = _cells(model)
            row = {heading: own.pop(heading) for heading in ("model", "log evidence", "verdict")}
            if len(self.models) > 1:
                row[f"difference [{100 * self.level:g} %]"] = difference if place else "best"
                row["p (corrected)"] = p_value if place else ""
                if any(other.bracketed for other in self.models):
                    row["by brackets"] = _between(model.bracketed) if place else ""
                own["MC of difference"] = _number(model.difference_monte_carlo) if place else ""
            rows.append(row | own)
        return [list(rows[0]), *(list(row.values()) for row in rows)]

    def _notes(self) -> list[str]:
        count, pairs = self.num_sequences, len(self.models) * (len(self.models) - 1) // 2
        notes = [f"nats per sequence over {count} sequences; +- is one standard error over sequences"]
        if pairs and count > 1:
            several = pairs > 1
            notes += [
                f"difference: to the best model, with {100 * self.level:g} % confidence intervals by Student's t with "
                f"{count - 1} degrees of freedom on paired differences"
                + f", Bonferroni over all {pairs} pairs"
                * several,
                f"p: paired t tests; * at most {1 - self.level:.4g}"
                + f"; corrected by Holm over all {pairs} pairs, as the best was chosen on these sequences" * several,
            ]
        if any(model.bracketed for model in self.models):
            notes.append(
                "by brackets: limits of the difference if estimates are no further below the log evidence than on "
                "videos near these"
            )
        if any(model.is_lower_bound for model in self.models):
            notes.append(f"{LOWER_BOUND}: the log evidence may lie well above the estimate")
        return notes


def _plain(value: Any) -> Any:
    """Tuples as lists, and None for nan and infinity, which JSON lacks."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """A plain-text table; the first column is left-aligned, the others right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        aligned = (f"{cell:{'>' if index else '<'}{widths[index]}}" for index, cell in enumerate(row))
        lines.append("  ".join(aligned))
    return "\n".join(lines)


def evidence_rows(models: Sequence[ModelEvidence]) -> list[list[str]]:
    """Headings and one row per model, in the given order, without differences: for models that cannot be compared."""
    rows = [{**_cells(model), "sequences": str(model.num_sequences)} for model in models]
    return [list(rows[0]), *(list(row.values()) for row in rows)]


def _cells(model: ModelEvidence) -> dict[str, str]:
    return {
        "model": model.name,
        "log evidence": f"{model.log_evidence:.2f} +- {_number(model.standard_error)}",
        "verdict": model.verdict,
        "ELBO": f"{model.elbo:.2f}",
        "draws": str(model.num_particles),
        "ESS": f"{model.effective_sample_size:.1f}",
        "k-hat > 0.7": "?" if math.isnan(model.unreliable) else f"{model.unreliable:.0%}",
        "MC error": _number(model.monte_carlo_error),
    }


def _between(limits: tuple[float, float] | None) -> str:
    return "?" if limits is None else f"{limits[0]:.2f} to {limits[1]:.2f}"


def _number(value: float) -> str:
    return "?" if math.isnan(value) else f"{value:.2f}"


def _probability(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}" if value < 0.1 else f"{value:.2f}"
