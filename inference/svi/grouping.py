"""Which operations of a graph can be done at once."""

from collections import defaultdict
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

import torch
from torch import Tensor, fx

from inference.svi.nodes import arguments, operands_of, shape_of, size_of

_ATEN = torch.ops.aten
# Products by a matrix or a kernel, and its place among the operands: rows of what they read can be put together.
_PRODUCTS = {_ATEN.mm.default: 1, _ATEN.addmm.default: 2, _ATEN.convolution.default: 1}
LARGEST_COPY = 16_384  # numbers: stacking larger operands, other than those of products, costs more than it saves
FEWEST_TERMS = 4  # of a sum, to be computed at once where no product leads to them
DEPTH = 3  # operations that terms have to have in common


@dataclass
class Group:
    """Operations done at once.

    Attributes:
        members: their nodes, in the order in which results are stacked.
        place: where each node is among them.
    """

    members: list[fx.Node]
    place: dict[fx.Node, int] = field(init=False)

    def __post_init__(self) -> None:
        self.place = {node: place for place, node in enumerate(self.members)}


class Batches:
    """Groups of a graph's nodes, chosen so that the graph stays one without cycles.

    A group is contracted to a single node. That makes no cycle if none of its members needs another, in the graph of
    those contracted before.

    Args:
        graph: operations with their values in `meta["val"]`.
        pinned: nodes that keep their order and stay single: draws, and what writes to memory or reads what is written.
    """

    def __init__(self, graph: fx.Graph, pinned: set[fx.Node]) -> None:
        self.group_of: dict[fx.Node, Group] = {}
        self._nodes = list(graph.nodes)
        self._pinned = pinned
        self._number = {node: number for number, node in enumerate(self._nodes)}
        self._needs = [[self._number[operand] for operand in node.all_input_nodes] for node in self._nodes]
        in_order = [self._number[node] for node in self._nodes if node in pinned]
        for before, after in zip(in_order, in_order[1:], strict=False):
            self._needs[after].append(before)
        self._unit = list(range(len(self._nodes)))  # of each node: the number of the first member of its group
        self._members = {number: [number] for number in self._unit}
        self._order = list(self._unit)  # units so that each comes after what it needs
        self._place = list(self._unit)  # of each unit in that order

    def find(self) -> None:
        """Group products that share a matrix, the terms of sums, what leads to them, and what follows from them."""
        for members in self._products():
            self._follow(self._split(members))
        for terms in self._sums():
            alone = [term for term in terms if term not in self.group_of]
            if len(alone) >= FEWEST_TERMS:
                self._follow(self._grow(self._split(alone)))

    def schedule(self) -> list[list[fx.Node]]:
        """Nodes in an order in which they can be run, those of a group together."""
        units = (self._nodes[unit] for unit in self._sorted())
        return [self.group_of[node].members if node in self.group_of else [node] for node in units]

    def _products(self) -> list[list[fx.Node]]:
        """Products with the same matrix and shapes, in order of appearance."""
        classes: dict[Any, list[fx.Node]] = defaultdict(list)
        for node in self._nodes:
            place = _PRODUCTS.get(node.target)
            if place is not None and self._may_be_stacked(node):
                rows = arguments(node)[place - 1]
                others = [repr(argument) for argument in arguments(node) if argument is not rows]
                classes[node.target, *others, shape_of(rows), repr(node.kwargs)].append(node)
        return list(classes.values())

    def _sums(self) -> list[list[fx.Node]]:
        """Terms of sums that are computed in the same way."""
        classes: dict[Any, list[fx.Node]] = defaultdict(list)
        for node in self._nodes:
            if node.target is _ATEN.add.Tensor:
                for term in node.all_input_nodes:
                    if self._may_be_stacked(term) and term.target not in _PRODUCTS and term not in self.group_of:
                        classes[self._kind(term, DEPTH)].append(term)
        return list(classes.values())

    def _kind(self, node: fx.Node, depth: int) -> Any:
        """How a value is computed, by the last few operations."""
        operands, structure = operands_of(node)
        if depth == 0 or node.op != "call_function":
            return shape_of(node)
        return node.target, structure, shape_of(node), tuple(self._kind(operand, depth - 1) for operand in operands)

    def _grow(self, groups: list[Group]) -> list[Group]:
        """Group what leads to the members of groups, over and over; all groups."""
        grown, waiting = list(groups), list(groups)
        while waiting:
            group = waiting.pop()
            for column in _columns(group.members):
                if len(set(column)) < len(column) or any(
                    operand in self.group_of or not self._may_be_stacked(operand) for operand in column
                ):
                    continue
                kinds = {(operand.target, operands_of(operand)[1], self._kind(operand, 1)) for operand in column}
                if len(kinds) == 1 and column[0].target not in _PRODUCTS and self._is_worth_copying(list(column)):
                    found = self._split(list(column))
                    grown += found
                    waiting += found
        return grown

    def _follow(self, groups: list[Group]) -> None:
        """Group what reads the members of groups, over and over."""
        while groups:
            classes: dict[Any, list[fx.Node]] = defaultdict(list)
            for group in groups:
                for node in group.members:
                    seen: dict[Any, int] = defaultdict(int)
                    for user in sorted(node.users, key=self._number.__getitem__):
                        if user not in self.group_of and self._may_be_stacked(user) and user.target not in _PRODUCTS:
                            role = id(group), *self._role(user, node)
                            seen[role] += 1
                            classes[role, seen[role]].append(user)
            groups = []
            for members in classes.values():
                members = [node for node in members if node not in self.group_of]
                if len(members) > 1 and self._is_worth_copying(members):
                    groups += self._split(members)

    def _role(self, user: fx.Node, node: fx.Node) -> Any:
        """What operations have in common that read results of a group in the same way."""
        operands, structure = operands_of(user)
        roles = [
            "this" if operand is node else id(self.group_of[operand]) if operand in self.group_of else shape_of(operand)
            for operand in operands
        ]
        return user.target, structure, tuple(roles)

    def _is_worth_copying(self, members: list[fx.Node]) -> bool:
        """Whether operands that are in no stack yet are small."""
        return all(
            len(set(column)) == 1 or column[0] in self.group_of or size_of(column[0]) <= LARGEST_COPY
            for column in _columns(members)
        )

    def _may_be_stacked(self, node: fx.Node) -> bool:
        return (
            node.op == "call_function"
            and node not in self._pinned
            and isinstance(node.target, torch._ops.OpOverload)
            and isinstance(node.meta.get("val"), Tensor)
            and len(node.all_input_nodes) > 0
        )

    def _split(self, members: list[fx.Node]) -> list[Group]:
        """Groups of members of which none needs another."""
        groups = []
        members = list(dict.fromkeys(members))
        for together in [members] if self._all_wait_for_stacks(members) else self._independent(members):
            if len(together) > 1:
                group = Group(self._in_order(together))
                groups.append(group)
                self.group_of.update(dict.fromkeys(together, group))
                self._contract([self._number[node] for node in together])
        return groups

    def _all_wait_for_stacks(self, members: list[fx.Node]) -> bool:
        """Whether members read the same groups and nodes, so that each waits for what any of them waits for."""
        return all(
            len({id(self.group_of.get(operand, operand)) for operand in column}) == 1 for column in _columns(members)
        )

    def _in_order(self, members: list[fx.Node]) -> list[fx.Node]:
        """In the order of a stack that they read, if there is one: gradients are computed from the last backwards."""
        members = sorted(members, key=self._number.__getitem__)
        for column in _columns(members):
            group = self.group_of.get(column[0])
            if group is not None and len(set(column)) == len(column) and all(o in group.place for o in column):
                place_of = {node: group.place[operand] for node, operand in zip(members, column, strict=True)}
                return sorted(members, key=place_of.__getitem__)
        return members

    def _independent(self, members: list[fx.Node]) -> list[list[fx.Node]]:
        """Members by how many others of them lie on the longest way to each."""
        chosen = {self._number[node] for node in members}
        places = [self._place[number] for number in chosen]
        levels: dict[int, int] = {}  # of units between the first and the last member; no others lie on a way
        for unit in self._order[min(places) : max(places) + 1]:
            others = (other for other in self._needed_by(unit) if other in levels)
            levels[unit] = max((levels[other] + (other in chosen) for other in others), default=0)
        by_level: dict[int, list[fx.Node]] = defaultdict(list)
        for node in members:
            by_level[levels[self._number[node]]].append(node)
        return list(by_level.values())

    def _contract(self, numbers: list[int]) -> None:
        """Make one unit of nodes that do not need one another: it comes after all that any of them needs."""
        first, places = min(numbers), [self._place[number] for number in numbers]
        begin, end = min(places), max(places) + 1
        members, before, after = set(numbers), [], []
        needed = set(numbers)
        for unit in reversed(self._order[begin:end]):
            if unit in needed:
                needed.update(self._needed_by(unit))
                before += [unit] if unit not in members else []
            else:
                after.append(unit)
        self._members[first] = numbers
        for number in numbers:
            self._unit[number] = first
            if number != first:
                del self._members[number]
        self._order[begin:end] = [*reversed(before), first, *reversed(after)]
        for place in range(begin, len(self._order)):
            self._place[self._order[place]] = place

    def _needed_by(self, unit: int) -> set[int]:
        return {self._unit[need] for number in self._members[unit] for need in self._needs[number]}

    def _sorted(self) -> list[int]:
        """Units so that each comes after what it needs, in the order that they had where that is possible."""
        waits, users = {}, defaultdict(list)
        for unit in self._members:
            needs = self._needed_by(unit)
            waits[unit] = len(needs)
            for need in needs:
                users[need].append(unit)
        ready = sorted(unit for unit, count in waits.items() if count == 0)
        order = []
        while ready:
            unit = heappop(ready)
            order.append(unit)
            for user in users[unit]:
                waits[user] -= 1
                if waits[user] == 0:
                    heappush(ready, user)
        assert len(order) == len(self._members), "contracted nodes need one another"
        return order


def _columns(members: list[fx.Node]) -> list[tuple[fx.Node, ...]]:
    """What members read, place by place."""
    return list(zip(*(operands_of(node)[0] for node in members), strict=True))
