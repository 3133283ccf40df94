"""The public way to the log evidence of videos under a model."""

from torch import Tensor

from inference.annealing.smc import SMC
from inference.annealing.walks import Annealing
from inference.estimators.fivo import FIVO
from inference.evidence.automatic import Budget, evidence_by_rungs
from inference.evidence.importance import evidence_by_draws
from inference.evidence.pilot import Pilot
from inference.evidence.record import Evidence
from inference.programs.traces import Program
from inference.runtime.processes import ALONE, Processes


def log_evidence(
    model: Program,
    guide: Program,
    frames: Tensor,
    observed: Tensor | None = None,
    controls: Tensor | None = None,
    *,
    method: str | None = None,
    budget: Budget | None = None,
    num_particles: int | None = None,
    particles_per_chunk: int = 50,
    sequences_per_chunk: int | None = None,
    annealing: Annealing | None = None,
    sampler: SMC | None = None,
    filtering: FIVO | None = None,
    pilot: Pilot | None = None,
    seed: int = 0,
    progress: bool = False,
    processes: Processes = ALONE,
) -> Evidence:
    """Estimate the log evidence log p(x_n) of each video, with the guide as proposal.

    `method="auto"` chooses the method and the number of draws: particle filters where model and guide have steps,
    importance sampling otherwise, with more and more draws until estimates agree or the budget is spent. Its `verdict`
    says in words how far to rely on the result. Otherwise it is what the other arguments say:

    log p(x_n) ~ log 1/K sum_k p(x_n, z_kn) / q(z_kn | x_n): a lower bound in expectation, tight for large K or an
    exact guide (Burda et al., 2016). No gradients; modules in evaluation mode; site weights of training do not enter.

    With `annealing` each particle walks from the guide to the posterior (Neal 2001): some hundred times more expensive
    for each particle, and far tighter where the guide is poor or the latents are many. Still a lower bound in
    expectation.

    With `sampler` each particle is itself the estimate of a population of chains, annealed and resampled (`SMC`): for
    models without steps, or whose guide is far from the posterior of whole videos.

    With `filtering` each particle is itself the estimate of a particle filter (`FIVO`), for models and guides with
    steps: what long videos want, where the weights of whole paths come to rest on one of them. A `pilot` fits the guide
    to each video before that.

    Where the guide draws nothing, since the model has no latents, the weight is the evidence itself: it is computed
    once, and all particles have it.

    Each chunk has its own stream, from the seed and its place: one seed and one choice of chunk sizes give one result,
    more particles in the same chunks only add to the first ones, and the caller's random streams are untouched. Other
    chunk sizes draw other particles: the result is then another draw of the same estimator, within its standard error.

    Args:
        model: a `PyroModule` called `(frames, observed, controls)`; every site inside the plate `sequences`.
        guide: called with the same arguments.
        frames: (sequences, time, ...) in [0, 1]. Chunks go to the device of the parameters.
        observed: bool (sequences, time), or None.
        controls: (sequences, time, control), or None.
        method: "auto", or None for what the other arguments say.
        budget: of "auto"; None = `Budget()`.
        num_particles: K; needed unless the method is "auto", which finds its own.
        particles_per_chunk: how many to draw at once: memory against speed.
        sequences_per_chunk: how many sequences to run at once; None runs all.
        annealing: how to anneal; None draws from the guide alone. Needs continuous latents.
        sampler: the population that makes each draw; its own number of chains comes on top of K. Latents as for
            annealing.
        filtering: the filter that makes each draw; its own number of particles comes on top of K.
        pilot: filters that adapt the guide's draws to each video first; None takes the guide as it is.
        seed: of the particles.
        progress: show a bar.
        processes: which share the chunks; all get the whole result, the one that a single process gets.

    Raises:
        ValueError: if the method is unknown or arguments of another are given, if a number is not positive or the
            arguments count different numbers of sequences, if several ways are asked for, or a pilot
            without filtering, if the guide draws point masses or sites that the model has not, and what
            `importance_traces` and `run_filter` raise.
    """
    args = (frames, observed, controls)
    if method == "auto":
        ways = {"annealing": annealing, "sampler": sampler, "filtering": filtering, "pilot": pilot}
        given = {"num_particles": num_particles, **ways}
        if foreign := [name for name, value in given.items() if value is not None]:
            raise ValueError(f"{', '.join(foreign)}: expected None with method='auto'; give budget=Budget(...)")
        return evidence_by_rungs(model, guide, args, budget=budget, seed=seed, progress=progress, processes=processes)
    if method is not None:
        raise ValueError(
            f"method: expected 'auto' or None, got {method!r}; other methods are arguments, as filtering=FIVO(64)"
        )
    if num_particles is None:
        raise ValueError("num_particles: expected a number of draws, got None; or method='auto'")
    if budget is not None:
        raise ValueError("budget: expected None without method='auto', since num_particles says how much to spend")
    return evidence_by_draws(
        model,
        guide,
        args,
        num_particles=num_particles,
        particles_per_chunk=particles_per_chunk,
        sequences_per_chunk=sequences_per_chunk,
        annealing=annealing,
        sampler=sampler,
        filtering=filtering,
        pilot=pilot,
        seed=seed,
        progress=progress,
        processes=processes,
    )
