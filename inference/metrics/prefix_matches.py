"""Distances of tracks from the true objects that they were matched to while observed: inference and prediction errors.

    matches = match_on_prefix(scene, truth, prefix=5)  # five frames were observed, the others predicted
    matches.counting_accuracy, matches.inference_error, matches.prediction_error
    matches.with_right_count().prediction_error
    matches.error_by_frame().in_frame_widths

The protocol is that of Akhundov, Soelch, Bayer and van der Smagt (2019), appendix D.2: objects are matched once, by the
smallest summed distance on the observed prefix, and errors are averaged over objects, not over sequences. So a track
that moves to another object later is in error from then on; `score_tracks` matches in each frame instead.
"""

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from inference.metrics.distance_means import DistanceCurve, MeanDistance, mean_over_objects
from inference.metrics.tracked_objects import NOBODY, identities_of, number_tracks, objects_of
from pyro_models.components.scene import Scene
from videos import VideoBatch
from videos.typed import typed


@dataclass(frozen=True)
class PrefixMatches:
    """True objects with the inferred ones that follow them, and the distances between their centres.

    An object counts, inferred or true, if it exists in some frame of the prefix.

    Attributes:
        assigned: slot, or identity, of the inferred object matched to each true one; -1 without a match.
        distances: from each true object to its inferred one, pixels; 0 where not judged.
        judged: matched objects in frames in which both exist.
        lost: matched objects in frames in which only the true one exists.
        num_true: number of true objects.
        num_inferred: number of inferred objects.
        prefix: number of observed frames.
        frame_width: pixels.
    """

    assigned: Int[Tensor, "sequences objects"]
    distances: Float[Tensor, "sequences time objects"]
    judged: Bool[Tensor, "sequences time objects"]
    lost: Bool[Tensor, "sequences time objects"]
    num_true: Int[Tensor, " sequences"]
    num_inferred: Int[Tensor, " sequences"]
    prefix: int
    frame_width: int

    @property
    def right_count(self) -> Bool[Tensor, " sequences"]:
        """Whether the number of inferred objects is that of the true ones."""
        return self.num_inferred == self.num_true

    @property
    def counting_accuracy(self) -> float:
        """Share of sequences with the right number of objects; that of frames is `inference.metrics.counting_accuracy`.

        Akhundov et al. (2019), table 1.
        """
        return float(self.right_count.double().mean())

    @property
    def lost_share(self) -> float:
        """Share of the frames of matched true objects in which the inferred object does not exist; NaN without any.

        These frames are in no error: read the errors of a model that drops objects together with this share.
        """
        lost, judged = float(self.lost.sum()), float(self.judged.sum())
        return lost / (lost + judged) if lost + judged else math.nan

    @property
    def inference_error(self) -> MeanDistance:
        """Mean distance over all frames, of a scene inferred from the whole video.

        Akhundov et al. (2019), table 1, "inference".
        """
        return self._mean_distance(0)

    @property
    def prediction_error(self) -> MeanDistance:
        """Mean distance over the frames after the prefix, of a scene predicted from the prefix.

        Akhundov et al. (2019), table 1, "prediction".

        Raises:
            ValueError: if no frame follows the prefix.
        """
        num_frames = self.distances.shape[1]
        if self.prefix == num_frames:
            raise ValueError(
                f"prefix: expected fewer frames than the videos have = {num_frames}, since the error is that of the "
                f"frames after it, got {self.prefix}; predict further, or take inference_error"
            )
        return self._mean_distance(self.prefix)

    def error_by_frame(self) -> DistanceCurve:
        """Mean distance over objects in each frame: the horizon of frame t, counted from 1, is t - prefix.

        Akhundov et al. (2019), figures 5 to 7.
        """
        means, standard_errors, num_objects = mean_over_objects(self.distances.sum(-1), self.judged.sum(-1))
        return DistanceCurve(means, standard_errors, num_objects, self.prefix, float(self.frame_width))

    def with_right_count(self) -> "PrefixMatches":
        """Only the sequences with the right number of objects."""
        return self.select(self.right_count)

    def select(self, index: Tensor | slice | list[int]) -> "PrefixMatches":
        """The sequences selected by `index` (integers, a mask or a slice), in its order."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: value[index] for name, value in values.items() if isinstance(value, Tensor)})

    def first_frames(self, num_frames: int) -> "PrefixMatches":
        """The first frames of all sequences, under the same matches.

        Raises:
            ValueError: if there are fewer than in the prefix.
        """
        if num_frames < self.prefix:
            raise ValueError(
                f"num_frames: expected at least the prefix = {self.prefix} frames, on which objects were matched, got "
                f"{num_frames}; match on a shorter prefix"
            )
        return replace(self, **{name: getattr(self, name)[:, :num_frames] for name in ("distances", "judged", "lost")})

    def _mean_distance(self, start: int) -> MeanDistance:
        """Mean over frames from `start` on, then over objects."""
        num_frames = self.judged[:, start:].sum(1)
        means = self.distances[:, start:].sum(1) / num_frames.clamp(min=1)
        mean, standard_error, num_objects = mean_over_objects(means.sum(-1), (num_frames > 0).sum(-1))
        return MeanDistance(float(mean), float(standard_error), int(num_objects))


@typed
def match_on_prefix(predicted: Scene, truth: Any, prefix: int) -> PrefixMatches:
    """Match inferred to true objects on the observed frames, by the assignment with the smallest summed distance.

    min(n, m) of n inferred and m true objects are matched, the others ignored (Akhundov et al. 2019 do not say what
    they do when counts differ). A frame of the prefix in which only one of a pair exists counts as the diagonal of the
    frame; a pair that never exists together in the prefix is not matched. The matches then hold for the whole video.

    Args:
        predicted: positions, (sequences, time, slots, 2), pixels; presence, above 0.5 where there is an object, None =
            every slot has one. (Of slots that are filled in turn, with opacities clamp(n - slot, 0, 1) for a real
            number of objects n, round(n) are present.) Objects are followed by identity if there are identities, else
            by slot.
        truth: videos with positions, of as many frames; an object's identity is its slot. Presence None = all exist.
        prefix: number of observed frames, at least 1; the number of all frames if none is predicted.

    Raises:
        TypeError: if the truth is not a batch of videos.
        ValueError: if there are no positions, shapes or dtypes are wrong, numbers of sequences or frames differ, the
            prefix is empty or longer than the videos, a position of an object is not finite, or identities are wrong.
    """
    if not isinstance(truth, VideoBatch):
        raise TypeError(
            f"truth: expected a VideoBatch, got {type(truth).__name__}; give the videos themselves, with "
            "their positions"
        )
    there, places, names = _tracks(predicted)
    true_there, true_places = _true_objects(truth)
    if there.shape[:2] != true_there.shape[:2]:
        raise ValueError(
            f"predicted: expected the sequences and frames of truth, {tuple(true_there.shape[:2])}, got "
            f"{tuple(there.shape[:2])}; predict as many frames, or cut the truth with first_frames and select"
        )
    num_frames = there.shape[1]
    if not 1 <= prefix <= num_frames:
        raise ValueError(
            f"prefix: expected 1 to the number of frames = {num_frames}, got {prefix}; give the number of frames that "
            "the model observed"
        )
    _check_finite("predicted", places, there)
    _check_finite("truth", true_places, true_there)

    height, width = truth.frames.shape[-2:]
    now, true_now = there[:, :prefix], true_there[:, :prefix]
    exists, truly_exists = now.any(1), true_now.any(1)
    apart = (true_places[:, :prefix, :, None] - places[:, :prefix, None]).norm(dim=-1)
    both = true_now[..., :, None] & now[..., None, :]
    either = true_now[..., :, None] | now[..., None, :]
    costs = torch.where(both, apart, torch.where(either, math.hypot(height, width), 0.0)).sum(1)
    track = _assign(costs, truly_exists, exists)
    together = both.any(1).gather(-1, track.clamp(min=0)[..., None])[..., 0]
    track = torch.where(together, track, NOBODY)

    matched, found = track != NOBODY, track.clamp(min=0)
    over_time = found[:, None].expand(-1, num_frames, -1)
    followed = there.gather(-1, over_time)
    judged = followed & true_there & matched[:, None]
    distances = (places.gather(-2, over_time[..., None].expand(*over_time.shape, 2)) - true_places).norm(dim=-1)
    return PrefixMatches(
        assigned=torch.where(matched, names.gather(-1, found), NOBODY),
        distances=torch.where(judged, distances, 0.0),
        judged=judged,
        lost=true_there & matched[:, None] & ~followed,
        num_true=truly_exists.sum(-1),
        num_inferred=exists.sum(-1),
        prefix=prefix,
        frame_width=width,
    )


def _assign(
    costs: Float[Tensor, "sequences objects tracks"],
    rows: Bool[Tensor, "sequences objects"],
    columns: Bool[Tensor, "sequences tracks"],
) -> Int[Tensor, "sequences objects"]:
    """The cheapest assignment of columns that exist to rows that exist; -1 for a row without one."""
    from scipy.optimize import linear_sum_assignment

    assigned = np.full(rows.shape, NOBODY)
    for sequence, (table, row, column) in enumerate(zip(costs.numpy(), rows.numpy(), columns.numpy(), strict=True)):
        some, others = row.nonzero()[0], column.nonzero()[0]
        left, right = linear_sum_assignment(table[np.ix_(some, others)])
        assigned[sequence, some[left]] = others[right]
    return torch.from_numpy(assigned)


def _tracks(
    scene: Scene,
) -> tuple[
    Bool[Tensor, "sequences time tracks"],
    Float[Tensor, "sequences time tracks 2"],
    Int[Tensor, "sequences tracks"],
]:
    """Presence, positions and name of each track: a slot, or an identity."""
    if scene.positions is None:
        raise ValueError(
            "predicted: expected a scene with positions, got None; take the scene of a model that places objects"
        )
    if scene.presence is None:
        scene = replace(scene, presence=torch.ones(scene.positions.shape[:-1]))
    presence, positions, _ = objects_of("predicted", scene, boxes=False)
    if scene.identities is None:
        return presence, positions, torch.arange(presence.shape[-1]).expand(len(presence), -1)
    identities = identities_of(scene.identities, presence)
    numbers = number_tracks(identities, presence)
    num_tracks = max(1, int(numbers.max()) + 1)
    sequence, time, slot = presence.nonzero().unbind(-1)
    track = numbers[sequence, time, slot]
    there = torch.zeros(*presence.shape[:2], num_tracks, dtype=torch.bool)
    places = torch.zeros(*there.shape, 2, dtype=positions.dtype)
    names = torch.full((len(presence), num_tracks), NOBODY)
    there[sequence, time, track] = True
    places[sequence, time, track] = positions[sequence, time, slot]
    names[sequence, track] = identities[sequence, time, slot]
    return there, places, names


def _true_objects(
    truth: VideoBatch,
) -> tuple[Bool[Tensor, "sequences time objects"], Float[Tensor, "sequences time objects 2"]]:
    """Presence and positions of the true objects."""
    if truth.positions is None:
        raise ValueError(
            "truth: expected videos with positions, got None; simulate them, or load videos with annotated positions"
        )
    presence = torch.ones(truth.positions.shape[:-1]) if truth.presence is None else truth.presence
    there, places, _ = objects_of("truth", Scene(presence, truth.positions), boxes=False)
    return there, places


def _check_finite(name: str, positions: Tensor, there: Tensor) -> None:
    wrong = (there & ~positions.isfinite().all(-1)).nonzero()
    if len(wrong):
        sequence, frame, index = wrong[0].tolist()
        raise ValueError(
            f"{name}.positions: expected finite pixels for every object that is present, got "
            f"{positions[sequence, frame, index].tolist()} in sequence {sequence}, frame {frame + 1}, object {index}; "
            "a rollout may have diverged, or an absent object is marked as present"
        )
