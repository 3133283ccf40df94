"""Do guide and model score the same entries of each draw?"""

from collections.abc import Iterator

import torch
from pyro import poutine
from pyro.poutine.trace_struct import Trace

from guides.check.mask_advice import MaskSearch
from guides.check.mismatches import Mismatch, share
from guides.check.scored_entries import depended_on, scored_by_model
from guides.program import Arguments, Program, sample_sites
from guides.site_table import SiteTable


def compare_masks(model: Program, arguments: Arguments, wanted: SiteTable, posterior: Trace) -> Iterator[Mismatch]:
    """Entries of a draw that only one side scores, for example where frames or objects are missing.

    Entries scored by the guide alone lift the bound above the log evidence by their entropy; entries scored by the
    model alone lower it by as much. Guides that cancel densities by `pyro.factor` are skipped, since their total score
    cannot be told site by site. So are point masses, which score nothing.
    """
    nodes = sample_sites(posterior)
    if any(type(node["fn"]).__name__ == "Unit" for node in nodes.values()):
        return
    guided = {name: depended_on(node) for name, node in nodes.items() if name in wanted}
    values = {name: nodes[name]["value"].detach() for name in guided}
    modelled = scored_by_model(model, arguments, values)
    with torch.no_grad():
        prior = sample_sites(poutine.trace(poutine.condition(model, values)).get_trace(*arguments))
    search = MaskSearch(model, arguments, wanted, values)
    for name, mine in guided.items():
        if mine is None:
            continue
        alone = mine & ~modelled[name]
        if bool(alone.any()):
            got = f"{share(alone)} scored by the guide alone"
            yield Mismatch(name, "the entries of a draw that the model scores", got, search.advise(name))
        own = depended_on(prior[name])
        missed = torch.zeros_like(mine) if own is None else own & ~mine
        if bool(missed.any()):
            got = f"{share(missed)} scored by the model alone"
            mend = "let the guide score them: mask its distribution as in the model, and nowhere else"
            yield Mismatch(name, "a density of every entry that the model scores", got, mend)
