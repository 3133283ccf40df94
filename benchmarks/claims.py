"""Claims of Fraccaro et al. (2017) on imputation, tested on the given runs."""

from collections.abc import Callable, Sequence

from judged import Judged, claims_table
from records import Run, best_by_label

from inference.recipes.published_curves import KALMAN_VAE_IMPUTATION
from inference.scores.imputation_curves import PATTERNS


def claims_section(world: str, runs: Sequence[Run]) -> list[str]:
    """The paper's findings on imputation, and by how much smoothing is better than filtering."""
    kalman = best_by_label(runs, "KVAE")
    if kalman is None:
        return []
    smoothing, filtering = (kalman.curve("gap", method) for method in ("smoothing", "filtering"))
    gains = ", ".join(
        f"{(high - low) / high:.0%} at {level:g}"
        for level, low, high in zip(PATTERNS["gap"][2], smoothing.errors, filtering.errors, strict=True)
    )
    return [
        *claims_table(
            imputation_claims(world, runs),
            f"Claims, for {kalman.folder.path.name}; the margin is that of the level closest to failing.",
        ),
        f"C3, the relative gain of smoothing over filtering by the length of the gap: {gains}.",
        "",
    ]


def imputation_claims(world: str, runs: Sequence[Run]) -> list[Judged]:
    """The paper's findings on imputation, each with the pattern and level closest to failing."""
    kalman = best_by_label(runs, "KVAE")
    if kalman is None:
        return []
    smoothing = {pattern: kalman.curve(pattern, "smoothing") for pattern in PATTERNS}
    filtering = {pattern: kalman.curve(pattern, "filtering") for pattern in PATTERNS}
    found: list[Judged] = []

    def judge(claim: str, margins: list[tuple[float, str]]) -> None:
        if margins:
            margin, where = min(margins)
            found.append(Judged(claim, margin >= 0, f"{margin:+.4f}", "1", where))

    def margins(better: dict, worse: dict, keep: Callable[[str, float], bool] = lambda pattern, level: True) -> list:
        return [
            (high - low, f"{pattern} {level:g}")
            for pattern in PATTERNS
            if better[pattern] is not None and worse[pattern] is not None
            for level, low, high in zip(
                better[pattern].levels, better[pattern].errors, worse[pattern].errors, strict=True
            )
            if keep(pattern, level)
        ]

    def not_generation(pattern: str, level: float) -> bool:
        return (pattern, level) != ("random", 1.0)

    judge("C1 smoothing is no worse than filtering", margins(smoothing, filtering))
    networks = {label: best_by_label(runs, label) for label in ("AE-RNN", "VAE-RNN", "BiLSTM")}
    for label, run in networks.items():
        if run is None:
            continue
        method = "smoothing" if label == "BiLSTM" else "filtering"
        claim = "beyond the paper:" if label == "BiLSTM" else "C2" if world == "box" else "C10"
        rivals = {pattern: run.curve(pattern, method) for pattern in PATTERNS}
        judge(f"{claim} smoothing beats the {label}", margins(smoothing, rivals, not_generation))
    if networks["VAE-RNN"] is not None:
        worst = {pattern: networks["VAE-RNN"].curve(pattern, "filtering") for pattern in PATTERNS}
        others = [smoothing, filtering]
        if networks["AE-RNN"] is not None:
            others.append({pattern: networks["AE-RNN"].curve(pattern, "filtering") for pattern in PATTERNS})
        judge("C5 the VAE-RNN is worst", [entry for other in others for entry in margins(other, worst)])
    steps = [
        (later - earlier + 0.0003, f"{pattern} {level:g}")
        for curves in (smoothing, filtering)
        for pattern in PATTERNS
        for level, earlier, later in zip(
            curves[pattern].levels[1:], curves[pattern].errors, curves[pattern].errors[1:], strict=False
        )
    ]
    judge("C6 errors grow as more frames are missing (slack 0.0003)", steps)
    if world == "box":
        paper = {one.pattern: one for one in KALMAN_VAE_IMPUTATION if one.method == "KVAE smoothing"}
        judge("at or below the paper's smoothing curve", margins(smoothing, paper))
    return found
