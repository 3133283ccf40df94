"""Tracking of objects whose identities a model assigns: CLEAR MOT, IDF1, and late discoveries.

    scores = score_tracks(scene, truth)
    scores.mota, scores.idf1, scores.switches.sum()

We use our own code because no library fits: motmetrics 1.4.0 (2022) fails on NumPy 2 when comparing boxes, and takes
30 s for 1,000 sequences of 10 frames with 3 objects (this: 0.4 s); TrackEval and trackers require opencv-python, which
replaces the headless build that reads clips. The tests compare with numbers from motmetrics.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from inference.metrics.boxes import MIN_OVERLAP, box_overlaps
from inference.metrics.tracked_objects import NOBODY, identities_of, number_tracks, objects_of
from pyro_models.components.scene import Scene


@dataclass(frozen=True)
class TrackingScores:
    """Counts for each sequence, and scores pooled over all sequences.

    A frame with three objects counts three objects. A score whose denominator is zero is NaN.

    Attributes:
        objects: true objects to be found.
        predictions: predicted objects.
        matches: true objects that were found.
        switches: number of times a true object is matched to a different identity than at its last match.
        fragmentations: number of times a true object is matched again after it was missed.
        redetected_objects: true objects (each counted once) that were matched to more than one identity, through
            rediscovery or confusion with another object.
        late_discoveries: identities that first occur after the first frame; ideally none if all true objects are there
            from the start.
        identity_matches: true objects found by their assigned identity, IDTP.
        closeness: sum over matches of the gate's measure, intersection over union or distance in pixels.
        distance: sum over matches of the distance of centres, pixels.
    """

    objects: Int[Tensor, " sequences"]
    predictions: Int[Tensor, " sequences"]
    matches: Int[Tensor, " sequences"]
    switches: Int[Tensor, " sequences"]
    fragmentations: Int[Tensor, " sequences"]
    redetected_objects: Int[Tensor, " sequences"]
    late_discoveries: Int[Tensor, " sequences"]
    identity_matches: Int[Tensor, " sequences"]
    closeness: Float[Tensor, " sequences"]
    distance: Float[Tensor, " sequences"]

    @property
    def misses(self) -> Int[Tensor, " sequences"]:
        """True objects without a match."""
        return self.objects - self.matches

    @property
    def false_positives(self) -> Int[Tensor, " sequences"]:
        """Predicted objects without a match."""
        return self.predictions - self.matches

    @property
    def mota(self) -> float:
        """Tracking accuracy, 1 - (misses + false positives + switches) / objects; 1 is perfect, it may be negative.

        Bernardin and Stiefelhagen (2008).
        """
        return 1 - _ratio(self.misses + self.false_positives + self.switches, self.objects)

    @property
    def motp(self) -> float:
        """Tracking precision, the mean of the gate's measure over all matches.

        Bernardin and Stiefelhagen (2008). An intersection over union (1 is perfect) or a distance in pixels (0 is
        perfect).
        """
        return _ratio(self.closeness, self.matches)

    @property
    def idf1(self) -> float:
        """2 IDTP / (objects + predictions), in [0, 1]: F1 under the best one-to-one assignment of identities.

        Ristani, Solera, Zou, Cucchiara and Tomasi (2016).
        """
        return _ratio(2 * self.identity_matches, self.objects + self.predictions)

    @property
    def position_error(self) -> float:
        """Mean distance of a found object's centre from the true one, pixels."""
        return _ratio(self.distance, self.matches)

    @property
    def unswitched_share(self) -> float:
        """Share of sequences without a switch, including those in which nothing is found."""
        return float((self.switches == 0).double().mean())


