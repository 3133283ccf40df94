"""A traced step compiled by TorchInductor."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from torch import Tensor, fx

from inference.svi.graph import StepGraph
from inference.svi.passes import joined

Run = Callable[..., Sequence[Tensor | None]]


def compile_graph(graph: StepGraph, inputs: Sequence[Tensor]) -> Run:
    """The graph joined and compiled, with the random numbers of the eager step.

    Args:
        graph: a traced step.
        inputs: tensors of the size of a batch.
    """
    from torch._guards import TracingContext, tracing
    from torch._inductor import compile as inductor_compile
    from torch._subclasses import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    given: list[Any] = [*graph.captured, *inputs]
    module = joined(graph.module, given)
    places = _without_missing(module)
    # On a CPU a wrapper in C++ is one file to compile in place of one for each kernel, and calls them without Python.
    options: dict[str, Any] = {"fallback_random": True, "cpp_wrapper": not any(tensor.is_cuda for tensor in given)}
    # Without an environment of shapes, though all of them are fixed, TorchInductor does not look into its disk cache.
    fake = FakeTensorMode(allow_non_fake_inputs=True, shape_env=ShapeEnv(assume_static_by_default=True))
    with tracing(TracingContext(fake)):
        compiled = cast(Run, inductor_compile(module, given, options=options))

    def run(*tensors: Tensor) -> list[Tensor | None]:
        results = iter(compiled(*tensors))
        return [next(results) if there else None for there in places]

    return run


def _without_missing(module: fx.GraphModule) -> list[bool]:
    """Take results that are None out of a graph, which a wrapper in C++ cannot hand back; where there were tensors."""
    output = next(reversed(module.graph.nodes))
    results = output.args[0]
    output.args = ([result for result in results if result is not None],)
    module.recompile()
    return [result is not None for result in results]
