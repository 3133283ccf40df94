"""Tracking of objects with identities: CLEAR MOT, IDF1, and late discoveries.

    scores = score_tracks(scene, truth)  # scenes of many short videos
    scores = score_clip(tracks, true_tracks)  # one clip
    scores.mota, scores.idf1, scores.switches.sum()

We use our own code because no library fits: motmetrics 1.4.0 (2022) fails on NumPy 2 when comparing boxes, and takes
30 s for 1,000 sequences of 10 frames with 3 objects (this: 0.3 s); TrackEval and trackers require opencv-python, which
replaces the headless build that reads clips. The tests compare with numbers from both.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from inference.metrics.appearances import (
    Appearances,
    ClosePairs,
    appearances_in_slots,
    clip_appearances,
    close_pairs,
)
from inference.metrics.boxes import MIN_OVERLAP
from inference.metrics.frame_matching import explained_frames, match_frames
from inference.metrics.tracked_objects import NOBODY, identities_of, masks_of, objects_of
from pyro_models.components.scene import Scene
from videos.tracks import Tracks
from videos.typed import typed

# Shares of its frames, as in the MOTChallenge: at least, and less than
MOSTLY_TRACKED, MOSTLY_LOST = 0.8, 0.2


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
        mostly_tracked: true objects (each counted once) that were found in at least 80 % of their frames.
        mostly_kept: true objects that were found in at least 80 % of their frames by the identity that they were last
            matched to: frames with a switch do not count.
        mostly_lost: true objects that were found in less than 20 % of their frames.
        late_discoveries: identities that first occur after the first frame; ideally none if all true objects are there
            from the start.
        identity_matches: true objects found by their assigned identity, IDTP.
        true_objects: true objects (each counted once).
        closeness: sum over matches of the gate's measure, intersection over union or distance in pixels.
        distance: sum over matches of the distance of centres, pixels.
    """

    objects: Int[Tensor, " sequences"]
    predictions: Int[Tensor, " sequences"]
    matches: Int[Tensor, " sequences"]
    switches: Int[Tensor, " sequences"]
    fragmentations: Int[Tensor, " sequences"]
    redetected_objects: Int[Tensor, " sequences"]
    mostly_tracked: Int[Tensor, " sequences"]
    mostly_kept: Int[Tensor, " sequences"]
    mostly_lost: Int[Tensor, " sequences"]
    late_discoveries: Int[Tensor, " sequences"]
    identity_matches: Int[Tensor, " sequences"]
    true_objects: Int[Tensor, " sequences"]
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


@typed
def score_tracks(
    predicted: Scene,
    truth: Scene,
    visible: Tensor | None = None,
    *,
    min_overlap: float = MIN_OVERLAP,
    max_distance: float | None = None,
    by_masks: bool = False,
) -> TrackingScores:
    """Compare tracks, that is, objects with identities, with the true ones.

    In each frame predicted objects are matched to true ones one to one, and only within a gate: boxes, or masks,
    overlap, or centres are near each other. As in CLEAR MOT (Bernardin and Stiefelhagen 2008) a true object keeps the
    identity that it was last matched to while that is in the gate and has not been matched to another since; the rest
    are matched with the largest number of matches, then the smallest total distance. For IDF1 (Ristani et al. 2016)
    each identity is assigned to at most one true object of its sequence, to explain the most frames.

    Args:
        predicted: presence, (sequences, time, slots), above 0.5 where there is an object; identities, integers of the
            same shape, not negative where there is an object; positions and box sizes, (sequences, time, slots, 2),
            pixels. Identities are independent between sequences.
        truth: presence, positions and box sizes, in the same layout; an object's identity is its slot.
        visible: bool (sequences, time, objects); a true object need not be found where it is False, and an otherwise
            unmatched prediction in its gate is no false positive. None: all are visible.
        min_overlap: the gate, minimum intersection over union of boxes, or of masks.
        max_distance: pixels; if given, the gate is the maximum distance of centres, and boxes are not read.
        by_masks: whether masks are compared, which both scenes have; boxes are then not read.

    Raises:
        ValueError: if a field is missing or has a wrong shape or dtype, an object has no identity or two of a frame
            have the same, a gate is not positive, or there are two.
    """
    _check_gates(min_overlap, max_distance)
    by_distance = max_distance is not None
    if by_distance and by_masks:
        raise ValueError("max_distance, by_masks: expected one gate, got both; leave out the distance to compare masks")
    by_boxes = not (by_distance or by_masks)
    presence, positions, box_sizes = objects_of("predicted", predicted, boxes=by_boxes)
    true_presence, true_positions, true_sizes = objects_of("truth", truth, boxes=by_boxes)
    if true_presence.shape[:2] != presence.shape[:2]:
        raise ValueError(
            f"truth: expected the sequences and frames of predicted, {tuple(presence.shape[:2])}, "
            f"got {tuple(true_presence.shape[:2])}"
        )
    slots = torch.arange(true_presence.shape[-1]).expand(true_presence.shape)
    masks, true_masks = _masks(predicted, presence, truth, true_presence) if by_masks else (None, None)
    found = appearances_in_slots(presence, identities_of(predicted.identities, presence), positions, box_sizes, masks)
    true = appearances_in_slots(true_presence, slots, true_positions, true_sizes, true_masks)
    pairs = close_pairs(true, found, min_overlap=min_overlap, max_distance=max_distance)
    sequences, times = presence.shape[:2]
    compared = _Compared(true, found, pairs, _visible(visible, true_presence.shape)[true_presence], max_distance)
    return compared.scores(torch.arange(sequences) * times)


