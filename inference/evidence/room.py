"""How many draws and sequences an estimate of the evidence runs at once, so that its memory is bounded."""

from dataclasses import replace
from math import prod

from pyro.infer.autoguide import AutoGuide
from torch import Tensor

from inference.annealing.smc import SMC
from inference.annealing.walks import Annealing
from inference.estimators.fivo import FIVO
from inference.evidence.settings import DrawSettings, Method
from inference.programs.traces import Program, modules_of

ELEMENTS_AT_ONCE = 10_000_000
"""Elements of frames (pixels times channels) in all draws of a chunk. A Kalman VAE, SQAIR, VTSSI and AIR were measured
to take 20 to 200 bytes for each, so 2 GB at most."""

DRAWS_AT_ONCE = 50
SMALLEST_FRAME = 100  # elements; a smaller frame takes no less, since networks take more than it
CHAIN = 5  # draws whose memory a chain with gradients takes


def with_room(
    settings: DrawSettings, frames: Tensor, method: Method, num_draws: int, guide: Program | None = None
) -> DrawSettings:
    """The settings with the chunk sizes that were left open: as many draws and sequences as a bounded memory holds.

    They depend on the shape of the frames, the method and the number of draws alone, never on the machine.

    Args:
        settings: whose chunk sizes may be None. Sizes that were given are kept.
        frames: (sequences, time, ...).
        method: what each draw is.
        num_draws: number of them in all.
        guide: one of Pyro's automatic guides has parameters for each sequence, so it runs all sequences at once.
    """
    held = elements_of_a_draw(frames, method)
    draws, sequences = settings.particles_per_chunk, settings.sequences_per_chunk
    if sequences is None and guide is not None and any(isinstance(part, AutoGuide) for part in modules_of(guide)):
        sequences = frames.shape[0]
    if draws is None:
        draws = max(1, min(DRAWS_AT_ONCE, ELEMENTS_AT_ONCE // (held * (sequences or 1))))
    if sequences is None:
        sequences = max(1, min(frames.shape[0], ELEMENTS_AT_ONCE // (held * min(draws, num_draws))))
    return replace(settings, particles_per_chunk=draws, sequences_per_chunk=sequences)


def elements_of_a_draw(frames: Tensor, method: Method) -> int:
    """Elements of frames that one draw holds for one sequence."""
    frame, steps = max(SMALLEST_FRAME, prod(frames.shape[2:])), prod(frames.shape[1:2])
    if isinstance(method, FIVO):
        return method.num_particles * frame
    if isinstance(method, SMC):
        return CHAIN * method.num_particles * steps * frame
    return (CHAIN if isinstance(method, Annealing) else 1) * steps * frame
