"""How every tool sees a model or a guide: a callable with sample sites."""

from collections.abc import Callable
from typing import Any

from pyro.poutine.trace_struct import Trace
from torch import Tensor

Program = Callable[..., Any]
"""A model or a guide, called with `Arguments`."""

Arguments = tuple[Tensor, Tensor | None, Tensor | None]
"""Frames, observed, controls."""


def sample_sites(trace: Trace) -> dict[str, dict[str, Any]]:
    """The sites of a trace that are sample statements in the user's program, by name, in order of execution.

    Plates' bookkeeping sites and `pyro.deterministic` are excluded.
    """
    nodes: dict[str, Any] = dict(trace.nodes)
    return {
        name: node
        for name, node in nodes.items()
        if node["type"] == "sample"
        and type(node["fn"]).__name__ != "_Subsample"
        and not node["infer"].get("_deterministic")
    }


def deterministic_sites(trace: Trace) -> dict[str, dict[str, Any]]:
    """The `pyro.deterministic` sites of a trace, by name, in order of execution."""
    nodes: dict[str, Any] = dict(trace.nodes)
    return {
        name: node for name, node in nodes.items() if node["type"] == "sample" and node["infer"].get("_deterministic")
    }
