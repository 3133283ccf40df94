"""Nodes of a traced graph: what they read, what their values are like, new ones beside them."""

from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.node import map_arg

_ATEN = torch.ops.aten


def arguments(node: fx.Node) -> Any:
    """What an operation is called with, by place."""
    return node.args


def operands_of(node: fx.Node) -> tuple[list[fx.Node], str]:
    """The nodes among an operation's arguments, one for each place, and all that is not a node."""
    operands: list[fx.Node] = []

    def note(operand: fx.Node) -> str:
        operands.append(operand)
        return "node"

    structure = map_arg((arguments(node), node.kwargs), note)
    return operands, repr(structure)


def shape_of(node: fx.Node) -> Any:
    """Shape and type of a node's value, if it is a tensor."""
    value = node.meta.get("val")
    return (tuple(value.shape), value.dtype) if isinstance(value, Tensor) else None


def size_of(node: fx.Node) -> int:
    """How many numbers a node's value has, if it is a tensor."""
    value = node.meta.get("val")
    return value.numel() if isinstance(value, Tensor) else 0


def width_of(node: fx.Node) -> int:
    """The last dimension of a node's value."""
    return node.meta["val"].shape[-1]


def is_turned(node: fx.Node) -> bool:
    """Whether a matrix is another one transposed."""
    transposed = node.target is _ATEN.transpose.int and sorted(arguments(node)[1:]) in ([0, 1], [-2, -1])
    permuted = node.target is _ATEN.permute.default and list(arguments(node)[1]) == [1, 0]
    return node.target is _ATEN.t.default or ((transposed or permuted) and node.meta["val"].ndim == 2)


def call(graph: fx.Graph, target: Any, *operands: Any) -> fx.Node:
    """A new operation, with its value in `meta["val"]`, where the graph inserts."""
    node = graph.call_function(target, operands)
    node.meta["val"] = target(*map_arg(operands, _without_memory))
    return node


def transposed(graph: fx.Graph, node: fx.Node) -> fx.Node:
    """A matrix transposed, or what it is the transpose of."""
    return arguments(node)[0] if is_turned(node) else call(graph, _ATEN.t.default, node)


def _without_memory(node: fx.Node) -> Any:
    value = node.meta["val"]
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
