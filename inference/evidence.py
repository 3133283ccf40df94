"""The log evidence of videos under a model, estimated by importance sampling from a guide, and how far to trust it."""

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from pyro import poutine
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor
from tqdm import tqdm

from inference.annealing import Annealing, annealed_log_weights
from inference.estimators.fivo import FIVO
from inference.estimators.traces import (
    ImportanceTraces,
    Program,
    evaluation_mode,
    find_particle_dim,
    importance_traces,
    local_parameters,
    modules_of,
    sample_sites,
)
from inference.generators import preserved_generators, seeded
from inference.processes import ALONE, Processes

if TYPE_CHECKING:
    import arviz

SMALLEST_TAIL = 25  # particles below which ArviZ has too few in the tail (a fifth of them) to fit a Pareto law


@dataclass(frozen=True, eq=False)
class Evidence:
    """Importance-sampling estimates for each sequence, with what tells whether they can be believed.

    For sequence n with log weights l_kn = log p(x_n, z_kn) - log q(z_kn | x_n), k = 1 ... K, in nats:

    Attributes:
        log_weights: l, (particles, sequences), float64 on the CPU.
        log_evidence: log 1/K sum_k exp l_kn, (sequences,). Its expectation lies below the log evidence.
        elbo: 1/K sum_k l_kn, (sequences,).
        effective_sample_size: (sum_k w_kn)^2 / sum_k w_kn^2 with w = exp l, (sequences,), between 1 and K.
        pareto_k: k-hat of Vehtari et al. (2024), (sequences,): the tail index of the weights. Above 0.7 the estimate
            and its standard error cannot be relied upon; nan where there are fewer than 25 particles; minus infinity
            where all weights are equal, as with an exact guide.
        standard_error: Monte Carlo standard error of log_evidence by the delta method, (sequences,): the weights'
            standard deviation over their mean and sqrt(K); nan for one particle.
        seed: the seed with which the particles were drawn.
        particles_per_chunk: how many particles were drawn at once.
        sequences_per_chunk: how many sequences were run at once.
        annealing: how particles walked from the guide to the posterior; None if they did not. With it the log weights
            are those of the walks, and `elbo` is the bound that they give, between the guide's and the evidence.
        filtering: the particle filter whose log estimates stand in the place of the log weights, or None; `elbo` is
            then its bound.
        reconstruction: 1/K sum_k log p(x_n | z_kn), all observed sites together, (sequences,), and
        divergence: 1/K sum_k (log q(z_kn | x_n) - log p(z_kn)), (sequences,): `elbo` is their difference. None if
            particles were annealed or filtered, whose last draws are not kept.
        weighted_reconstruction: the same, but sum_k v_kn in place of 1/K sum_k, with v = w / sum_k w, (sequences,), and
        weighted_divergence: likewise. Their difference exceeds `log_evidence` by KL(v || uniform), in [0, log K].
        videos: digest of the frames that were seen and of the controls, and
        mask: of which frames were seen; so that `compare` knows whether two records speak of the same data.
    """

    log_weights: Float[Tensor, "particles sequences"]
    log_evidence: Float[Tensor, " sequences"]
    elbo: Float[Tensor, " sequences"]
    effective_sample_size: Float[Tensor, " sequences"]
    pareto_k: Float[Tensor, " sequences"]
    standard_error: Float[Tensor, " sequences"]
    seed: int
    particles_per_chunk: int
    sequences_per_chunk: int
    annealing: Annealing | None = None
    filtering: FIVO | None = None
    reconstruction: Float[Tensor, " sequences"] | None = None
    divergence: Float[Tensor, " sequences"] | None = None
    weighted_reconstruction: Float[Tensor, " sequences"] | None = None
    weighted_divergence: Float[Tensor, " sequences"] | None = None
    videos: str = ""
    mask: str = ""

    @property
    def num_particles(self) -> int:
        """K."""
        return self.log_weights.shape[0]

    @property
    def num_sequences(self) -> int:
        """How many sequences were weighed."""
        return self.log_weights.shape[1]

    def to_inference_data(
        self,
        model: Program,
        guide: Program,
        frames: Tensor,
        observed: Tensor | None = None,
        controls: Tensor | None = None,
        *,
        num_draws: int = 100,
    ) -> "arviz.InferenceData":
        """Draws from the posterior of the latents, resampled by weight, for ArviZ.

        The particles are drawn again, with the seed and the chunks of this record, and `num_draws` of them are chosen
        for each sequence with probabilities proportional to their weights (with replacement).

        Args:
            model: the model of this record, with the same parameters.
            guide: the guide of this record, with the same parameters.
            frames: the videos of this record.
            observed: their mask, if there is one.
            controls: their controls, if there are some.
            num_draws: draws for each sequence.

        Returns:
            Groups `posterior` (each latent site: chain, draw, its plates with `sequences` first, its own dims),
            `log_likelihood` (each observed site: chain, draw, sequences; in nats, summed over its other plates),
            `sample_stats` (log_weight of each draw), `observed_data`, and `evidence` (this record, by sequence).

        Raises:
            ValueError: if `num_draws` is not positive, if particles were annealed or filtered, or if model, guide or
                videos do not give these log weights.
        """
        from inference.posterior_draws import inference_data

        return inference_data(self, model, guide, (frames, observed, controls), num_draws)


