"""Comparison of models by log evidence, with confidence intervals and tests of their differences."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inference.evidence import Evidence
from inference.evidence.paired_differences import PairedDifferences, paired_differences
from inference.evidence.tables import LOWER_BOUND, ComparedModel, Comparison, ModelEvidence, evidence_rows, text_table

UNRELIABLE_K = 0.7  # above it, importance-sampling estimates cannot be relied upon (Vehtari et al., 2024)
MOST_MONTE_CARLO = 0.5  # share of the variance of a difference from which more draws help more than more sequences
# Fields that must agree between compared evidences: name in words, and the remedy if they differ
MUST_AGREE = {
    "videos": (
        "videos",
        "evaluate all models on the same videos in the same order (kinema compare RUN RUN --test FILE)",
    ),
    "mask": ("missing frames", "evaluate all models with the same mask"),
    "reference": (
        "kinds of probability",
        "give all models the same kind of distribution of frames, as densities and probabilities have no common scale",
    ),
}


class IncomparableError(ValueError):
    """Evidences that cannot be compared; the message says why and what to do."""


def compare(evidences: Mapping[str, Evidence], *, level: float = 0.95) -> Comparison:
    """Compare models by their evidence on the same sequences.

    Each model is compared with the best one found, by the paired differences of the sequences: Student's t, corrected
    over all pairs of models, since the best one was chosen by the same numbers; see `paired_differences`.

    A difference has two sources of error. Sampling of sequences: their differences vary with the models and with the
    noise of the Monte Carlo estimates, so `difference_error` and `interval` include both. Sampling of draws:
    `difference_monte_carlo` is this part alone, the variation if the same sequences were evaluated again. Estimates
    with the same seed and number of draws share random numbers; their correlation is computed from the weights. If this
    part is more than half of the variance, a warning asks for more draws rather than more sequences.

    Differences are between the estimates. If the verdict is "lower bound", the log evidence may be well above. If both
    were bracketed (`Budget(certify=True)`), `bracketed` says how far that can move the difference.

    Args:
        evidences: records of `log_evidence` by model name, for the same videos in the same order.
        level: probability that the intervals of all pairs cover their differences; 1 - level is the probability of any
            false claim that two models differ.

    Returns:
        The best model first, with paired differences to it. Warnings name models whose estimates are unreliable by
        k-hat, whose difference is mostly Monte Carlo error, or that were evaluated with another number of particles or
        by another method than the rest. `inference.pictures.draw_comparison` draws it.

    Raises:
        TypeError: if `evidences` does not map names to records of `log_evidence`.
        ValueError: if there is no model, or `level` is not between 0 and 1.
        IncomparableError: a ValueError: if numbers of sequences, videos or missing frames differ between models, some
            evidences are densities and others probabilities, or one is not finite; names the models.
    """
    _check(evidences)
    ranked = sorted(evidences, key=lambda name: -evidences[name].log_evidence.mean().item())
    values = np.stack([evidences[name].log_evidence.double().numpy() for name in ranked])
    paired = paired_differences(values, level)
    best = evidences[ranked[0]]
    models = tuple(
        _compared(name, evidences[name], best, paired, place, 1 - level) for place, name in enumerate(ranked)
    )
    ways = _other_ways(evidences) if any(model.verdict == LOWER_BOUND for model in models) else ()
    return Comparison(models, best.num_sequences, (*_warnings(models, evidences), *ways), level)


def tabulate_evidence(evidences: Mapping[str, Evidence]) -> str:
    """A table of models without their differences, in the order given: for models that `compare` refuses.

    Args:
        evidences: records of `log_evidence` by model name.
    """
    models = [ModelEvidence(**_summary(name, evidence)) for name, evidence in evidences.items()]
    return text_table(evidence_rows(models)) + "\n\nnats per sequence; +- is one standard error over sequences"


def _compared(
    name: str, evidence: Evidence, best: Evidence, paired: PairedDifferences, place: int, threshold: float
) -> ComparedModel:
    mean, half_width = paired.mean[place, 0].item(), paired.half_width[place, 0].item()
    p_value = paired.p_value[place, 0].item() if place else math.nan
    return ComparedModel(
        **_summary(name, evidence),
        difference=mean,
        difference_error=paired.error[place, 0].item(),
        interval=(mean - half_width, mean + half_width),
        p_value=p_value,
        significant=p_value <= threshold,
        difference_monte_carlo=_monte_carlo_error(evidence, best) if place else 0.0,
        bracketed=_bracketed(mean, evidence, best) if place else None,
    )


def _bracketed(difference: float, evidence: Evidence, best: Evidence) -> tuple[float, float] | None:
    """Limits of the difference, since each estimate is too low by 0 to the width of its bracket."""
    own, other = _too_low_by(evidence), _too_low_by(best)
    return None if own is None or other is None else (difference - other, difference + own)


def _too_low_by(evidence: Evidence) -> float | None:
    if evidence.verdict is not None and evidence.verdict.kind == "exact":
        return 0.0
    return None if evidence.bracket_width is None else max(evidence.bracket_width, 0.0)


def _summary(name: str, evidence: Evidence) -> dict[str, Any]:
    known = not bool(evidence.pareto_k.isnan().any())
    unreliable = (evidence.pareto_k > UNRELIABLE_K).double().mean().item() if known else math.nan
    verdict = getattr(evidence, "verdict", None)
    own = LOWER_BOUND if math.isnan(unreliable) or unreliable > 0 else f"k-hat below {UNRELIABLE_K}"
    return {
        "name": name,
        "log_evidence": evidence.log_evidence.mean().item(),
        "standard_error": _error_of_mean(evidence.log_evidence),
        "elbo": evidence.elbo.mean().item(),
        "monte_carlo_error": (evidence.standard_error.square().sum().sqrt() / evidence.num_sequences).item(),
        "effective_sample_size": evidence.effective_sample_size.median().item(),
        "unreliable": unreliable,
        "num_particles": evidence.num_particles,
        "num_sequences": evidence.num_sequences,
        "verdict": own if verdict is None else verdict.kind,
    }


def _error_of_mean(values: Tensor) -> float:
    count = values.numel()
    return (values.std() / count**0.5).item() if count > 1 else math.nan


def _monte_carlo_error(first: Evidence, second: Evidence) -> float:
    """Standard error of the mean difference over draws, sequences held fixed.

    For sequence n, by the delta method: se_1n^2 + se_2n^2 - 2 r_n se_1n se_2n, where r_n is the correlation of the two
    models' weights over particles.
    """
    errors = first.standard_error, second.standard_error
    variances = errors[0].square() + errors[1].square()
    if first.seed == second.seed and first.log_weights.shape == second.log_weights.shape:
        one, other = (torch.softmax(record.log_weights, 0) for record in (first, second))
        one, other = one - one.mean(0), other - other.mean(0)
        scale = (one.square().sum(0) * other.square().sum(0)).sqrt()
        correlation = torch.where(scale > 0, (one * other).sum(0) / scale, 0.0)
        variances = (variances - 2 * correlation * errors[0] * errors[1]).clamp(min=0)  # rounding can make it negative
    return (variances.sum().sqrt() / len(variances)).item()


def _check(evidences: object) -> None:
    """Refuse an empty mapping, wrong types, and evidences that cannot be compared."""
    if not isinstance(evidences, Mapping):
        raise TypeError(
            f"evidences: expected a mapping of names to evidences, got {type(evidences).__name__}; "
            "write {'name': log_evidence(...), ...}"
        )
    if not evidences:
        raise ValueError("evidences: expected at least one model, got none")
    for name, evidence in evidences.items():
        if not isinstance(evidence, Evidence):
            raise TypeError(
                f"evidences[{name!r}]: expected the whole record that log_evidence returns, got "
                f"{type(evidence).__name__}; pass the record, not its attribute log_evidence, which does not identify "
                "the videos"
            )
    counts = {name: evidence.num_sequences for name, evidence in evidences.items()}
    if len(set(counts.values())) > 1:
        first, *others = counts
        other = next(name for name in others if counts[name] != counts[first])
        raise IncomparableError(
            f"evidences: expected the same sequences for all models, {first!r} has {counts[first]} and {other!r} has "
            f"{counts[other]}; evaluate both on the same"
        )
    differing, remedies = [], []
    for field, (words, remedy) in MUST_AGREE.items():
        found = _groups({name: getattr(evidence, field, "") for name, evidence in evidences.items()})
        if len(found) > 1:
            kinds = (f"{value}: " if field == "reference" else "" for value in found)  # digests mean nothing to readers
            sides = (kind + ", ".join(map(repr, names)) for kind, names in zip(kinds, found.values(), strict=True))
            differing.append(f"the {words} differ ({' against '.join(sides)})")
            remedies.append(remedy)
    if differing:
        raise IncomparableError(
            "evidences: expected the same videos, missing frames and kind of probability for all models, but "
            f"{' and '.join(differing)}; {'; '.join(remedies)}"
        )
    for name, evidence in evidences.items():
        finite = evidence.log_evidence.isfinite()
        if not bool(finite.all()):
            number = int((~finite).long().argmax())
            raise IncomparableError(
                f"evidences[{name!r}]: expected finite log evidence, got {evidence.log_evidence[number].item()} for "
                f"sequence {number}, and for {int((~finite).sum())} of {len(finite)} in all; minus infinity: the model "
                "rules a video out, or no draw explains it (take more draws); nan: look at its parameters"
            )


def _warnings(models: tuple[ComparedModel, ...], evidences: Mapping[str, Evidence]) -> list[str]:
    found = [
        f"{model.name}: k-hat is above {UNRELIABLE_K} for {model.unreliable:.0%} of the sequences; there the estimate "
        "and its error cannot be relied upon (a better guide, or more particles)"
        for model in models
        if model.unreliable > 0
    ]
    for model in models:
        if math.isnan(model.unreliable) and model.is_lower_bound:
            verdict = getattr(evidences[model.name], "verdict", None)
            words = "too few particles to compute k-hat, so the reliability of the estimate is unknown"
            found.append(f"{model.name}: {words if verdict is None else verdict.words}")
    for model in models[1:]:
        variance = model.difference_error**2
        share = min(model.difference_monte_carlo**2 / variance, 1.0) if variance > 0 else 0.0
        if share > MOST_MONTE_CARLO:
            found.append(
                f"{model.name}: {share:.0%} of the variance of its difference to {models[0].name} is Monte Carlo "
                "error; telling them apart needs more draws rather than more sequences"
            )
    if len(models) > 1 and models[0].num_sequences == 1:
        found.append("one sequence: this says nothing about other sequences (compare on several)")
    return found


def _groups(values: Mapping[str, object]) -> dict[object, list[str]]:
    """Names grouped by value."""
    found: dict[object, list[str]] = {}
    for name, value in values.items():
        found.setdefault(value, []).append(name)
    return found


def _other_ways(evidences: Mapping[str, Evidence]) -> Iterator[str]:
    """Warnings about settings that differ between models, which is allowed."""

    def kind(evidence: Evidence) -> str:
        if evidence.filtering is not None:
            return f"filters of {evidence.filtering.num_particles}"
        return "annealed" if evidence.annealing is not None else "guide's draws"

    for values, words in (
        ({name: evidence.num_particles for name, evidence in evidences.items()}, "the numbers of particles differ"),
        ({name: kind(evidence) for name, evidence in evidences.items()}, "the estimation methods differ"),
    ):
        if len(_groups(values)) > 1:
            each = ", ".join(f"{name} {value}" for name, value in values.items())
            yield f"{words} ({each}); each is a bound, and some are tighter than others"
