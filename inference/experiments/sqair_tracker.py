"""A tracker with a trained SQAIR behind it: its particle filter, carried through the whole clip in windows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor
from tqdm import tqdm

from guides import DiscoveryPropagationGuide
from inference.estimators.carried_filter import CarriedFilter
from inference.experiments.crowd import Crowd
from inference.runtime.generators import seeded
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

    Boxes are those of what an object shows. Frames between those that SQAIR sees have boxes in between.

    Args:
        model: trained on `Surveillance`.
        guide: trained with it.
        subtraction: as in training.
        stride: SQAIR sees every so manyth frame of the clip.
        invert: whether light is inverted, as in training.
        num_particles: particles in each window.
        level: light, from 0 to 1, from which what an object shows belongs to its box; objects that show nothing as
            bright are not there.
        slack: distance of a person from the middle of the window, trained pixels, from which the window moves.
        least_confidence: least probability of presence of a box; smaller ones are left out.
        max_misses: frames that SQAIR sees without a person after which the window is closed.
        max_overlap: largest overlap of a new person's box with those of others; later ones are refused.
        min_frames: smallest number of frames in which SQAIR sees somebody; shorter tracks are left out.
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
    num_particles: int = 10
    level: float = 0.15
    slack: float = 4.0
    least_confidence: float = 0.5
    max_misses: int = 3
    max_overlap: float = 0.3
    min_frames: int = 3
    seed: int = 0
    progress: bool = False

    def __post_init__(self) -> None:
        for name, least in (("stride", 1), ("num_particles", 2), ("max_misses", 0), ("min_frames", 1), ("slack", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, got {getattr(self, name)}")
        for name in ("level", "least_confidence", "max_overlap"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a share in (0, 1], got {getattr(self, name)}")

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
        rows = [row for name, path in enumerate(kept, 1) for row in _without_gaps(name, path)]
        if not rows:
            none = torch.zeros(0, dtype=torch.long)
            return Tracks(none, none, torch.zeros(0, 4, dtype=torch.float64), torch.zeros(0, dtype=torch.float64))
        frames, names, values = zip(*rows, strict=True)
        edges, confidences = torch.stack(values).split([4, 1], -1)
        boxes = torch.cat([edges[:, :2], edges[:, 2:] - edges[:, :2]], -1)
        return Tracks(torch.tensor(frames), torch.tensor(names), boxes, confidences[:, 0])

    def _boxes(self, clip: Clip) -> Iterator[tuple[int, int, Float64[Tensor, " 5"]]]:
        """Frame, name, and edges within the frame with the confidence, in frames that SQAIR sees."""
        crowd = Crowd(
            CarriedFilter.of(self.model, self.guide, self.num_particles),
            least_area=self.subtraction.least_area,
            level=self.level,
            slack=self.slack,
            max_misses=self.max_misses,
            max_overlap=self.max_overlap,
        )
        frames = self.subtraction.follow(clip, stride=self.stride, invert=self.invert)
        with seeded("tracks of SQAIR", self.seed):
            for frame in tqdm(frames, "tracking", unit="frame", leave=False, disable=None if self.progress else True):
                size = torch.tensor(frame.clip_size).double()
                scale = size / torch.tensor(frame.light.shape[::-1])
                for name, (chance, box) in crowd.after(frame).items():
                    edges = (box.double().reshape(2, 2) * scale).clamp(min=0)
                    edges = torch.minimum(edges, size)
                    if chance >= self.least_confidence and bool((edges[1] - edges[0] >= 1).all()):
                        yield frame.number, name, torch.cat([edges.flatten(), edges.new_tensor([chance])])


def _without_gaps(name: int, path: dict[int, Tensor]) -> Iterator[tuple[int, int, Tensor]]:
    """Rows of a track; frames between two of its boxes have boxes on the line between them."""
    frames = sorted(path)
    for first, second in zip(frames, [*frames[1:], frames[-1] + 1], strict=True):
        for frame in range(first, second):
            share = (frame - first) / (second - first)
            yield frame, name, torch.lerp(path[first], path.get(second, path[first]), share)