def log_evidence(
    model: Program,
    guide: Program,
    frames: Tensor,
    observed: Tensor | None = None,
    controls: Tensor | None = None,
    *,
    num_particles: int,
    particles_per_chunk: int = 50,
    sequences_per_chunk: int | None = None,
    annealing: Annealing | None = None,
    filtering: FIVO | None = None,
    seed: int = 0,
    progress: bool = False,
    processes: Processes = ALONE,
) -> Evidence:
    """Estimate the log evidence log p(x_n) of each video by importance sampling with the guide as proposal.

    log p(x_n) ~ log 1/K sum_k p(x_n, z_kn) / q(z_kn | x_n): a lower bound in expectation, tight for large K or an
    exact guide (Burda et al., 2016). No gradients; modules in evaluation mode; site weights of training do not enter.

    With `annealing` each particle walks from the guide to the posterior (Neal 2001): some hundred times dearer for each
    particle, and far tighter where the guide is poor or the latents are many. Still a lower bound in expectation.

    With `filtering` each particle is itself the estimate of a particle filter (`FIVO`), for models and guides with
    steps: what long videos want, where the weights of whole paths come to rest on one of them.

    Where the guide draws nothing, since the model has no latents, the weight is the evidence itself: it is computed
    once, and all particles have it.

    Each chunk has its own stream, from the seed and its place: one seed and one choice of chunk sizes give one result,
    more particles in the same chunks only add to the first ones, and the caller's random streams are untouched. Other
    chunk sizes draw other particles: the result is then another draw of the same estimator, within its standard error.

    Args:
        model: a `PyroModule` called `(frames, observed, controls)`; every site inside the plate `sequences`.
        guide: likewise.
        frames: (sequences, time, ...) in [0, 1]. Chunks go to the device of the parameters.
        observed: bool (sequences, time), or None.
        controls: (sequences, time, control), or None.
        num_particles: K.
        particles_per_chunk: how many to draw at once: memory against speed.
        sequences_per_chunk: how many sequences to run at once; None runs all.
        annealing: how to anneal; None draws from the guide alone. Needs continuous latents.
        filtering: the filter that makes each draw; its own number of particles comes on top of K.
        seed: of the particles.
        progress: show a bar.
        processes: which share the chunks; all get the whole result, the one that a single process gets.

    Raises:
        ValueError: if a number is not positive or the arguments count different numbers of sequences, if both annealing
            and filtering are asked for, and what `importance_traces` and `run_filter` raise.
    """
    if annealing is not None and filtering is not None:
        raise ValueError("filtering: expected None together with annealing, got both")
    num_sequences = _check_arguments((frames, observed, controls))
    sequences_per_chunk = num_sequences if sequences_per_chunk is None else sequences_per_chunk
    numbers = {"num_particles": num_particles, "particles_per_chunk": particles_per_chunk}
    for name, number in (numbers | {"sequences_per_chunk": sequences_per_chunk}).items():
        if number < 1:
            raise ValueError(f"{name}: expected at least 1, got {number}")
    args = (frames, observed, controls)
    videos, mask = _digests(*args)
    num_different = num_particles if _draws_latents(guide, chunk_of(args, slice(0, 1), _device_of(model, guide))) else 1
    numbers["num_particles"] = num_different
    chunks = {**numbers, "sequences_per_chunk": sequences_per_chunk, "seed": seed, "processes": processes}
    if filtering is not None:
        found = _filtered(filtering, model, guide, args, **chunks)
    elif annealing is not None:
        found = _annealed(annealing, model, guide, args, **chunks)
    else:
        found = _weighed(model, guide, args, **chunks)
    split = filtering is None and annealing is None
    terms = torch.zeros(2 if split else 1, num_different, num_sequences, dtype=torch.float64)
    total = terms[0].numel() // processes.size
    with tqdm(total=total, desc="evidence", unit="draw", disable=not progress, leave=False) as bar:
        for particles, sequences, *chunk in found:
            terms[:, particles, sequences] = torch.stack(chunk).to("cpu", torch.float64)
            bar.update(chunk[0].numel())
    weights, *likelihoods = processes.total(terms).repeat(1, num_particles // num_different, 1)
    return Evidence(
        log_weights=weights,
        **_summaries(weights),
        **(_parts(weights, *likelihoods) if split else {}),
        seed=seed,
        particles_per_chunk=particles_per_chunk,
        sequences_per_chunk=sequences_per_chunk,
        annealing=annealing,
        filtering=filtering,
        videos=videos,
        mask=mask,
    )


def _draws_latents(guide: Program, args: tuple[Any, ...]) -> bool:
    """Whether the guide draws anything; found by running it once, which leaves no trace."""
    with torch.no_grad(), evaluation_mode(guide), local_parameters(guide), preserved_generators(), poutine.block():
        sites = sample_sites(prune_subsample_sites(poutine.trace(guide).get_trace(*args)))
        return any(not site["is_observed"] for site in sites)


def _weighed(
    model: Program, guide: Program, args: tuple[Tensor | None, ...], **chunks: Any
) -> Iterator[tuple[slice, slice, Tensor, Tensor]]:
    """Which particles, which sequences, their log weights, and the log probabilities of what is observed."""
    for particles, sequences, traces in particle_chunks(model, guide, args, **chunks):
        weights, seen = traces.log_weights(), [site for site in sample_sites(traces.model) if site["is_observed"]]
        likelihoods = [traces.per_sequence(site, site["log_prob"]) for site in seen]
        yield particles, sequences, weights, sum(likelihoods, torch.zeros_like(weights))


def _annealed(
    annealing: Annealing, model: Program, guide: Program, args: tuple[Tensor | None, ...], *, seed: int, **chunks: Any
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Which particles, which sequences, and the log weights of their walks."""
    for particles, sequences, traces in particle_chunks(model, guide, args, **chunks, seed=seed):
        batch = chunk_of(args, sequences, _device_of(model, guide))
        with seeded("annealing", seed, particles.start, sequences.start):
            yield particles, sequences, annealed_log_weights(traces, model, guide, batch, annealing)


def _filtered(
    filtering: FIVO, model: Program, guide: Program, args: tuple[Tensor | None, ...], *, seed: int, **chunks: Any
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Which particles, which sequences, and log estimates: filters run at once, on as many copies of each sequence."""
    for particles, sequences, row, column in _cells(_check_arguments(args), **chunks):
        count = particles.stop - particles.start
        batch = chunk_of(args, sequences, _device_of(model, guide))
        copies = [None if value is None else value.repeat(count, *[1] * (value.dim() - 1)) for value in batch]
        with (
            torch.no_grad(),
            evaluation_mode(model, guide),
            local_parameters(model, guide),
            seeded("filters", seed, column, row),
        ):
            estimates = filtering.run(model, guide, *copies).log_evidence
        yield particles, sequences, estimates.reshape(count, -1)


def _digests(frames: Tensor, observed: Tensor | None, controls: Tensor | None) -> tuple[str, str]:
    """Short digests of what was seen, and of which frames were seen."""
    mask = torch.ones(frames.shape[:2], dtype=torch.bool) if observed is None else observed.cpu()
    shape = (*mask.shape, *[1] * (frames.dim() - 2))
    seen = torch.where(mask.reshape(shape), frames.detach().cpu(), 0.0)
    videos = sha256(seen.double().numpy().tobytes())
    if controls is not None:
        videos.update(controls.detach().cpu().double().numpy().tobytes())
    return videos.hexdigest()[:16], sha256(mask.numpy().tobytes()).hexdigest()[:16]


def particle_chunks(
    model: Program,
    guide: Program,
    args: tuple[Tensor | None, ...],
    *,
    num_particles: int,
    particles_per_chunk: int,
    sequences_per_chunk: int,
    seed: int,
    processes: Processes = ALONE,
) -> Iterator[tuple[slice, slice, ImportanceTraces]]:
    """Run guide and model chunk by chunk, each chunk with its own random stream.

    Yields:
        Which particles, which sequences, and the traces with their draws, on the device of the parameters.
    """
    device = _device_of(model, guide)
    particle_dim = None
    sizes = (_check_arguments(args), num_particles, particles_per_chunk, sequences_per_chunk)
    for particles, sequences, row, column in _cells(*sizes, processes):
        batch = chunk_of(args, sequences, device)
        count = particles.stop - particles.start
        with torch.no_grad(), evaluation_mode(model, guide), local_parameters(model, guide):
            if particle_dim is None and count > 1:
                particle_dim = find_particle_dim(model, guide, batch)
            with seeded("particles", seed, column, row):
                traces = importance_traces(model, guide, batch, count, particle_dim=particle_dim)
        yield particles, sequences, traces


def _cells(
    num_sequences: int, num_particles: int, particles_per_chunk: int, sequences_per_chunk: int, processes: Processes
) -> Iterator[tuple[slice, slice, int, int]]:
    """Which particles and sequences each chunk of this process has, and its place."""
    number = 0
    for row, start in enumerate(range(0, num_sequences, sequences_per_chunk)):
        sequences = slice(start, min(start + sequences_per_chunk, num_sequences))
        for column, first in enumerate(range(0, num_particles, particles_per_chunk)):
            if number % processes.size == processes.rank:
                yield slice(first, min(first + particles_per_chunk, num_particles)), sequences, row, column
            number += 1


def chunk_of(args: tuple[Tensor | None, ...], sequences: slice, device: torch.device | None) -> tuple[Any, ...]:
    """Some sequences of a model's arguments, on a device."""
    return tuple(None if value is None else value[sequences].to(device) for value in args)


def _device_of(*programs: Program) -> torch.device | None:
    parameters = (parameter for module in modules_of(*programs) for parameter in module.parameters(recurse=False))
    return next((parameter.device for parameter in parameters), None)


def _check_arguments(args: tuple[Tensor | None, ...]) -> int:
    sizes = {
        name: value.shape[0]
        for name, value in zip(("frames", "observed", "controls"), args, strict=True)
        if value is not None
    }
    for name, size in sizes.items():
        if size != sizes["frames"]:
            raise ValueError(f"{name}: expected as many sequences as frames, {sizes['frames']}, got {size}")
    if sizes["frames"] < 1:
        raise ValueError("frames: expected at least one sequence, got none")
    return sizes["frames"]


def _summaries(weights: Float[Tensor, "particles sequences"]) -> dict[str, Any]:
    num_particles = weights.shape[0]
    total = torch.logsumexp(weights, 0)
    relative = torch.exp(weights - total + math.log(num_particles))  # weights over their mean
    variance = (relative - 1).square().sum(0) / max(num_particles - 1, 1)
    error = (variance / num_particles).sqrt()
    return {
        "log_evidence": total - math.log(num_particles),
        "elbo": weights.mean(0),
        "effective_sample_size": torch.exp(2 * total - torch.logsumexp(2 * weights, 0)),
        "pareto_k": _pareto_k(weights),
        "standard_error": error if num_particles > 1 else torch.full_like(error, torch.nan),
    }


def _parts(
    weights: Float[Tensor, "particles sequences"], likelihoods: Float[Tensor, "particles sequences"]
) -> dict[str, Tensor]:
    """What was seen and what was drawn have their parts in the log weights: means, plain and by weight."""
    shares = torch.softmax(weights, 0)
    means = {}
    for name, values in (("reconstruction", likelihoods), ("divergence", likelihoods - weights)):
        means[name] = values.mean(0)
        # what is impossible has no share, but is infinite
        means[f"weighted_{name}"] = torch.where(shares > 0, shares * values, 0.0).sum(0)
    return means


def _pareto_k(weights: Float[Tensor, "particles sequences"]) -> Float[Tensor, " sequences"]:
    if weights.shape[0] < SMALLEST_TAIL:
        return torch.full_like(weights[0], torch.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ArviZ announces its next major version at import
        import arviz

        _, values = arviz.psislw(weights.T.numpy())
    values = torch.from_numpy(np.asarray(values, dtype=np.float64))
    return torch.where((weights == weights[0]).all(0), -torch.inf, values)
