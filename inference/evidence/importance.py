"""Log weights of many draws: from a guide, from chains annealed from it, or from particle filters."""

from collections.abc import Iterator
from typing import Any

import torch
from pyro import poutine
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor
from tqdm import tqdm

from guides.incomplete_models import need_of_guide
from inference.annealing.smc import SMC, smc_log_estimates
from inference.annealing.walks import Annealing, annealed_log_weights
from inference.estimators.corrected_draws import CorrectedDraws
from inference.estimators.fivo import FIVO
from inference.evidence.chunks import cells, check_arguments, chunk_of, device_of, digests, particle_chunks
from inference.evidence.pilot import Adaptation
from inference.evidence.record import Evidence, parts, summaries
from inference.evidence.room import with_room
from inference.evidence.settings import DrawSettings, Method, at_least_one
from inference.evidence.verdict import Verdict
from inference.programs.trace_checks import check_latents, check_point_masses
from inference.programs.traces import Program, evaluation_mode, local_parameters, sample_sites
from inference.runtime.generators import preserved_generators, seeded
from videos.memory import check_room

RELIABLE_K = 0.7  # above it, importance-sampling estimates cannot be relied upon (Vehtari et al., 2024)


def evidence_by_draws(
    model: Program,
    guide: Program,
    args: tuple[Tensor | None, ...],
    method: Method,
    num_particles: int,
    settings: DrawSettings,
) -> Evidence:
    """See `log_evidence`: a given number of draws, by a given method."""
    at_least_one(num_particles=num_particles)
    num_sequences = check_arguments(args)
    check_room("num_particles", num_particles, 16 * num_sequences, f"log weights of {num_sequences} sequences")
    assert args[0] is not None
    settings = with_room(settings, args[0], method, num_particles, guide)
    assert settings.particles_per_chunk is not None
    assert settings.sequences_per_chunk is not None
    videos, mask = digests(args)
    some = chunk_of(args, slice(0, settings.sequences_per_chunk), device_of(model, guide))
    draws_latents, reference = _look(model, guide, some)
    num_different = num_particles if draws_latents else 1
    terms = torch.zeros(2 if method is None else 1, num_different, num_sequences, dtype=torch.float64)
    processes, total = settings.processes, terms[0].numel() // settings.processes.size
    with tqdm(total=total, desc="evidence", unit="draw", disable=not settings.progress, leave=False) as bar:
        for particles, sequences, *chunk in _drawn(method, model, guide, args, num_different, settings):
            terms[:, particles, sequences] = torch.stack(chunk).to("cpu", torch.float64)
            bar.update(chunk[0].numel())
    weights, *likelihoods = processes.total(terms).repeat(1, num_particles // num_different, 1)
    known = summaries(weights)
    return Evidence(
        log_weights=weights,
        **known,
        **(parts(weights, *likelihoods) if method is None else {}),
        seed=settings.seed,
        particles_per_chunk=settings.particles_per_chunk,
        sequences_per_chunk=settings.sequences_per_chunk,
        annealing=method if isinstance(method, Annealing) else None,
        sampler=method if isinstance(method, SMC) else None,
        filtering=method if isinstance(method, FIVO) else None,
        pilot=settings.pilot,
        videos=videos,
        mask=mask,
        reference=reference,
        verdict=_verdict(known, num_particles, draws_latents, method),
    )


def _look(model: Program, guide: Program, args: tuple[Any, ...]) -> tuple[bool, str]:
    """Whether the guide has latents, and the reference measure of the observed sites; no side effects."""
    with (
        torch.no_grad(),
        evaluation_mode(model, guide),
        local_parameters(model, guide),
        preserved_generators(),
        poutine.block(),
    ):
        drawn = prune_subsample_sites(poutine.trace(guide).get_trace(*args))
        scored = prune_subsample_sites(poutine.trace(poutine.replay(model, trace=drawn)).get_trace(*args))
        check_latents(scored, drawn)
        check_point_masses(scored, drawn, taken=need_of_guide(model) is not None)
    seen = [
        site["fn"]
        for site in sample_sites(scored).values()
        if site["is_observed"] and type(site["fn"]).__name__ != "Unit"
    ]
    kinds = {"probability" if distribution.support.is_discrete else "density" for distribution in seen}
    draws_latents = any(not site["is_observed"] for site in sample_sites(drawn).values())
    return draws_latents, kinds.pop() if len(kinds) == 1 else "mixed"


def _verdict(known: dict[str, Any], num_draws: int, draws_latents: bool, method: Method) -> Verdict:
    """Verdict on a single estimate; `evidence_by_rungs` compares several."""
    k, error = known["pareto_k"], known["standard_error"]
    if not draws_latents:
        return Verdict("exact", "nothing is latent", 0.0)
    if bool((k == -torch.inf).all()):
        return Verdict("converged", f"{num_draws} draws have one weight, as with an exact guide", 0.001)
    if isinstance(method, FIVO | SMC):
        name = "filters" if isinstance(method, FIVO) else "samplers"
        return Verdict("lower bound", f"{num_draws} {name} of {method.num_particles} particles, not tried with more")
    if bool(k.isnan().any()):
        return Verdict("lower bound", f"{num_draws} draws are too few for k-hat")
    above = (k > RELIABLE_K).double().mean().item()
    if above > 0:
        return Verdict("lower bound", f"k-hat is above {RELIABLE_K} for {above:.0%} of the sequences")
    return Verdict("converged", f"k-hat is at most {RELIABLE_K} for every sequence", 2 * error.max().item())


def _drawn(
    method: Method,
    model: Program,
    guide: Program,
    args: tuple[Tensor | None, ...],
    num_particles: int,
    settings: DrawSettings,
) -> Iterator[tuple[Any, ...]]:
    """Yield particles, sequences, and their log weights; without a method, log probabilities of observed sites too."""
    if isinstance(method, FIVO):
        return _filtered(method, model, guide, args, num_particles, settings)
    if isinstance(method, SMC):
        return _sampled(method, model, guide, args, num_particles, settings)
    if isinstance(method, Annealing):
        return _annealed(method, model, guide, args, num_particles, settings)
    return _weighed(model, guide, args, num_particles, settings)


def _weighed(
    model: Program, guide: Program, args: tuple[Tensor | None, ...], num_particles: int, settings: DrawSettings
) -> Iterator[tuple[slice, slice, Tensor, Tensor]]:
    """Yield particles, sequences, their log weights, and the log probabilities of observed sites."""
    for particles, sequences, traces in particle_chunks(model, guide, args, num_particles, settings):
        weights, sites = traces.log_weights(), sample_sites(traces.model).values()
        likelihoods = [traces.per_sequence(site, site["log_prob"]) for site in sites if site["is_observed"]]
        yield particles, sequences, weights, sum(likelihoods, torch.zeros_like(weights))


def _annealed(
    annealing: Annealing,
    model: Program,
    guide: Program,
    args: tuple[Tensor | None, ...],
    num_particles: int,
    settings: DrawSettings,
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yield particles, sequences, and the log weights of their annealed chains."""
    for particles, sequences, traces in particle_chunks(model, guide, args, num_particles, settings):
        batch = chunk_of(args, sequences, device_of(model, guide))
        with seeded("annealing", settings.seed, particles.start, sequences.start):
            yield particles, sequences, annealed_log_weights(traces, model, guide, batch, annealing)


def _sampled(
    sampler: SMC,
    model: Program,
    guide: Program,
    args: tuple[Tensor | None, ...],
    num_particles: int,
    settings: DrawSettings,
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yield particles, sequences, and the log estimates of populations."""
    for particles, sequences, row, column in cells(check_arguments(args), num_particles, settings):
        batch, count = chunk_of(args, sequences, device_of(model, guide)), particles.stop - particles.start
        with seeded("populations", settings.seed, column, row):
            yield particles, sequences, smc_log_estimates(model, guide, batch, sampler, count)


def _filtered(
    filtering: FIVO,
    model: Program,
    guide: Program,
    args: tuple[Tensor | None, ...],
    num_particles: int,
    settings: DrawSettings,
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yield particles, sequences, and log estimates; filters run in parallel, each on its own copy of the sequences."""
    adaptation, piloted, pilot = Adaptation({}, None), -1, settings.pilot
    for particles, sequences, row, column in cells(check_arguments(args), num_particles, settings):
        count = particles.stop - particles.start
        batch = chunk_of(args, sequences, device_of(model, guide))
        copies = [None if value is None else value.repeat(count, *[1] * (value.dim() - 1)) for value in batch]
        with torch.no_grad(), evaluation_mode(model, guide), local_parameters(model, guide):
            if pilot is not None and piloted != row:
                with seeded("pilots", settings.seed, row):
                    adaptation, piloted = pilot.adapt(model, guide, batch, filtering.resampling), row
            repeated = adaptation.repeat_sequences(count)
            with seeded("filters", settings.seed, column, row), CorrectedDraws(repeated.corrections):
                estimates = filtering.run(model, guide, *copies, twist=repeated.twist).log_evidence
        yield particles, sequences, estimates.reshape(count, -1)