def score_tracks(
    predicted: Scene,
    truth: Scene,
    visible: Tensor | None = None,
    *,
    min_overlap: float = MIN_OVERLAP,
    max_distance: float | None = None,
) -> TrackingScores:
    """Compare tracks, that is, objects with identities, with the true ones.

    In each frame predicted objects are matched to true ones one to one, and only within a gate: boxes overlap, or
    centres are near each other. As in CLEAR MOT (Bernardin and Stiefelhagen 2008) a true object keeps the identity that
    it was last matched to while that is in the gate and has not been matched to another since; the rest are matched
    with the largest number of matches, then the smallest total distance. For IDF1 (Ristani et al. 2016) each identity
    is assigned to at most one true object of its sequence, to explain the most frames.

    Args:
        predicted: presence, (sequences, time, slots), above 0.5 where there is an object; identities, integers of the
            same shape, not negative where there is an object; positions and box sizes, (sequences, time, slots, 2),
            pixels. Identities are independent between sequences.
        truth: presence, positions and box sizes, in the same layout; an object's identity is its slot.
        visible: bool (sequences, time, objects); a true object need not be found where it is False, and an otherwise
            unmatched prediction in its gate is no false positive. None: all are visible.
        min_overlap: the gate, minimum intersection over union of boxes.
        max_distance: pixels; if given, the gate is the maximum distance of centres, and boxes are not read.

    Raises:
        ValueError: if a field is missing or has a wrong shape or dtype, an object has no identity or two of a frame
            have the same, or a gate is not positive.
    """
    _check_gates(min_overlap, max_distance)
    by_distance = max_distance is not None
    presence, positions, box_sizes = objects_of("predicted", predicted, boxes=not by_distance)
    true_presence, true_positions, true_sizes = objects_of("truth", truth, boxes=not by_distance)
    if true_presence.shape[:2] != presence.shape[:2]:
        raise ValueError(
            f"truth: expected the sequences and frames of predicted, {tuple(presence.shape[:2])}, "
            f"got {tuple(true_presence.shape[:2])}"
        )
    asked = true_presence & _visible(visible, true_presence.shape)
    tracks = number_tracks(identities_of(predicted.identities, presence), presence)

    distances = (true_positions[..., :, None, :] - positions[..., None, :, :]).norm(dim=-1)
    if max_distance is not None:
        closeness, gate, costs = distances, distances <= max_distance, distances / max_distance
    else:
        closeness = box_overlaps(true_positions, true_sizes, positions, box_sizes)
        gate, costs = closeness >= min_overlap, 1 - closeness
    near = gate & true_presence[..., :, None] & presence[..., None, :]
    matches = _match(near & asked[..., :, None], tracks, costs)

    excused = ~matches.any(-2) & (near & ~asked[..., :, None]).any(-2)
    judged = presence & ~excused
    followed = torch.where(matches, tracks[..., None, :], NOBODY).amax(-1)
    switches, fragmentations = _count_breaks(followed, asked)
    num_tracks = tracks.amax((1, 2)) + 1
    met = _count_per_track(followed[..., None], followed[..., None] != NOBODY)
    shared = _count_per_track(
        tracks[..., None, :].expand(matches.shape), near & asked[..., :, None] & judged[..., None, :]
    )
    return TrackingScores(
        objects=asked.sum((1, 2)),
        predictions=judged.sum((1, 2)),
        matches=matches.sum((1, 2, 3)),
        switches=switches.sum(-1),
        fragmentations=fragmentations.sum(-1),
        redetected_objects=((met > 0).sum(-1) > 1).sum(-1),
        late_discoveries=num_tracks - presence[:, 0].sum(-1),
        identity_matches=_explained(shared),
        closeness=torch.where(matches, closeness, 0.0).sum((1, 2, 3)),
        distance=torch.where(matches, distances, 0.0).sum((1, 2, 3)),
    )


