"""Who is followed through a clip: windows are opened where nobody explains what moves, and closed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from inference.estimators.carried_filter import CarriedFilter
from inference.experiments.followed_windows import FollowedWindows, Seen, edge_overlaps
from videos.background_subtraction import CONNECTIVITY, ForegroundFrame
from videos.clips import opencv

_RIM = 1  # pixels around a box that it explains too


@dataclass
class Crowd:
    """The people who are followed, frame after frame.

    Args:
        filter: the particle filter of the trained pair.
        least_area: smallest area of what moves and nobody explains, pixels, for a window to be opened.
        level: see `FollowedWindows`.
        slack: distance from the middle of a window, pixels, from which it moves.
        max_misses: frames without a person after which the window is closed.
        max_overlap: largest overlap of a new person's box with those of others.
    """

    filter: CarriedFilter
    least_area: int
    level: float
    slack: float
    max_misses: int
    max_overlap: float
    latest: int = 0
    _windows: FollowedWindows | None = field(default=None, init=False)
    _names: list[int] = field(default_factory=list, init=False)
    _misses: list[int] = field(default_factory=list, init=False)

    def __len__(self) -> int:
        """Number of windows."""
        return len(self._names)

    @torch.no_grad()
    def after(self, frame: ForegroundFrame) -> dict[int, tuple[float, Float[Tensor, " 4"]]]:
        """Probability of presence and box (edges, pixels of the frame) of everybody, by name, after one more frame."""
        light = frame.light.float() / 255
        seen = Seen(light.new_zeros(0), light.new_zeros(0, 4))
        if self._windows is not None:
            self._windows = self._windows.stepped(light)
            seen = self._close(self._windows.seen())
        targets = self._unexplained(frame.components, seen)
        if len(targets):
            seen = self._open(light, targets, seen)
        if self._windows is not None:
            self._windows = self._windows.moved(seen, light, self.slack)
        chances = zip(self._names, seen.chances.tolist(), seen.boxes, strict=True)
        return {name: (chance, box) for name, chance, box in chances if chance > 0}

    def _close(self, seen: Seen) -> Seen:
        """Close windows whose people are gone, or are seen in an older window too."""
        assert self._windows is not None
        there = (seen.chances >= 0.5).tolist()
        self._misses = [0 if one else misses + 1 for one, misses in zip(there, self._misses, strict=True)]
        kept: list[int] = []
        for index in range(len(seen.chances)):
            twice = bool((edge_overlaps(seen.boxes[index : index + 1], seen.boxes[kept]) > 0.5).any())
            if self._misses[index] <= self.max_misses and not twice:
                kept.append(index)
        return self._keep(torch.tensor(kept, dtype=torch.long), seen)

    def _keep(self, kept: Int64[Tensor, " kept"], seen: Seen) -> Seen:
        self._names, self._misses = ([values[index] for index in kept] for values in (self._names, self._misses))
        self._windows = self._windows.select(kept) if self._windows is not None and len(kept) else None
        return Seen(seen.chances[kept], seen.boxes[kept])

    def _open(self, light: Tensor, targets: Float[Tensor, "targets 2"], seen: Seen) -> Seen:
        """Open windows, and keep those that show somebody new."""
        opened = FollowedWindows.opened(self.filter, light, targets, self.level)
        new = opened.seen()
        kept: list[int] = []
        for index in new.chances.argsort(descending=True).tolist():
            others = torch.cat([seen.boxes, new.boxes[kept]])
            known = bool((edge_overlaps(new.boxes[index : index + 1], others) > self.max_overlap).any())
            if new.chances[index] >= 0.5 and not known:
                kept.append(index)
        if not kept:
            return seen
        opened = opened.select(torch.tensor(kept))
        self._windows = opened if self._windows is None else self._windows.joined(opened)
        self._names += range(self.latest + 1, self.latest + 1 + len(kept))
        self._misses += [0] * len(kept)
        self.latest += len(kept)
        return Seen(torch.cat([seen.chances, new.chances[kept]]), torch.cat([seen.boxes, new.boxes[kept]]))

    def _unexplained(self, components: Tensor, seen: Seen) -> Float[Tensor, "targets 2"]:
        """Middles of what moves outside of all boxes, (x, y) pixels."""
        cv2 = opencv()
        mask = (components > 0).numpy().astype(np.uint8)
        for chance, (left, top, right, bottom) in zip(seen.chances.tolist(), seen.boxes.tolist(), strict=True):
            if chance > 0:
                rows = slice(max(0, int(top) - _RIM), max(0, int(np.ceil(bottom)) + _RIM))
                mask[rows, max(0, int(left) - _RIM) : max(0, int(np.ceil(right)) + _RIM)] = 0
        _, _, boxes, middles = cv2.connectedComponentsWithStats(mask, connectivity=CONNECTIVITY)
        large = boxes[1:, cv2.CC_STAT_AREA] >= self.least_area  # the first is the background
        return torch.from_numpy(middles[1:][large]).float()
