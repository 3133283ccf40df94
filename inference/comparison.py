"""Models side by side by their log evidence, with what to make of the differences."""

import html
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from inference.evidence import Evidence

UNRELIABLE_K = 0.7  # above it, importance-sampling estimates cannot be relied upon (Vehtari et al., 2024)


@dataclass(frozen=True)
class ComparedModel:
    """One line of a comparison; nats per sequence.

    Attributes:
        name: of the model.
        log_evidence: mean over sequences.
        standard_error: of that mean, over sequences; nan for one sequence.
        elbo: mean over sequences.
        difference: log_evidence minus that of the best model, 0 for the best.
        difference_error: standard error of the difference, from the paired differences of the sequences: usually far
            below what the two standard errors suggest, as hard sequences are hard for every model.
        monte_carlo_error: standard error of log_evidence over draws of the particles, sequences held fixed.
        effective_sample_size: median over sequences.
        unreliable: share of sequences with k-hat above 0.7; nan if k-hat was not computed.
        num_particles: draws per sequence.
    """

    name: str
    log_evidence: float
    standard_error: float
    elbo: float
    difference: float
    difference_error: float
    monte_carlo_error: float
    effective_sample_size: float
    unreliable: float
    num_particles: int


@dataclass(frozen=True)
class Comparison:
    """A table of models, the best first. Prints as text and, in a notebook, as a table; see also `to_markdown`.

    Attributes:
        models: one line per model, by falling log evidence.
        num_sequences: sequences that all models were weighed on.
        warnings: what speaks against taking the table at its word.
    """

    models: tuple[ComparedModel, ...]
    num_sequences: int
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        rows = [list(_HEADINGS), *map(_cells, self.models)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
        lines = []
        for row in rows:
            aligned = (f"{cell:{'>' if index else '<'}{widths[index]}}" for index, cell in enumerate(row))
            lines.append("  ".join(aligned))
        return "\n".join([*lines, "", self._caption(), *(f"warning: {warning}" for warning in self.warnings)])

    def to_markdown(self) -> str:
        """The table for a README or a report."""
        rows = [_HEADINGS, ("---", *["---:"] * (len(_HEADINGS) - 1)), *map(_cells, self.models)]
        lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
        return "\n".join([*lines, "", self._caption(), *(f"\n**Warning:** {warning}" for warning in self.warnings)])

    def _repr_html_(self) -> str:
        def row(cells: tuple[str, ...] | list[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        body = "".join(row(_cells(model), "td") for model in self.models)
        notes = "".join(f"<p><b>Warning:</b> {html.escape(warning)}</p>" for warning in self.warnings)
        table = f"<table><thead>{row(_HEADINGS, 'th')}</thead><tbody>{body}</tbody></table>"
        return f"{table}<p>{html.escape(self._caption())}</p>{notes}"

    def _caption(self) -> str:
        return f"nats per sequence over {self.num_sequences} sequences; +- is one standard error"


_HEADINGS = ("model", "log evidence", "difference", "ELBO", "draws", "ESS", "k-hat > 0.7", "MC error")


def _cells(model: ComparedModel) -> tuple[str, ...]:
    best = model.difference == 0 and model.difference_error == 0
    return (
        model.name,
        f"{model.log_evidence:.2f} +- {model.standard_error:.2f}",
        "best" if best else f"{model.difference:.2f} +- {model.difference_error:.2f}",
        f"{model.elbo:.2f}",
        str(model.num_particles),
        f"{model.effective_sample_size:.1f}",
        "?" if math.isnan(model.unreliable) else f"{model.unreliable:.0%}",
        "?" if math.isnan(model.monte_carlo_error) else f"{model.monte_carlo_error:.2f}",
    )


def compare(evidences: Mapping[str, Evidence]) -> Comparison:
    """Compare models by their evidence on the same sequences.

    Args:
        evidences: what `log_evidence` returned for each model, by name, for the same videos in the same order.

    Returns:
        The best model first, with paired differences to it. Warnings name models whose estimates are unreliable by
        k-hat, or that were weighed on other videos, other missing frames, with another number of particles or in
        another way than the rest. `inference.pictures.draw_comparison` draws it.

    Raises:
        ValueError: if there is no model, or if they were not weighed on the same number of sequences; names both.
    """
    if not evidences:
        raise ValueError("evidences: expected at least one model, got none")
    first = next(iter(evidences))
    for name, evidence in evidences.items():
        if evidence.num_sequences != evidences[first].num_sequences:
            raise ValueError(
                f"evidences: expected the same sequences for all models, {first!r} has "
                f"{evidences[first].num_sequences} and {name!r} has {evidence.num_sequences}"
            )
    ranked = sorted(evidences, key=lambda name: -evidences[name].log_evidence.mean().item())
    best = evidences[ranked[0]].log_evidence
    models = tuple(_compared(name, evidences[name], best) for name in ranked)
    return Comparison(models, evidences[first].num_sequences, (*_warnings(models), *_mismatches(evidences)))


def _compared(name: str, evidence: Evidence, best: Tensor) -> ComparedModel:
    difference = evidence.log_evidence - best
    known = not bool(evidence.pareto_k.isnan().any())
    return ComparedModel(
        name=name,
        log_evidence=evidence.log_evidence.mean().item(),
        standard_error=_error_of_mean(evidence.log_evidence),
        elbo=evidence.elbo.mean().item(),
        difference=difference.mean().item(),
        difference_error=_error_of_mean(difference),
        monte_carlo_error=(evidence.standard_error.square().sum().sqrt() / evidence.num_sequences).item(),
        effective_sample_size=evidence.effective_sample_size.median().item(),
        unreliable=(evidence.pareto_k > UNRELIABLE_K).double().mean().item() if known else math.nan,
        num_particles=evidence.num_particles,
    )


def _error_of_mean(values: Tensor) -> float:
    count = values.numel()
    return (values.std() / count**0.5).item() if count > 1 else math.nan


def _warnings(models: tuple[ComparedModel, ...]) -> list[str]:
    found = [
        f"{model.name}: k-hat is above {UNRELIABLE_K} for {model.unreliable:.0%} of the sequences; there the estimate "
        "and its error cannot be relied upon (a better guide, or more particles)"
        for model in models
        if model.unreliable > 0
    ]
    unknown = [model.name for model in models if math.isnan(model.unreliable)]
    if unknown:
        found.append(f"{', '.join(unknown)}: too few particles to compute k-hat; whether to believe them is not known")
    return found


def _mismatches(evidences: Mapping[str, Evidence]) -> Iterator[str]:
    """What was not the same for all models."""

    def kind(evidence: Evidence) -> str:
        if evidence.filtering is not None:
            return f"filters of {evidence.filtering.num_particles}"
        return "annealed" if evidence.annealing is not None else "guide's draws"

    def groups(values: Mapping[str, object]) -> dict[object, list[str]]:
        found: dict[object, list[str]] = {}
        for name, value in values.items():
            found.setdefault(value, []).append(name)
        return found

    for field, words in (("videos", "the videos differ"), ("mask", "the missing frames differ")):
        found = groups({name: getattr(evidence, field) for name, evidence in evidences.items()})
        if len(found) > 1:
            sides = " against ".join(", ".join(names) for names in found.values())
            yield f"{words} ({sides}); their evidences cannot be compared"
    for values, words in (
        ({name: evidence.num_particles for name, evidence in evidences.items()}, "the numbers of particles differ"),
        ({name: kind(evidence) for name, evidence in evidences.items()}, "the ways of estimation differ"),
    ):
        if len(groups(values)) > 1:
            each = ", ".join(f"{name} {value}" for name, value in values.items())
            yield f"{words} ({each}); each is a bound, and some are tighter than others"
