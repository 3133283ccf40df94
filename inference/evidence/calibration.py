"""Simulation-based calibration of a guide, site by site: is it overconfident, underconfident or biased?"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict, Unpack

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from inference.evidence.bit_calibration import BitCalibration
from inference.evidence.chunks import chunk_of, particle_chunks
from inference.evidence.room import with_room
from inference.evidence.settings import DrawSettings, at_least_one
from inference.programs.latent_coordinates import is_boolean
from inference.programs.masked_latents import MaskedAnew
from inference.programs.simulation import FRAMES, check_frames_alone, simulated_trace
from inference.programs.site_values import sequences_first
from inference.programs.trace_checks import sequences_frame
from inference.programs.traces import (
    Program,
    evaluation_mode,
    importance_traces,
    local_parameters,
    sample_sites,
)
from inference.runtime.generators import seeded
from inference.runtime.keywords import settings_of
from inference.runtime.numbers import check_count
from pyro_models.components.arguments import check_batch
from videos.memory import check_room

SIGNIFICANCE = 0.01


@dataclass(frozen=True, eq=False)
class Calibration:
    """Ranks of the true latents among a guide's draws, for videos simulated from the model.

    For each simulated video, latent site and coordinate: the fraction of draws below the true value (ties broken at
    random, which makes it continuous). If draws were from the posterior, these ranks would be uniform on [0, 1] (Talts
    et al. 2018, theorem 1), independently over videos. They pile up at 0 and 1 if the guide is too narrow, in the
    middle if it is too wide, and on one side if it is biased.

    For binary latents, such as presence, ranks have little power; they get the exact tests of `BitCalibration`.

    Power: with 300 videos and at least 20 draws, it detects a guide whose scale is off by a factor of 1.3, or whose
    mean is off by 0.3 standard deviations, in more than nine cases of ten; also presence with log odds off by 1 or 2.5
    times too large. At most one in a hundred exact guides is called miscalibrated.

    Attributes:
        ranks: by site, (sequences, coordinates): ranks among the guide's draws.
        weighted_ranks: the same among the draws weighted by p(x, z) / q(z | x), which corrects them in part.
        num_draws: draws per video.
        effective_sample_size: of the weights, (sequences,).
        bits: by binary site, the true bits beside those drawn.
    """

    ranks: Mapping[str, Float[Tensor, "sequences coordinates"]]
    weighted_ranks: Mapping[str, Float[Tensor, "sequences coordinates"]]
    num_draws: int
    effective_sample_size: Float[Tensor, " sequences"]
    bits: Mapping[str, BitCalibration] = field(default_factory=dict)

    def p_values(self, weighted: bool = False) -> dict[str, float]:
        """By site: p-value of the hypothesis that the guide is calibrated.

        The smallest p-value of three tests of each coordinate, times their number (Bonferroni): Kolmogorov-Smirnov, the
        mean of the ranks, and their mean square distance from 1/2. For binary sites, that of two counts.

        Args:
            weighted: use the weighted draws.
        """
        from scipy.stats import kstest, norm

        result = {}
        for name, ranks in (self.weighted_ranks if weighted else self.ranks).items():
            if name in self.bits:
                result[name] = self.bits[name].p_value(weighted)
                continue
            smallest = min(kstest(column.numpy(), "uniform").pvalue for column in ranks.T)
            farthest = max(deviation.abs().max().item() for deviation in _deviations(ranks))
            smallest = min(float(smallest), 2 * float(norm.sf(farthest)))
            result[name] = min(1.0, smallest * 3 * ranks.shape[1])
        return result

    def verdicts(self, weighted: bool = False) -> dict[str, str]:
        """By site, in words: "calibrated", "too narrow", "too wide", "biased" or "wrong shape".

        Args:
            weighted: use the weighted draws.
        """
        ranks = self.weighted_ranks if weighted else self.ranks
        return {
            name: "calibrated"
            if p >= SIGNIFICANCE
            else self.bits[name].shape(weighted)
            if name in self.bits
            else _shape(ranks[name])
            for name, p in self.p_values(weighted).items()
        }

    def __str__(self) -> str:
        sequences = len(self.effective_sample_size)
        width = max(map(len, ["site", *self.ranks]))
        lines = [
            f"{sequences} simulated videos, {self.num_draws} draws each, "
            f"median effective sample size {self.effective_sample_size.median():.1f}",
            f"{'site':{width}}  coordinates  guide                    weighted by p/q",
        ]
        guide, weighed = (self.verdicts(weighted) for weighted in (False, True))
        plain, heavy = (self.p_values(weighted) for weighted in (False, True))
        for name, ranks in self.ranks.items():
            first, second = f"{guide[name]} (p {plain[name]:.2g})", f"{weighed[name]} (p {heavy[name]:.2g})"
            lines.append(f"{name:{width}}  {ranks.shape[1]:11}  {first:23}  {second}")
        return "\n".join(lines)


class CalibrationSettings(TypedDict, total=False):
    """Keyword settings of `calibrate`, which says what they are and their defaults."""

    draws_per_chunk: int | None
    sequences_per_chunk: int | None
    seed: int
    progress: bool


@dataclass(frozen=True)
class _Chunks:
    """`CalibrationSettings` with their defaults, checked."""

    draws_per_chunk: int | None = None
    sequences_per_chunk: int | None = None
    seed: int = 0
    progress: bool = False

    def __post_init__(self) -> None:
        at_least_one(draws_per_chunk=self.draws_per_chunk, sequences_per_chunk=self.sequences_per_chunk)


def calibrate(
    model: Program,
    guide: Program,
    frames: Tensor,
    observed: Tensor | None = None,
    controls: Tensor | None = None,
    *,
    num_draws: int = 100,
    **settings: Unpack[CalibrationSettings],
) -> Calibration:
    """Simulate videos from the model, draw their latents from the guide, and rank the true latents among the draws.

    Position and appearance of an absent object are masked: their true values are drawn from the guide, so their ranks
    are uniform. A few hundred videos distinguish a good guide from a bad one; fewer draws suffice, but at least 20.
    `pictures.draw_calibration` shows the result.

    Args:
        model: a `PyroModule` called `(frames, observed, controls)`, with an observed site `frames`.
        guide: called with the same arguments. Its draws of all latent sites of the model are ranked.
        frames: (sequences, time, ...); gives number and size of the simulated videos. The values are not used.
        observed: bool (sequences, time), the masks of the simulated videos, or None.
        controls: (sequences, time, control), their controls, or None.
        num_draws: draws per video.
        settings: see below.

    Keyword Args:
        draws_per_chunk: draws made at once (default None: 50, or as many as some 2 GB of memory hold).
        sequences_per_chunk: simulated videos processed at once (default None: as many as that memory holds).
        seed: seed of simulation, draws and ties (default 0).
        progress: show a bar (default False).

    Raises:
        TypeError: for an unknown setting.
        ValueError: if a number is not positive, or the model observes anything but `frames`; also what `simulate` and
            `inference.programs.traces` raise.
    """
    chunks = settings_of(calibrate, _Chunks, settings)
    check_count("num_draws", num_draws)
    check_room("num_draws", num_draws, 16 * check_batch(frames, observed, controls), "log weights and ranks")
    chosen = DrawSettings(chunks.draws_per_chunk, chunks.sequences_per_chunk, seed=chunks.seed)
    drawing = with_room(chosen, frames, None, num_draws, guide)
    videos, truth, bits = _completed(model, guide, (frames, observed, controls), drawing)
    draws = {name: torch.empty(num_draws, *value.shape, dtype=torch.float64) for name, value in truth.items()}
    log_weights = torch.empty(num_draws, frames.shape[0], dtype=torch.float64)
    cells = particle_chunks(model, guide, (videos, observed, controls), num_draws, drawing)
    with tqdm(
        total=log_weights.numel(), desc="calibration", unit="draw", disable=not chunks.progress, leave=False
    ) as bar:
        for particles, sequences, traces in cells:
            log_weights[particles, sequences] = traces.log_weights().to("cpu", torch.float64)
            for site in sample_sites(traces.model).values():
                if site["name"] in draws:
                    value = sequences_first(site, traces.particle_dim)[0]
                    draws[site["name"]][particles, sequences] = value.cpu().double().reshape(*value.shape[:2], -1)
            bar.update(log_weights[particles, sequences].numel())
    shares = log_weights.softmax(0)
    equal = torch.full_like(shares, 1 / num_draws)
    with seeded("ties of ranks", chunks.seed):
        ranks = {name: _ranks(truth[name], draws[name], equal) for name in truth}
        weighted_ranks = {name: _ranks(truth[name], draws[name], shares) for name in truth}
    counted = {name: BitCalibration.of(truth[name], draws[name], shares) for name in bits}
    return Calibration(ranks, weighted_ranks, num_draws, 1 / shares.square().sum(0), counted)


def _completed(
    model: Program,
    guide: Program,
    args: tuple[Tensor, Tensor | None, Tensor | None],
    settings: DrawSettings,
) -> tuple[Tensor, dict[str, Float[Tensor, "sequences coordinates"]], list[str]]:
    """Simulated videos, their true latents, and the names of binary sites; masked latents are drawn from the guide.

    The videos do not depend on the size of the chunks; the masked latents do.
    """
    frames, observed, controls = args
    trace = simulated_trace(model, frames, observed, controls, seed=settings.seed)
    check_frames_alone(trace)
    sites = sample_sites(trace)
    videos = sequences_first(sites.pop(FRAMES), None)[0][0]
    truth, bits = defaultdict(list), []
    at_once = settings.sequences_per_chunk
    assert at_once is not None
    for row, start in enumerate(range(0, len(videos), at_once)):
        sequences = slice(start, start + at_once)
        batch = chunk_of((videos, observed, controls), sequences, videos.device)
        with (
            torch.no_grad(),
            evaluation_mode(model, guide),
            local_parameters(model, guide),
            seeded("masked truth", settings.seed, row),
            MaskedAnew({name: _part(site, sequences) for name, site in sites.items()}),
        ):
            completed = importance_traces(model, guide, batch, 1)
        found = [site for site in sample_sites(completed.guide).values() if site["name"] in sites]
        bits = [site["name"] for site in found if is_boolean(site["fn"].support)]
        for site in found:
            value = sequences_first(site, None)[0][0].cpu().double()
            truth[site["name"]].append(value.reshape(len(value), -1))
    return videos, {name: torch.cat(parts) for name, parts in truth.items()}, bits


def _part(site: Mapping[str, Any], sequences: slice) -> Tensor:
    """A site's value for some of the sequences."""
    value = site["value"]
    dim = int(sequences_frame(site).dim) - len(site["fn"].event_shape)
    if value.dim() < -dim or value.shape[dim] == 1:
        return value
    return value[(slice(None),) * (value.dim() + dim) + (sequences,)]


