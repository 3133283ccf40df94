"""The section of RESULTS.md on evidence, from the record that `evidence.py` writes."""

import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from records import mark, origin, table


def evidence_section(path: Path) -> list[str]:
    """Estimates by several methods, verdicts and brackets."""
    if not path.is_file():
        return []
    record = json.loads(path.read_text())
    estimates, brackets = [], []
    for row in record["rows"]:
        seconds = row["seconds"]
        once = ""
        if "one_filter" in row:
            difference = row["one_filter"] - row["log_evidence"]
            once = f"{row['one_filter']:.2f} ({difference:+.2f}), {seconds['one filter']:.2g} s"
        estimate = f"{row['log_evidence']:.2f} ± {row['monte_carlo_error']:.2f}"
        estimates.append(
            (
                row["run"],
                f"{row['elbo']:.2f}",
                f"{row['importance_weighted']:.2f} ± {row['stated_error']:.2f}, {seconds['importance sampling']:.2g} s",
                f"{row['pareto_k_above']:.0%}",
                once,
                f"{mark(row['verdict'] == 'lower bound')}{estimate}",
                f"{row['log_evidence'] / row['frames']:.2f}",
                row["verdict"],
                "" if row["width"] is None else f"{row['width']:.2g}",
                f"{seconds['automatic']:.2g}",
            )
        )
        if "lower" in row:
            width = row["upper"] - row["lower"]
            numbers = (f"{row['lower']:.2f}", f"{row['upper']:.2f}", f"{width:.2f} ± {row['width_error']:.2f}")
            particles = str(row["bracket_particles"])
            brackets.append(
                (row["run"], particles, *numbers, f"{row['largest_width']:.2f}", f"{seconds['bracket']:.2g}")
            )
    draws, count = record["importance_draws"], record["rows"][0]["num_sequences"]
    header = [
        *("run", "ELBO", f"importance-weighted bound, K = {draws}, with its stated error", "k-hat > 0.7"),
        *("one filter of 256 with pilots (minus the automatic estimate)", "automatic estimate", "per frame"),
        *("verdict", "width"),
        "s per video",
    ]
    lines = [
        f"Nats per sequence, means over the first {count} test videos of each run; ± is the Monte Carlo error; seconds",
        "are per video, on one thread. Importance sampling states small errors even where it is far too low. Estimates",
        "that have not converged are lower bounds (≥).",
        "",
        *table(header, estimates),
    ]
    for group in _groups(record["rows"]):
        best, *others = group
        lines += [f"On the same videos: differences to {best['run']}, ± one standard error over videos.", ""]
        lines += [
            *table(
                ["run", "log evidence", "importance-weighted bounds"],
                [
                    (row["run"], *(_difference(row, best, of) for of in ("each", "importance_weighted_each")))
                    for row in others
                ],
            )
        ]
    if brackets:
        lines += [
            "Brackets: bounds from both sides for new videos drawn near the test videos. Particles are added until the",
            "mean width is at most one nat or a bracket takes too long, so a width just below one nat may be partly",
            "chance. Seconds are those of the last bracket.",
            "",
        ]
        lines += table(["run", "particles", "lower", "upper", "width", "largest", "s per video"], brackets)
    reasons = [f"- {row['run']}: {row['reasons']}." for row in record["rows"]]
    return [*lines, "What was computed for each run:", "", *reasons, "", origin(record["provenance"]), ""]


def _groups(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Several runs on the same videos, the best first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: -row["log_evidence"]):
        found.setdefault(row["videos"], []).append(row)
    return [group for group in found.values() if len(group) > 1]


def _difference(row: dict[str, Any], best: dict[str, Any], of: str) -> str:
    differences = [own - other for own, other in zip(row[of], best[of], strict=True)]
    return f"{mean(differences):.1f} ± {stdev(differences) / len(differences) ** 0.5:.1f}"
