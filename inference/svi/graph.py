"""One step's loss and gradients as a graph of tensor operations: no Python of the model, the guide or Pyro is left."""

import operator
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pyro
import torch
from torch import Tensor, fx, nn
from torch._guards import TracingContext, tracing
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.node import map_arg
from torch.overrides import TorchFunctionMode

from inference.runtime.generators import preserved_generators
from inference.svi.unread_values import unread_values

_ATEN = torch.ops.aten


@dataclass(frozen=True, eq=False)
class StepGraph:
    """A traced step.

    Attributes:
        module: (*captured, *inputs) -> (loss, *gradients); None is the gradient of what the loss does not reach. It
            holds no tensors of its own.
        captured: constants, and parameters, buffers and other tensors that the step reads: read again at every run, so
            an optimizer or a schedule that changes them in place is seen.
        seconds: what tracing took.
    """

    module: fx.GraphModule
    captured: list[Tensor]
    seconds: float

    @property
    def num_operations(self) -> int:
        """How many tensor operations a step is made of."""
        return sum(node.op == "call_function" for node in self.module.graph.nodes)

    def same_as(self, other: "StepGraph") -> bool:
        """Whether another trace of the step does the same operations with the same numbers and tensors."""
        return (
            self.module.code == other.module.code
            and len(self.captured) == len(other.captured)
            and all(
                mine is one or (mine.shape == one.shape and torch.equal(mine, one))
                for mine, one in zip(self.captured, other.captured, strict=True)
            )
        )


def trace_step(
    loss_and_gradients: Callable[..., Tensor], parameters: Sequence[nn.Parameter], inputs: Sequence[Tensor]
) -> StepGraph:
    """Run a step once and write down every tensor operation, those of the backward pass among them.

    The graph draws random numbers from the same generators in the same order, so from the same state it gives what the
    step gives. Whatever is no tensor keeps the value that it had here: numbers, branches, shapes. The run leaves
    generators and gradients as they were; what it does to buffers stays.

    Args:
        loss_and_gradients: called with the inputs; returns the loss and leaves gradients in the parameters.
        parameters: whose gradients the graph returns.
        inputs: tensors of the size of a batch.

    Raises:
        RuntimeError: if the step asks for the value of a tensor that depends on the inputs, on parameters or on chance.
    """

    def step(*inputs: Tensor) -> list[Tensor | None]:
        for parameter in parameters:
            parameter.grad = None
        loss = loss_and_gradients(*inputs)
        return [loss, *(parameter.grad for parameter in parameters)]

    began = time.monotonic()
    kept = [parameter.grad for parameter in parameters]
    try:
        with (
            preserved_generators(),
            pyro.validation_enabled(False),
            unread_values(),
            _DecomposedRecurrence(),
            tracing(TracingContext(FakeTensorMode())),  # or each value would be described in a mode of its own
        ):
            module = make_fx(step)(*inputs)
    finally:
        for parameter, gradient in zip(parameters, kept, strict=True):
            parameter.grad = gradient
    captured = _lift(module, literals=False)
    with torch.no_grad():
        _fold_constants(module)
    simplify(module)
    constants = _lift(module, literals=True)
    for held in (module._parameters, module._buffers):
        held.clear()
    return StepGraph(module, [*constants, *captured], time.monotonic() - began)


