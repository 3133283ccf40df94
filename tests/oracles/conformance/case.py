"""One model, one guide, some videos, and the log evidence of each video by a method that draws nothing.

A case knows no library but Pyro: model and guide are plain programs, and their equations stand in the file of the case,
so that they can be written anew for another language. To put an estimator of your own to the whole set, write

    def estimate(case, seed):
        '''Log estimates of p(x_n), each of its own draws: (repeats, sequences).'''

with `case.model`, `case.guide` and `case.arguments`, and hand it to the functions of `checks.py` with each case of
`all_cases()`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

Program = Callable[..., None]
Demand = Literal["all", "bounds", "equality"]


@dataclass(frozen=True, eq=False)
class Case:
    """What an estimator is given, and what it should find.

    Attributes:
        name: of the case.
        model: called `(frames, observed, controls)`; latents in the plate `sequences` at dim -1, the observed site
            `frames` in the plate `time` at dim -2 inside it.
        guide: likewise. Its weights p / q are bounded, but for cases that ask for bounds only.
        frames: (sequences, time, features), float64; NaN where missing.
        exact: log p(x_n), (sequences,), in nats.
        observed: bool (sequences, time), or None.
        controls: (sequences, time, controls), or None.
        latents: "continuous", "bits" (and continuous ones), "categories" or "none".
        demand: "all"; "bounds" where the guide leaves out a part of the posterior, so that no number of draws that can
            be afforded finds the evidence and nothing is asked but to stay below; "equality" where the guide is the
            posterior, or nothing is latent, so that a single draw has the evidence as its weight.
    """

    name: str
    model: Program
    guide: Program
    frames: Tensor
    exact: Tensor
    observed: Tensor | None = None
    controls: Tensor | None = None
    latents: Literal["continuous", "bits", "categories", "none"] = "continuous"
    demand: Demand = "all"

    @property
    def arguments(self) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Of model and guide."""
        return self.frames, self.observed, self.controls

    def tiled(self, times: int) -> "Case":
        """The same videos many times over, all of them once before the first comes again."""

        def tile(value: Tensor | None) -> Tensor | None:
            return None if value is None else value.repeat(times, *[1] * (value.dim() - 1))

        return replace(
            self,
            frames=self.frames.repeat(times, 1, 1),
            exact=self.exact.repeat(times),
            observed=tile(self.observed),
            controls=tile(self.controls),
        )

    def first(self, count: int) -> "Case":
        """The first videos alone."""

        def part(value: Tensor | None) -> Tensor | None:
            return None if value is None else value[:count]

        return replace(
            self,
            frames=self.frames[:count],
            exact=self.exact[:count],
            observed=part(self.observed),
            controls=part(self.controls),
        )

    def with_missing(self, value: float) -> "Case":
        """The same case with another value in the frames that nobody may read."""
        if self.observed is None:
            return self
        return replace(self, frames=torch.where(self.observed[..., None], self.frames, value))


def seen_frames(frames: Tensor, observed: Tensor | None) -> tuple[Tensor, Tensor]:
    """Frames with zeros where they are missing, and the mask: (sequences, time, features), (sequences, time)."""
    mask = torch.ones(frames.shape[:2], dtype=torch.bool) if observed is None else observed
    return torch.where(mask[..., None], frames, 0.0), mask


def hide(frames: Tensor, missing: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """Frames with NaN at some (sequence, time), and the mask."""
    observed = torch.ones(frames.shape[:2], dtype=torch.bool)
    for place in missing:
        observed[place] = False
    return torch.where(observed[..., None], frames, torch.nan), observed