def _ranks(
    truth: Float[Tensor, "sequences coordinates"],
    draws: Float[Tensor, "draws sequences coordinates"],
    shares: Float[Tensor, "draws sequences"],
) -> Float[Tensor, "sequences coordinates"]:
    """Weight of the draws below the truth, plus a random fraction of the ties, which count the truth as one draw."""
    num_draws = draws.shape[0]
    below = (shares[..., None] * (draws < truth)).sum(0)
    equal = (shares[..., None] * (draws == truth)).sum(0)
    return (num_draws * below + torch.rand_like(truth) * (num_draws * equal + 1)) / (num_draws + 1)


def _deviations(ranks: Float[Tensor, "sequences coordinates"]) -> tuple[Tensor, Tensor]:
    """Mean and mean square distance from 1/2 of each coordinate's ranks, in standard deviations under uniformity."""
    count = ranks.shape[0]
    offset = (ranks.mean(0) - 0.5) / (1 / 12 / count) ** 0.5
    spread = ((ranks - 0.5).square().mean(0) - 1 / 12) / (1 / 180 / count) ** 0.5
    return offset, spread


def _shape(ranks: Float[Tensor, "sequences coordinates"]) -> str:
    """Name the larger of the two deviations, or "wrong shape" if neither is large."""
    offset, spread = _deviations(ranks)
    largest = spread[spread.abs().argmax()]
    if max(offset.abs().max(), largest.abs()) < 3:
        return "wrong shape"
    if offset.abs().max() > largest.abs():
        return "biased"
    return "too narrow" if largest > 0 else "too wide"
