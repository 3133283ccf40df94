"""The public function for the log evidence of videos under a model."""

from dataclasses import replace
from typing import Literal, Unpack

from torch import Tensor

from guides.incomplete_models import need_of_guide
from inference.annealing.smc import SMC
from inference.annealing.walks import Annealing
from inference.estimators.fivo import FIVO
from inference.evidence.automatic import Budget, evidence_by_rungs
from inference.evidence.importance import evidence_by_draws
from inference.evidence.pilot import Pilot
from inference.evidence.record import Evidence
from inference.evidence.settings import DrawSettings, EvidenceSettings, Method
from inference.programs.given_videos import check_given
from inference.programs.pairs import check_pair
from inference.programs.traces import Program
from inference.runtime.keywords import settings_of

METHODS = (Budget, FIVO, SMC, Annealing)
CHOSEN_BY_RUNGS = ("particles_per_chunk", "sequences_per_chunk", "pilot")
FORMER = {
    "filtering": "method=FIVO(64)",
    "sampler": "method=SMC(32)",
    "annealing": "method=Annealing()",
    "budget": "method=Budget(particles=512)",
}
"""Keywords of earlier versions, and what to write instead."""


def log_evidence(
    model: Program,
    guide: Program,
    frames: Tensor,
    observed: Tensor | None = None,
    controls: Tensor | None = None,
    *,
    method: Literal["auto"] | Budget | Method = None,
    num_particles: int | None = None,
    **settings: Unpack[EvidenceSettings],
) -> Evidence:
    """Estimate the log evidence log p(x_n) of each video, with the guide as proposal.

    `method="auto"` chooses the method and the number of draws: particle filters where model and guide have steps,
    importance sampling otherwise, with increasing numbers of draws until estimates agree or the budget is spent;
    `method=Budget(...)` is the same with another budget. Its `verdict` says in words how far to rely on the result.

    The other methods take `num_particles` draws. Without a method they are draws of the guide, weighed:

    log p(x_n) ~ log 1/K sum_k p(x_n, z_kn) / q(z_kn | x_n): a lower bound in expectation, tight for large K or an
    exact guide (Burda et al., 2016). No gradients; modules in evaluation mode; site weights of training do not enter.

    With `method=Annealing(...)` each particle is annealed from the guide to the posterior (Neal 2001): some hundred
    times more expensive per particle, and far tighter if the guide is poor or the latents are many. Still a lower bound
    in expectation. Needs continuous or binary latents.

    With `method=SMC(...)` each particle is itself the estimate of a population of chains, annealed and resampled: for
    models without steps, or whose guide is far from the posterior of whole videos. Latents as for annealing.

    With `method=FIVO(...)` each particle is itself the estimate of a particle filter with its own number of particles,
    for models and guides with steps: recommended for long videos, where the weights of whole paths degenerate to a
    single path. A `pilot` first fits the guide to each video.

    If the model takes values from its guide (`guides.incomplete_models`), such as the memory of its state, this is the
    evidence of both together, p(x) = E[prod_t p(z_t | h_{t-1}) p(x_t | z_t, h_{t-1})] with h_t a function of earlier
    frames and latents: a lower bound of it in expectation, as for other models. It changes with the guide, and says
    nothing about the model alone. Draws of the guide and filters estimate it; nothing can be annealed.

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
        method: "auto"; a `Budget`, an `Annealing`, an `SMC` or a `FIVO`; None = draws of the guide.
        num_particles: K; required unless the method is "auto" or a `Budget`, which chooses it.
        settings: see below.

    Keyword Args:
        particles_per_chunk: particles drawn at once (default None: 50, or as many as some 2 GB of memory hold).
        sequences_per_chunk: sequences run at once (default None: as many as that memory holds; all of them with one of
            Pyro's automatic guides, whose parameters are those of all sequences).
        pilot: a `Pilot`: filters that first adapt the guide's draws to each video, for `method=FIVO(...)` (default
            None: the guide as it is).
        seed: seed of the particles (default 0).
        progress: show a bar (default False).
        processes: processes that share the chunks; all get the whole result, as from a single process (default: this
            one alone).

    Raises:
        TypeError: for an unknown setting, a method that is none of these, or what `check_pair` refuses.
        ValueError: if the method is unknown, `num_particles` or a setting is given that the method does not take or
            chooses itself, a number is not positive, the arguments have different numbers of sequences, or the guide
            draws point masses or sites that the model lacks; also what `importance_traces` and
            `ParticleFilter.run` raise.
    """
    chosen = settings_of(log_evidence, DrawSettings, settings, FORMER)
    check_pair(model, guide)
    _check_method(method)
    check_given(model, frames, observed, controls)
    args = (frames, observed, controls)
    if isinstance(method, str | Budget):
        _check_left_to_rungs({"num_particles": num_particles, **settings})
        budget = method if isinstance(method, Budget) else Budget()
        return _named(evidence_by_rungs(model, guide, args, budget, chosen), model)
    if num_particles is None:
        raise ValueError("num_particles: expected a number of draws, got None; or method='auto'")
    if chosen.pilot is not None and not isinstance(method, FIVO):
        got = "None" if method is None else type(method).__name__
        raise ValueError(
            f"pilot: expected None without method=FIVO(...), since pilots are filters, got {chosen.pilot} with method "
            f"{got}; give method=FIVO(64), or leave the pilot out"
        )
    return _named(evidence_by_draws(model, guide, args, method, num_particles, chosen), model)


def _named(evidence: Evidence, model: Program) -> Evidence:
    """The record, whose verdict says so if it is the evidence of model and guide together."""
    if evidence.verdict is None or need_of_guide(model) is None:
        return evidence
    words = f"{evidence.verdict.words}; evidence of model and guide together, which changes with the guide"
    return replace(evidence, verdict=replace(evidence.verdict, words=words))


def _check_method(method: object) -> None:
    """Refuse what is no method."""
    if method is None or method == "auto" or isinstance(method, METHODS):
        return
    listed = ", ".join(f"{kind.__name__}(...)" for kind in METHODS)
    expected = f"method: expected 'auto', {listed}, or None for draws of the guide, got"
    if isinstance(method, str):
        raise ValueError(f"{expected} {method!r}; give one of those")
    if isinstance(method, type):
        raise TypeError(f"{expected} the class {method.__name__}; call it: {method.__name__}(...)")
    if isinstance(method, Pilot):
        raise TypeError(f"{expected} a Pilot, which goes before filters; write method=FIVO(64), pilot=Pilot(...)")
    raise TypeError(f"{expected} {type(method).__name__}; give one of those")


def _check_left_to_rungs(given: dict[str, object]) -> None:
    """Refuse what "auto" chooses itself."""
    names = ("num_particles", *CHOSEN_BY_RUNGS)
    if foreign := {name: given[name] for name in names if given.get(name) is not None}:
        got = ", ".join(f"{name}={value}" for name, value in foreign.items())
        raise ValueError(
            f"{', '.join(foreign)}: expected None with method='auto' or a Budget, which chooses it, got {got}; leave "
            "it out, or say how much to spend: method=Budget(particles=512)"
        )
