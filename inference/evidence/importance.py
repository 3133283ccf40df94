"""Log weights of many draws: from a guide, from chains annealed from it, or from particle filters."""

from collections.abc import Iterator
from typing import Any

import torch
from pyro import poutine
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor
from tqdm import tqdm

from inference.annealing.smc import SMC, smc_log_estimates
from inference.annealing.walks import Annealing, annealed_log_weights
from inference.estimators.corrected_draws import CorrectedDraws
from inference.estimators.fivo import FIVO
from inference.evidence.chunks import cells, check_arguments, chunk_of, device_of, digests, particle_chunks
from inference.evidence.pilot import Adaptation, Pilot
from inference.evidence.record import Evidence, parts, summaries
from inference.evidence.verdict import Verdict
from inference.programs.trace_checks import check_latents, check_point_masses
from inference.programs.traces import Program, evaluation_mode, local_parameters, sample_sites
from inference.runtime.generators import preserved_generators, seeded
from inference.runtime.processes import ALONE, Processes

RELIABLE_K = 0.7  # above it, importance-sampling estimates cannot be relied upon (Vehtari et al., 2024)


def evidence_by_draws(
    model: Program,
    guide: Program,
    args: tuple[Tensor | None, ...],
    *,
    num_particles: int,
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
    """See `log_evidence`: a given number of draws, by a given method."""
    ways = {"annealing": annealing, "sampler": sampler, "filtering": filtering}
    if len(asked := [name for name, way in ways.items() if way is not None]) > 1:
        raise ValueError(
            f"{', '.join(asked)}: expected at most one, got {len(asked)}, which exclude each other; drop all but one"
        )
    if pilot is not None and filtering is None:
        raise ValueError("pilot: expected None without filtering, since pilots are filters; give filtering=FIVO(...)")
    num_sequences = check_arguments(args)
    sequences_per_chunk = num_sequences if sequences_per_chunk is None else sequences_per_chunk
    numbers = {"num_particles": num_particles, "particles_per_chunk": particles_per_chunk}
    for name, number in (numbers | {"sequences_per_chunk": sequences_per_chunk}).items():
        if number < 1:
            raise ValueError(f"{name}: expected at least 1, got {number}")
    videos, mask = digests(args)
    draws_latents, reference = _look(
        model, guide, chunk_of(args, slice(0, sequences_per_chunk), device_of(model, guide))
    )
    num_different = num_particles if draws_latents else 1
    numbers["num_particles"] = num_different
    chunks = {**numbers, "sequences_per_chunk": sequences_per_chunk, "seed": seed, "processes": processes}
    if filtering is not None:
        found = _filtered(filtering, pilot, model, guide, args, **chunks)
    elif sampler is not None:
        found = _sampled(sampler, model, guide, args, **chunks)
    elif annealing is not None:
        found = _annealed(annealing, model, guide, args, **chunks)
    else:
        found = _weighed(model, guide, args, **chunks)
    split = not asked
    terms = torch.zeros(2 if split else 1, num_different, num_sequences, dtype=torch.float64)
    total = terms[0].numel() // processes.size
    with tqdm(total=total, desc="evidence", unit="draw", disable=not progress, leave=False) as bar:
        for particles, sequences, *chunk in found:
            terms[:, particles, sequences] = torch.stack(chunk).to("cpu", torch.float64)
            bar.update(chunk[0].numel())
    weights, *likelihoods = processes.total(terms).repeat(1, num_particles // num_different, 1)
    known = summaries(weights)
    return Evidence(
        log_weights=weights,
        **known,
        **(parts(weights, *likelihoods) if split else {}),
        seed=seed,
        particles_per_chunk=particles_per_chunk,
        sequences_per_chunk=sequences_per_chunk,
        annealing=annealing,
        sampler=sampler,
        filtering=filtering,
        pilot=pilot,
        videos=videos,
        mask=mask,
        reference=reference,
        verdict=_verdict(known, num_particles, draws_latents, filtering or sampler),
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
        check_point_masses(scored, drawn)
    seen = [
        site["fn"]
        for site in sample_sites(scored).values()
        if site["is_observed"] and type(site["fn"]).__name__ != "Unit"
    ]
    kinds = {"probability" if distribution.support.is_discrete else "density" for distribution in seen}
    draws_latents = any(not site["is_observed"] for site in sample_sites(drawn).values())
    return draws_latents, kinds.pop() if len(kinds) == 1 else "mixed"


def _verdict(known: dict[str, Any], num_draws: int, draws_latents: bool, way: FIVO | SMC | None) -> Verdict:
    """Verdict on a single estimate; `evidence_by_rungs` compares several."""
    k, error = known["pareto_k"], known["standard_error"]
    if not draws_latents:
        return Verdict("exact", "nothing is latent", 0.0)
    if bool((k == -torch.inf).all()):
        return Verdict("converged", f"{num_draws} draws have one weight, as with an exact guide", 0.001)
    if way is not None:
        name = "filters" if isinstance(way, FIVO) else "samplers"
        return Verdict("lower bound", f"{num_draws} {name} of {way.num_particles} particles, not tried with more")
    if bool(k.isnan().any()):
        return Verdict("lower bound", f"{num_draws} draws are too few for k-hat")
    above = (k > RELIABLE_K).double().mean().item()
    if above > 0:
        return Verdict("lower bound", f"k-hat is above {RELIABLE_K} for {above:.0%} of the sequences")
    return Verdict("converged", f"k-hat is at most {RELIABLE_K} for every sequence", 2 * error.max().item())


def _weighed(
    model: Program, guide: Program, args: tuple[Tensor | None, ...], **chunks: Any
) -> Iterator[tuple[slice, slice, Tensor, Tensor]]:
    """Yield particles, sequences, their log weights, and the log probabilities of observed sites."""
    for particles, sequences, traces in particle_chunks(model, guide, args, **chunks):
        weights, sites = traces.log_weights(), sample_sites(traces.model).values()
        likelihoods = [traces.per_sequence(site, site["log_prob"]) for site in sites if site["is_observed"]]
        yield particles, sequences, weights, sum(likelihoods, torch.zeros_like(weights))


def _annealed(
    annealing: Annealing, model: Program, guide: Program, args: tuple[Tensor | None, ...], *, seed: int, **chunks: Any
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yield particles, sequences, and the log weights of their annealed chains."""
    for particles, sequences, traces in particle_chunks(model, guide, args, **chunks, seed=seed):
        batch = chunk_of(args, sequences, device_of(model, guide))
        with seeded("annealing", seed, particles.start, sequences.start):
            yield particles, sequences, annealed_log_weights(traces, model, guide, batch, annealing)


def _sampled(
    sampler: SMC, model: Program, guide: Program, args: tuple[Tensor | None, ...], *, seed: int, **chunks: Any
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yield particles, sequences, and the log estimates of populations."""
    for particles, sequences, row, column in cells(check_arguments(args), **chunks):
        batch = chunk_of(args, sequences, device_of(model, guide))
        with seeded("populations", seed, column, row):
            yield (
                particles,
                sequences,
                smc_log_estimates(model, guide, batch, sampler, particles.stop - particles.start),
            )


def _filtered(
    filtering: FIVO,
    pilot: Pilot | None,
    model: Program,
    guide: Program,
    args: tuple[Tensor | None, ...],
    *,
    seed: int,
    **chunks: Any,
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yield particles, sequences, and log estimates; filters run in parallel, each on its own copy of the sequences."""
    adaptation, piloted = Adaptation({}, None), -1
    for particles, sequences, row, column in cells(check_arguments(args), **chunks):
        count = particles.stop - particles.start
        batch = chunk_of(args, sequences, device_of(model, guide))
        copies = [None if value is None else value.repeat(count, *[1] * (value.dim() - 1)) for value in batch]
        with torch.no_grad(), evaluation_mode(model, guide), local_parameters(model, guide):
            if pilot is not None and piloted != row:
                with seeded("pilots", seed, row):
                    adaptation, piloted = pilot.adapt(model, guide, batch, filtering.resampling), row
            repeated = adaptation.repeat_sequences(count)
            with seeded("filters", seed, column, row), CorrectedDraws(repeated.corrections):
                estimates = filtering.run(model, guide, *copies, twist=repeated.twist).log_evidence
        yield particles, sequences, estimates.reshape(count, -1)
