"""Test whether a model integrates missing frames out, or substitutes something for them, so a mask changes the model.

Some models omit the density of a missing frame: p(x_seen) is then the marginal of p(x_seen, x_missing), and the
difference of their logarithms the log density of a conditional distribution. Others, such as recurrent networks that
read frames, are fed an expectation instead of the frame: with the mask they are another model, and the difference is
not normalised.
"""

from typing import Any

import pyro.distributions as dist
import torch
from jaxtyping import Bool
from pyro import poutine
from pyro.infer.util import validation_enabled
from torch import Tensor

from guides.incomplete_models import need_of_guide
from inference.estimators.particle_filter import STEPS
from inference.evidence.chunks import chunk_of, device_of
from inference.programs.decoding import FRAMES, SEQUENCES, TIME, Arguments
from inference.programs.masked_latents import kept
from inference.programs.traces import Program, evaluation_mode, local_parameters, sample_sites
from inference.runtime.generators import seeded

MOST_SEQUENCES = 4
CLOSE = {"rtol": 1e-5, "atol": 1e-4}  # nats; rounding errors of single precision


def integrates_out(
    model: Program,
    guide: Program,
    args: Arguments,
    held_out: Bool[Tensor, "sequences time"],
    *,
    seed: int = 0,
) -> bool:
    """Whether marking frames as missing was shown to give the marginal distribution of the others.

    For each sequence, either of two conditions shows it:

    - All missing frames are after the last seen one, and the model has steps (`StepwiseModel`): later steps do not
      affect earlier ones.
    - Latents and frames that the mask keeps have the same densities without the mask, whatever the values of the
      masked ones: the masked densities then integrate to one. This is tested on draws of the guide.

    Models that integrate missing latents out analytically, such as an exact Kalman filter, are not recognised: their
    densities change with the mask, correctly. Models that need their guide never meet the second condition.

    Args:
        model: called `(frames, observed, controls)`.
        guide: called with the same arguments.
        args: frames (sequences, time, ...), mask of seen frames (sequences, time), controls or None.
        held_out: bool (sequences, time), frames that are not seen but have values.
        seed: seed of the draws.

    Raises:
        ValueError: if the model scores missing frames.
    """
    frames, seen, controls = args
    if seen is None:
        raise ValueError("observed: expected bool (sequences, time), False = missing, got None")
    between = held_out_between(seen, held_out)
    made_of_steps = all(callable(getattr(model, method, None)) for method in STEPS["model"])
    doubtful = between if made_of_steps and bool(between.any()) else held_out.any(1)
    rows = doubtful.nonzero()[:MOST_SEQUENCES, 0]
    chosen = tuple(None if value is None else value[rows] for value in (frames, seen, controls, held_out))
    *batch, missing = chunk_of(chosen, slice(None), device_of(model, guide))
    same = _same_densities(model, guide, tuple(batch), missing, seed)  # also refuses models that score missing frames
    # Values that a model takes from its guide change with the mask: given them, the same densities show nothing.
    return (same and need_of_guide(model) is None) or (made_of_steps and not bool(between.any()))


def held_out_between(
    seen: Bool[Tensor, "sequences time"], held_out: Bool[Tensor, "sequences time"]
) -> Bool[Tensor, " sequences"]:
    """Mask of sequences in which a held-out frame precedes a seen one."""
    steps = torch.arange(seen.shape[1], device=seen.device)
    last = torch.where(seen, steps, -1).amax(1, keepdim=True)
    return (held_out & (steps < last)).any(1)


def _same_densities(
    model: Program, guide: Program, args: tuple[Any, ...], held_out: Bool[Tensor, "sequences time"], seed: int
) -> bool:
    """Whether unmasked densities depend neither on the mask nor on masked values."""
    frames, seen, controls = args
    with (
        torch.no_grad(),
        evaluation_mode(model, guide),
        local_parameters(model, guide),
        seeded("mask marginals", seed),
        poutine.block(),
        validation_enabled(False),
    ):
        one, other = ({site["name"]: site["value"] for site in _sites(guide, args)} for _ in range(2))
        masked = _sites(poutine.condition(model, one), args)
        left = {site["name"]: kept(site["fn"], site["mask"]) for site in masked}
        _check_frames_are_masked(masked, held_out)
        values = {
            name: torch.where(left[name], value, other[name]) if name in left else value for name, value in one.items()
        }
        missing = held_out.reshape(*held_out.shape, *[1] * (frames.dim() - 2))
        frames = torch.where(missing, torch.rand_like(frames).round(), frames)
        whole = _sites(poutine.condition(model, values), (frames, seen | held_out, controls))
        return all(_agree(before, after) for before, after in zip(masked, whole, strict=True))


def _sites(program: Program, args: tuple[Any, ...]) -> list[Any]:
    return list(sample_sites(poutine.trace(program).get_trace(*args)).values())


def _entries(site: Any) -> tuple[Tensor, Tensor]:
    """Log densities of a site's independent factors, and which of them are unmasked."""
    left = torch.as_tensor(True if site["mask"] is None else site["mask"])
    law = site["fn"]
    while isinstance(law, dist.Independent | dist.MaskedDistribution):
        if isinstance(law, dist.MaskedDistribution):
            left = left & torch.as_tensor(law._mask)
        else:
            left = left[(..., *[None] * law.reinterpreted_batch_ndims)]
        law = law.base_dist
    log_prob = law.log_prob(site["value"])
    return log_prob, left.expand(log_prob.shape)


def _agree(before: Any, after: Any) -> bool:
    """Whether a site has the same log densities at unmasked entries."""
    (log_prob, left), (again, _) = _entries(before), _entries(after)
    return torch.allclose(log_prob[left], again.expand_as(log_prob)[left], **CLOSE, equal_nan=True)


def _check_frames_are_masked(sites: list[Any], held_out: Bool[Tensor, "sequences time"]) -> None:
    site = next(site for site in sites if site["name"] == FRAMES)
    left = _entries(site)[1]
    batch = len(site["fn"].batch_shape)
    places = {frame.name: batch + frame.dim for frame in site["cond_indep_stack"] if frame.vectorized}
    scored = left.movedim((places[SEQUENCES], places[TIME]), (0, 1)).unsqueeze(-1).flatten(2).any(2)
    if bool((scored & held_out).any()):
        raise ValueError(
            f"model: expected site {FRAMES!r} masked where observed is False, got a density of missing frames as well; "
            "give its distribution .mask(observed.T), as pyro_models.KalmanVAE does"
        )
