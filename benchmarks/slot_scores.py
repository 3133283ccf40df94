"""Scores of a trained model that takes videos apart: masks, pixels, predictions, slots that stay, decodes."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from inference.metrics.best_overlap import overlap_of_counts
from inference.metrics.partitions import shared_pixels
from inference.metrics.segmentation import index_of_counts
from inference.queries import impute, reconstruct
from inference.scores.segmentation import VideoMean, components_of
from videos import VideoBatch
from videos.missing import tail

VIDEOS_AT_ONCE = 16


def taken_apart(run: Any, method: str | None, videos: VideoBatch) -> tuple[Tensor, Tensor]:
    """Pixels that true objects share with components, (sequences, time, ...), and squared errors of frames."""
    shared, errors = [], []
    for some in in_pieces(videos):
        answer = reconstruct(run.model, run.guide, some.frames, method=method, seed=0)
        assert some.masks is not None
        shared.append(shared_pixels(components_of(run.model.scene(answer.values)), some.masks, over="frame"))
        composite = answer.deterministic.get("composite")
        pictures = answer.frames if composite is None else composite.transpose(0, 1)
        errors.append((pictures - some.frames).double().square().mean((-3, -2, -1)))
    return torch.cat(shared), torch.cat(errors)


def in_pieces(videos: VideoBatch) -> Iterator[VideoBatch]:
    """A few videos at a time: masks of all of them take gigabytes."""
    for start in range(0, videos.num_sequences, VIDEOS_AT_ONCE):
        yield videos.select(slice(start, start + VIDEOS_AT_ONCE))


def scores(shared: Tensor, errors: Tensor) -> dict[str, dict[str, float]]:
    """Scores of these frames: means over frames, then over videos, with standard errors."""
    found = {
        "ari": index_of_counts(shared, foreground_only=False).nanmean(1),
        "foreground_ari": index_of_counts(shared).nanmean(1),
        "overlap": overlap_of_counts(shared).nanmean(1),
        "video_foreground_ari": index_of_counts(shared.sum(1)),
        "squared_error": errors.mean(1),
        "kept": share_kept(shared),
        "frames_until_found": frames_until_found(shared),
    }
    return {name: mean_of(values) for name, values in found.items()}


def share_kept(shared: Tensor) -> Tensor:
    """How often an object that is visible in two consecutive frames keeps its slot, of each video.

    An object's slot is the one with most of its pixels. It keeps it if that is the same slot in both frames, and no
    other object's: all objects in one slot, where nothing can change, score 0.

    Args:
        shared: (sequences, time, objects + 1, components + 1), see `shared_pixels`.

    Returns:
        float64 (sequences,); NaN where no object is visible twice in a row.
    """
    visible, slot, alone = _slots_of_objects(shared)
    both = visible[:, 1:] & visible[:, :-1]
    kept = both & alone[:, 1:] & alone[:, :-1] & (slot[:, 1:] == slot[:, :-1])
    return kept.sum((1, 2)).double() / both.sum((1, 2))


def frames_until_found(shared: Tensor) -> Tensor:
    """How many frames objects that enter wait for a slot of their own, mean over those of each video.

    An object enters if it is hidden in the first frame, and once it shows a quarter of what it shows at most. It is
    found where its slot is no other object's and not that with most of the background. One that is never found counts
    with all frames from its entrance to the end.

    Args:
        shared: (sequences, time, objects + 1, components + 1), see `shared_pixels`.

    Returns:
        float64 (sequences,); NaN where none enters.
    """
    _, slot, alone = _slots_of_objects(shared)
    pixels = shared[..., :-1, :].sum(-1)
    largest = pixels.amax(1, keepdim=True)
    shown = (4 * pixels >= largest) & (largest > 0)
    entered = shown.cumsum(1) > 0
    found = alone & shown & (slot != shared[..., -1, :].argmax(-1)[..., None])
    waiting = entered & (found.cumsum(1) == 0)
    enters = (pixels[:, 0] == 0) & (largest[:, 0] > 0)
    return (waiting.sum(1) * enters).sum(1).double() / enters.sum(1)


def _slots_of_objects(shared: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Whether an object is visible, the slot with most of its pixels, and whether that is no other visible object's."""
    objects = shared[..., :-1, :]
    visible, slot = objects.sum(-1) > 0, objects.argmax(-1)
    taken = one_hot(slot, objects.shape[-1]) * visible[..., None]
    alone = taken.sum(-2, keepdim=True).expand_as(taken).gather(-1, slot[..., None]).squeeze(-1) == 1
    return visible, slot, alone & visible


def prediction_errors(run: Any, method: str | None, videos: VideoBatch, num_seen: int) -> Tensor:
    """Squared error of each predicted frame, (sequences, time after the observed frames)."""
    parts = []
    for some in in_pieces(videos):
        seen = tail(some.num_sequences, some.num_frames, num_seen=num_seen)
        answer = impute(run.model, run.guide, some.frames, seen, method=method, seed=0)
        parts.append((answer.frames - some.frames)[:, num_seen:].double().square().mean((-3, -2, -1)))
    return torch.cat(parts)


def mean_of(values: Tensor) -> dict[str, float]:
    """Mean over videos, with its standard error."""
    found = VideoMean.of(values)
    return {"mean": found.mean, "standard_error": found.standard_error}


def decodes(model: Any, guide: Any, lengths: Sequence[int], refinements: int) -> dict[str, int]:
    """How often a video of so many frames is decoded in a step of training, by length; counted, by a hook.

    Args:
        model: with a `decoder`.
        guide: a `SpatioTemporalRefinementGuide` for it.
        lengths: numbers of frames.
        refinements: R, instead of the guide's.
    """
    calls: list[None] = []
    hook = model.decoder.register_forward_hook(lambda *_: calls.append(None))
    before, guide.refinements = guide.refinements, refinements
    found = {}
    try:
        for length in lengths:
            calls.clear()
            with torch.no_grad():
                guide.refinement_terms(next(model.parameters()).new_zeros(1, length, *model.frame_shape))
            found[str(length)] = len(calls)
    finally:
        hook.remove()
        guide.refinements = before
    return found
