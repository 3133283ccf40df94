"""The table of evidence in RESULTS.md, from what `evidence.py` measured."""

import json
from pathlib import Path

from records import origin, table


def evidence_section(path: Path) -> list[str]:
    """Estimates by several ways, verdicts and brackets."""
    if not path.is_file():
        return []
    record = json.loads(path.read_text())
    estimates, brackets = [], []
    for row in record["rows"]:
        seconds = row["seconds"]
        bound = "≥ " if row["verdict"] == "lower bound" else ""
        estimates.append(
            (
                row["run"],
                f"{row['elbo']:.2f}",
                f"{row['importance_weighted']:.2f} ± {row['stated_error']:.2f}",
                f"{row['pareto_k_above']:.0%}",
                f"{row['one_filter']:.2f}, {seconds['one filter']:.2g} s" if "one_filter" in row else "",
                f"{bound}{row['log_evidence']:.2f} ± {row['monte_carlo_error']:.2f}",
                row["verdict"],
                "" if row["width"] is None else f"{row['width']:.2g}",
                f"{seconds['automatic']:.2g}",
            )
        )
        if "lower" in row:
            width = row["upper"] - row["lower"]
            numbers = (f"{row['lower']:.2f}", f"{row['upper']:.2f}", f"{width:.2f} ± {row['width_error']:.2f}")
            brackets.append((row["run"], *numbers, f"{row['largest_width']:.2f}", f"{seconds['bracket']:.2g}"))
    draws, count = record["importance_draws"], record["rows"][0]["num_sequences"]
    header = [
        *("run", "ELBO", f"importance-weighted bound, K = {draws}, with its stated error", "k-hat > 0.7"),
        *("one filter of 100 with pilots", "automatic estimate ± error", "verdict", "width", "s a video"),
    ]
    return [
        f"Nats per sequence, means over the first {count} test videos of each run; errors are those of the Monte Carlo",
        "estimates. Importance sampling states small errors where it is far too low. What has not converged is a lower",
        "bound (≥).",
        "",
        *table(header, estimates),
        "Brackets: new videos drawn near the test videos, bounded from both sides.",
        "",
        *table(["run", "lower", "upper", "width", "largest", "s a video"], brackets),
        *(f"- {row['run']}: {row['reasons']}." for row in record["rows"]),
        "",
        origin(record["provenance"]),
        "",
    ]
