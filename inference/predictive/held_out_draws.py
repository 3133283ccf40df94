"""Held-out frames sampled from the predictions of model and guide, and scored against the true ones."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from guides.describe import describe_sites
from inference.evidence.chunks import chunk_of, device_of
from inference.metrics.proper_scores import brier_score, crps, energy_score
from inference.predictive.held_out import HeldOut
from inference.predictive.record import FrameScore
from inference.predictive.settings import ScoreSettings
from inference.programs.decoding import draw_frames
from inference.programs.traces import Program
from inference.queries.ask import impute
from inference.queries.imputation import chunks, quietly
from inference.runtime.generators import child_seed

FRAMES_AT_ONCE = 2048  # decoded at once
VALUES_AT_ONCE = 2**24  # pixel values of draws kept at once
GROUPS = 8  # groups of draws; the spread of their scores gives the Monte Carlo error of the overall score

CRPS, ENERGY, BRIER = "CRPS", "energy score", "Brier score"
SCORES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    CRPS: lambda draws, truth: crps(draws, truth).flatten(1).mean(1),
    ENERGY: lambda draws, truth: energy_score(draws, truth, event_dims=3),
    BRIER: lambda draws, truth: brier_score(draws, truth).flatten(1).mean(1),
}
"""Scores of frames: draws (draws, frames, channels, height, width) and truth -> (frames,)."""


def scores_of_draws(
    model: Program, guide: Program, videos: HeldOut, binary: bool, how: ScoreSettings
) -> dict[str, FrameScore]:
    """CRPS and energy score of grey held-out frames, Brier score of binary ones, by name; see `PredictiveScores`.

    Grey frames are drawn from the model given draws of all latents. For binary frames their probabilities given these
    latents suffice.

    Args:
        model: called `(frames, observed, controls)`.
        guide: has `complete`, or meaningful draws at missing frames.
        videos: videos with held-out frames, which are scored.
        binary: whether the model's frames are binary.
        how: number of draws, completion and seed.

    Raises:
        ValueError: what `queries.impute` and the scores raise.
    """
    names = (BRIER,) if binary else (CRPS, ENERGY)
    by_frame = {name: torch.full(videos.mask.shape, torch.nan, dtype=torch.float64) for name in names}
    errors = {name: torch.zeros(len(videos.mask), dtype=torch.float64) for name in names}
    scored = videos.mask.cpu()
    all_rows = scored.any(1).nonzero()[:, 0]
    at_once = max(1, VALUES_AT_ONCE // (how.num_samples * videos.whole[0][0].numel()))
    for number, part in enumerate(chunks(len(all_rows), at_once)):
        rows = all_rows[part]
        some = videos.select(rows)
        batch = chunk_of(some.shown, slice(None), device_of(model, guide))
        chunk_how = replace(how, seed=child_seed("draws of held-out frames", how.seed, number))
        draws = _draw(model, guide, batch, binary, chunk_how)[:, scored[rows]]
        truth = some.whole[0].cpu()[scored[rows]]
        for name in names:
            values = by_frame[name][rows]
            values[scored[rows]] = SCORES[name](draws, truth)
            by_frame[name][rows] = values
            errors[name][rows] = _monte_carlo(SCORES[name], draws, truth, scored[rows])
    totals = {name: values.nan_to_num(0.0).sum(1) for name, values in by_frame.items()}
    return {name: FrameScore(totals[name], scored.sum(1), errors[name], by_frame[name]) for name in names}


def _draw(
    model: Program, guide: Program, args: tuple[Any, ...], binary: bool, how: ScoreSettings
) -> Float[Tensor, "draws sequences time channels height width"]:
    """Draws of grey frames, or probabilities of binary ones given draws of the latents; on the CPU."""
    settings = {"num_samples": how.num_samples, "seed": how.seed, "frames_per_chunk": FRAMES_AT_ONCE}
    answer = impute(model, guide, *args, method=how.completion, **settings)
    assert answer.samples is not None
    assert answer.latent_samples is not None
    if binary:
        return answer.samples.cpu()
    latents, parts = answer.latent_samples, []
    with quietly(model, guide, seed=child_seed("noise of pixels", how.seed)):
        nesting = describe_sites(model, *args).plate_nesting
        if not hasattr(guide, "complete"):
            nesting = max(nesting, describe_sites(guide, *args).plate_nesting)
        for part in chunks(how.num_samples, max(1, FRAMES_AT_ONCE // args[1].numel())):
            some = {name: values[part] for name, values in latents.items()}
            parts.append(draw_frames(model, args, some, nesting, len(range(how.num_samples)[part])).cpu())
    return torch.cat(parts)


def _monte_carlo(
    score: Callable[[Tensor, Tensor], Tensor], draws: Tensor, truth: Tensor, places: Bool[Tensor, "sequences time"]
) -> Float[Tensor, " sequences"]:
    """Standard errors of the sums over each sequence, from the spread of scores between groups of draws.

    A fair score has the same mean with fewer draws, and slightly more spread; NaN for fewer than four draws.
    """
    groups = min(GROUPS, len(draws) // 2)
    if groups < 2:
        return torch.full((len(places),), torch.nan, dtype=torch.float64)
    totals = []
    for group in draws.tensor_split(groups):
        values = torch.zeros(places.shape, dtype=torch.float64)
        values[places] = score(group, truth)
        totals.append(values.sum(1))
    return torch.stack(totals).std(0) / groups**0.5
