"""Where a loss or a gradient first stopped being finite: one step taken again, with eyes open."""

from typing import Any

import pyro
import torch
from pyro.distributions.util import scale_and_mask
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn

from inference.programs.violations import violations_of
from inference.runtime.generators import capture_generators, restore_generators
from inference.svi.frames_watch import extremes_of, in_words, is_light
from inference.svi.step import SVI


class NonFiniteSites(Messenger):
    """Record, in the order in which sites run, those whose draw or log probability is not finite.

    It wraps a loss from outside, so that the very draws of that loss are looked at.

    Attributes:
        found: a sentence about each such site, in order.
        running: name of the site that is being drawn; None between sites.
        log_probs: name and log probability of each site, scaled and masked, with its graph; several of one name where
            a loss runs a program more than once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.running: str | None = None
        self.log_probs: list[tuple[str, Tensor]] = []

    def _pyro_sample(self, msg: Any) -> None:
        self.running = msg["name"]

    def _pyro_post_sample(self, msg: Any) -> None:
        self.running = None
        name = msg["name"]
        if not msg["is_observed"] and not _is_finite(msg["value"]):
            self.found.append(f"site {name!r}: its draw is not finite{_cause(msg)}")
            return
        log_prob = scale_and_mask(
            msg["fn"].log_prob(msg["value"], *msg["args"], **msg["kwargs"]), msg["scale"], msg["mask"]
        )
        if not _is_finite(log_prob):
            data = ", nor is the observed value" if msg["is_observed"] and not _is_finite(msg["value"]) else ""
            self.found.append(f"site {name!r}: its log probability is not finite{data or _cause(msg)}")
        elif isinstance(log_prob, Tensor) and log_prob.requires_grad:
            self.log_probs.append((name, log_prob))


def inspect_step(svi: SVI, args: tuple[Any, ...]) -> str | None:
    """Take one step while looking at every site, and at the frames.

    Args:
        svi: in the state (parameters, optimizer, random streams) in which the step is to be taken.
        args: the batch, as in `SVI.step`.

    Returns:
        The first value that was not finite, as a sentence that starts with the site, and what is wrong with the frames,
        if their values are; None if all were finite.

    Raises:
        Exception: what the step raised, if everything was finite up to there.
    """
    reason = _first_reason(svi, args)
    if reason is None or (found := extremes_of(args, {})) is None:
        return reason
    return reason + in_words(found, is_light(svi.model))


def _first_reason(svi: SVI, args: tuple[Any, ...]) -> str | None:
    """The first value that was not finite, as a sentence that starts with the site; None if all were."""
    named = _named_parameters(svi)
    before = {name: parameter.detach().clone() for name, parameter in named.items()}
    generators = capture_generators()
    with pyro.validation_enabled(False), svi.uncompiled(), NonFiniteSites() as sites:
        try:
            loss = svi.step(*args)
        except (ArithmeticError, RuntimeError, ValueError) as error:
            if sites.found:
                return sites.found[0]
            if sites.running is not None and any(not _is_finite(value) for value in before.values()):
                return f"site {sites.running!r}: drawing from it failed: {error}"
            raise
    if sites.found:
        return sites.found[0]
    bad = [name for name, parameter in named.items() if not _is_finite(parameter.grad)]
    if bad:
        with torch.no_grad():
            for name, parameter in named.items():
                parameter.copy_(before[name])
        restore_generators(generators)
        return _site_of_gradient(svi, args, {name: named[name] for name in bad})
    if not _is_finite(loss):
        return "no single site: every log probability is finite, their sum is not"
    return None


def _cause(msg: Any) -> str:
    """What the site violates, as the end of a sentence: numbers that are not finite come of that."""
    violation = next(violations_of(msg), None)
    return "" if violation is None else str(violation).removeprefix(f"site {msg['name']!r}")


def _site_of_gradient(svi: SVI, args: tuple[Any, ...], parameters: dict[str, nn.Parameter]) -> str:
    """Name the first site whose log probability alone has a gradient that is not finite."""
    differentiable = getattr(svi.loss, "differentiable_loss", None)
    listed = ", ".join(map(repr, list(parameters)[:3])) + (", ..." if len(parameters) > 3 else "")
    if differentiable is not None:
        with pyro.validation_enabled(False), NonFiniteSites() as sites:
            differentiable(svi.model, svi.guide, *args)
        for name, log_prob in sites.log_probs:
            gradients = torch.autograd.grad(
                log_prob.sum(), list(parameters.values()), retain_graph=True, allow_unused=True
            )
            if not all(map(_is_finite, gradients)):
                return f"site {name!r}: the gradient of its log probability for {listed} is not finite"
    return f"no single site: the gradient for {listed} is not finite"


def _named_parameters(svi: SVI) -> dict[str, nn.Parameter]:
    named: dict[str, nn.Parameter] = {}
    known: set[int] = set()
    for prefix, program in (("model", svi.model), ("guide", svi.guide)):
        if isinstance(program, nn.Module):
            for name, parameter in program.named_parameters():
                if id(parameter) not in known:
                    known.add(id(parameter))
                    named[f"{prefix}.{name}"] = parameter
    return named


def _is_finite(value: Any) -> bool:
    return not isinstance(value, Tensor) or not value.is_floating_point() or bool(torch.isfinite(value).all())
