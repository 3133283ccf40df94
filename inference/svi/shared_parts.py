"""What a product computes again and again for one part of its rows, computed once.

A cell that reads an image's features beside the last slot, `[f, z[k]] W`, multiplies the features anew for each slot,
and, where they were expanded, for each particle. That is `f W_f + z[k] W_z`, whose first term is the same for all. Two
gradients have a common factor: `sum_k g[k]^T f` is `(sum_k g[k])^T f`, and `sum_k g[k] W_f^T` is `(sum_k g[k]) W_f^T`.
Here products are split into those of parts; `products` takes the sums.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from inference.svi.nodes import arguments, call, is_turned, size_of, transposed, width_of

_ATEN = torch.ops.aten
_PRODUCTS = (_ATEN.mm.default, _ATEN.addmm.default)
_VIEWS = (_ATEN.reshape.default, _ATEN.unsqueeze.default, _ATEN.squeeze.dim, _ATEN.expand.default)
NARROWEST = 32  # columns: adding a part's product to the others' costs about as much as some columns of a product
Extent = tuple[int, int]


@dataclass(frozen=True)
class Rows:
    """A product whose rows are a concatenation of parts along their last dimension.

    Attributes:
        product: the product.
        whole: the concatenation.
        place: of the part that is looked at: the first or the last.
        source: what this part is, before `views`.
        views: what expands the source, or reshapes all but its last dimension, up to the part.
    """

    product: fx.Node
    whole: fx.Node
    place: int
    source: fx.Node
    views: tuple[fx.Node, ...]

    @property
    def number(self) -> int:
        """Of rows."""
        return size_of(self.whole) // width_of(self.whole)


class SharedParts:
    """Products by one matrix whose rows begin, or end, with the same part.

    Args:
        graph: operations with their values in `meta["val"]`.
        pinned: nodes that read or write what is written to. A product among them, whose result some operation changes,
            gives its place to a new one.
    """

    def __init__(self, graph: fx.Graph, pinned: set[fx.Node]) -> None:
        self._graph = graph
        self._pinned = pinned
        self._rest: dict[tuple[fx.Node, int], fx.Node] = {}

    def take_out(self) -> None:
        """Multiply shared parts once, in place."""
        groups: dict[Any, list[Rows]] = defaultdict(list)
        for node in self._graph.nodes:
            for rows in self._rows_of(node):
                *bias, _, matrix = arguments(node)
                width = width_of(arguments(rows.whole)[0][rows.place])
                groups[matrix, tuple(bias), rows.source, rows.place == 0, width].append(rows)
        split: set[fx.Node] = set()
        for (matrix, bias, source, is_first, width), members in groups.items():
            is_shared = sum(rows.number for rows in members) * width > size_of(source)
            if is_shared and width >= NARROWEST and split.isdisjoint(rows.product for rows in members):
                split.update(rows.product for rows in members)
                total = width_of(members[0].whole)
                begin = 0 if is_first else total - width
                shared, others = (begin, begin + width), (width, total) if is_first else (0, begin)
                self._split(members, matrix, bias, shared, others)
                if is_turned(matrix):
                    for user in self._products_by(arguments(matrix)[0]):
                        self._split_gradient_of_rows(user, shared, others)
        self._graph.eliminate_dead_code()

    def _products_by(self, matrix: fx.Node) -> list[fx.Node]:
        """Products that have a node on the right."""
        return [
            user
            for user in matrix.users
            if user.target is _ATEN.mm.default and arguments(user)[1] is matrix and user not in self._pinned
        ]

    def _rows_of(self, product: fx.Node) -> list[Rows]:
        """The first and the last part of what a product reads, if that is a concatenation."""
        if product.target not in _PRODUCTS or product.kwargs:
            return []
        *bias, rows, matrix = arguments(product)
        if any(added.meta["val"].ndim != 1 for added in bias):
            return []
        whole = rows
        while whole.target is _ATEN.reshape.default and width_of(arguments(whole)[0]) == width_of(rows):
            whole = arguments(whole)[0]
        if whole.target is not _ATEN.cat.default or not self._pinned.isdisjoint((rows, whole, matrix)):
            return []
        parts, last = arguments(whole)[0], whole.meta["val"].ndim - 1
        if (*arguments(whole)[1:], 0)[0] not in (last, -1) or len(parts) < 2:
            return []
        if any(part.meta["val"].dtype != whole.meta["val"].dtype for part in parts):
            return []
        return [Rows(product, whole, place, *self._source(parts[place])) for place in (0, len(parts) - 1)]

    def _source(self, part: fx.Node) -> tuple[fx.Node, tuple[fx.Node, ...]]:
        views: list[fx.Node] = []
        while part.target in _VIEWS:
            before = arguments(part)[0]
            if before in self._pinned or before.meta["val"].ndim < 2 or width_of(before) != width_of(part):
                break
            views.insert(0, part)
            part = before
        return part, tuple(views)

    def _split(
        self, members: list[Rows], matrix: fx.Node, bias: tuple[fx.Node, ...], shared: Extent, others: Extent
    ) -> None:
        """[f, z] W as f W_f + z W_z."""
        with self._graph.inserting_before(members[0].product):
            source = self._as_rows(members[0].source)
            target = _ATEN.addmm.default if bias else _ATEN.mm.default
            once = self._call(target, *bias, source, self._call(_ATEN.slice.Tensor, matrix, 0, *shared))
        for rows in members:
            given = arguments(rows.product)[-2]
            rest = self._rest_of(rows)
            with self._graph.inserting_before(rows.product):
                remaining = self._call(_ATEN.slice.Tensor, matrix, 0, *others)
                product = self._call(_ATEN.addmm.default, self._viewed(once, rows), rest, remaining)
            rows.product.replace_all_uses_with(product)
            if rows.product in self._pinned:
                self._pinned.add(product)
            for user in self._products_by(given):
                self._split_gradient_of_matrix(user, rows, rest)

    def _split_gradient_of_matrix(self, product: fx.Node, rows: Rows, rest: fx.Node) -> None:
        """g^T [f, z] as [sum(g)^T f, g^T z]."""
        with self._graph.inserting_before(product):
            left = arguments(product)[0]
            summed = self._summed(transposed(self._graph, left), rows)
            source = self._as_rows(rows.source)
            of_shared = self._call(_ATEN.mm.default, self._call(_ATEN.t.default, summed), source)
            of_rest = self._call(_ATEN.mm.default, left, rest)
            columns = [of_shared, of_rest] if rows.place == 0 else [of_rest, of_shared]
            product.replace_all_uses_with(self._call(_ATEN.cat.default, columns, 1))

    def _split_gradient_of_rows(self, product: fx.Node, shared: Extent, others: Extent) -> None:
        """As g W_f^T and g W_z^T, products of which only some columns are read."""
        slices = self._slices_of(product)
        within = {extent: [part for part in slices if _is_within(part, extent)] for extent in (shared, others)}
        if not slices or sum(map(len, within.values())) < len(slices):
            return
        gradient, turned = arguments(product)
        for extent, parts in within.items():
            if not parts:
                continue
            with self._graph.inserting_before(product):
                matrix = self._call(_ATEN.slice.Tensor, turned, 1, *extent)
                columns = self._call(_ATEN.mm.default, gradient, matrix)
            for part in parts:
                begin, end = _extent(part)
                with self._graph.inserting_before(part):
                    result = self._call(_ATEN.reshape.default, columns, [*_leading(part), width_of(columns)])
                    if (begin, end) != extent:
                        last = part.meta["val"].ndim - 1
                        result = self._call(_ATEN.slice.Tensor, result, last, begin - extent[0], end - extent[0])
                part.replace_all_uses_with(result)

    def _slices_of(self, product: fx.Node) -> list[fx.Node]:
        """The parts of its columns that a product is read by, if nothing else reads it."""
        slices: list[fx.Node] = []
        waiting = list(product.users)
        while waiting:
            user = waiting.pop()
            value = arguments(user)[0].meta.get("val")
            if user in self._pinned or value is None:
                return []
            if user.target is _ATEN.reshape.default and width_of(user) == width_of(product):
                waiting += user.users
            elif user.target is _ATEN.slice.Tensor and arguments(user)[1] in (value.ndim - 1, -1):
                if arguments(user)[4:] not in ((), (1,)):
                    return []
                slices.append(user)
            else:
                return []
        return slices

    def _rest_of(self, rows: Rows) -> fx.Node:
        """All parts but one."""
        key = (rows.whole, rows.place)
        if key not in self._rest:
            parts = list(arguments(rows.whole)[0])
            del parts[rows.place]
            with self._graph.inserting_before(rows.whole.next):  # before all that reads the whole
                rest = self._call(_ATEN.cat.default, parts, rows.whole.meta["val"].ndim - 1)
                self._rest[key] = self._as_rows(rest)
        return self._rest[key]

    def _viewed(self, once: fx.Node, rows: Rows) -> fx.Node:
        """What a source gave, expanded and reshaped as the source was."""
        width = width_of(once)
        once = self._call(_ATEN.reshape.default, once, [*_leading(rows.source), width])
        for view in rows.views:
            target = _ATEN.expand.default if view.target is _ATEN.expand.default else _ATEN.reshape.default
            once = self._call(target, once, [*_leading(view), width])
        return self._as_rows(once)

    def _summed(self, gradient: fx.Node, rows: Rows) -> fx.Node:
        """The gradient of what is `_viewed`: summed over what the source was expanded to."""
        width = width_of(gradient)
        gradient = self._call(_ATEN.reshape.default, gradient, [*_leading(rows.whole), width])
        for view in reversed(rows.views):
            before, after = _leading(arguments(view)[0]), _leading(view)
            if view.target is _ATEN.expand.default:
                new = len(after) - len(before)
                dims = [dim for dim in range(len(after)) if dim < new or before[dim - new] != after[dim]]
                gradient = self._call(_ATEN.sum.dim_IntList, gradient, dims) if dims else gradient
            gradient = self._call(_ATEN.reshape.default, gradient, [*before, width])
        return self._as_rows(gradient)

    def _as_rows(self, node: fx.Node) -> fx.Node:
        return self._call(_ATEN.reshape.default, node, [size_of(node) // width_of(node), width_of(node)])

    def _call(self, target: Any, *operands: Any) -> fx.Node:
        return call(self._graph, target, *operands)


def _leading(node: fx.Node) -> list[int]:
    return list(node.meta["val"].shape[:-1])


def _extent(part: fx.Node) -> Extent:
    """Of a slice."""
    begin, end, _ = slice(*arguments(part)[2:4]).indices(width_of(arguments(part)[0]))
    return begin, end


def _is_within(part: fx.Node, extent: Extent) -> bool:
    begin, end = _extent(part)
    return extent[0] <= begin and end <= extent[1]
