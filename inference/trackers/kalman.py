"""A tracker that predicts: boxes are assigned to the predictions of exact Kalman filters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from inference.metrics.assignment import assign
from inference.trackers.box_motion import BoxMotion
from inference.trackers.tracker import BoxTracker, Detector, tracks_of
from videos.moving_blobs import MovingBlobs
from videos.tracks import Tracks


@dataclass(frozen=True)
class KalmanTracker(BoxTracker):
    """Boxes are assigned to tracks whose Kalman filters predict them; tracks survive frames in which they are hidden.

    In each frame a box may be assigned to a track if its Mahalanobis distance from the prediction is in the gate, a
    quantile of the chi-squared distribution. Pairs are chosen one to one, as many as possible, and among those the ones
    with the largest sum of log p(box | earlier boxes of the track); see `BoxMotion` for the model. Two people who touch
    are one large box outside the gates of both: both are missing until they part, and the filters predict them.

    A box without a track starts one, unless it covers the prediction of another track, or is covered by it. A track
    ends after `max_misses` frames without a box. One with fewer than `min_hits` boxes ends at its first miss, and is
    discarded. Frames after a track's last box are left out, those between two of its boxes are not.

    The unit of standard deviations, a box height, is the median height of all boxes of the clip. The defaults suit
    people at ten frames per second, who walk less than a fifth of their height from frame to frame and stop or turn
    within a second; other frame rates need other values.

    Args:
        detector: finds the boxes.
        smoothed: return boxes given all readings of a track, earlier and later ones; False = given the earlier ones
            alone, as when tracking live.
        min_hits: least number of boxes of a track, the first ones in successive frames.
        max_misses: frames without a box after which a track ends.
        gate: probability that a box of the track is within the gate.
        max_cover: largest share of the smaller one of two boxes, a new one and a prediction, that the other may cover.
        position_noise: standard deviation of a box's centre, box heights.
        size_noise: standard deviation of a box's width and height, box heights.
        acceleration: standard deviation of the centre's acceleration, box heights per frame squared.
        size_acceleration: standard deviation of the size's acceleration, box heights per frame squared.
        speed: standard deviation of the centre's velocity at the start, box heights per frame.
        growth: standard deviation of the size's velocity at the start, box heights per frame.

    Raises:
        ValueError: if a setting is out of its range.
    """

    detector: Detector = MovingBlobs()
    smoothed: bool = True
    min_hits: int = 3
    max_misses: int = 20
    gate: float = 0.99
    max_cover: float = 0.5
    position_noise: float = 0.05
    size_noise: float = 0.1
    acceleration: float = 0.01
    size_acceleration: float = 0.001
    speed: float = 0.1
    growth: float = 0.01

    def __post_init__(self) -> None:
        for name in ("position_noise", "size_noise", "acceleration", "size_acceleration", "speed", "growth"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a positive number of box heights, got {getattr(self, name)}")
        for name in ("gate", "max_cover"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a share in (0, 1), got {getattr(self, name)}")
        if self.min_hits < 1:
            raise ValueError(f"min_hits: expected at least 1 box, got {self.min_hits}")
        if self.max_misses < 0:
            raise ValueError(f"max_misses: expected at least 0 frames, got {self.max_misses}")

    def follow(self, boxes: Iterable[Float64[Tensor, "_ 4"]]) -> Tracks:
        """See `BoxTracker.follow`."""
        whole = list(boxes)
        heights = torch.cat([torch.zeros(0, dtype=torch.float64), *(found[:, 3] for found in whole)])
        if len(heights) == 0:
            return tracks_of(())
        motion = self.motion(float(heights.median()))
        live, finished = _Live.none(), []
        for frame, found in enumerate(whole):
            readings = centred(found)
            pairs = self._assigned(motion, live, readings)
            taken = torch.zeros(len(found), dtype=torch.bool)
            taken[[box for _, box in pairs]] = True
            new = ~taken & (_cover(live.mean[:, :4], readings) <= self.max_cover).all(0)
            live = live.after(motion, {track: readings[box] for track, box in pairs})
            ended = [not self._continues(path) for path in live.paths]
            finished += [path for path, over in zip(live.paths, ended, strict=True) if over]
            live = live.without(ended).joined_by(motion, frame, readings[new])
        kept = [path for path in [*finished, *live.paths] if path.num_hits >= self.min_hits]
        kept.sort(key=lambda path: path.start)
        return tracks_of(row for identity, path in enumerate(kept, 1) for row in self._rows(motion, identity, path))

    def motion(self, unit: float) -> BoxMotion:
        """How boxes move, given a box height, pixels."""
        positions = self.position_noise, self.size_noise
        return BoxMotion(unit, *positions, self.acceleration, self.size_acceleration, self.speed, self.growth)

    def _assigned(self, motion: BoxMotion, live: _Live, readings: Tensor) -> list[tuple[int, int]]:
        """Tracks and their boxes."""
        from scipy.stats import chi2

        if not len(live.paths) or not len(readings):
            return []
        seen = torch.ones(len(live.paths), 1, 1, dtype=torch.bool)
        predicted = motion.ssm(live.mean[:, None], live.covariance[:, None], seen)
        means = live.mean[:, None, None, :4]  # of readings
        values = torch.cat([readings[:, None].expand(len(live.paths), -1, -1, -1), means], 1)
        densities, highest = predicted.log_prob(values).split([len(readings), 1], 1)
        # A Gaussian's log density falls by half the squared Mahalanobis distance from that of its mean.
        distances = 2 * (highest - densities)
        return assign(-densities.numpy(), (distances <= float(chi2.ppf(self.gate, 4))).numpy())

    def _continues(self, path: _Path) -> bool:
        return path.misses <= (self.max_misses if path.num_hits >= self.min_hits else 0)

    def _rows(self, motion: BoxMotion, identity: int, path: _Path) -> list[tuple[int, int, Tensor]]:
        """Frame, identity and box of a track, up to its last reading."""
        boxes = motion.boxes(*path.readings(), smoothed=self.smoothed)
        return [(path.start + step, identity, box) for step, box in enumerate(boxes)]


@dataclass
class _Path:
    """Readings of one track by step, None where it was missed."""

    start: int
    steps: list[Tensor | None] = field(default_factory=list)
    num_hits: int = 0
    misses: int = 0  # steps since the last reading

    def add(self, reading: Tensor | None) -> None:
        """One step more."""
        self.steps.append(reading)
        self.num_hits += reading is not None
        self.misses = 0 if reading is not None else self.misses + 1

    def readings(self) -> tuple[Float64[Tensor, "time 4"], Bool[Tensor, " time"]]:
        """Readings up to the last, zeros where missed, and which steps have one."""
        steps = self.steps[: len(self.steps) - self.misses]
        values = [torch.zeros(4, dtype=torch.float64) if step is None else step for step in steps]
        return torch.stack(values), torch.tensor([step is not None for step in steps])


@dataclass(frozen=True, eq=False)
class _Live:
    """Tracks that go on, with the moments of their states in the coming frame, given all readings."""

    paths: list[_Path]
    mean: Float64[Tensor, "tracks 8"]
    covariance: Float64[Tensor, "tracks 8 8"]

    @classmethod
    def none(cls) -> _Live:
        return cls([], torch.zeros(0, 8, dtype=torch.float64), torch.zeros(0, 8, 8, dtype=torch.float64))

    def after(self, motion: BoxMotion, hits: dict[int, Tensor]) -> _Live:
        """A frame later, given the readings of some tracks."""
        if not self.paths:
            return self
        for track, path in enumerate(self.paths):
            path.add(hits.get(track))
        readings, seen = torch.zeros(len(self.paths), 1, 4).double(), torch.zeros(len(self.paths), 1, dtype=torch.bool)
        for track, reading in hits.items():
            readings[track, 0], seen[track] = reading, True
        return _Live(self.paths, *_next(motion, self.mean, self.covariance, readings, seen))

    def without(self, ended: list[bool]) -> _Live:
        kept = [index for index, over in enumerate(ended) if not over]
        return _Live([self.paths[index] for index in kept], self.mean[kept], self.covariance[kept])

    def joined_by(self, motion: BoxMotion, frame: int, readings: Float64[Tensor, "tracks 4"]) -> _Live:
        """With tracks that start at this frame."""
        if not len(readings):
            return self
        mean, covariance = motion.started(readings)
        unread = torch.zeros(len(readings), 1, dtype=torch.bool)
        mean, covariance = _next(motion, mean, covariance, readings[:, None], unread)
        paths = [_Path(frame) for _ in readings]
        for path, reading in zip(paths, readings, strict=True):
            path.add(reading)
        return _Live([*self.paths, *paths], torch.cat([self.mean, mean]), torch.cat([self.covariance, covariance]))


def _next(
    motion: BoxMotion, mean: Tensor, covariance: Tensor, readings: Tensor, seen: Tensor
) -> tuple[Float64[Tensor, "tracks 8"], Float64[Tensor, "tracks 8 8"]]:
    """Moments of the next states, given those of the present ones and readings (tracks, 1, 4), some of them missing."""
    coming = motion.ssm(mean, covariance, seen).forecast(readings, 1)
    return coming.initial_mean, coming.initial_covariance.expand(len(mean), 8, 8)


def centred(boxes: Float64[Tensor, "boxes 4"]) -> Float64[Tensor, "boxes 4"]:
    """Middle instead of corner."""
    return torch.cat([boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]], -1)


def _cover(boxes: Float64[Tensor, "boxes 4"], others: Float64[Tensor, "others 4"]) -> Float64[Tensor, "boxes others"]:
    """Intersection over the smaller of two boxes, which are given by their middles."""
    sizes, other_sizes = boxes[:, None, 2:].clamp(min=1.0), others[None, :, 2:]
    low = torch.maximum(boxes[:, None, :2] - sizes / 2, others[None, :, :2] - other_sizes / 2)
    high = torch.minimum(boxes[:, None, :2] + sizes / 2, others[None, :, :2] + other_sizes / 2)
    return (high - low).clamp(min=0).prod(-1) / torch.minimum(sizes.prod(-1), other_sizes.prod(-1))
