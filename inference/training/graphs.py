"""Which steps of a training are worth a graph: not those of videos that are about to grow."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from inference.svi.compiled import WORTH_TRACING
from inference.svi.step import SVI
from videos import GrowingVideos, VideoSource

LEAST_STEPS = {"trace": WORTH_TRACING, "cudagraph": WORTH_TRACING, "inductor": 2_000}
"""Steps of one length that a graph has to serve, by mode; compiling takes the time of 1,000 steps and more."""


@contextmanager
def graphs_where_worthwhile(
    svi: SVI, source: VideoSource, step: int, mode: str, device: torch.device
) -> Iterator[None]:
    """Inside, a step is eager if videos have its length for too few steps: a function of the step, so resumes agree.

    Args:
        svi: takes the step.
        source: of the videos; only `GrowingVideos` say how long a length lasts.
        step: the global step.
        mode: how steps are taken, see `SVI`; "auto" may compile on the CPU, and records elsewhere.
        device: where.
    """
    steps = source.steps_of_length(step) if isinstance(source, GrowingVideos) else None
    if mode == "auto":
        mode = "inductor" if device.type == "cpu" else "cudagraph"
    if steps is None or steps >= LEAST_STEPS.get(mode, 0):
        yield
    else:
        with svi.uncompiled():
            yield
