"""Sample sites of a program as a table, printed as text or, in a notebook, as HTML."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, NamedTuple

import torch
from pyro.poutine.trace_struct import Trace

from guides.program import deterministic_sites, sample_sites


class Plate(NamedTuple):
    """A vectorised plate that a site is in: its name, its size and its dimension, counted from the right."""

    name: str
    size: int
    dim: int

    def __str__(self) -> str:
        return f"{self.name}[{self.size}]@{self.dim}"


@dataclass(frozen=True)
class Site:
    """One sample site of a model or a guide.

    Attributes:
        name: its name.
        distribution: class of the distribution, without wrappers that only reshape, e.g. `Normal.to_event(2)`.
        event_shape: shape of one draw.
        batch_shape: shape of the independent draws, plates included.
        support: where draws lie, in words.
        plates: the vectorised plates around it, the rightmost dimension first.
        discrete: whether its support is a set of separate points.
        observed: whether its value is data.
        reparameterised: whether gradients flow through its draws.
        dtype: dtype of its draws.
        device: device of its draws.
        enumeration: how Pyro sums over all its values, "parallel" or "sequential"; None if it does not, or if its
            distribution cannot list them.
    """

    name: str
    distribution: str
    event_shape: tuple[int, ...]
    batch_shape: tuple[int, ...]
    support: str
    plates: tuple[Plate, ...]
    discrete: bool
    observed: bool
    reparameterised: bool
    dtype: torch.dtype
    device: torch.device
    enumeration: str | None = None


@dataclass(frozen=True)
class SiteTable:
    """The sample sites of a program, in order of execution.

    Attributes:
        sites: they; the table prints, counts and lists these alone.
        deterministic: sites of `pyro.deterministic`, found by name as well.
    """

    sites: tuple[Site, ...]
    deterministic: tuple[Site, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all sites, in order."""
        return tuple(site.name for site in self.sites)

    @property
    def latent(self) -> tuple[Site, ...]:
        """The sites that a guide must draw; those enumerated in parallel in the model may be left out."""
        return tuple(site for site in self.sites if not site.observed)

    @property
    def plate_nesting(self) -> int:
        """Number of dimensions, from the right, that plates occupy."""
        return max((-plate.dim for site in self.sites for plate in site.plates), default=0)

    def __getitem__(self, name: str) -> Site:
        for site in (*self.sites, *self.deterministic):
            if site.name == name:
                return site
        raise KeyError(f"no site {name!r}; the sites are {', '.join(self.names)}")

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[Site]:
        return iter(self.sites)

    def __len__(self) -> int:
        return len(self.sites)

    def __str__(self) -> str:
        return text_table(_HEADER, [_cells(site) for site in self.sites])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_table(_HEADER, [_cells(site) for site in self.sites])


def tabulate_trace(trace: Trace) -> SiteTable:
    """The sample sites of a trace as a table."""
    return SiteTable(_rows(sample_sites(trace)), _rows(deterministic_sites(trace)))


def _rows(nodes: dict[str, dict[str, Any]]) -> tuple[Site, ...]:
    rows = []
    for name, node in nodes.items():
        law, value = node["fn"], node["value"]
        plates = [Plate(frame.name, frame.size, frame.dim) for frame in node["cond_indep_stack"] if frame.vectorized]
        rows.append(
            Site(
                name=name,
                distribution=name_distribution(law),
                event_shape=tuple(law.event_shape),
                batch_shape=tuple(law.batch_shape),
                support=name_support(law.support),
                plates=tuple(sorted(plates, key=lambda plate: -plate.dim)),
                discrete=bool(law.support.is_discrete),
                observed=bool(node["is_observed"]),
                reparameterised=bool(law.has_rsample) and not node["is_observed"],
                dtype=value.dtype,
                device=value.device,
                enumeration=_enumeration(node),
            )
        )
    return tuple(rows)


def _enumeration(node: dict[str, Any]) -> str | None:
    """The site's enumeration mark, if Pyro can enumerate it."""
    return node["infer"].get("enumerate") if node["fn"].has_enumerate_support and not node["is_observed"] else None


def name_distribution(law: Any) -> str:
    """`Normal.to_event(2).mask()` for a distribution inside any number of wrappers."""
    events, masked = 0, False
    while True:
        kind = type(law).__name__
        if kind == "Independent":
            events += law.reinterpreted_batch_ndims
        elif kind == "MaskedDistribution":
            masked = True
        elif kind != "ExpandedDistribution":
            break
        law = law.base_dist
    return type(law).__name__ + (f".to_event({events})" if events else "") + (".mask()" if masked else "")


def name_support(support: Any) -> str:
    """A support in words, without its number of event dimensions, which the event shape gives.

    Sets that differ only by their boundary have the same name: draws do not tell them apart.
    """
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    kind = type(support).__name__.strip("_").lower()
    if kind in ("greaterthan", "greaterthaneq"):
        return "positive" if _all_equal(support.lower_bound, 0.0) else f"above {_bound(support.lower_bound)}"
    if kind in ("interval", "halfopeninterval"):
        return f"between {_bound(support.lower_bound)} and {_bound(support.upper_bound)}"
    if kind == "boolean" or (
        kind == "integerinterval" and _all_equal(support.lower_bound, 0.0) and _all_equal(support.upper_bound, 1.0)
    ):
        return "0 or 1"
    if kind == "integerinterval":
        return f"integers {_bound(support.lower_bound)} to {_bound(support.upper_bound)}"
    if kind == "integergreaterthan":
        return f"integers from {_bound(support.lower_bound)}"
    return kind


def _all_equal(bound: Any, value: float) -> bool:
    return bool((torch.as_tensor(bound) == value).all())


def _bound(bound: Any) -> str:
    """A bound that may be a tensor of equal entries."""
    values = torch.as_tensor(bound, dtype=torch.float64).unique()
    return f"{values.item():g}" if values.numel() == 1 else f"({values.min().item():g}..{values.max().item():g})"


_HEADER = ("site", "distribution", "event", "batch", "support", "plates", "values", "role", "reparameterised")


def _cells(site: Site) -> tuple[str, ...]:
    return (
        site.name,
        site.distribution,
        str(site.event_shape),
        str(site.batch_shape),
        site.support,
        " ".join(map(str, site.plates)) or "-",
        "discrete" if site.discrete else "continuous",
        "observed" if site.observed else "latent, enumerated" if site.enumeration else "latent",
        "-" if site.observed else "yes" if site.reparameterised else "no",
    )


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to one width, a rule under the header."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same as an HTML table."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