@typed
def score_clip(predicted: Tracks, truth: Tracks, *, min_overlap: float = MIN_OVERLAP) -> TrackingScores:
    """Compare the tracks of one clip, of any length, with the true ones, as `score_tracks` does; one sequence.

    Args:
        predicted: boxes that a tracker found.
        truth: true boxes; those with a confidence of 0 are left out, as in the MOTChallenge.
        min_overlap: the gate, minimum intersection over union of boxes.

    Raises:
        ValueError: if no true box is to be scored, the two have no frame in common, or the gate is no share.
    """
    _check_gates(min_overlap, None)
    found, true = clip_appearances(predicted, truth)
    pairs = close_pairs(true, found, min_overlap=min_overlap)
    first = torch.cat([found.frames, true.frames]).min()[None]
    return _Compared(true, found, pairs, torch.ones(len(true), dtype=torch.bool), None).scores(first)


@dataclass(frozen=True, eq=False)
class _Compared:
    """True and predicted rows, the pairs in the gate, which true rows are to be found, and the gate."""

    truth: Appearances
    predicted: Appearances
    near: ClosePairs
    asked: Bool[Tensor, " rows"]
    max_distance: float | None

    def scores(self, first_frames: Int[Tensor, " sequences"]) -> TrackingScores:
        """Counts for each sequence, given the number of its first frame."""
        truth, predicted, near = self.truth, self.predicted, self.near
        wanted = near.select(self.asked[near.truth])
        matches = wanted.select(self._matched(wanted))
        followed = torch.full((len(truth),), NOBODY)
        followed[matches.truth] = predicted.owners[matches.predicted]
        hidden = near.predicted[~self.asked[near.truth]]
        excused = torch.zeros(len(predicted), dtype=torch.bool)
        excused[hidden] = True
        excused[matches.predicted] = False
        shared = wanted.select(~excused[wanted.predicted])
        breaks = _Breaks.of(truth, followed, self.asked)

        def per_sequence(sequences: Tensor) -> Tensor:
            return sequences.bincount(minlength=len(first_frames))

        def summed(values: Tensor) -> Tensor:
            return torch.zeros(len(first_frames), dtype=torch.float64).index_add_(0, of_match, values)

        def per_object(chosen: Tensor) -> Tensor:
            return per_sequence(_sequence_of(truth)[chosen])

        firsts = (predicted.frames == first_frames[predicted.sequences]).nonzero()[:, 0]
        of_match = truth.sequences[matches.truth]
        return TrackingScores(
            objects=per_sequence(truth.sequences[self.asked]),
            predictions=per_sequence(predicted.sequences[~excused]),
            matches=per_sequence(of_match),
            switches=per_object(breaks.switched),
            fragmentations=per_object(breaks.torn),
            redetected_objects=per_object(breaks.renamed),
            mostly_tracked=per_object(breaks.shares >= MOSTLY_TRACKED),
            mostly_kept=per_object(breaks.kept_shares >= MOSTLY_TRACKED),
            mostly_lost=per_object(breaks.shares < MOSTLY_LOST),
            late_discoveries=per_sequence(_sequence_of(predicted)) - per_sequence(predicted.sequences[firsts]),
            identity_matches=explained_frames(
                truth.owners[shared.truth],
                predicted.owners[shared.predicted],
                truth.sequences[shared.truth],
                len(first_frames),
            ),
            true_objects=per_object(breaks.shares >= 0),
            closeness=summed(self._closeness(matches)),
            distance=summed(matches.distances),
        )

    def _closeness(self, pairs: ClosePairs) -> Tensor:
        return pairs.overlaps if self.max_distance is None else pairs.distances

    def _matched(self, wanted: ClosePairs) -> Bool[Tensor, " pairs"]:
        costs = 1 - wanted.overlaps if self.max_distance is None else wanted.distances / self.max_distance
        objects, tracks = self.truth.owners[wanted.truth], self.predicted.owners[wanted.predicted]
        return match_frames(self.truth.frames[wanted.truth], objects, tracks, costs)


