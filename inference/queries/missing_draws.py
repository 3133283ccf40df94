"""Check that a guide's draws at missing frames are meaningful: its density and the model's must include them."""

from collections.abc import Mapping

import pyro
import torch
from pyro import poutine
from torch import Tensor

from guides.check.scored_entries import depended_on, scored_by_model
from guides.site_table import SiteTable
from inference.programs.decoding import DRAWS, Arguments
from inference.programs.traces import Program, sample_sites
from inference.runtime.generators import seeded

NUM_DRAWS, MOST_SEQUENCES = 8, 8


def check_draws_at_missing(
    model: Program, guide: Program, arguments: Arguments, table: SiteTable, nesting: int, *, seed: int, most_frames: int
) -> None:
    """Refuse a guide whose draws at missing frames are masked out of a density.

    A guide learns only from entries scored by both its density and the model's. An entry that one of them masks because
    a frame is missing is not inferred: its value is arbitrary output of a network that saw no frame. To tell masks of
    missing frames from others, the same draws are scored as if every frame had been seen.

    Args:
        model: called with the arguments.
        guide: called with the same arguments; it has no `complete`.
        arguments: frames, observed, controls; missing frames are not read.
        table: the model's sites.
        nesting: number of plate dims of model and guide.
        seed: seed of the draws.
        most_frames: maximum number of frames decoded at once.

    Raises:
        ValueError: if a latent has such entries; names it.
    """
    frames, observed, controls = arguments
    if observed is None or bool(observed.all()):
        return
    size = max(1, min(MOST_SEQUENCES, most_frames // (NUM_DRAWS * frames.shape[1])))
    rows = (~observed).any(1).nonzero()[:size, 0]
    seen = observed[rows]
    frames = torch.where(seen[:, :, None, None, None], frames[rows], 0)
    controls = None if controls is None else controls[rows]
    many_models, many_guides = (pyro.plate(DRAWS, NUM_DRAWS, dim=-nesting - 1)(program) for program in (model, guide))
    # check_guide reports mismatches with the model
    with seeded("draws at missing frames", seed), pyro.validation_enabled(False):
        drawn = poutine.trace(many_guides).get_trace(frames, seen, controls)
        values = {name: node["value"] for name, node in sample_sites(drawn).items() if name in table}
        scored = []
        for given in (seen, torch.ones_like(seen)):
            replayed = poutine.trace(poutine.replay(many_guides, trace=drawn)).get_trace(frames, given, controls)
            own = {name: depended_on(node) for name, node in sample_sites(replayed).items() if name in values}
            scored.append((own, scored_by_model(many_models, (frames, given, controls), values)))
    by_guide, by_model = (_left_out(before, after) for before, after in zip(*scored, strict=True))
    if not by_guide | by_model:
        return
    names = [site.name for site in table if site.name in by_guide | by_model]
    sides = [side for side, left_out in (("the guide", by_guide), ("the model", by_model)) if left_out]
    raise ValueError(
        f"guide: expected complete() and completion_methods, or draws that guide and model score where frames are "
        f"missing, got {type(guide).__name__} without complete(), and {' and '.join(sides)} "
        f"{'leave' if len(sides) > 1 else 'leaves'} out {_listed(names)} there, so its draws are meaningless; give "
        f"the guide complete(frames, observed, controls, *, method, num_samples), or let both programs score these "
        f"latents at missing frames, as RecurrentGuide does"
    )


def _left_out(before: Mapping[str, Tensor | None], after: Mapping[str, Tensor | None]) -> set[str]:
    """Latents with entries that are scored when all frames are seen, and masked in most draws otherwise.

    Most rather than all: a gradient may be zero by chance, and an absent object is masked anyway.
    """
    found = set()
    for name, scored in before.items():
        whole = after[name]
        if scored is not None and whole is not None:
            lost = (whole & ~scored).sum(0)
            if bool((2 * lost > whole.sum(0)).any()):
                found.add(name)
    return found


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "")
