"""The record of an estimate of the log evidence: numbers for each sequence, and how far to rely on them."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from inference.annealing.smc import SMC
from inference.annealing.walks import Annealing
from inference.estimators.fivo import FIVO
from inference.evidence.arviz_versions import pareto_shapes
from inference.evidence.pilot import Pilot
from inference.evidence.posterior_draws import inference_data
from inference.evidence.verdict import Verdict
from inference.programs.traces import Program
from inference.runtime.shown import Lines, as_html, as_text

SMALLEST_TAIL = 25  # particles below which ArviZ has too few in the tail (a fifth of them) to fit a Pareto distribution
RESOLUTION = 1e-3  # nats; weights closer than this differ by rounding, to which no tail can be fitted


@dataclass(frozen=True, eq=False)
class Evidence:
    """Estimates of the log evidence of each sequence, with diagnostics of their reliability.

    For sequence n with log weights l_kn = log p(x_n, z_kn) - log q(z_kn | x_n), k = 1 ... K, in nats:

    Attributes:
        log_weights: l, (particles, sequences), float64 on the CPU.
        log_evidence: log 1/K sum_k exp l_kn, (sequences,). Its expectation is at most the log evidence.
        elbo: 1/K sum_k l_kn, (sequences,).
        effective_sample_size: (sum_k w_kn)^2 / sum_k w_kn^2 with w = exp l, (sequences,), between 1 and K.
        pareto_k: k-hat of Vehtari et al. (2024), (sequences,): the tail index of the weights. Above 0.7 the estimate
            and its standard error cannot be relied upon; nan where there are fewer than 25 particles; minus infinity
            where no two log weights differ by more than a thousandth of a nat, as with an exact guide.
        standard_error: Monte Carlo standard error of log_evidence by the delta method, (sequences,): the weights'
            standard deviation over their mean and sqrt(K); nan for one particle.
        seed: the seed with which the particles were drawn.
        particles_per_chunk: how many particles were drawn at once.
        sequences_per_chunk: how many sequences were run at once.
        annealing: how particles were annealed from the guide to the posterior; None if they were not. With it the log
            weights are those of the annealed chains, and `elbo` is their bound, between the guide's and the evidence.
        sampler: the population of chains whose log estimates replace the log weights, or None.
        filtering: the particle filter whose log estimates replace the log weights, or None; `elbo` is then its bound.
        pilot: the filters that first adapted the guide's draws to each video, or None.
        reconstruction: 1/K sum_k log p(x_n | z_kn), all observed sites together, (sequences,), and
        divergence: 1/K sum_k (log q(z_kn | x_n) - log p(z_kn)), (sequences,): `elbo` is their difference. None if
            particles were annealed or filtered, whose last draws are not kept.
        weighted_reconstruction: the same, but sum_k v_kn in place of 1/K sum_k, with v = w / sum_k w, (sequences,), and
        weighted_divergence: the same. Their difference exceeds `log_evidence` by KL(v || uniform), in [0, log K].
        videos: digest of the observed frames and the controls, and
        mask: digest of the mask of observed frames; `compare` uses both to check that two records share their data.
        reference: "probability" if all observed sites are discrete, "density" if they are continuous, "mixed" if both
            occur. Evidence of different kinds cannot be compared.
        bracket_width: how far log evidence and estimate lie apart on videos near these: the mean width of their bracket
            plus two standard errors, nats per sequence; None unless the budget said `certify`.
        verdict: how far to rely on the numbers, in words. With `method="auto"` the log weights are the estimates of
            eight repeats, and `elbo` and its parts are over draws of the guide.
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
    sampler: SMC | None = None
    filtering: FIVO | None = None
    pilot: Pilot | None = None
    reconstruction: Float[Tensor, " sequences"] | None = None
    divergence: Float[Tensor, " sequences"] | None = None
    weighted_reconstruction: Float[Tensor, " sequences"] | None = None
    weighted_divergence: Float[Tensor, " sequences"] | None = None
    videos: str = ""
    mask: str = ""
    reference: str = ""
    bracket_width: float | None = None
    verdict: Verdict | None = None

    def __repr__(self) -> str:
        return as_text(*self._shown())

    def _repr_html_(self) -> str:
        return as_html(*self._shown())

    def _shown(self) -> tuple[str, Lines]:
        """Means and diagnostics in a few lines."""
        number = self.num_sequences
        mean = self.log_evidence.mean().item()
        error = self.log_evidence.std().item() / number**0.5 if number > 1 else math.nan
        least, most = self.log_evidence.min().item(), self.log_evidence.max().item()
        above = int((self.pareto_k > 0.7).sum())
        unknown = bool(self.pareto_k.isnan().any())
        spread = f" ± {error:.2f}, from {least:.2f} to {most:.2f}" if number > 1 else ""
        lines = [
            ("log evidence", f"{mean:.2f}{spread} nats per sequence"),
            ("ELBO", f"{self.elbo.mean().item():.2f}"),
            ("effective sample size", f"{self.effective_sample_size.mean().item():.1f} of {self.num_particles}"),
            ("k-hat", "unknown: too few draws" if unknown else f"above 0.7 in {above} of {number}"),
        ]
        verdict = [] if self.verdict is None else [("verdict", str(self.verdict))]
        return f"Evidence of {number} sequences, {self.num_particles} estimates of each", [*lines, *verdict]

    @property
    def num_particles(self) -> int:
        """K."""
        return self.log_weights.shape[0]

    @property
    def num_sequences(self) -> int:
        """Number of sequences."""
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
    ) -> Any:
        """Draws from the posterior of the latents, resampled by weight, for ArviZ.

        The particles are drawn again, with the seed and the chunks of this record, and `num_draws` of them are chosen
        for each sequence with probabilities proportional to their weights (with replacement).

        Args:
            model: the model of this record, with the same parameters.
            guide: the guide of this record, with the same parameters.
            frames: the videos of this record.
            observed: their mask, if any.
            controls: their controls, if any.
            num_draws: draws for each sequence.

        Returns:
            An `arviz.InferenceData`, or an `xarray.DataTree` from version 1 of ArviZ on. Groups `posterior` (each
            latent site: chain, draw, its plates with `sequences` first, its own dims), `log_likelihood` (each observed
            site: chain, draw, sequences; in nats, summed over its other plates), `sample_stats` (log_weight of each
            draw), `observed_data`, and `evidence` (this record, by sequence).

        Raises:
            ValueError: if `num_draws` is not positive, if particles were annealed or filtered, or if model, guide and
                videos do not reproduce these log weights.
        """
        return inference_data(self, model, guide, (frames, observed, controls), num_draws)


def summaries(weights: Float[Tensor, "particles sequences"]) -> dict[str, Any]:
    """The fields of an `Evidence` that follow from its log weights."""
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


def parts(
    weights: Float[Tensor, "particles sequences"], likelihoods: Float[Tensor, "particles sequences"]
) -> dict[str, Any]:
    """Reconstruction and divergence parts of the log weights: plain and importance-weighted means."""
    shares = torch.softmax(weights, 0)
    means = {}
    for name, values in (("reconstruction", likelihoods), ("divergence", likelihoods - weights)):
        means[name] = values.mean(0)
        # impossible draws have weight 0 but infinite values, and 0 x inf is NaN
        means[f"weighted_{name}"] = torch.where(shares > 0, shares * values, 0.0).sum(0)
    return means


def _pareto_k(weights: Float[Tensor, "particles sequences"]) -> Float[Tensor, " sequences"]:
    if weights.shape[0] < SMALLEST_TAIL:
        return torch.full_like(weights[0], torch.nan)
    values = torch.from_numpy(pareto_shapes(weights.T.numpy()))
    return torch.where(weights.amax(0) - weights.amin(0) <= RESOLUTION, -torch.inf, values)
