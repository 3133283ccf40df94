"""Do the guide's draws or the model's densities depend on the contents of missing frames?"""

from collections.abc import Iterator

import pyro
import torch
from pyro import poutine
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from guides.check.mismatches import Mismatch, masked_score, trace_until_error
from guides.program import Arguments, Program, sample_sites

FILLINGS = (0.0, 0.7, float("nan"))  # two grey values, and one that propagates through every operation
BLANK = "start with frames = torch.where(observed[:, :, None, None, None], frames, 0)"


def with_missing(arguments: Arguments, filling: float) -> Arguments:
    """The arguments, with all pixels of missing frames set to one number."""
    frames, observed, controls = arguments
    if observed is None:
        return arguments
    return torch.where(observed[:, :, None, None, None], frames, filling), observed, controls


def anything_missing(arguments: Arguments) -> bool:
    """Whether a frame is missing."""
    return arguments[1] is not None and not bool(arguments[1].all())


def compare_guide_at_missing(guide: Program, arguments: Arguments) -> Iterator[Mismatch]:
    """Whether NaN in the missing frames changes any bit of the guide's draws, or raises an error."""
    if not anything_missing(arguments):
        return
    expected = "draws that do not depend on missing frames"
    draws = []
    for filling in (0.0, float("nan")):
        pyro.set_rng_seed(0)
        with torch.no_grad():
            trace, stopped = trace_until_error(guide, with_missing(arguments, filling))
        draws.append({name: node["value"] for name, node in sample_sites(trace).items()})
        if stopped:  # never by zeros: the guide has already run on them
            site = next((name for name in draws[0] if name not in draws[-1]), "guide")
            got = f"{stopped.splitlines()[0]} when those are NaN: the guide reads them"
            yield Mismatch(site, expected, got, BLANK)
    for name, value in draws[0].items():
        if name in draws[1] and not torch.equal(value, draws[1][name]):
            yield Mismatch(name, expected, "other draws when those are NaN", BLANK)


def compare_model_at_missing(model: Program, arguments: Arguments, posterior: Trace) -> Iterator[Mismatch]:
    """Whether missing frames change any bit of the model's densities at the guide's draws, or raise an error.

    Args:
        model: called with the arguments.
        arguments: with zeros where frames are missing.
        posterior: the guide's trace.
    """
    if not anything_missing(arguments):
        return
    expected = "a density that does not depend on missing frames"
    found: dict[str, Mismatch] = {}
    before: dict[str, Tensor] = {}
    for filling in FILLINGS:
        pyro.set_rng_seed(0)  # for dropout, and for sites that the guide leaves out
        replayed = poutine.replay(model, trace=posterior)
        trace, stopped = trace_until_error(replayed, with_missing(arguments, filling))
        densities, unscored = _densities_until_error(trace)
        if stopped or unscored:
            site = unscored or next((name for name in before if name not in densities), "model")
            got = f"{(stopped or 'an error').splitlines()[0]} when those are {filling:g}: the model reads them"
            found.setdefault(site, Mismatch(site, expected, got, BLANK))
        for name, density in densities.items():
            if not torch.equal(density, before.setdefault(name, density)):
                mend = f"{BLANK}, and mask what it scores: .mask(observed), laid out as the plates are"
                found.setdefault(name, Mismatch(name, expected, f"another when those are {filling:g}", mend))
    yield from found.values()


@torch.no_grad()
def _densities_until_error(trace: Trace) -> tuple[dict[str, Tensor], str]:
    """Log densities by site, and the first site whose density raised an error."""
    densities = {}
    for name, node in sample_sites(trace).items():
        try:
            densities[name] = masked_score(node)
        except (ArithmeticError, RuntimeError, ValueError):
            return densities, name
    return densities, ""
