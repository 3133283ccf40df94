"""Posterior draws of latents in the format of ArviZ: particles of a guide, resampled by their weights."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from inference.evidence.arviz_versions import grouped
from inference.evidence.chunks import particle_chunks
from inference.evidence.settings import DrawSettings
from inference.programs.site_values import sequences_first
from inference.programs.trace_checks import SEQUENCES
from inference.programs.traces import ImportanceTraces, Program, sample_sites
from inference.runtime.generators import seeded


@runtime_checkable
class WeighedParticles(Protocol):
    """What is needed of an `Evidence`, which calls this module."""

    @property
    def annealing(self) -> Any:
        """How particles were annealed, if they were."""
        ...

    @property
    def sampler(self) -> Any:
        """The sampler of populations, if there was one."""
        ...

    @property
    def filtering(self) -> Any:
        """The particle filter, if there was one."""
        ...

    @property
    def num_particles(self) -> int:
        """Particles of a sequence."""
        ...

    @property
    def num_sequences(self) -> int:
        """Number of sequences."""
        ...

    @property
    def particles_per_chunk(self) -> int:
        """Particles drawn at once."""
        ...

    @property
    def sequences_per_chunk(self) -> int:
        """Sequences evaluated at once."""
        ...

    @property
    def seed(self) -> int:
        """Seed of the particles."""
        ...

    @property
    def log_weights(self) -> Tensor:
        """(particles, sequences), nats."""
        ...


def inference_data(
    evidence: WeighedParticles, model: Program, guide: Program, args: tuple[Tensor | None, ...], num_draws: int
) -> Any:
    """See `Evidence.to_inference_data`."""
    if num_draws < 1:
        raise ValueError(f"num_draws: expected at least 1, got {num_draws}")
    others = {"annealed ones": evidence.annealing, "populations": evidence.sampler, "filters": evidence.filtering}
    for got, method in others.items():
        if method is not None:
            raise ValueError(
                f"evidence: expected particles of the guide, got {got}, whose draws are not kept; call log_evidence "
                "with num_particles and without a method"
            )
    frames = args[0]
    if frames is None or frames.shape[0] != evidence.num_sequences:
        got = None if frames is None else frames.shape[0]
        raise ValueError(f"frames: expected the {evidence.num_sequences} sequences of this evidence, got {got}")
    with seeded("posterior draws", evidence.seed):
        probabilities = torch.softmax(evidence.log_weights, 0).T
        chosen = torch.multinomial(probabilities, num_draws, replacement=True).T.sort(0).values  # (draws, sequences)
    collected = _Draws(num_draws, evidence.num_sequences)
    settings = DrawSettings(evidence.particles_per_chunk, evidence.sequences_per_chunk, seed=evidence.seed)
    cells = particle_chunks(model, guide, args, evidence.num_particles, settings)
    for particles, sequences, traces in cells:
        again, before = traces.log_weights().to("cpu", torch.float64), evidence.log_weights[particles, sequences]
        if not torch.allclose(again, before, rtol=1e-5, atol=1e-3):
            raise ValueError(
                "model, guide, frames: expected those of this evidence, got other log weights from the same seed "
                f"(by up to {(again - before).abs().max().item():.3g} nats)"
            )
        collected.add(traces, particles, sequences, chosen[:, sequences])
    return collected.to_inference_data(evidence, torch.gather(evidence.log_weights, 0, chosen))


class _Draws:
    """Arrays (draws, sequences, *other plates, *event) by site, filled chunk by chunk."""

    def __init__(self, num_draws: int, num_sequences: int) -> None:
        self.num_draws, self.num_sequences = num_draws, num_sequences
        self.groups: dict[str, dict[str, np.ndarray]] = {"posterior": {}, "log_likelihood": {}, "observed_data": {}}
        self.dims: dict[str, list[str]] = {}

    def add(self, traces: ImportanceTraces, particles: slice, sequences: slice, chosen: Tensor) -> None:
        """Store the chosen particles of a chunk; `chosen` is (draws, sequences of the chunk)."""
        draw, sequence = torch.nonzero((chosen >= particles.start) & (chosen < particles.stop), as_tuple=True)
        particle = chosen[draw, sequence] - particles.start
        place = (draw.numpy(), sequence.numpy() + sequences.start)
        observed_names = {site["name"] for site in sample_sites(traces.model).values() if site["is_observed"]}
        for site in sample_sites(traces.model).values():
            name = site["name"]
            value, plates = sequences_first(site, traces.particle_dim)
            array = value.cpu().numpy()
            if name in observed_names:
                self.dims[name] = plates[1:]
                log_prob = traces.per_sequence(site, site["log_prob"]).cpu().numpy()
                target = self._array("log_likelihood", name, (self.num_draws,), log_prob.dtype, ())
                target[place] = log_prob[particle, sequence]
                target = self._array("observed_data", name, (), array.dtype, array.shape[2:])
                target[sequences] = array[0]
            else:
                self.dims[name] = plates[1:]
                target = self._array("posterior", name, (self.num_draws,), array.dtype, array.shape[2:])
                target[place] = array[particle, sequence]

    def _array(
        self, group: str, name: str, leading: tuple[int, ...], dtype: Any, trailing: tuple[int, ...]
    ) -> np.ndarray:
        if name not in self.groups[group]:
            self.groups[group][name] = np.zeros((*leading, self.num_sequences, *trailing), dtype)
        return self.groups[group][name]

    def to_inference_data(self, evidence: WeighedParticles, log_weight: Tensor) -> Any:
        import xarray

        def dataset(arrays: Mapping[str, np.ndarray], *leading: str, own_dims: bool = True) -> Any:
            chain = "chain" in leading
            return xarray.Dataset(
                {
                    name: (
                        [*leading, SEQUENCES, *(self.dims[name] if own_dims else [])],
                        array[None] if chain else array,
                    )
                    for name, array in arrays.items()
                }
            )

        record = {
            name: getattr(evidence, name).numpy()
            for name in ("log_evidence", "elbo", "effective_sample_size", "pareto_k", "standard_error")
        }
        return grouped(
            {
                "posterior": dataset(self.groups["posterior"], "chain", "draw"),
                "log_likelihood": dataset(self.groups["log_likelihood"], "chain", "draw", own_dims=False),
                "sample_stats": dataset({"log_weight": log_weight.numpy()}, "chain", "draw", own_dims=False),
                "observed_data": dataset(self.groups["observed_data"]),
                "evidence": dataset(record, own_dims=False),
            }
        )
