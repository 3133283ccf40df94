"""Scores of a run on its test videos, as text."""

from inference.experiments.evaluate import Evaluation


def evaluation_table(evaluation: Evaluation) -> str:
    """What `kinema evaluate` prints: a line for each score, or a few."""
    lines = [f"{evaluation.recipe}, weights of step {evaluation.step}"]
    bounds = evaluation.bounds
    if bounds is not None:
        k_above = bounds.pareto_k_above
        lines += [
            f"ELBO                 {bounds.elbo:10.2f} +- {bounds.elbo_error:.2f} nats per sequence",
            f"importance-weighted  {bounds.importance_weighted:10.2f}    bound of {bounds.num_particles} draws, "
            + ("too few for k-hat" if k_above is None else f"k-hat > 0.7 in {k_above:.0%}"),
            f"{'lower bound' if bounds.is_lower_bound else 'log evidence':20} {bounds.log_evidence:10.2f} "
            f"+- {bounds.log_evidence_error:.2f} over {bounds.num_sequences} sequences, {bounds.seconds:.2g} s each",
            f"{bounds.verdict}: {bounds.reasons}",
        ]
        lines += [
            f"{text:20} {plain:10.2f}, by weight {weighted:.2f}"
            for text, plain, weighted in (
                ("log p(x | z)", bounds.reconstruction, bounds.weighted_reconstruction),
                ("log q(z) - log p(z)", bounds.divergence, bounds.weighted_divergence),
            )
        ]
    lines += [
        f"R2 of positions      {value:10.4f}    {degree} map of codes"
        for degree, value in evaluation.position_r2.items()
    ]
    if evaluation.counting is not None:
        lines.append(f"counting accuracy    {evaluation.counting:10.4f}")
    if evaluation.visible_counting is not None:
        lines.append(f"of visible objects   {evaluation.visible_counting:10.4f}")
    if evaluation.detection is not None:
        lines.append(str(evaluation.detection))
    if evaluation.tracking is not None:
        lines.append(str(evaluation.tracking))
    if evaluation.addition is not None:
        lines.append(str(evaluation.addition))
    for curve in evaluation.curves:
        levels = "  ".join(f"{level:g}: {error:.4f}" for level, error in zip(curve.levels, curve.errors, strict=True))
        lines.append(f"{curve.pattern:6} {curve.method:10}  {levels}")
    if evaluation.trajectories is not None:
        lines.append(str(evaluation.trajectories))
    if evaluation.predictive is not None:
        lines.append(str(evaluation.predictive))
    return "\n".join(lines)
