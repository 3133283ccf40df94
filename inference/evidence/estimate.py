"""The public function for the log evidence of videos under a model."""

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
    importance sampling otherwise, with increasing numbers of draws until estimates agree or the budget is spent. Its
    `verdict` says in words how far to rely on the result. Without `method`, the other arguments choose; by default

    log p(x_n) ~ log 1/K sum_k p(x_n, z_kn) / q(z_kn | x_n): a lower bound in expectation, tight for large K or an
    exact guide (Burda et al., 2016). No gradients; modules in evaluation mode; site weights of training do not enter.

    With `annealing` each particle is annealed from the guide to the posterior (Neal 2001): some hundred times more
    expensive per particle, and far tighter if the guide is poor or the latents are many. Still a lower bound in
    expectation.

    With `sampler` each particle is itself the estimate of a population of chains, annealed and resampled (`SMC`): for
    models without steps, or whose guide is far from the posterior of whole videos.

    With `filtering` each particle is itself the estimate of a particle filter (`FIVO`), for models and guides with
    steps: recommended for long videos, where the weights of whole paths degenerate to a single path. A `pilot` first
    fits the guide to each video.

    If the model has no latents, the weight is the evidence itself: it is computed once and shared by all particles.

    Each chunk has its own random stream, derived from the seed and its position: one seed and one choice of chunk sizes
    give one result, more particles in the same chunks extend the first ones, and the caller's random streams are
    untouched. Other chunk sizes draw other particles and give another draw of the same estimator, within its standard
    error.

    Args:
        model: a `PyroModule` called `(frames, observed, controls)`; every site inside the plate `sequences`.
        guide: called with the same arguments.
        frames: (sequences, time, ...) in [0, 1]. Chunks go to the device of the parameters.
        observed: bool (sequences, time), or None.
        controls: (sequences, time, control), or None.
        method: "auto", or None to choose by the other arguments.
        budget: budget of "auto"; None = `Budget()`.
        num_particles: K; required unless the method is "auto", which chooses it.
        particles_per_chunk: particles drawn at once; trades memory for speed.
        sequences_per_chunk: sequences run at once; None = all.
        annealing: annealing settings; None = draws from the guide alone. Needs continuous latents.
        sampler: population behind each of the K draws, with its own number of chains. Latents as for annealing.
        filtering: filter behind each of the K draws, with its own number of particles.
        pilot: filters that first adapt the guide's draws to each video; None = the guide as it is.
        seed: seed of the particles.
        progress: show a bar.
        processes: processes that share the chunks; all get the whole result, as from a single process.

    Raises:
        ValueError: if the method is unknown or combined with arguments of another, a number is not positive, the
            arguments have different numbers of sequences, several methods are given, a pilot is given without
            filtering, or the guide draws point masses or sites that the model lacks; also what `importance_traces` and
            `run_filter` raise.
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
