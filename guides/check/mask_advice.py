"""What a model's mask of a latent depends on, found by trial, and how to write the same mask in a guide."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import mul

import torch
from pyro import poutine
from torch import Tensor

from guides.check.scored_entries import scored_by_model
from guides.program import Arguments, Program, sample_sites
from guides.site_table import Site, SiteTable

Values = Mapping[str, Tensor]
RANDOM_TRIALS = 2


@dataclass(frozen=True)
class Mask:
    """A mask that a guide may use.

    Attributes:
        text: the expression, in terms of `observed` and of draws, by site name.
        kept: its value, with the number of dims of the draw, of size 1 along those it does not depend on.
        event_dims: the number of leading event dims of the draw along which it varies.
    """

    text: str
    kept: Tensor
    event_dims: int


@dataclass(frozen=True, eq=False)
class MaskSearch:
    """Tests by trial whether the masks of a model's latents depend on missing frames or on values of other latents.

    Attributes:
        model: called with the arguments.
        arguments: frames, observed, controls.
        wanted: the model's sites.
        values: the guide's draws of the model's latents.
    """

    model: Program
    arguments: Arguments
    wanted: SiteTable
    values: Values

    def advise(self, name: str) -> str:
        """How to mask the guide's distribution of a latent as the model's is masked.

        An expression is given only if it equals the model's mask for these draws, for other values of the relevant
        latents and for other missing frames; otherwise the message names what the mask depends on.
        """
        sites = self._sites_that_mask(name)
        by_frames = name in self._masked_by_frames
        site = self.wanted[name]
        trials = [
            (values, seen, self._scored(values, seen)[name])
            for values, seen in self._trials(sites, by_frames=by_frames)
        ]
        lists = [list(_masks(site, values, seen, sites, by_frames=by_frames)) for values, seen, _ in trials]
        for candidates in zip(*lists, strict=True):
            if all(_equal(mask.kept, scored) for mask, (*_, scored) in zip(candidates, trials, strict=True)):
                return f"mask the guide's distribution as in the model: {_statement(site, candidates[0])}"
        causes = ["missing frames"] * by_frames + [f"the draw of {other}" for other in sites]
        if not causes:
            return "mask the guide's distribution there: the model scored these entries for none of the values tried"
        return f"mask the guide's distribution as in the model; that mask depends on {' and '.join(causes)}"

    @cached_property
    def _observed(self) -> Tensor:
        frames, observed, _ = self.arguments
        return torch.ones_like(frames[:, :, 0, 0, 0], dtype=torch.bool) if observed is None else observed

    @cached_property
    def _base(self) -> dict[str, Tensor]:
        return self._scored(self.values, self._observed)

    def _scored(self, values: Values, observed: Tensor) -> dict[str, Tensor]:
        frames, given, controls = self.arguments
        seen = None if given is None and bool(observed.all()) else observed
        return scored_by_model(self.model, (frames, seen, controls), values)

    @cached_property
    def _masked_by_frames(self) -> set[str]:
        """Latents whose scored entries change when every frame is seen."""
        return _changed(self._base, self._scored(self.values, torch.ones_like(self._observed)))

    def _sites_that_mask(self, name: str) -> list[str]:
        """Latents on whose values this mask depends; continuous ones are tried only if nothing else explains it."""
        found = [other for other, changed in self._influence_of_discrete.items() if name in changed]
        if not found and name not in self._masked_by_frames:
            found = [other for other, changed in self._influence_of_continuous.items() if name in changed]
        return found

    @cached_property
    def _influence_of_discrete(self) -> dict[str, set[str]]:
        return self._influence([site.name for site in self.wanted if site.name in self.values and site.discrete])

    @cached_property
    def _influence_of_continuous(self) -> dict[str, set[str]]:
        return self._influence([site.name for site in self.wanted if site.name in self.values and not site.discrete])

    def _influence(self, names: Sequence[str]) -> dict[str, set[str]]:
        """For each of these latents, the latents whose scored entries change with its value.

        In a chain of presences only the first absence shows, so changes are also tried where all are present.
        """
        binary = {name: torch.ones_like(value) for name, value in self.values.items() if self._is_binary(name)}
        found: dict[str, set[str]] = {name: set() for name in names}
        for values in (self.values, {**self.values, **binary}) if binary else (self.values,):
            before = self._scored(values, self._observed)
            for name in names:
                for other in self._alternatives(name, values[name]):
                    found[name] |= _changed(before, self._scored({**values, name: other}, self._observed)) - {name}
        return found

    def _is_binary(self, name: str) -> bool:
        return self.wanted[name].support == "0 or 1"

    def _alternatives(self, name: str, value: Tensor) -> Iterator[Tensor]:
        if self._is_binary(name):
            yield 1 - value
            return
        for _ in range(RANDOM_TRIALS):
            yield self._other_draw(name)

    def _other_draw(self, name: str) -> Tensor:
        """Random values: fair coins for presences, which are often nearly certain; prior draws for the others."""
        value = self.values[name]
        if self._is_binary(name):
            return torch.rand(value.shape).round().to(value)
        with torch.no_grad():
            drawn = sample_sites(poutine.trace(self.model).get_trace(*self.arguments))
        return drawn[name]["value"].expand(value.shape)

    def _trials(self, sites: Sequence[str], *, by_frames: bool) -> Iterator[tuple[Values, Tensor]]:
        """Values and missing frames on which to try an expression: the given ones, and random ones."""
        yield self.values, self._observed
        for _ in range(RANDOM_TRIALS):
            values = {name: self._other_draw(name) for name in sites}
            seen = torch.rand(self._observed.shape).to(self._observed.device) > 0.5 if by_frames else self._observed
            yield {**self.values, **values}, seen


def _changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name, scored in before.items() if not torch.equal(scored, after[name])}


def _equal(kept: Tensor, scored: Tensor) -> bool:
    """Whether a mask that broadcasts to the entries of a draw equals its scored entries."""
    sizes = zip(reversed(kept.shape), reversed(scored.shape), strict=False)
    fits = kept.dim() <= scored.dim() and all(size in (1, whole) for size, whole in sizes)
    return fits and torch.equal(kept.expand(scored.shape), scored)


def _masks(site: Site, values: Values, seen: Tensor, sites: Sequence[str], *, by_frames: bool) -> Iterator[Mask]:
    """Masks by all relevant causes, in every layout that fits; their number depends only on shapes."""
    draws = list(_by_draws(site, [(name, values[name]) for name in sites]))
    frames = list(_by_frames(site, seen)) if by_frames else []
    if not sites or not by_frames:
        yield from draws or frames
        return
    for one in frames:
        for other in draws:
            if one.event_dims == other.event_dims:
                yield Mask(f"{one.text} & ({other.text})", one.kept & other.kept, one.event_dims)


def _by_frames(site: Site, seen: Tensor) -> Iterator[Mask]:
    """`observed` where the plates of the site are, or where its event has the time steps, or one step of it."""
    dims = {plate.name: plate.dim for plate in site.plates}
    events = len(site.event_shape)
    if "sequences" not in dims:
        return
    if "time" in dims:
        moved = seen if dims["time"] > dims["sequences"] else seen.T
        gap, end = abs(dims["time"] - dims["sequences"]) - 1, min(-dims["time"], -dims["sequences"]) - 1
        text = "observed" if dims["time"] > dims["sequences"] else "observed.T"
        if gap or end:
            text += f"[{', '.join([':', *['None'] * gap, ':', *['None'] * end])}]"
        kept = moved.reshape(moved.shape[0], *[1] * gap, moved.shape[1], *[1] * (end + events))
        yield Mask(text, kept, 0)
        return
    trailing = -dims["sequences"] - 1
    for step in range(seen.shape[1]):
        index = ", ".join([":", str(step), *["None"] * trailing])
        yield Mask(f"observed[{index}]", seen[:, step].reshape(-1, *[1] * (trailing + events)), 0)
    for place, size in enumerate(site.event_shape):
        if size == seen.shape[1]:
            index = ", ".join([":", *["None"] * (trailing + place), ":"])
            kept = seen.reshape(len(seen), *[1] * (trailing + place), size, *[1] * (events - place - 1))
            yield Mask("observed" if index == ":, :" else f"observed[{index}]", kept, place + 1)


def _by_draws(site: Site, draws: Sequence[tuple[str, Tensor]]) -> Iterator[Mask]:
    """Whether some draws are all 1, or one of them is 0; their event is empty or the first event dims of this site."""
    if not draws or not all(name.isidentifier() for name, _ in draws):
        return
    product = reduce(mul, [value for _, value in draws])
    names = " * ".join(name for name, _ in draws)
    for event_dims in range(len(site.event_shape) + 1):
        kept = product.reshape((*product.shape, *[1] * (len(site.event_shape) - event_dims)))
        yield Mask(f"({names}) > 0" if len(draws) > 1 else f"{names} > 0", kept > 0, event_dims)
        if len(draws) == 1:
            yield Mask(f"{names} == 0", kept == 0, event_dims)


def _statement(site: Site, mask: Mask) -> str:
    """The mask as distribution methods, applied before the event dims along which it varies are declared."""
    others = len(site.event_shape) - mask.event_dims
    if mask.event_dims == 0:
        return f".mask({mask.text})"
    return (f".to_event({others})" if others else "") + f".mask({mask.text}).to_event({mask.event_dims})"
