"""Operations of a graph that do not depend on one another, done at once.

A model of steps evaluates one density after the other, and a guide's draws are all there before the first of them: so
`Normal(transition(z[t - 1])).log_prob(z[t])` of all t are one product, not T small ones. This pass finds such products
in a traced step, forward and backward, stacks what they read, and carries the stacks on through the operations that
follow. It is Neubig et al. (2017), "On-the-fly Operation Batching in Dynamic Computation Graphs", done once and for a
graph whose gradients are a part of it. Each stacked operation is what `torch.func.vmap` makes of the single one.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx
from torch.func import vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.node import map_arg

from inference.svi.grouping import Batches, Group
from inference.svi.nodes import arguments, operands_of

_ATEN = torch.ops.aten


def batch_products(module: fx.GraphModule, inputs: Sequence[Tensor], pinned: set[fx.Node]) -> fx.GraphModule:
    """The graph with products by the same matrix taken at once where they do not need one another.

    Args:
        module: a graph of tensor operations, with the value of each in `meta["val"]`.
        inputs: tensors like those that it is called with.
        pinned: nodes that keep their order: draws, and what writes to memory or reads what is written.
    """
    batches = Batches(module.graph, pinned)
    batches.find()
    if not batches.group_of:
        return module
    schedule = batches.schedule()

    def run(*inputs: Tensor) -> Any:
        given, values = iter(inputs), _Values(batches.group_of)
        for nodes in schedule:
            node = nodes[0]
            if node.op == "placeholder":
                values[node] = next(given)
            elif node.op == "output":
                return map_arg(arguments(node)[0], values.__getitem__)
            elif node in batches.group_of:
                values.stacks[id(batches.group_of[node])] = _at_once(nodes, values)
            elif node.target is _ATEN.cat.default and arguments(node)[1:] in ((), (0,)) and node not in pinned:
                values[node] = values.below_one_another(arguments(node)[0])
            else:
                args, kwargs = map_arg((arguments(node), node.kwargs), values.__getitem__)
                values[node] = cast(Any, node.target)(*args, **kwargs)
        raise AssertionError("a graph without a result")

    return make_fx(run, tracing_mode="fake", _allow_non_fake_inputs=True)(*inputs)


class _Values:
    """Values of nodes, alone or in stacks."""

    def __init__(self, group_of: dict[fx.Node, Group]) -> None:
        self.stacks: dict[int, Tensor] = {}
        self._group_of = group_of
        self._values: dict[fx.Node, Any] = {}
        self._copies: dict[tuple[fx.Node, ...], Tensor] = {}

    def __setitem__(self, node: fx.Node, value: Any) -> None:
        self._values[node] = value

    def __getitem__(self, node: fx.Node) -> Any:
        if node not in self._values:
            group = self._group_of[node]
            self._values[node] = _ATEN.select.int(self.stacks[id(group)], 0, group.place[node])
        return self._values[node]

    def stacked(self, nodes: tuple[fx.Node, ...]) -> Tensor:
        """Values of nodes along a first dimension, without a copy where they lie like that."""
        group = self._group_of.get(nodes[0])
        if group is not None and all(node in group.place for node in nodes):
            places = [group.place[node] for node in nodes]
            stack = self.stacks[id(group)]
            if places == list(range(len(group.members))):
                return stack
            if places == list(range(places[0], places[0] + len(places))):
                return _ATEN.slice.Tensor(stack, 0, places[0], places[0] + len(places))
            if places == list(range(len(group.members)))[::-1]:
                return self._copies.setdefault(nodes, _ATEN.flip.default(stack, [0]))
        if nodes not in self._copies:
            self._copies[nodes] = _ATEN.stack.default([self[node] for node in nodes])
        return self._copies[nodes]

    def below_one_another(self, nodes: Sequence[fx.Node]) -> Tensor:
        """`torch.cat` of nodes, without a copy of those that lie in a stack."""
        runs: list[list[fx.Node]] = []
        for node in nodes:
            group = self._group_of.get(node)
            last = self._group_of.get(runs[-1][-1]) if runs else None
            if group is not None and group is last:
                runs[-1].append(node)
            else:
                runs.append([node])
        parts = [
            _ATEN.reshape.default(stack, [-1, *stack.shape[2:]])
            if len(run) > 1 and (stack := self.stacked(tuple(run))).ndim > 1
            else self[run[0]]
            for run in runs
        ]
        return parts[0] if len(parts) == 1 else _ATEN.cat.default(parts)


def _at_once(nodes: list[fx.Node], values: _Values) -> Tensor:
    """Results of a group along a first dimension."""
    columns = list(zip(*(operands_of(node)[0] for node in nodes), strict=True))
    stacked = [len(set(column)) > 1 for column in columns]
    operands = [
        values.stacked(column) if many else values[column[0]] for column, many in zip(columns, stacked, strict=True)
    ]
    if nodes[0].target is _ATEN.addmm.default and stacked == [False, True, False] and operands[0].ndim == 1:
        bias, rows, matrix = operands  # vmap's would be a product and a sum
        flat = _ATEN.reshape.default(rows, [-1, rows.shape[-1]])
        return _ATEN.view.default(_ATEN.addmm.default(bias, flat, matrix), [*rows.shape[:-1], matrix.shape[1]])

    def single(*operands: Tensor) -> Tensor:
        given = iter(operands)
        args, kwargs = map_arg((arguments(nodes[0]), nodes[0].kwargs), lambda _: next(given))
        return cast(Any, nodes[0].target)(*args, **kwargs)

    return vmap(single, in_dims=tuple(0 if many else None for many in stacked))(*operands)
