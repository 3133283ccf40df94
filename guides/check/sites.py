"""Are the sites of a guide those of its model? Names, shapes, plates, supports, dtypes and devices."""

from collections.abc import Iterator
from difflib import get_close_matches

from pyro.poutine.trace_struct import Trace

from guides.check.auxiliary import EXTRA_SITE
from guides.check.mismatches import Mismatch
from guides.program import sample_sites
from guides.site_table import Site, SiteTable


def compare_sites(wanted: SiteTable, offered: SiteTable, posterior: Trace, *, complete: bool) -> Iterator[Mismatch]:
    """Compare names, and for each common name shapes, plates, support, dtype and device."""
    auxiliary = {name for name, node in sample_sites(posterior).items() if node["infer"].get("is_auxiliary")}
    for site in wanted.latent:
        if site.name in offered:
            yield from _compare_site(site, offered[site.name])
        elif complete and site.enumeration != "parallel":
            yield _left_out(site)
    missing = [site.name for site in wanted.latent if site.name not in offered]
    for site in offered:
        if site.name in auxiliary:
            if site.name in wanted:
                yield Mismatch(site.name, "a draw for the model", "a site marked as auxiliary", "drop is_auxiliary")
        elif site.name not in wanted:
            near = get_close_matches(site.name, missing, 1, 0.5)
            mend = f'rename it to "{near[0]}", or {EXTRA_SITE}' if near else EXTRA_SITE
            yield Mismatch(site.name, "no such site", site.distribution, mend)
        elif wanted[site.name].observed:
            yield Mismatch(
                site.name, "no such site, the model observes it", site.distribution, "remove it from the guide"
            )
        elif site.observed:
            yield Mismatch(site.name, "a draw", "an observed value", "drop obs=... from the guide's statement")


def _left_out(site: Site) -> Mismatch:
    """A latent that nothing infers. TraceEnum_ELBO sums over the model's sites that are marked for enumeration."""
    expected = f"a draw of {site.distribution} with event shape {site.event_shape}"
    mend = "add it to the guide"
    if site.enumeration is not None:
        mend += f', or mark it infer={{"enumerate": "parallel"}} in the model: got {site.enumeration!r} there'
    return Mismatch(site.name, expected, "no such site", mend)


def _compare_site(site: Site, drawn: Site) -> Iterator[Mismatch]:
    name = site.name
    if drawn.event_shape != site.event_shape:
        lacking = len(site.event_shape) - len(drawn.event_shape)
        wider = f"call .to_event({lacking}) on its distribution"
        mend = wider if lacking > 0 else "take its event dimensions from the model"
        yield Mismatch(name, f"event shape {site.event_shape}", f"{drawn.event_shape}", mend)
    wanted, offered = set(site.plates), set(drawn.plates)
    for plate in sorted(wanted - offered, key=lambda plate: -plate.dim):
        same_name = [other for other in drawn.plates if other.name == plate.name]
        got = str(same_name[0]) if same_name else "no such plate"
        statement = f'draw it in `with pyro.plate("{plate.name}", {plate.size}, dim={plate.dim})`'
        yield Mismatch(name, f"plate {plate}", got, statement)
    names = {plate.name for plate in wanted}
    for plate in sorted(offered - wanted, key=lambda plate: -plate.dim):
        if plate.name not in names:
            yield Mismatch(
                name,
                "no such plate",
                f"plate {plate}",
                "draw it outside this plate, or name the plate as the model does",
            )
    claimed = {plate.dim for plate in drawn.plates}
    loose = [dim for dim in range(-len(drawn.batch_shape), 0) if drawn.batch_shape[dim] != 1 and dim not in claimed]
    if loose and drawn.event_shape == site.event_shape:
        got = f"batch shape {drawn.batch_shape}, where dim {', '.join(map(str, loose))} is in no plate"
        yield Mismatch(
            name,
            f"batch shape {site.batch_shape}",
            got,
            "reshape its distribution, or declare the dim by a plate that the model has",
        )
    if drawn.support != site.support and not drawn.distribution.startswith("Delta"):
        mend = "use a distribution with this support, or transform one (dist.TransformedDistribution)"
        yield Mismatch(name, f"support {site.support}", drawn.support, mend)
    if drawn.dtype != site.dtype:
        mend = "make the distribution from tensors of the frames' dtype"
        yield Mismatch(name, f"dtype {site.dtype}", f"{drawn.dtype}", mend)
    if drawn.device != site.device:
        yield Mismatch(
            name, f"device {site.device}", f"{drawn.device}", "make the distribution from tensors on the frames' device"
        )
