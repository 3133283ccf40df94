"""What the numbers of an evaluation mean for the run, in sentences."""

from inference.evidence.importance import RELIABLE_K
from inference.experiments.evaluation import Bounds

MEANINGS = {
    "exact": "The log evidence is exact: nothing is left to sample.",
    "certified": "The log evidence is certified: on videos near these, it was bracketed from both sides.",
    "converged": "The estimate of the log evidence has converged: more draws, or another method, give the same. A "
    "mode of the posterior that all of them miss would go unnoticed.",
    "lower bound": "This is a lower bound of the log evidence, by an unknown amount below it. Runs whose evidence is "
    "only bounded cannot be ranked by it: a higher bound may come from a better guide alone.",
}
FEW = 0.05  # share of draws; below it, a handful of draws decides the importance-weighted bound


def diagnose(bounds: Bounds) -> list[str]:
    """Sentences about bound and evidence, the most important first.

    Args:
        bounds: of an evaluation, of any version.
    """
    kind = bounds.verdict or ("lower bound" if bounds.is_lower_bound else "converged")
    found = [MEANINGS[kind]]
    if bounds.reasons:
        found.append(f"How it was computed: {bounds.reasons}.")
    if kind != "lower bound":
        gap = bounds.log_evidence - bounds.elbo
        found.append(
            f"The bound lies {gap:.2f} nats per sequence below it: the mean Kullback-Leibler divergence from the "
            "guide to the posterior, which a better guide would reduce."
        )
    if bounds.pareto_k_above is not None and bounds.pareto_k_above > 0:
        found.append(
            f"k-hat of {bounds.num_particles} draws from the guide exceeds {RELIABLE_K} in "
            f"{bounds.pareto_k_above:.0%} of the sequences: there the importance-weighted bound may be tens of nats "
            "too low, and its standard error does not show it."
        )
    size = bounds.effective_sample_size
    if size is not None and size < FEW * bounds.num_particles:
        found.append(
            f"Of {bounds.num_particles} draws, {size:.1f} count on average (effective sample size): the guide is far "
            "from the posterior in places, or too narrow."
        )
    if bounds.reconstruction is not None and bounds.divergence is not None:
        found.append(
            f"The bound is {bounds.reconstruction:.2f} nats of reconstruction minus {bounds.divergence:.2f} of "
            "divergence from the prior."
        )
        if bounds.divergence < 0.01 * abs(bounds.elbo) and bounds.divergence < 1:
            found.append("The divergence is nearly zero: the latents carry no information about the frames (collapse).")
    return found
