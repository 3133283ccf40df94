"""Products of a graph that can be taken together: those of one tensor with several parameters, and sums of products.

Two layers that read the same tensor are one layer, `x [W1, W2]`. The gradient of a weight that T steps share is a sum
of T small products, `sum_t g[t]^T x[t]`: one product of all rows put together. The gradient of a tensor that T steps
read in parts is a sum of T tensors of its size, nearly all zeros: the gradients of the parts beside one another.
Putting together costs copies, so only what is small, or used again and again, is joined.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from inference.svi.grouping import LARGEST_COPY
from inference.svi.nodes import arguments, call, is_turned, shape_of, size_of, transposed, width_of

_ATEN = torch.ops.aten
_VIEWS = (_ATEN.t.default, _ATEN.reshape.default)
_OF_PARTS = (_ATEN.select_backward.default, _ATEN.slice_backward.default)


class Products:
    """Products of a graph, joined in place.

    Args:
        graph: operations with their values in `meta["val"]`.
        pinned: nodes to be left alone, as they read or write what is written to.
    """

    def __init__(self, graph: fx.Graph, pinned: set[fx.Node]) -> None:
        self.graph = graph
        self._pinned = pinned
        self._number = {node: place for place, node in enumerate(graph.nodes)}
        self._inputs_end = [node for node in graph.nodes if node.op == "placeholder"][-1]
        self._parameters: dict[Any, fx.Node] = {}
        self._rows: dict[tuple[fx.Node, ...], fx.Node] = {}
        self._orders: dict[frozenset[fx.Node], tuple[fx.Node, ...]] = {}

    def join_layers(self) -> None:
        """Take the products of one tensor with several parameters at once."""
        readers: dict[Any, list[fx.Node]] = defaultdict(list)
        for node in self.graph.nodes:
            if node in self._pinned or node.kwargs or node.target not in (_ATEN.mm.default, _ATEN.addmm.default):
                continue
            *bias, rows, matrix = arguments(node)
            if self._is_parameter(matrix) and all(self._is_parameter(b) and b.meta["val"].ndim == 1 for b in bias):
                readers[node.target, rows, matrix.op].append(node)
        together = [nodes for nodes in readers.values() if len(set(_matrices(nodes))) == len(nodes) > 1]
        uses = Counter(map(_matrices, together))
        for nodes in together:
            if self._is_worth_joining(_matrices(nodes), uses):
                self._join_layers(nodes)

    def _join_layers(self, nodes: list[fx.Node]) -> None:
        *bias, rows, _ = zip(*map(arguments, nodes), strict=True)
        operands = [*(self._joined(column, dim=0) for column in bias), rows[0], self._joined(_matrices(nodes), dim=1)]
        with self.graph.inserting_before(nodes[0]):
            whole, begin = self._call(nodes[0].target, *operands), 0
            for node in nodes:
                end = begin + node.meta["val"].shape[1]
                node.replace_all_uses_with(self._call(_ATEN.slice.Tensor, whole, 1, begin, end))
                begin = end
        for node in nodes:
            self.graph.erase_node(node)

    def sum_rows_first(self) -> None:
        """Sum rows before they are multiplied by a matrix, not afterwards."""
        for node in list(self.graph.nodes):
            if node.target is not _ATEN.sum.dim_IntList or node in self._pinned or node.kwargs:
                continue
            viewed = product = arguments(node)[0]
            dims = [dim % viewed.meta["val"].ndim for dim in arguments(node)[1] or ()]
            while product.target is _ATEN.reshape.default and self._is_read_once(product):
                if width_of(arguments(product)[0]) != width_of(product):
                    break
                product = arguments(product)[0]
            is_product = product.target is _ATEN.mm.default and self._is_read_once(product)
            if dims and viewed.meta["val"].ndim - 1 not in dims and is_product:
                rows, matrix = arguments(product)
                leading = list(viewed.meta["val"].shape[:-1])
                with self.graph.inserting_before(node):
                    rows = self._call(_ATEN.reshape.default, rows, [*leading, width_of(rows)])
                    summed = self._call(_ATEN.sum.dim_IntList, rows, dims)
                    summed = self._call(_ATEN.reshape.default, summed, [-1, width_of(rows)])
                    fewer = self._call(_ATEN.mm.default, summed, matrix)
                    result = self._call(_ATEN.reshape.default, fewer, list(node.meta["val"].shape))
                node.replace_all_uses_with(result)
        self.graph.eliminate_dead_code()

    def _is_read_once(self, node: fx.Node) -> bool:
        return len(node.users) == 1 and node not in self._pinned

    def join_sums(self) -> None:
        """Take sums of products, of sums over rows, and of parts of one tensor, at once."""
        roots = [node for node in self.graph.nodes if self._is_root(node)]
        uses: Counter[tuple[fx.Node, ...]] = Counter()
        for root in roots:
            uses.update(
                _matrices([_without_views(term)[0] for term in terms])
                for kind, terms in self._kinds(root).items()
                if kind and kind[0] == "layer"
            )
        for root in roots:
            kinds = self._kinds(root)
            if all(len(alike) < 2 for kind, alike in kinds.items() if kind):
                continue
            with self.graph.inserting_before(root):
                whole = self._sum(kinds, uses)
                if root in self._pinned:  # written to later, which no other tensor shall see
                    whole = self._call(_ATEN.clone.default, whole)
                    self._pinned.add(whole)
            root.replace_all_uses_with(whole)
        self.graph.eliminate_dead_code()

    def _sum(self, kinds: dict[Any, list[fx.Node]], uses: Counter[tuple[fx.Node, ...]]) -> fx.Node:
        terms = list(kinds.get(None, []))
        for kind, alike in kinds.items():
            if kind:
                terms += self._total(kind[0], alike, uses) if len(alike) > 1 else alike
        return self._added(terms)

    def _added(self, terms: Sequence[fx.Node]) -> fx.Node:
        whole = terms[0]
        for term in terms[1:]:
            whole = self._call(_ATEN.add.Tensor, whole, term)
        return whole

    def _is_root(self, node: fx.Node) -> bool:
        """Whether a node is a sum, and no part of another one."""
        terms = node.all_input_nodes
        return self._is_sum(node) and not self._is_term(node) and self._pinned.isdisjoint(terms)

    def _is_sum(self, node: fx.Node) -> bool:
        return (
            node.target is _ATEN.add.Tensor
            and not node.kwargs
            and all(isinstance(term, fx.Node) and shape_of(term) == shape_of(node) for term in arguments(node))
        )

    def _is_term(self, node: fx.Node) -> bool:
        """Whether a sum is but a part of another one."""
        users = list(node.users)
        is_free = node not in self._pinned and len(users) == 1
        return is_free and self._is_sum(users[0]) and shape_of(users[0]) == shape_of(node)

    def _kinds(self, root: fx.Node) -> dict[Any, list[fx.Node]]:
        """Whatever a tree of sums adds up, by what terms have in common; None for those that have nothing."""
        terms = []
        waiting = list(arguments(root))
        while waiting:
            node = waiting.pop()
            if self._is_sum(node) and self._is_term(node):
                waiting += arguments(node)
            else:
                terms.append(node)
        return self._by_kind(terms)

    def _by_kind(self, terms: Sequence[fx.Node]) -> dict[Any, list[fx.Node]]:
        kinds: dict[Any, list[fx.Node]] = defaultdict(list)
        for term in terms:
            kinds[self._kind(term)].append(term)
        return kinds

    def _kind(self, term: fx.Node) -> Any:
        base, views = _without_views(term)
        if base in self._pinned or len(base.users) > 1:
            return None
        if base.target is _ATEN.mm.default:
            matrix = arguments(base)[1]
            kind = ("layer", matrix.op) if self._is_parameter(matrix) else ("gradient",)
            return *kind, repr(views), shape_of(base)
        if base.target is _ATEN.sum.dim_IntList and arguments(base)[1] == [0] and not base.kwargs:
            return "rows", repr(views), repr(arguments(base)[2:]), shape_of(base)
        if base.target is _ATEN.select.int and arguments(base)[1] == 0:
            return "parts", repr(views), arguments(base)[0]
        if base.target is _ATEN.cat.default:
            return (
                "concatenations",
                repr(views),
                repr(list(map(shape_of, arguments(base)[0]))),
                repr(arguments(base)[1:]),
            )
        if base.target in _OF_PARTS and (base.target is _OF_PARTS[0] or arguments(base)[-1] == 1):
            return "gradients of parts", repr(views), arguments(base)[2], shape_of(base)
        return None

    def _total(self, kind: str, terms: list[fx.Node], uses: Counter[tuple[fx.Node, ...]]) -> list[fx.Node]:
        """Terms of one kind summed, or as they are where copies would cost more."""
        bases, views = [_without_views(term)[0] for term in terms], _without_views(terms[0])[1]
        if kind in ("layer", "gradient"):
            bases = self._with_rows_added(bases)
        total = bases[0] if len(bases) == 1 else self._total_of_bases(kind, bases, uses)
        if total is None and len(bases) == len(terms):
            return terms
        totals = bases if total is None else [total]
        for target, others in reversed(views):
            totals = [self._call(target, one, *others) for one in totals]
        return totals

    def _total_of_bases(self, kind: str, bases: list[fx.Node], uses: Counter[tuple[fx.Node, ...]]) -> fx.Node | None:
        if kind == "layer":
            return self._sum_of_layers(bases, uses)
        if kind == "concatenations":
            columns = zip(*(arguments(base)[0] for base in bases), strict=True)
            sums = [self._sum(self._by_kind(column), uses) for column in columns]
            return self._call(_ATEN.cat.default, sums, *arguments(bases[0])[1:])
        sums_of_kind = {
            "parts": self._sum_of_parts,
            "gradients of parts": self._beside_one_another,
            "rows": self._sum_of_rows,
            "gradient": self._sum_of_products,
        }
        return sums_of_kind[kind](bases)

    def _with_rows_added(self, products: list[fx.Node]) -> list[fx.Node]:
        """g[1] W + g[2] W as (g[1] + g[2]) W."""
        alike: dict[fx.Node, list[fx.Node]] = defaultdict(list)
        for product in products:
            alike[arguments(product)[1]].append(arguments(product)[0])
        found = []
        for product in products:
            rows = alike.pop(arguments(product)[1], [])
            if len(rows) > 1:
                if all(map(is_turned, rows)):
                    added = self._call(_ATEN.t.default, self._added([arguments(turned)[0] for turned in rows]))
                else:
                    added = self._added(rows)
                product = self._call(_ATEN.mm.default, added, arguments(product)[1])
            found += [product] if rows else []
        return found

    def _sum_of_parts(self, bases: list[fx.Node]) -> fx.Node | None:
        """select(x, 0, i) + select(x, 0, i + 1) + ..."""
        stack, places = arguments(bases[0])[0], sorted(arguments(base)[2] for base in bases)
        if places != list(range(places[0], places[0] + len(places))):
            return None
        part = self._call(_ATEN.slice.Tensor, stack, 0, places[0], places[-1] + 1)
        return self._call(_ATEN.sum.dim_IntList, part, [0])

    def _beside_one_another(self, bases: list[fx.Node]) -> fx.Node | None:
        """select_backward(g[1], 1) + select_backward(g[2], 2) + ..., of at least half a tensor, no part of it twice."""
        dim = arguments(bases[0])[2]
        size = bases[0].meta["val"].shape[dim]
        extents = {base: _extent(base, size) for base in bases}
        bases = sorted(bases, key=extents.__getitem__)
        begins, ends = zip(*(extents[base] for base in bases), strict=True)
        gaps = list(zip((0, *ends), (*begins, size), strict=True))
        missing = [end - begin for begin, end in gaps]
        if min(missing) < 0 or 2 * sum(missing) > size:
            return None
        pieces: list[fx.Node] = []
        for base, length in zip((*bases, None), missing, strict=True):
            if length:
                shape = list(bases[0].meta["val"].shape)
                shape[dim] = length
                pieces.append(self._call(_ATEN.new_zeros.default, arguments(bases[0])[0], shape))
            if base is not None:
                gradient = arguments(base)[0]
                is_single = base.target is _ATEN.select_backward.default
                pieces.append(self._call(_ATEN.unsqueeze.default, gradient, dim) if is_single else gradient)
        return self._call(_ATEN.cat.default, pieces, dim)

    def _sum_of_rows(self, bases: list[fx.Node]) -> fx.Node:
        """sum(x[1], 0) + sum(x[2], 0) + ..."""
        (rows,) = self._in_rows([[arguments(base)[0] for base in bases]])
        return self._call(_ATEN.sum.dim_IntList, rows, *arguments(bases[0])[1:])

    def _sum_of_layers(self, bases: list[fx.Node], uses: Counter[tuple[fx.Node, ...]]) -> fx.Node | None:
        """x[1] W[1] + x[2] W[2] + ..., with parameters W."""
        matrices = _matrices(bases)
        if not self._is_worth_joining(matrices, uses):
            return None
        left = self._call(_ATEN.cat.default, [arguments(base)[0] for base in bases], 1)
        return self._call(_ATEN.mm.default, left, self._joined(matrices, dim=0))

    def _sum_of_products(self, bases: list[fx.Node]) -> fx.Node | None:
        """g[1]^T x[1] + g[2]^T x[2] + ..."""
        copied = sum(size_of(operand) for base in bases for operand in arguments(base))
        saved = sum(map(size_of, bases))
        if 2 * copied > 3 * saved + LARGEST_COPY * len(bases):
            return None
        bases = sorted(bases, key=lambda base: self._number.get(arguments(base)[1], len(self._number)))
        left = [transposed(self.graph, arguments(base)[0]) for base in bases]
        left, right = self._in_rows([left, [arguments(base)[1] for base in bases]])
        return self._call(_ATEN.mm.default, self._call(_ATEN.t.default, left), right)

    def _in_rows(self, columns: list[list[fx.Node]]) -> list[fx.Node]:
        """Tensors of each column below one another, all in the same order: one that is there already, if possible."""
        for column in columns:
            order = self._orders.get(frozenset(column))
            if order is not None and len(order) == len(column):  # none of them twice
                places = [column.index(node) for node in order]
                columns = [[other[place] for place in places] for other in columns]
                break
        rows = []
        for column in columns:
            key = tuple(column)
            if key not in self._rows:
                self._rows[key] = self._call(_ATEN.cat.default, column, 0)
                if len(set(key)) == len(key):
                    self._orders[frozenset(key)] = key
            rows.append(self._rows[key])
        return rows

    def _is_parameter(self, node: Any) -> bool:
        """Whether a matrix is an input of the graph, or one transposed."""
        if isinstance(node, fx.Node) and is_turned(node):
            node = arguments(node)[0]
        return isinstance(node, fx.Node) and node.op == "placeholder" and node not in self._pinned

    def _is_worth_joining(self, parameters: tuple[fx.Node, ...], uses: Counter[tuple[fx.Node, ...]]) -> bool:
        """Whether products save what the copy of their parameters costs."""
        return sum(map(size_of, parameters)) <= LARGEST_COPY * uses[parameters]

    def _joined(self, parameters: Sequence[fx.Node], dim: int) -> fx.Node:
        """Parameters beside one another, once for each list of them, before anything is computed."""
        key = (*parameters, dim)
        if key not in self._parameters:
            turned = parameters[0].op != "placeholder"
            inputs = [arguments(node)[0] for node in parameters] if turned else list(parameters)
            with self.graph.inserting_after(self._inputs_end):
                joined = self._call(_ATEN.cat.default, inputs, 1 - dim if turned else dim)
            if turned:
                with self.graph.inserting_after(joined):
                    joined = self._call(_ATEN.t.default, joined)
            self._inputs_end = self._parameters[key] = joined
        return self._parameters[key]

    def _call(self, target: Any, *operands: Any) -> fx.Node:
        return call(self.graph, target, *operands)


def _matrices(products: Sequence[fx.Node]) -> tuple[fx.Node, ...]:
    return tuple(arguments(node)[-1] for node in products)


def _extent(gradient_of_part: fx.Node, size: int) -> tuple[int, int]:
    """Where the part of a tensor begins and ends along its dimension."""
    if gradient_of_part.target is _ATEN.select_backward.default:
        place = arguments(gradient_of_part)[3] % size
        return place, place + 1
    begin, end, _ = slice(*arguments(gradient_of_part)[3:]).indices(size)
    return begin, end


def _without_views(node: fx.Node) -> tuple[fx.Node, list[tuple[Any, tuple[Any, ...]]]]:
    """What a chain of views looks at, if nothing else does, and the views from the last to the first."""
    views = []
    while node.target in _VIEWS and len(node.users) == 1 and isinstance(arguments(node)[0], fx.Node):
        views.append((node.target, arguments(node)[1:]))
        node = arguments(node)[0]
    return node, views
