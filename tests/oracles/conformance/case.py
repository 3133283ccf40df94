"""One model, one guide, some videos, and the log evidence of each video by a method that draws nothing.

A case uses no library but Pyro: model and guide are plain programs, with their equations in the file of the case, so
that they can be rewritten in another language. To test your own estimator on the whole set, write

    def estimate(case, seed):
        '''Log estimates of p(x_n), each from independent draws: (repeats, sequences).'''

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
    """Input of an estimator, and the evidence that it should find.

    Attributes:
        name: name of the case.
        model: called `(frames, observed, controls)`; latents in the plate `sequences` at dim -1, the observed site
            `frames` in the plate `time` at dim -2 inside it.
        guide: called in the same way. Its weights p / q are bounded, except in cases that demand bounds only.
        frames: (sequences, time, features), float64; NaN where missing.
        exact: log p(x_n), (sequences,), in nats.
        observed: bool (sequences, time), or None.
        controls: (sequences, time, controls), or None.
        latents: "continuous", "bits" (and continuous ones), "categories" or "none".
        demand: "all"; "bounds" where the guide leaves out a part of the posterior, so that no affordable number of
            draws finds the evidence and estimates must only stay below it; "equality" where the guide is the
            posterior, or nothing is latent, so that the weight of a single draw is the evidence.
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
        """Arguments of model and guide."""
        return self.frames, self.observed, self.controls

    def tiled(self, times: int) -> "Case":
        """The batch of videos repeated `times` times, one copy of the batch after another."""

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
        """The first `count` videos."""

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
        """The same case with another value in the missing frames, which must not be read."""
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
