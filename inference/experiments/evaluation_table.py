"""An evaluation as text."""

from inference.experiments.evaluation import Evaluation
from inference.recipes import RECIPES


def evaluation_table(evaluation: Evaluation) -> str:
    """The table that `kinema evaluate` prints: one or a few lines per score."""
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
    tables = {score.name: score.table for score in RECIPES[evaluation.recipe].scores()}
    return "\n".join([*lines, *(tables.get(name, str)(value) for name, value in evaluation.scores.items())])