class _Breaks(NamedTuple):
    """Where tracks of true objects break: numbers of objects, once for each switch or tear, and shares of frames.

    Shares are those of frames in which an object is found, and in which it is found without a switch.
    """

    switched: Int[Tensor, " switches"]
    torn: Int[Tensor, " tears"]
    renamed: Int[Tensor, " objects"]
    shares: Float[Tensor, " objects"]
    kept_shares: Float[Tensor, " objects"]

    @classmethod
    def of(cls, truth: Appearances, followed: Tensor, asked: Tensor) -> "_Breaks":
        """Breaks, given the track that each true row is matched to.

        Args:
            truth: true rows.
            followed: (rows,), number of a track, or `NOBODY`.
            asked: bool (rows,), whether an object is to be found; others are passed over.
        """
        rows = asked.nonzero()[:, 0]
        rows = rows[truth.owners[rows].argsort(stable=True)]  # each object's frames in turn
        matched = (followed[rows] != NOBODY).nonzero()[:, 0]
        owner, track = truth.owners[rows[matched]], followed[rows[matched]]
        same, gap = owner[1:] == owner[:-1], matched.diff() > 1
        pairs = torch.stack([owner, track], -1).unique(dim=0)[:, 0]
        frames = truth.owners[rows].bincount(minlength=truth.num_owners)
        found = owner.bincount(minlength=truth.num_owners)
        switched = owner[1:][same & (track[1:] != track[:-1])]
        return cls(
            switched=switched,
            torn=owner[1:][same & gap],
            renamed=(pairs.bincount(minlength=truth.num_owners) > 1).nonzero()[:, 0],
            shares=found / frames,  # NaN for objects never to be found
            kept_shares=(found - switched.bincount(minlength=truth.num_owners)) / frames,
        )


def _masks(
    predicted: Scene, presence: Tensor, truth: Scene, true_presence: Tensor
) -> tuple[Bool[Tensor, "..."], Bool[Tensor, "..."]]:
    """Masks of both, of one size."""
    masks, true_masks = masks_of("predicted", predicted, presence), masks_of("truth", truth, true_presence)
    if masks.shape[-2:] != true_masks.shape[-2:]:
        raise ValueError(
            f"predicted.masks: expected the height and width of those of truth, {tuple(true_masks.shape[-2:])}, got "
            f"{tuple(masks.shape[-2:])}"
        )
    return masks, true_masks


def _sequence_of(rows: Appearances) -> Int[Tensor, " owners"]:
    """The sequence of each object."""
    return torch.zeros(rows.num_owners, dtype=torch.long).scatter_(0, rows.owners, rows.sequences)


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
