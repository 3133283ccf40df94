"""Does this guide fit this model? Every mismatch at once, each with its remedy."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.poutine.trace_struct import Trace
from torch import Tensor, nn

from guides.describe import undisturbed
from guides.site_table import Site, SiteTable, html_table, sample_sites, tabulate_trace, text_table

Program = Callable[..., Any]
Arguments = tuple[Tensor, Tensor | None, Tensor | None]


@dataclass(frozen=True)
class Mismatch:
    """One way in which a guide does not fit its model.

    Attributes:
        site: name of the sample site, or of the parameter.
        expected: what the model asks for.
        got: what the guide has.
        mend: what to change.
    """

    site: str
    expected: str
    got: str
    mend: str

    def __str__(self) -> str:
        return f"{self.site}: expected {self.expected}, got {self.got}; {self.mend}"


class GuideMismatchError(ValueError):
    """A guide that does not fit its model; `mismatches` has every one."""

    def __init__(self, mismatches: tuple[Mismatch, ...]) -> None:
        self.mismatches = mismatches
        count = "1 mismatch" if len(mismatches) == 1 else f"{len(mismatches)} mismatches"
        super().__init__(
            f"the guide does not fit the model, {count}:\n" + "\n".join(f"  - {one}" for one in mismatches)
        )


@dataclass(frozen=True)
class GuideCheck:
    """The sites of a model beside those of a guide that fits it."""

    model: SiteTable
    guide: SiteTable

    def _rows(self) -> list[tuple[str, ...]]:
        rows = []
        for site in self.model:
            drawn = self.guide[site.name] if site.name in self.guide else None
            law = drawn.distribution if drawn else "(observed)"
            gradients = "-" if drawn is None else "yes" if drawn.reparameterised else "no"
            plates = " ".join(map(str, site.plates)) or "-"
            rows.append((site.name, site.distribution, law, str(site.event_shape), site.support, plates, gradients))
        return rows

    def __str__(self) -> str:
        return text_table(_HEADER, self._rows())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_table(_HEADER, self._rows())


_HEADER = ("site", "model", "guide", "event", "support", "plates", "guide reparameterised")


def check_guide(
    model: Program, guide: Program, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None
) -> GuideCheck:
    """Compare a guide with its model, site by site, and name every mismatch at once.

    Checked: missing sites, extra sites (unless marked `infer={"is_auxiliary": True}`) and sites that the model
    observes; event shape, plates, support, dtype and device of each draw; draws outside the model's support;
    non-finite log densities; entries that the guide scores and the model, where frames are missing, does not; missing
    frames that are read; parameters of the guide that no gradient reaches; and whether both can be drawn in a plate of
    particles to the left of their own. All for these arguments: pass `observed` and `controls` if the guide is to use
    them.

    The random state, the parameters and the buffers are left as they were.

    Args:
        model: called as `model(frames, observed, controls)`.
        guide: called with the same arguments.
        frames: (sequences, time, channels, height, width) in [0, 1].
        observed: bool (sequences, time), False = missing, or None.
        controls: (sequences, time, control) or None.

    Returns:
        The table of `describe_sites`, both sides.

    Raises:
        GuideMismatchError: a `ValueError` with every mismatch: the site, what was expected, what came, how to mend it.

    Example:
        A guide for the codes of a Kalman VAE, in ten lines. The model does not score a missing frame's code, so neither
        must the guide: that is what the mask is for.

        >>> import pyro, torch, pyro.distributions as dist
        >>> from pyro.nn import PyroModule
        >>> from pyro_models import KalmanVAE
        >>> class LinearGuide(PyroModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.network = torch.nn.Linear(8 * 8, 2 * 2)
        ...     def forward(self, frames, observed, controls=None):
        ...         frames = torch.where(observed[:, :, None, None, None], frames, 0)
        ...         mean, log_scale = self.network(frames.flatten(2)).chunk(2, dim=-1)
        ...         law = dist.Normal(mean, log_scale.exp()).to_event(1).mask(observed).to_event(1)
        ...         with pyro.plate("sequences", frames.shape[0], dim=-1):
        ...             pyro.sample("a", law)
        >>> model = KalmanVAE(frame_shape=(1, 8, 8), code_dim=2, decoder="mlp")
        >>> frames, observed = torch.rand(5, 7, 1, 8, 8).round(), torch.rand(5, 7) > 0.3
        >>> check = check_guide(model, LinearGuide(), frames, observed)
        >>> check.guide["a"].distribution, check.guide["a"].event_shape
        ('Normal.to_event(2).mask()', (7, 2))

        What a guide that names the site otherwise hears:

        >>> def misnamed(frames, observed=None, controls=None):
        ...     with pyro.plate("sequences", frames.shape[0], dim=-1):
        ...         pyro.sample("aa", dist.Normal(torch.zeros(7, 2), 1).to_event(2))
        >>> check_guide(model, misnamed, frames, observed)
        Traceback (most recent call last):
            ...
        guides.check.GuideMismatchError: the guide does not fit the model, 2 mismatches:
          - a: expected a draw of CodePrior with event shape (7, 2), got no such site; add it to the guide
          - aa: expected no such site, got Normal.to_event(2); rename it to "a", or mark it infer={"is_auxiliary": True}
    """
    arguments = (frames, observed, controls)
    with undisturbed(model, guide, device=frames.device):
        with torch.no_grad():
            prior = poutine.trace(model).get_trace(*arguments)
        wanted = tabulate_trace(prior)
        posterior, stopped = _trace_until_error(guide, arguments)
        offered = tabulate_trace(posterior)
        found = list(_compare_sites(wanted, offered, posterior, complete=not stopped))
        if stopped:
            found.append(Mismatch("guide", "a guide that runs", stopped, "mend this first: it hides what comes after"))
        found += _compare_values(wanted, offered, prior, posterior)
        if not found:
            found += _compare_scores(model, guide, arguments, posterior)
            found += _compare_scored_entries(model, arguments, wanted, posterior)
            found += _compare_missing(guide, arguments)
            found += _compare_particles(model, guide, arguments, max(wanted.plate_nesting, offered.plate_nesting))
    if found:
        raise GuideMismatchError(tuple(found))
    return GuideCheck(wanted, offered)


def _trace_until_error(program: Program, arguments: Arguments) -> tuple[Trace, str]:
    """The trace, whole or up to the statement that raised, and what was raised."""
    tracer = poutine.trace(program)
    try:
        return tracer.get_trace(*arguments), ""
    except Exception as error:
        message = str(error).split("\n Trace Shapes:")[0].split("\nTrace Shapes:")[0]
        return tracer.trace, f"{type(error).__name__}: {message}"


def _compare_sites(wanted: SiteTable, offered: SiteTable, posterior: Trace, *, complete: bool) -> Iterator[Mismatch]:
    """Names, and for each common name the shapes, plates, support, dtype and device."""
    auxiliary = {name for name, node in sample_sites(posterior).items() if node["infer"].get("is_auxiliary")}
    for site in wanted.latent:
        if site.name in offered:
            yield from _compare_site(site, offered[site.name])
        elif complete:
            law = f"a draw of {site.distribution} with event shape {site.event_shape}"
            yield Mismatch(site.name, law, "no such site", "add it to the guide")
    missing = [site.name for site in wanted.latent if site.name not in offered]
    for site in offered:
        if site.name in auxiliary:
            if site.name in wanted:
                yield Mismatch(site.name, "a draw for the model", "a site marked as auxiliary", "drop is_auxiliary")
        elif site.name not in wanted:
            near = get_close_matches(site.name, missing, 1, 0.5)
            mend = f'rename it to "{near[0]}", or mark it' if near else "remove it, or mark it"
            yield Mismatch(site.name, "no such site", site.distribution, f'{mend} infer={{"is_auxiliary": True}}')
        elif wanted[site.name].observed:
            yield Mismatch(
                site.name, "no such site, the model observes it", site.distribution, "remove it from the guide"
            )
        elif site.observed:
            yield Mismatch(site.name, "a draw", "an observed value", "drop obs=... from the guide's statement")


def _compare_site(site: Site, drawn: Site) -> Iterator[Mismatch]:
    name = site.name
    if drawn.event_shape != site.event_shape:
        lacking = len(site.event_shape) - len(drawn.event_shape)
        mend = f"call .to_event({lacking}) on its law" if lacking > 0 else "take its event dimensions from the model"
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
            "reshape its law, or declare the dim by a plate that the model has",
        )
    if drawn.support != site.support and not drawn.distribution.startswith("Delta"):
        mend = "use a law with this support, or transform one (dist.TransformedDistribution)"
        yield Mismatch(name, f"support {site.support}", drawn.support, mend)
    if drawn.dtype != site.dtype:
        yield Mismatch(name, f"dtype {site.dtype}", f"{drawn.dtype}", "make the law from tensors of the frames' dtype")
    if drawn.device != site.device:
        yield Mismatch(
            name, f"device {site.device}", f"{drawn.device}", "make the law from tensors on the frames' device"
        )


def _compare_values(wanted: SiteTable, offered: SiteTable, prior: Trace, posterior: Trace) -> Iterator[Mismatch]:
    """The guide's own draws: inside the model's support, with a finite density under the guide."""
    laws, nodes = sample_sites(prior), sample_sites(posterior)
    for site in offered:
        node = nodes[site.name]
        if site.name in wanted and wanted[site.name].event_shape == site.event_shape:
            inside = laws[site.name]["fn"].support.check(node["value"])
            if not bool(inside.all()):
                got = f"{_share(~inside)} of its draws outside"
                yield Mismatch(
                    site.name,
                    f"values in the support {wanted[site.name].support}",
                    got,
                    "restrict the guide's law to it",
                )
        with torch.no_grad():
            density = node["fn"].log_prob(node["value"])
        if not bool(density.isfinite().all()):
            got = f"{_share(~density.isfinite())} of them not finite"
            mend = "look for a scale of zero or a NaN in the networks that make its law"
            yield Mismatch(site.name, "finite log densities under the guide", got, mend)


def _share(failing: Tensor) -> str:
    return f"{int(failing.sum())} of {failing.numel()}"


def _compare_scores(model: Program, guide: Program, arguments: Arguments, posterior: Trace) -> Iterator[Mismatch]:
    """The model at the guide's draws: finite log densities, and a gradient for every parameter of the guide."""
    scored, stopped = _trace_until_error(poutine.replay(model, trace=posterior), arguments)
    if stopped:
        mend = "compare the shapes of the draws with describe_sites(model, ...)"
        yield Mismatch("model", "a model that runs on the guide's draws", stopped, mend)
        return
    total = torch.zeros((), device=arguments[0].device)
    for name, node in sample_sites(scored).items():
        density = _masked_score(node)
        if not bool(density.isfinite().all()):
            got = f"{_share(~density.isfinite())} of them not finite"
            expected = "finite log densities under the model at the guide's draws"
            yield Mismatch(name, expected, got, "bring the guide's draws nearer to the model's")
        total = total + density.sum()
    for node in sample_sites(posterior).values():
        total = total - _masked_score(node).sum()
    parameters = dict(_parameters(guide, posterior))
    gradients: Sequence[Tensor | None] = [None] * len(parameters)
    if parameters and total.requires_grad:
        gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    for name, gradient in zip(parameters, gradients, strict=True):
        if gradient is None:
            mend = "use it (detach() cuts the path), freeze it by requires_grad_(False), or pass what brings it in"
            yield Mismatch(name, "a gradient of the bound", "none", mend)


def _masked_score(node: dict[str, Any]) -> Tensor:
    return scale_and_mask(node["fn"].log_prob(node["value"]), 1.0, node["mask"])


def _parameters(guide: Program, posterior: Trace) -> Iterator[tuple[str, Tensor]]:
    """Trainable leaves of the guide, each once: those of a module, and those of `pyro.param`."""
    seen = set()
    if isinstance(guide, nn.Module):
        for name, parameter in guide.named_parameters():
            if parameter.requires_grad:
                seen.add(id(parameter))
                yield name, parameter
    nodes: dict[str, Any] = dict(posterior.nodes)
    for name, node in nodes.items():
        if node["type"] == "param":
            value = node["value"]
            leaf = value.unconstrained() if hasattr(value, "unconstrained") else value
            if leaf.requires_grad and id(leaf) not in seen:
                yield name, leaf


def _compare_scored_entries(
    model: Program, arguments: Arguments, wanted: SiteTable, posterior: Trace
) -> Iterator[Mismatch]:
    """Entries of a draw that the guide scores and the model leaves out, as it may where frames are missing.

    Their entropy would lift the bound above the log evidence. No density on the reals is flat where it is drawn from,
    so an entry of zero gradient under the model is one that it does not score. A guide that takes densities back by
    `pyro.factor` is passed over: what it scores in all is not to be told from its sites one by one.
    """
    if any(type(node["fn"]).__name__ == "Unit" for node in sample_sites(posterior).values()):
        return
    nodes = {name: node for name, node in sample_sites(posterior).items() if name in wanted}
    values = {name: node["value"].detach() for name, node in nodes.items()}
    leaves = {name: value.clone().requires_grad_() for name, value in values.items() if wanted[name].support == "real"}
    if not leaves:
        return
    scored = poutine.trace(poutine.condition(model, {**values, **leaves})).get_trace(*arguments)
    total = torch.stack([_masked_score(node).sum() for node in sample_sites(scored).values()]).sum()
    own = torch.stack([_masked_score({**nodes[name], "value": leaf}).sum() for name, leaf in leaves.items()]).sum()
    if not own.requires_grad:  # point masses: the guide scores no entry
        return
    by_model = torch.autograd.grad(total, list(leaves.values()), allow_unused=True, materialize_grads=True)
    by_guide = torch.autograd.grad(own, list(leaves.values()), allow_unused=True, materialize_grads=True)
    for name, modelled, guided in zip(leaves, by_model, by_guide, strict=True):
        alone = (modelled == 0) & (guided != 0)
        if bool(alone.any()):
            got = f"{_share(alone)} scored by the guide alone"
            mend = "mask the guide's law where the model leaves frames out: law.mask(observed)"
            yield Mismatch(name, "the entries of a draw that the model scores", got, mend)


def _compare_missing(guide: Program, arguments: Arguments) -> Iterator[Mismatch]:
    """Whether NaN in the missing frames changes a bit of what the guide draws."""
    frames, observed, controls = arguments
    if observed is None or bool(observed.all()):
        return
    seen = observed[:, :, None, None, None]
    draws = []
    for filling in (0.0, float("nan")):
        pyro.set_rng_seed(0)
        with torch.no_grad():
            trace = poutine.trace(guide).get_trace(torch.where(seen, frames, filling), observed, controls)
        draws.append({name: node["value"] for name, node in sample_sites(trace).items()})
    for name, value in draws[0].items():
        if not torch.equal(value, draws[1][name]):
            mend = "begin with frames = torch.where(observed[:, :, None, None, None], frames, 0)"
            yield Mismatch(name, "draws that do not depend on missing frames", "other draws when those are NaN", mend)


def _compare_particles(model: Program, guide: Program, arguments: Arguments, nesting: int) -> Iterator[Mismatch]:
    """Whether guide and model broadcast over a plate of particles, as estimators with several draws ask of them."""
    mend = "let tensors broadcast over leading dims: a draw has shape (particles, *plates, *event)"
    with torch.no_grad(), pyro.plate("_particles", 2, dim=-nesting - 1):
        posterior, stopped = _trace_until_error(guide, arguments)
        if stopped:
            yield Mismatch("guide", "draws in a plate of 2 particles", stopped, mend)
            return
        scored, stopped = _trace_until_error(poutine.replay(model, trace=posterior), arguments)
        if stopped:
            yield Mismatch("model", "scores of draws in a plate of 2 particles", stopped, mend)
            return
    for side, trace in (("guide", posterior), ("model", scored)):
        for name, node in sample_sites(trace).items():
            plates = {frame.dim: frame.size for frame in node["cond_indep_stack"] if frame.vectorized}
            expected = tuple(plates.get(dim, 1) for dim in range(-nesting - 1, 0))
            with torch.no_grad():
                got = tuple(node["fn"].log_prob(node["value"]).shape)
            if got != expected:
                yield Mismatch(
                    name, f"log densities of the {side} with 2 particles of shape {expected}", f"{got}", mend
                )
