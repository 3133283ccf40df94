"""Are particles in a plate scored as each would be alone?"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.poutine.trace_struct import Trace
from torch import Tensor, nn

from guides.check.mismatches import Mismatch, masked_score, trace_until_error
from guides.program import Arguments, Program, sample_sites
from guides.site_table import name_distribution

PARTICLES = "_particles"
NUM_PARTICLES = 3
ROUNDINGS = 50  # allowed error of a sum, in rounding errors of its terms; measured: up to 40
SHARE_OF_SPREAD = (
    0.01  # allowed error as a share of the particles' spread: small scales enlarge both, and mix-ups far exceed it
)
BROADCAST = "let tensors broadcast over leading dims: a draw has shape (particles, *plates, *event)"
COUNT_FROM_THE_RIGHT = (
    "count dims from the right, and leave those of particles alone: a transpose, a reshape or an index from the left "
    "that is right for one draw mixes particles up, and inside a plate a draw has more dims than outside"
)


def compare_particles(
    model: Program, guide: Program, arguments: Arguments, posterior: Trace, nesting: int
) -> Iterator[Mismatch]:
    """Draw some particles in a plate, as estimators do, then score each of them without the plate.

    Log densities must have the plates' shape and, summed over each sequence, the same value both ways. Shapes alone
    prove nothing, since sizes may coincide (as many particles as time steps).
    """
    with torch.no_grad(), _evaluation(model, guide):
        with _plate(nesting):
            drawn, stopped = trace_until_error(guide, arguments)
        if stopped:
            yield Mismatch("guide", f"draws in a plate of {NUM_PARTICLES} particles", stopped, BROADCAST)
            return
        with _plate(nesting):
            scored, stopped = trace_until_error(poutine.replay(model, trace=drawn), arguments)
        if stopped:
            yield Mismatch("model", f"scores of draws in a plate of {NUM_PARTICLES} particles", stopped, BROADCAST)
            return
        shapes = [*_compare_shapes("guide", drawn, nesting), *_compare_shapes("model", scored, nesting)]
        yield from shapes
        if not shapes:
            yield from _compare_densities("guide", guide, arguments, drawn, posterior, nesting)
            alone, _ = trace_until_error(poutine.replay(model, trace=posterior), arguments)
            yield from _compare_densities("model", model, arguments, scored, alone, nesting)


def _plate(nesting: int) -> Any:
    return pyro.plate(PARTICLES, NUM_PARTICLES, dim=-nesting - 1)


@contextmanager
def _evaluation(*programs: Program) -> Iterator[None]:
    """Without dropout: two runs at the same values have the same densities."""
    training = [
        module
        for program in map(poutine.unwrap, programs)
        if isinstance(program, nn.Module)
        for module in program.modules()
        if module.training
    ]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _compare_shapes(side: str, trace: Trace, nesting: int) -> Iterator[Mismatch]:
    for name, node in sample_sites(trace).items():
        plates = {frame.dim: frame.size for frame in node["cond_indep_stack"] if frame.vectorized}
        expected = tuple(plates.get(dim, 1) for dim in range(-nesting - 1, 0))
        got = tuple(node["fn"].log_prob(node["value"]).shape)
        if got != expected:
            wanted = f"log densities of the {side} with {NUM_PARTICLES} particles of shape {expected}"
            yield Mismatch(name, wanted, f"{got}", BROADCAST)


def _compare_densities(
    side: str, program: Program, arguments: Arguments, together: Trace, single: Trace, nesting: int
) -> Iterator[Mismatch]:
    """Each site's log density per particle and sequence, in the plate and without it, at the same values.

    Args:
        side: "model" or "guide".
        program: the model or the guide.
        arguments: arguments of the program.
        together: trace in the plate.
        single: trace without it, for the shapes of draws.
        nesting: number of dims that its plates occupy.
    """
    drawn, layout = sample_sites(together), sample_sites(single)
    # the location of a guide's point mass is a result, and is compared
    given = {name: node["value"] for name, node in drawn.items() if not node["is_observed"]}
    if side == "guide":
        given = {name: value for name, value in given.items() if not _is_point(drawn[name])}
    with _plate(nesting):
        in_plate = sample_sites(poutine.trace(poutine.condition(program, given)).get_trace(*arguments))
    runs = []
    for particle in range(NUM_PARTICLES):
        own = {name: value[particle].reshape(layout[name]["value"].shape) for name, value in given.items()}
        runs.append(sample_sites(poutine.trace(poutine.condition(program, own)).get_trace(*arguments)))
    for name, node in in_plate.items():
        if side == "model" and _is_point(node):
            continue  # rounding may move it between plate and single run, where its density is then zero
        if not torch.equal(_numbers(node)[0], _numbers(drawn[name])[0]):
            continue  # the program draws noise outside its sites: nothing to compare
        alone = torch.stack([_numbers(run[name])[0] for run in runs])
        size = torch.stack([_numbers(run[name])[1] for run in runs])
        both = _numbers(node)[0].reshape(alone.shape)
        rounding = ROUNDINGS * torch.finfo(alone.dtype).eps * (1 + size)
        allowed = rounding + SHARE_OF_SPREAD * (alone.amax(0) - alone.amin(0))
        differ = ~((both - alone).abs() <= allowed)
        if bool(differ.any()):
            place = int((both - alone).abs().argmax())
            what = "draw" if _is_point(node) else "log density"
            expected = f"the same {what} of the {side} in a plate of {NUM_PARTICLES} particles as for each alone"
            got = f"{both.reshape(-1)[place]:.6g} in the plate, {alone.reshape(-1)[place]:.6g} alone"
            yield Mismatch(name, expected, got, COUNT_FROM_THE_RIGHT)


def _is_point(node: Any) -> bool:
    return name_distribution(node["fn"]).startswith("Delta")


def _numbers(node: Any) -> tuple[Tensor, Tensor]:
    """The quantity of a site that must agree with and without the plate of particles, and its terms' summed magnitude.

    Returns:
        For a density, its sum over all dims but particles and sequences; for a point mass, its location.
    """
    if _is_point(node):
        return node["value"], node["value"].abs()
    density = masked_score(node)
    dims = {frame.name: frame.dim + density.dim() for frame in node["cond_indep_stack"] if frame.vectorized}
    kept = [dims[name] for name in (PARTICLES, "sequences") if name in dims]
    others = [dim for dim in range(density.dim()) if dim not in kept]
    sums = [values.sum(others) if others else values for values in (density, density.abs())]
    return sums[0], sums[1]
