"""A traced step compiled by TorchInductor."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, cast

from torch import Tensor, fx

from inference.svi.graph import StepGraph
from inference.svi.kept_steps import KeptStep
from inference.svi.passes import joined

Run = Callable[..., Sequence[Tensor | None]]
_logger = logging.getLogger(__name__)


def compile_graph(graph: StepGraph, inputs: Sequence[Tensor]) -> Run:
    """The graph joined and compiled, with the random numbers of the eager step.

    On a CPU it is kept in TorchInductor's cache: the same step, on the same machine, is not compiled twice.

    Args:
        graph: a traced step.
        inputs: tensors of the size of a batch.
    """
    given = [*graph.captured, *inputs]
    if any(tensor.is_cuda for tensor in given):  # where keeping has not been tried
        compiled = _compiled(_joined(graph, given), given)
    else:
        kept = KeptStep(graph.module, given)
        compiled = kept.load()
        if compiled is None:
            compiled = kept.compile(_joined(graph, given))
        else:
            _logger.info("compiled before: %s", kept.path)
    there = [result is not None for result in _output(graph.module).args[0]]

    def run(*tensors: Tensor) -> list[Tensor | None]:
        results = iter(compiled(*tensors))
        return [next(results) if is_there else None for is_there in there]

    return run


def _joined(graph: StepGraph, given: Sequence[Tensor]) -> fx.GraphModule:
    """The graph joined, without results that are None, which a wrapper in C++ cannot hand back."""
    module = joined(graph.module, given)
    output = _output(module)
    output.args = ([result for result in output.args[0] if result is not None],)
    module.recompile()
    return module


def _output(module: fx.GraphModule) -> Any:
    return next(reversed(module.graph.nodes))


def _compiled(module: fx.GraphModule, given: Sequence[Tensor]) -> Run:
    from torch._guards import TracingContext, tracing
    from torch._inductor import compile as inductor_compile
    from torch._subclasses import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    # Without an environment of shapes, though all of them are fixed, TorchInductor does not look into its disk cache.
    fake = FakeTensorMode(allow_non_fake_inputs=True, shape_env=ShapeEnv(assume_static_by_default=True))
    with tracing(TracingContext(fake)):
        return cast(Run, inductor_compile(module, list(given), options={"fallback_random": True}))
