"""The refinement of one batch, step by step: slopes of the inner bound, then the update of each family."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from guides.gradient_modes import Differentiated
from guides.inner_gradients import inner_gradients
from guides.iterative_refinement.inner_bound import Evaluation, Inner, held_values, inner_bound, latent_values, look
from guides.iterative_refinement.rows import average_draws, from_rows, to_rows
from guides.iterative_refinement.site_parameters import Shift, Shifts, family_of, gaussian_of, no_shift
from guides.iterative_refinement.starts import Read
from guides.iterative_refinement.taps import Taps, tap_rows
from guides.iterative_refinement.updates import SiteView


class RefinementWalk:
    """The parameters of all refined sites of a batch, on their way.

    Args:
        inner: how the bound is evaluated.
        read: the batch, as the start read it.
        updates: by family.
        taps: further inputs of updates, or None.
        differentiated: what training differentiates.

    Attributes:
        shifts: parameters after the last step, by site.
    """

    def __init__(
        self,
        inner: Inner,
        read: Read,
        updates: nn.ModuleDict,
        taps: Taps | None,
        differentiated: Differentiated,
    ) -> None:
        self._inner, self._read, self._taps, self._differentiated = inner, read, taps, differentiated
        with torch.no_grad():
            nodes = look(inner, read)
        self._held = held_values(nodes)
        observed = read.arguments[1]
        self._seen = {name: inner.sites.seen(name, node, observed) for name, node in nodes.items()}
        self._updates = dict(updates.items())
        self._families: dict[str, list[str]] = {family: [] for family in self._updates}
        self._states: dict[str, Any] = dict.fromkeys(self._families)
        self.shifts: dict[str, Shift] = {}
        for name in latent_values(nodes):
            if name in inner.sites and (gaussian := gaussian_of(nodes[name]["fn"])) is not None:
                inner.sites.check_size(name, nodes[name]["fn"].event_shape)
                self._families[family_of(name)].append(name)
                self.shifts[name] = no_shift(gaussian.loc)

    def step(self) -> Shifts:
        """One refinement of all sites; returns their parameters."""
        if not self._differentiated.inputs:
            self.shifts = {name: Shift(*map(torch.detach, shift)) for name, shift in self.shifts.items()}
        evaluation, slopes = self._evaluate()
        taps = self._tap(evaluation)
        changed = dict(self.shifts)
        for family, names in self._families.items():
            view = self._view(family, evaluation, slopes, taps)
            change, self._states[family] = self._updates[family](view, self._states[family])
            shapes = [self.shifts[name].loc.shape for name in names]
            parts = (from_rows(one, shapes) for one in change)
            for name, loc, log_scale in zip(names, *parts, strict=True):
                changed[name] = self._moved(name, Shift(loc, log_scale))
        self.shifts = changed
        return changed

    def _evaluate(self) -> tuple[Evaluation, Shifts]:
        """The bound at draws from the present parameters, and its slopes."""
        found: list[Evaluation] = []

        def bound(*points: Tensor) -> Tensor:
            shifts = {name: Shift(*pair) for name, *pair in zip(self.shifts, points[::2], points[1::2], strict=True)}
            found.append(inner_bound(self._inner, self._read, shifts, self._held))
            return found[0].bound

        slopes = inner_gradients(
            bound,
            *(one for shift in self.shifts.values() for one in shift),
            differentiable=self._differentiated.slopes,
            keep_graph=self._differentiated.inputs,
        )
        pairs = zip(self.shifts, slopes[::2], slopes[1::2], strict=True)
        return found[0], {name: Shift(*pair) for name, *pair in pairs}

    def _tap(self, evaluation: Evaluation) -> Mapping[str, Tensor] | None:
        """Taps at the draws of an evaluation; if inputs are constants, the draws are, and taps still learn."""
        if self._taps is None:
            return None
        frames, observed, _ = self._read.arguments
        seen = torch.ones_like(frames[:, :, 0, 0, 0], dtype=torch.bool) if observed is None else observed
        draws = {name: self._input(value) for name, value in latent_values(evaluation.nodes).items()}
        return self._taps(frames, seen, draws)

    def _view(self, family: str, evaluation: Evaluation, slopes: Shifts, taps: Mapping[str, Tensor] | None) -> SiteView:
        """What the update of a family sees."""
        names, size = self._families[family], self._inner.sites.sizes[family]
        shapes = {name: self.shifts[name].loc.shape for name in names}
        laws = {name: gaussian_of(evaluation.nodes[name]["fn"]) for name in names}

        def rows(values: Mapping[str, Tensor]) -> Tensor:
            return to_rows([average_draws(values[name], shapes[name]) for name in names], size)

        return SiteView(
            loc=rows({name: self._input(laws[name].loc) for name in names}),
            log_scale=rows({name: self._input(laws[name].scale.log()) for name in names}),
            shift=Shift(*(rows({name: self.shifts[name][part] for name in names}) for part in (0, 1))),
            slopes=Shift(*(rows({name: slopes[name][part] for name in names}) for part in (0, 1))),
            taps=None if taps is None else tap_rows(taps, shapes),
        )

    def _input(self, value: Tensor) -> Tensor:
        return value if self._differentiated.inputs else value.detach()

    def _moved(self, name: str, change: Shift) -> Shift:
        """The parameters of a site after a change; those of missing frames stay."""
        seen, before = self._seen[name], self.shifts[name]
        if seen is not None:
            change = Shift(*(torch.where(seen, one, torch.zeros_like(one)) for one in change))
        return Shift(before.loc + change.loc, before.log_scale + change.log_scale)
