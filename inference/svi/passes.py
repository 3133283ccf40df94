"""What a graph computes twice, one piece at a time, or step by step, computed once, whole, or for all steps at once."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from inference.svi.batching import batch_products
from inference.svi.graph import simplify, written_nodes
from inference.svi.products import Products


def joined(module: fx.GraphModule, inputs: Sequence[Tensor]) -> fx.GraphModule:
    """A graph of fewer, larger operations with the same results up to rounding, and the same draws.

    Args:
        module: a graph of tensor operations with their values in `meta["val"]`.
        inputs: tensors like those that it is called with.
    """
    pinned = _pinned(module.graph)
    if any(node.target is torch.ops.aten.as_strided.default and node not in pinned for node in module.graph.nodes):
        return module  # reads memory by its layout, which joining changes
    module = copy.deepcopy(module)
    pinned = _pinned(module.graph)
    _merge_repeated(module.graph, pinned)
    products = Products(module.graph, pinned)
    products.join_layers()
    products.join_sums()
    _merge_repeated(module.graph, pinned)
    module = batch_products(module, inputs, pinned)
    Products(module.graph, _pinned(module.graph)).join_sums()  # of what is stacked now
    simplify(module)
    return module


def _pinned(graph: fx.Graph) -> set[fx.Node]:
    """Nodes that keep their order: draws, and what writes to memory or reads what is written."""
    written = written_nodes(graph)
    pinned = set(written)
    for node in graph.nodes:
        if node.op in ("placeholder", "get_attr"):
            continue
        if node.is_impure() or written.intersection(node.all_input_nodes) or not _is_pure(node.target):
            pinned.add(node)
    return pinned


def _is_pure(target: Any) -> bool:
    if not isinstance(target, torch._ops.OpOverload):
        return True
    return not target._schema.is_mutable and torch.Tag.nondeterministic_seeded not in target.tags


def _merge_repeated(graph: fx.Graph, pinned: set[fx.Node]) -> None:
    """Keep one of several nodes that do the same with the same."""
    kept: dict[Any, fx.Node] = {}
    for node in list(graph.nodes):
        if node.op == "call_function" and node not in pinned and "empty" not in str(node.target):
            same = kept.setdefault((node.target, repr(node.args), repr(node.kwargs)), node)
            if same is not node:
                node.replace_all_uses_with(same)
                graph.erase_node(node)
