"""Videos with held-out frames: what is scored, and what model and guide are shown."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool
from torch import Tensor

Videos = tuple[Tensor, Tensor, Tensor | None]
"""Frames (sequences, time, ...), mask of seen frames (sequences, time), controls or None."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Videos with held-out frames.

    Attributes:
        whole: the videos with the true held-out frames, which their mask says are seen.
        mask: bool (sequences, time), True = held out.
    """

    whole: Videos
    mask: Bool[Tensor, "sequences time"]

    @cached_property
    def shown(self) -> Videos:
        """The videos as shown to model and guide: held-out frames are missing."""
        frames, seen, controls = self.whole
        # set to 0, so they stay hidden even from a program that ignores its mask
        blanked = torch.where(self.mask[:, :, None, None, None], 0.0, frames)
        return blanked, seen & ~self.mask, controls

    def select(self, rows: Tensor) -> "HeldOut":
        """Some of the videos.

        Args:
            rows: their mask or numbers, (sequences,).
        """
        frames, seen, controls = (None if value is None else value[rows.to(value.device)] for value in self.whole)
        assert frames is not None
        assert seen is not None
        return HeldOut((frames, seen, controls), self.mask[rows.to(self.mask.device)])
