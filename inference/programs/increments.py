"""Log weights split by time step."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from inference.programs.traces import ImportanceTraces, is_reparameterised, sample_sites

TIME = "time"
NUMBER = re.compile(r"_(\d+)(?:_\d+)*$")


def increments(traces: ImportanceTraces) -> Float[Tensor, "particles time sequences"]:
    """Contribution of each time step to the log weights, in nats, with gradients; their sum is `log_weights()`.

        sum of log p - sum of log q        over the sites of a step

    A site belongs to steps by the plate `time`, or to one step by the first of the numbers at the end of its name
    (`z_3`; `z_where_3_1` is object 1 at step 3). Numbers may start at 0 or 1.

    Args:
        traces: draws of a guide and the model run against them.

    Raises:
        ValueError: if a site has neither plate nor number, such as a latent that is a whole path (names it), or plates
            and numbers imply different steps.
    """
    terms = [(site, site["log_prob"], True) for site in sample_sites(traces.model).values()]
    terms += [(site, -site["log_prob"], True) for site in sample_sites(traces.guide).values()]
    return _by_step(traces, terms, terms)


def step_scores(traces: ImportanceTraces) -> Float[Tensor, "particles time sequences"]:
    """Contribution of each time step to `log_scores()`, log q of draws without gradient, in nats; see `increments`.

    Args:
        traces: draws of a guide and the model run against them.

    Raises:
        ValueError: as `increments`.
    """
    every = [(site, site["log_prob"], True) for site in sample_sites(traces.model).values()]
    scored = [
        (site, site["score_parts"].score_function, False)
        for site in sample_sites(traces.guide).values()
        if not is_reparameterised(site)
    ]
    return _by_step(traces, scored, every + scored)


Term = tuple[Mapping[str, Any], Tensor, bool]
"""A site, a term for each of its draws, and whether the term includes the subsampling scale."""


def _by_step(traces: ImportanceTraces, terms: Sequence[Term], every: Sequence[Term]) -> Tensor:
    """Sums of terms by step, (particles, time, sequences); the number of steps comes from the sites in `every`."""
    plates = [_time_plate(site) for site, *_ in every]
    numbers = [_number(site) for (site, *_), plate in zip(every, plates, strict=True) if plate is None]
    first, last = min(numbers, default=0), max(numbers, default=0)
    sizes = {int(plate.size) for plate in plates if plate is not None} or {last - first + 1}
    size = max(sizes)
    if len(sizes) > 1 or last - first >= size:
        found = ", ".join(sorted({site["name"] for site, *_ in every}))
        raise ValueError(f"model: expected sites of the same steps, got plates {TIME!r} of {sorted(sizes)} and {found}")
    steps: list[list[Tensor]] = [[torch.zeros_like(traces.log_weights())] for _ in range(size)]
    for site, term, scaled in terms:
        frame = _time_plate(site)
        if frame is None:
            steps[_number(site) - first].append(traces.per_sequence(site, term, scaled=scaled))
            continue
        for index in range(size):
            steps[index].append(traces.per_sequence(site, term.narrow(frame.dim, index, 1), scaled=scaled))
    return torch.stack([torch.stack(parts).sum(0) for parts in steps], 1)


def _time_plate(site: Mapping[str, Any]) -> Any:
    return next((frame for frame in site["cond_indep_stack"] if frame.name == TIME and frame.vectorized), None)


def _number(site: Mapping[str, Any]) -> int:
    found = NUMBER.search(site["name"])
    if found is None:
        raise ValueError(
            f"site {site['name']!r}: expected inside a plate called {TIME!r}, or a name that ends in the number of its "
            "step; a latent that is a whole path has no increments"
        )
    return int(found[1])
