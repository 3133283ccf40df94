"""What a graph computes twice, one piece at a time, or step by step, computed once, whole, or for all steps at once."""

import copy
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from inference.svi.batching import batch_products
from inference.svi.graph import shares_unsaid, simplify, written_nodes
from inference.svi.products import Products
from inference.svi.shared_parts import SharedParts

_ATEN = torch.ops.aten


def joined(module: fx.GraphModule, inputs: Sequence[Tensor]) -> fx.GraphModule:
    """A graph of fewer, larger operations with the same results up to rounding, and the same draws.

    Args:
        module: a graph of tensor operations with their values in `meta["val"]`; all tensors are inputs.
        inputs: tensors like those that it is called with.
    """
    module = copy.deepcopy(module)
    pinned = _pinned(module.graph)
    if any(node.target is _ATEN.as_strided.default and node not in pinned for node in module.graph.nodes):
        return module  # reads memory by its layout, which joining changes
    _reshape(module.graph, pinned)
    _merge_repeated(module.graph, pinned)
    SharedParts(module.graph, pinned).take_out()
    _merge_repeated(module.graph, pinned)
    products = Products(module.graph, pinned)
    products.join_layers()
    products.sum_rows_first()
    products.join_sums()
    products.sum_rows_first()  # of sums of products, which are products now
    _merge_repeated(module.graph, pinned)
    module = batch_products(module, inputs, pinned)
    pinned = _pinned(module.graph)
    _reshape(module.graph, pinned)
    Products(module.graph, pinned).join_sums()  # of what is stacked now
    simplify(module)
    return module


def _pinned(graph: fx.Graph) -> set[fx.Node]:
    """Nodes that keep their order: draws, and what writes to memory or reads what is written."""
    written, pinned = written_nodes(graph), set()
    for node in graph.nodes:
        reads_written = bool(written.intersection(node.all_input_nodes))
        if reads_written and looks_at_memory(node.target):
            written.add(node)
        if node in written or (node.op != "placeholder" and (reads_written or not _is_pure(node))):
            pinned.add(node)
    return pinned


def looks_at_memory(target: Any) -> bool:
    """Whether results of an operation lie in the memory of what it reads."""
    if isinstance(target, torch._ops.OpOverload):
        return shares_unsaid(target) or any(result.alias_info is not None for result in target._schema.returns)
    return target is operator.getitem


def _is_pure(node: fx.Node) -> bool:
    if node.is_impure():
        return False
    if not isinstance(node.target, torch._ops.OpOverload):
        return True
    return not node.target._schema.is_mutable and torch.Tag.nondeterministic_seeded not in node.target.tags


def _reshape(graph: fx.Graph, pinned: set[fx.Node]) -> None:
    """Let views be copies where need be: a part of a joined result lies in memory as no single result did."""
    for node in graph.nodes:
        if node not in pinned and node.target in (_ATEN.view.default, _ATEN._unsafe_view.default):
            node.target = _ATEN.reshape.default


def _merge_repeated(graph: fx.Graph, pinned: set[fx.Node]) -> None:
    """Keep one of several nodes that do the same with the same."""
    kept: dict[Any, fx.Node] = {}
    for node in list(graph.nodes):
        if node.op == "call_function" and node not in pinned and "empty" not in str(node.target):
            same = kept.setdefault((node.target, repr(node.args), repr(node.kwargs)), node)
            if same is not node:
                node.replace_all_uses_with(same)
                graph.erase_node(node)
