"""Findings of `check_guide`, and the few operations that all its parts share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from guides.program import Arguments, Program


@dataclass(frozen=True)
class Mismatch:
    """One mismatch between guide, model and frames.

    Attributes:
        site: name of the sample site, parameter or argument.
        expected: what is needed there.
        got: what came.
        mend: what to change to fix it.
    """

    site: str
    expected: str
    got: str
    mend: str

    def __str__(self) -> str:
        return f"{self.site}: expected {self.expected}, got {self.got}; {self.mend}"


def share(failing: Tensor) -> str:
    """How many of all entries fail, in words."""
    return f"{int(failing.sum())} of {failing.numel()}"


def trace_until_error(program: Program, arguments: Arguments) -> tuple[Trace, str]:
    """The trace, up to the statement that raised if any did, and the error."""
    tracer = poutine.trace(program)
    try:
        return tracer.get_trace(*arguments), ""
    except Exception as error:
        message = str(error).split("\n Trace Shapes:")[0].split("\nTrace Shapes:")[0]
        return tracer.trace, f"{type(error).__name__}: {message}"


def masked_score(node: Mapping[str, Any]) -> Tensor:
    """Log density of a site, zero where it is masked, in nats; not scaled."""
    return scale_and_mask(node["fn"].log_prob(node["value"]), 1.0, node["mask"])
