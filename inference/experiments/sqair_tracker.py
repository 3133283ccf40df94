"""A tracker with a trained SQAIR behind it: its particle filter, carried through the whole clip in windows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor
from tqdm import tqdm

from guides import DiscoveryPropagationGuide
from inference.estimators.carried_filter import CarriedFilter
from inference.experiments.crowd import Crowd
from inference.runtime.generators import seeded
from inference.trackers.box_motion import BoxMotion
from inference.trackers.kalman import KalmanTracker, centred
from pyro_models import SequentialAttendInferRepeat
from videos import BackgroundSubtraction
from videos.clips import Clip
from videos.tracks import Tracks


@dataclass(frozen=True)
class SQAIRTracker:
    """People are followed by a trained SQAIR, each in a window of the size that it was trained on.

    A window moves with its person, so a person is never cut in two by the edges of windows, and the networks see what
    they have learned from. In each window a particle filter, with the guide as its proposal, goes on from frame to
    frame as long as the person is there; its memory does not grow. Where something moves that nobody explains, a new
    window is opened, and SQAIR's discovery looks for the person nearest to the middle of it.

    SQAIR has no name for who was hidden and is seen again, and its windows may change from one person to another where
    people meet. So a window that jumps is closed, and whoever is found where somebody who is gone would be, is the same
    person. Boxes are those of what an object shows, smoothed under `BoxMotion`, which also fills frames that SQAIR does
    not see.

    Args:
        model: trained on `Surveillance`.
        guide: trained with it.
        subtraction: as in training.
        stride: SQAIR sees every so manyth frame of the clip.
        invert: whether light is inverted, as in training.
        num_particles: particles in each window.
        level: light, from 0 to 1, from which what an object shows belongs to its box; objects that show nothing as
            bright are not there.
        least_confidence: least probability of presence of a box; smaller ones are left out.
        max_misses: frames that SQAIR sees for which somebody who is gone is expected back.
        max_overlap: largest overlap of a new person's box with those of others.
        max_jump: largest distance of a box from where the person would be, box heights.
        max_return: largest distance of a box from where somebody who is gone would be, box heights.
        min_frames: smallest number of frames in which SQAIR sees somebody; shorter tracks are left out.
        smoothed: boxes given all frames; False = given earlier ones, as when tracking live.
        seed: of all draws.
        progress: show a bar on a terminal.

    Raises:
        ValueError: if a setting is out of its range.
    """

    model: SequentialAttendInferRepeat
    guide: DiscoveryPropagationGuide
    subtraction: BackgroundSubtraction
    stride: int
    invert: bool
    # On PETS09-S2L1, before names were kept through gaps: IDF1 37.7 with 40 particles, 36.1 with 10, 32.6 with 3;
    # 33.9 without resampling, 34.0 if SQAIR starts anew in every fifth frame, 33.2 by the guide's means alone. Tiles at
    # fixed places instead of windows, whose boxes are joined by overlap, had IDF1 22.5 and MOTA 31 instead of 39.
    num_particles: int = 40
    level: float = 0.2
    least_confidence: float = 0.5
    max_misses: int = 10
    max_overlap: float = 0.3
    max_jump: float = 0.15
    max_return: float = 0.5
    min_frames: int = 3
    smoothed: bool = True
    seed: int = 0
    progress: bool = False

    def __post_init__(self) -> None:
        for name, least in (("stride", 1), ("num_particles", 2), ("max_misses", 0), ("min_frames", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, got {getattr(self, name)}")
        for name in ("level", "least_confidence", "max_overlap"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a share in (0, 1], got {getattr(self, name)}")
        for name in ("max_jump", "max_return"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a positive number of box heights, got {getattr(self, name)}")

    def track(self, clip: Clip) -> Tracks:
        """Boxes with identities, and the probability of presence, by weight of particles, as confidence.

        Args:
            clip: a video file, or frames in memory, uint8 (time, height, width, 3), red-green-blue.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the clip cannot be read, or its camera moves.
            ImportError: without OpenCV, which the extra `video` installs.
        """
        paths: dict[int, dict[int, Tensor]] = defaultdict(dict)  # name -> frame -> box and confidence
        for frame, name, box in self._boxes(clip):
            paths[name][frame] = box
        kept = [path for path in paths.values() if len(path) >= self.min_frames]
        if not kept:
            none = torch.zeros(0, dtype=torch.long)
            return Tracks(none, none, torch.zeros(0, 4, dtype=torch.float64), torch.zeros(0, dtype=torch.float64))
        heights = torch.cat([torch.stack(list(path.values()))[:, 3] for path in kept])
        motion = KalmanTracker().motion(float(heights.median()))
        tables = [self._joined(motion, path) for path in kept]
        names = torch.cat([torch.full((len(table),), name) for name, table in enumerate(tables, 1)])
        frames, boxes, confidences = torch.cat(tables).split([1, 4, 1], -1)
        return Tracks(frames[:, 0].long(), names, boxes, confidences[:, 0])

    def _joined(self, motion: BoxMotion, path: dict[int, Float64[Tensor, " 5"]]) -> Float64[Tensor, "rows 6"]:
        """Frame, box and confidence of a person, also in the frames between; there the confidence is in between."""
        first, last = min(path), max(path)
        frames = torch.arange(first, last + 1)
        seen = torch.tensor([frame in path for frame in frames.tolist()])
        values = torch.zeros(len(frames), 5, dtype=torch.float64)
        values[seen] = torch.stack([path[frame] for frame in frames[seen].tolist()])
        boxes = motion.boxes(centred(values[:, :4]), seen, smoothed=self.smoothed)
        confidences = np.interp(frames, frames[seen], values[seen, 4])
        return torch.cat([frames[:, None], boxes, torch.from_numpy(confidences)[:, None]], -1)

    def _boxes(self, clip: Clip) -> Iterator[tuple[int, int, Float64[Tensor, " 5"]]]:
        """Frame, name, and box within the frame with the confidence, in frames that SQAIR sees."""
        crowd = Crowd(
            CarriedFilter.of(self.model, self.guide, self.num_particles),
            least_area=self.subtraction.least_area,
            level=self.level,
            max_misses=self.max_misses,
            max_overlap=self.max_overlap,
            max_jump=self.max_jump,
            max_return=self.max_return,
        )
        frames = self.subtraction.follow(clip, stride=self.stride, invert=self.invert)
        with seeded("tracks of SQAIR", self.seed):
            for frame in tqdm(frames, "tracking", unit="frame", leave=False, disable=None if self.progress else True):
                size = torch.tensor(frame.clip_size).double()
                scale = size / torch.tensor(frame.light.shape[::-1])
                for name, (chance, box) in crowd.after(frame).items():
                    low, high = torch.minimum((box.double().reshape(2, 2) * scale).clamp(min=0), size)
                    if chance >= self.least_confidence and bool((high - low >= 1).all()):
                        yield frame.number, name, torch.cat([low, high - low, low.new_tensor([chance])])
