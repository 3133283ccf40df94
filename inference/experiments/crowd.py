"""Who is followed through a clip: windows are opened where nobody explains what moves, and closed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from inference.estimators.carried_filter import CarriedFilter, over_states
from inference.experiments.followed_windows import FollowedWindows, Seen, edge_overlaps
from videos.background_subtraction import CONNECTIVITY, ForegroundFrame
from videos.clips import opencv

_RIM = 1  # pixels around a box that it explains too
_SAME = 0.5  # least overlap of two windows' people who are one person
_NEW_STEP = 0.3  # weight of the latest step in the mean of a person's steps


@dataclass
class Person:
    """Somebody who is followed, or was until a few frames ago.

    Attributes:
        name: number of the person, from 1.
        box: where the person was last seen: edges, pixels.
        step: mean step from frame to frame, (x, y) pixels.
        misses: frames since the person was seen.
    """

    name: int
    box: Float[Tensor, " 4"]
    step: Float[Tensor, " 2"] = field(default_factory=lambda: torch.zeros(2))
    misses: int = 0

    @property
    def expected(self) -> Float[Tensor, " 4"]:
        """The box now, had the person gone on."""
        return self.box + self.misses * self.step.repeat(2)

    def distance(self, box: Float[Tensor, " 4"]) -> float:
        """Of the middle of a box in the coming frame from where the person is expected, heights of the box."""
        expected = self.expected + self.step.repeat(2)
        return float((0.5 * (expected[:2] + expected[2:] - box[:2] - box[2:])).norm() / (box[3] - box[1]))

    def seen(self, chance: float, box: Float[Tensor, " 4"]) -> None:
        """One frame more."""
        if chance < 0.5:
            self.misses += 1
            return
        middles = 0.5 * (box[:2] + box[2:] - self.box[:2] - self.box[2:]) / (self.misses + 1)
        self.box, self.step, self.misses = box, torch.lerp(self.step, middles, _NEW_STEP), 0


@dataclass
class Crowd:
    """The people who are followed, frame after frame.

    Args:
        filter: the particle filter of the trained pair.
        least_area: smallest area of what moves and nobody explains, pixels, for a window to be opened.
        level: see `FollowedWindows`.
        max_misses: frames for which somebody who is gone is expected back.
        max_overlap: largest overlap of a new person's box with those of others.
        max_jump: largest distance of a box from where the person would be at the mean of the last steps, box heights;
            a window that jumps further has gone to somebody else, and the person is lost.
        max_return: largest distance of a box from where somebody who is gone would be by then, box heights, with which
            it is the same person.
    """

    filter: CarriedFilter
    least_area: int
    level: float
    max_misses: int
    max_overlap: float
    max_jump: float
    max_return: float
    _windows: FollowedWindows | None = field(default=None, init=False)
    _people: list[Person] = field(default_factory=list, init=False)  # of the windows
    _lost: list[Person] = field(default_factory=list, init=False)
    _latest: int = field(default=0, init=False)

    def __len__(self) -> int:
        """Number of windows."""
        return len(self._people)

    @property
    def num_numbers(self) -> int:
        """Size of all that is remembered of the windows, in numbers: it grows with them, not with time."""
        sizes: list[int] = []
        if self._windows is not None:
            over_states(lambda value: sizes.append(value.numel()) or value, self._windows.particles)
        return sum(sizes)

    @torch.no_grad()
    def after(self, frame: ForegroundFrame) -> dict[int, tuple[float, Float[Tensor, " 4"]]]:
        """Probability of presence and box (edges, pixels of the frame) of everybody, by name, after one more frame."""
        light = frame.light.float() / 255
        seen = Seen(light.new_zeros(0), light.new_zeros(0, 4))
        for person in self._lost:
            person.misses += 1
        if self._windows is not None:
            self._windows = self._windows.stepped(light)
            seen = self._close(self._windows.seen())
        self._lost = [person for person in self._lost if person.misses <= self.max_misses]
        targets = self._unexplained(frame.components, seen)
        if len(targets):
            seen = self._open(light, targets, seen)
        if self._windows is not None:
            self._windows = self._windows.moved(seen, light)
        found = zip(self._people, seen.chances.tolist(), seen.boxes, strict=True)
        return {person.name: (chance, box) for person, chance, box in found if chance > 0}

    def _close(self, seen: Seen) -> Seen:
        """Close windows whose people are gone, or are seen in an older window too, or seem to have jumped."""
        assert self._windows is not None
        kept: list[int] = []
        for index, (person, chance) in enumerate(zip(self._people, seen.chances.tolist(), strict=True)):
            box = seen.boxes[index]
            twice = bool((edge_overlaps(box[None], seen.boxes[kept]) > _SAME).any())
            person.seen(0.0 if twice or person.distance(box) > self.max_jump else chance, box)
            if person.misses:
                self._lost.append(person)
            else:
                kept.append(index)
        self._people = [self._people[index] for index in kept]
        self._windows = self._windows.select(torch.tensor(kept)) if kept else None
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
        self._people += [self._named(new.boxes[index]) for index in kept]
        return Seen(torch.cat([seen.chances, new.chances[kept]]), torch.cat([seen.boxes, new.boxes[kept]]))

    def _named(self, box: Float[Tensor, " 4"]) -> Person:
        """Who is found in a box: somebody who is expected there, or somebody new."""
        if self._lost:
            expected = torch.stack([person.expected for person in self._lost])
            away = (0.5 * (expected[:, :2] + expected[:, 2:] - box[:2] - box[2:])).norm(dim=-1)
            near = away / (box[3] - box[1]) / self.max_return
            best = int(near.argmin())
            if near[best] <= 1:
                person = self._lost.pop(best)
                person.seen(1.0, box)
                return person
        self._latest += 1
        return Person(self._latest, box)

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