def _match(
    near: Bool[Tensor, "sequences time objects slots"],
    tracks: Int[Tensor, "sequences time slots"],
    costs: Float[Tensor, "sequences time objects slots"],
) -> Bool[Tensor, "sequences time objects slots"]:
    """Match predicted to true objects; costs of near pairs are in [0, 1]."""
    from scipy.optimize import linear_sum_assignment

    # One forbidden pair costs more than all others together, which maximises the number of matches.
    forbidden = near.shape[2] + 1.0
    matches = torch.zeros_like(near)
    claims = torch.full_like(near[:, 0, :, 0], NOBODY, dtype=torch.long)
    for time in range(near.shape[1]):
        kept = near[:, time] & (claims[:, :, None] == tracks[:, time, None])
        free = near[:, time] & ~kept.any(1, keepdim=True) & ~kept.any(2, keepdim=True)
        matches[:, time] = kept
        priced = torch.where(free, costs[:, time], forbidden).numpy()
        for sequence in free.any(2).any(1).nonzero()[:, 0].tolist():
            chosen = linear_sum_assignment(priced[sequence])
            matches[sequence, time][chosen] |= free[sequence][chosen]
        followed = torch.where(matches[:, time], tracks[:, time, None], NOBODY).amax(-1)
        # When a track moves to another object, its previous object loses its claim.
        left = (claims[:, :, None] == followed[:, None]).any(-1)
        claims = torch.where(followed != NOBODY, followed, claims.masked_fill(left, NOBODY))
    return matches


def _count_breaks(
    followed: Int[Tensor, "sequences time objects"], asked: Bool[Tensor, "sequences time objects"]
) -> tuple[Int[Tensor, "sequences objects"], Int[Tensor, "sequences objects"]]:
    """Switches and fragmentations of each true object, given the track that it is matched to in each frame."""
    latest = torch.full_like(followed[:, 0], NOBODY)
    missed = torch.zeros_like(asked[:, 0])
    switches, fragmentations = torch.zeros_like(latest), torch.zeros_like(latest)
    for track, wanted in zip(followed.unbind(1), asked.unbind(1), strict=True):
        again = (track != NOBODY) & (latest != NOBODY)
        switches += again & (track != latest)
        fragmentations += again & missed
        latest = torch.where(track != NOBODY, track, latest)
        missed = (track == NOBODY) & (missed | wanted)
    return switches, fragmentations


def _explained(shared: Int[Tensor, "sequences objects tracks"]) -> Int[Tensor, " sequences"]:
    """IDTP: frames of the best one-to-one assignment of tracks to true objects, given those that each two share."""
    from scipy.optimize import linear_sum_assignment

    counts = shared.numpy()
    return torch.tensor([int(count[linear_sum_assignment(count, maximize=True)].sum()) for count in counts])


def _count_per_track(
    tracks: Int[Tensor, "sequences time objects slots"], counted: Bool[Tensor, "sequences time objects slots"]
) -> Int[Tensor, "sequences objects tracks"]:
    """Counts of each true object with each track, over time and slots."""
    index, hits = (value.transpose(1, 2).flatten(2) for value in (tracks.clamp(min=0), counted.long()))
    counts = hits.new_zeros(*index.shape[:2], int(index.max()) + 1)
    return counts.scatter_add_(2, index, hits)


def _ratio(numerators: Tensor, denominators: Tensor) -> float:
    total = float(denominators.sum())
    return float(numerators.sum()) / total if total > 0 else math.nan


def _visible(visible: Tensor | None, shape: torch.Size) -> Tensor:
    if visible is None:
        return torch.ones(shape, dtype=torch.bool)
    if visible.dtype != torch.bool or visible.shape != shape:
        raise ValueError(
            f"visible: expected bool (sequences, time, objects) = {tuple(shape)}, "
            f"got {visible.dtype} {tuple(visible.shape)}"
        )
    return visible.cpu()


def _check_gates(min_overlap: float, max_distance: float | None) -> None:
    if not 0 < min_overlap <= 1:
        raise ValueError(f"min_overlap: expected a share in (0, 1], got {min_overlap}")
    if max_distance is not None and not max_distance > 0:
        raise ValueError(f"max_distance: expected a positive number of pixels, got {max_distance}")