class _DecomposedRecurrence(TorchFunctionMode):
    """Recurrent layers as their elementary operations: those of oneDNN keep a workspace that no graph can hold."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
            onednn: Any = torch.backends.mkldnn
            enabled, onednn.enabled = onednn.enabled, False
            try:
                return func(*args, **kwargs)
            finally:
                onednn.enabled = enabled
        return func(*args, **kwargs)


def _lift(module: fx.GraphModule, literals: bool) -> list[Tensor]:
    """Make inputs of the tensors that the graph holds, each once.

    Args:
        module: holds tensors.
        literals: whether those that are written in a program, such as `torch.tensor(0.5)`, are among them.
    """
    graph, lifted = module.graph, {}
    first = next(iter(graph.nodes))
    for node in list(graph.nodes):
        is_literal = all(user.target is _ATEN.lift_fresh_copy.default for user in node.users)
        if node.op != "get_attr" or (is_literal and not literals):
            continue
        tensor = getattr(module, node.target)
        if id(tensor) not in lifted:
            with graph.inserting_before(first):
                given = graph.placeholder("constant" if literals else "captured")
            given.target = given.name  # which is unique; a target that is another node's name would stand for that node
            given.meta["val"] = tensor
            lifted[id(tensor)] = (tensor, given)
        node.replace_all_uses_with(lifted[id(tensor)][1])
        graph.erase_node(node)
    module.recompile()
    return [tensor for tensor, _ in lifted.values()]


def _fold_constants(module: fx.GraphModule) -> None:
    """Compute once what depends on no input, no parameter and no chance, such as grids, masks and literals."""
    graph, constants = module.graph, {}
    written = written_nodes(graph)
    for node in list(graph.nodes):
        if node.op == "get_attr":
            constants[node] = getattr(module, node.target)
        pure = node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload) and not node.is_impure()
        if not pure or node in written or "empty" in str(node.target):
            continue
        if torch.Tag.nondeterministic_seeded in node.target.tags:
            continue
        if all(argument in constants for argument in node.all_input_nodes):
            args, kwargs = map_arg((node.args, node.kwargs), constants.__getitem__)
            constants[node] = node.target(*args, **kwargs)
    for number, (node, value) in enumerate(constants.items()):
        if node.op == "get_attr" or all(user in constants for user in node.users) or not isinstance(value, Tensor):
            continue
        name = f"constant_{number}"
        module.register_buffer(name, value.detach().clone(), persistent=False)
        with graph.inserting_before(node):
            constant = graph.get_attr(name)
        constant.meta["val"] = value
        node.replace_all_uses_with(constant)
    graph.eliminate_dead_code()


def written_nodes(graph: fx.Graph) -> set[fx.Node]:
    """Nodes whose memory some operation writes to, by themselves or through views of them."""
    found: set[fx.Node] = set()
    for node in reversed(list(graph.nodes)):
        if node in found and (node.target is operator.getitem or shares_unsaid(node.target)):
            found.add(cast(fx.Node, node.args[0]))
        if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
            continue
        given = {
            schema.name: argument for schema, argument in zip(node.target._schema.arguments, node.args, strict=False)
        }
        for schema in node.target._schema.arguments:
            argument = given.get(schema.name, node.kwargs.get(schema.name))
            if schema.alias_info is not None and (schema.alias_info.is_write or node in found):
                several = argument if isinstance(argument, list | tuple) else (argument,)
                found.update(one for one in several if isinstance(one, fx.Node))
    return found


def shares_unsaid(target: Any) -> bool:
    """Whether an operation's results lie in the memory of its first argument, though its schema does not say so."""
    return "unsafe" in str(target) or target is _ATEN.reshape.default


def simplify(module: fx.GraphModule) -> None:
    """Take out what costs time and changes nothing: detachments, views of all there is or taken twice, undone ones."""
    graph = module.graph
    views: dict[Any, fx.Node] = {}
    for node in list(graph.nodes):
        if node.op != "call_function" or not _is_view(node.target):
            continue
        base, key = node.args[0], (node.target, repr(node.args), repr(node.kwargs))
        if node.target is _ATEN.detach.default or _is_whole(base, node):
            same = base
        elif node.target is _ATEN.t.default and isinstance(base, fx.Node) and base.target is _ATEN.t.default:
            same = base.args[0]
        else:
            same = views.setdefault(key, node)
        if same is not node:
            node.replace_all_uses_with(same)
            graph.erase_node(node)
    _own_results(graph)
    graph.eliminate_dead_code()
    module.recompile()


def _is_view(target: Any) -> bool:
    """Whether an operation looks at the memory of its first argument: done twice, it gives the same tensor twice."""
    returned = target._schema.returns if isinstance(target, torch._ops.OpOverload) else []
    return len(returned) == 1 and returned[0].alias_info is not None and not returned[0].alias_info.is_write


def _is_whole(base: Any, view: fx.Node) -> bool:
    """Whether a tensor was expanded or reshaped to what it was."""
    if view.target not in (_ATEN.expand.default, _ATEN.view.default) or not isinstance(base, fx.Node):
        return False
    before, after = base.meta.get("val"), view.meta.get("val")
    if not isinstance(before, Tensor) or not isinstance(after, Tensor):
        return False
    return before.shape == after.shape and before.stride() == after.stride()


def _own_results(graph: fx.Graph) -> None:
    """Let no two results be one tensor, nor any of them an input: an optimizer changes gradients in place."""
    output = next(reversed(graph.nodes))
    seen: set[fx.Node] = set()
    results = []
    for result in output.args[0]:
        if isinstance(result, fx.Node) and (result in seen or result.op == "placeholder"):
            with graph.inserting_before(output):
                result = graph.call_function(_ATEN.clone.default, (result,))
        seen.add(result)
        results.append(result)
    output.args = (results,)
