"""The compiled SVI step: which mode, for which inputs, and what to do with a model that cannot be compiled."""

import logging
import sysconfig
import time
import traceback
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import pyro
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from inference.runtime.generators import preserved_generators
from inference.svi.captured import CapturedStep
from inference.svi.graph import StepGraph, trace_step
from inference.svi.inductor import compile_graph
from inference.svi.plain_attributes import Place, PlainAttributes

CompileMode = Literal["auto", "off", "trace", "inductor", "cudagraph"]
COMPILE_MODES: tuple[str, ...] = get_args(CompileMode)
CACHED_SIGNATURES = 8
# On one core compiling takes 8 to 22 ms an operation, and pays after 1,700 steps (AIR with VIMCO, VTSSI, DMM) to 4,600
# (SQAIR); a KVAE, nearly all convolutions, hardly gains. Most of the time is Python's, in proportion to a graph's size:
# 3,200 operations take 24 s, 8,600 take 130 s, 15,000 take 330 s. Compiling repeated pieces once would save little
# where that is long: once joined, half of the DMM's operations repeat others, a quarter of VTSSI's, a sixth of SQAIR's.
WORTHWHILE_STEPS = 5_000
LARGEST_COMPILED = 20_000
WORTH_RECORDING = 20  # steps: a recording takes a few steps' time
WORTH_TRACING = 100  # steps that a graph has to serve: tracing takes the time of 20 to 60 eager steps
MOST_HASTY_CHANGES = 3  # of attributes, sooner than that
REGISTER = (
    "a graph holds such attributes as they were: for what changes, expected a buffer, self.register_buffer(name, "
    "torch.tensor(value)), changed in place by self.name.fill_(value)"
)

_logger = logging.getLogger(__name__)


class CompileWarning(UserWarning):
    """A step could not be compiled and runs eagerly."""


def check_mode(mode: str) -> None:
    """Refuse an unknown mode.

    Raises:
        ValueError: if there is no such mode.
    """
    if mode not in COMPILE_MODES:
        raise ValueError(f"compile: expected one of {', '.join(COMPILE_MODES)}, got {mode!r}")


class CompiledStep:
    """Loss and gradients of a step by graphs: one for each signature of its inputs, the last few are kept.

    A signature is what a graph is true for: shapes, types and strides of tensors, the other arguments, which parameters
    learn, which modules are in training mode, and the numbers, flags and strings that modules keep as attributes. When
    one of these changes, the step is traced again, with a warning that names it; if that keeps happening, later steps
    are taken eagerly. A value that changes at every step belongs in a buffer, which graphs read each time they run.
    Changes of other Python objects, and of tensors that are neither parameters nor buffers, are not noticed.

    Args:
        mode: "trace" runs the operations one by one, "inductor" compiles them, "cudagraph" records what they launch on
            a CUDA device (compiled before, if that pays over the expected steps) and replays it, "auto" chooses one of
            these for each graph: by the device, the graph's size and the expected steps.
        modules: all modules of model and guide.
        parameters: those that get gradients.
        expected_steps: number of steps that will be taken, if known, to decide whether compilation pays.

    Attributes:
        recorded: whether the last step's gradients lie where each replay of a recording writes them.
    """

    def __init__(
        self,
        mode: str,
        modules: Sequence[nn.Module],
        parameters: Sequence[nn.Parameter],
        expected_steps: int | None = None,
    ) -> None:
        self.mode = mode
        self.parameters = list(parameters)
        self.expected_steps = expected_steps
        self.recorded = False
        self._modules = list(modules)
        self._tensors = [
            (tensors, name, tensor)
            for module in modules
            for tensors in (module._parameters, module._buffers)
            for name, tensor in tensors.items()
        ]
        self._steps: OrderedDict[Any, Callable[..., Sequence[Tensor | None]]] = OrderedDict()
        self._refused = False
        self._attributes = PlainAttributes(modules)
        self._traced_values: dict[Place, Any] | None = None  # the attributes, when the last graph was made
        self._steps_of_graph = 0  # since then
        self._hasty_changes = 0
        self._has_settled = False

    def run(
        self, loss_and_gradients: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Tensor | None:
        """Loss of a step, its gradients left in the parameters; None if the step cannot be compiled.

        Args:
            loss_and_gradients: the eager step, called with `*args, **kwargs`.
            args: positional arguments of model and guide.
            kwargs: their keyword arguments.

        Raises:
            ValueError: if a CUDA graph is requested for a batch on another device.
        """
        self.recorded = False
        if self._refused:
            return None
        leaves, structure = pytree.tree_flatten((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        if self.mode == "cudagraph" and tensors and not tensors[0].is_cuda:
            raise ValueError(
                f"compile: 'cudagraph' expected a batch on a CUDA device, got one on {tensors[0].device}; 'inductor' "
                "takes any device"
            )
        signature = (structure, *map(_signature, leaves), *self._state(), self._attributes.version())
        try:
            step = self._steps.get(signature)
        except TypeError:
            kinds = ", ".join(sorted({type(leaf).__name__ for leaf in leaves if not isinstance(leaf, Hashable)}))
            self._refuse(f"arguments of type {kinds} cannot be told from one another; pass tensors, numbers or strings")
            return None
        if step is None:
            step = self._build(loss_and_gradients, leaves, structure, tensors) if self._may_trace_anew() else None
            if step is None:
                return None
            self._traced_values, self._steps_of_graph = self._attributes.values(), 0
            signature = (*signature[:-1], self._attributes.version())
            self._steps[signature] = step
            if len(self._steps) > CACHED_SIGNATURES:
                self._steps.popitem(last=False)
        self._steps.move_to_end(signature)
        self._steps_of_graph += 1
        with torch.no_grad():
            loss, *gradients = step(*tensors)
        assert loss is not None
        self.recorded = isinstance(step, CapturedStep)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        return loss

    def _state(self) -> tuple[Any, ...]:
        """What of the modules a graph depends on, other than the values of their tensors."""
        if any(tensors.get(name) is not tensor for tensors, name, tensor in self._tensors):
            self._tensors = [(tensors, name, tensors.get(name)) for tensors, name, _ in self._tensors]
            self._steps.clear()  # a tensor was replaced by another one, which no graph knows
        return (
            tuple([parameter.requires_grad for parameter in self.parameters]),
            tuple([module.training for module in self._modules]),
        )

    def _may_trace_anew(self) -> bool:
        """Whether tracing still pays, if an attribute changed; says which did."""
        values = self._attributes.values()
        changes = [] if self._traced_values is None else self._attributes.changes(self._traced_values, values)
        if changes:
            self._hasty_changes += self._steps_of_graph < WORTH_TRACING
            listed = ", ".join(changes)
            if self._hasty_changes > MOST_HASTY_CHANGES:
                self._refuse(f"attributes of modules change too often to trace again each time: {listed}; {REGISTER}")
                return False
            self._warn(f"the SVI step is traced again, as an attribute of a module changed: {listed}; {REGISTER}")
        return True

    def _build(
        self, loss_and_gradients: Callable[..., Tensor], leaves: list[Any], structure: Any, tensors: list[Tensor]
    ) -> Callable[..., Sequence[Tensor | None]] | None:
        """A graph for inputs like these, compiled if that is the mode."""

        def step(*tensors: Tensor) -> Tensor:
            given = iter(tensors)
            again = [next(given) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
            args, kwargs = pytree.tree_unflatten(again, structure)
            return loss_and_gradients(*args, **kwargs)

        before = self._attributes.values()
        with self._kept_buffers():
            self._rehearse(step, tensors)
            changes = self._attributes.changes(before, self._attributes.values())
            if changes and not self._has_settled:
                # a flag that is set by the first call, perhaps: take that call as a step, and trace the next
                self._has_settled = True
                self._attributes.restore(before)
                return None
            try:
                graph = trace_step(step, self.parameters, tensors)
                if changes and not graph.same_as(trace_step(step, self.parameters, tensors)):
                    self._refuse(f"forward changes {', '.join(changes)}, and computes with it; {REGISTER}")
                    return None
            except Exception as error:  # whatever stands in the way, the eager step has just done without
                self._refuse(_problem(error))
                return None
            finally:
                self._attributes.restore(before)
        if changes:
            self._warn(f"forward changes {', '.join(changes)}, but graphs do not call it: it stands still; {REGISTER}")
        mode, reason = self._choose(graph, on_cuda=any(tensor.is_cuda for tensor in tensors))
        size = ", ".join("x".join(map(str, tensor.shape)) for tensor in tensors)
        _logger.info(
            "step of %d operations traced in %.1f s for inputs %s; mode %s%s",
            *(graph.num_operations, graph.seconds, size, mode, reason),
        )
        run: Callable[..., Sequence[Tensor | None]] = graph.module
        if mode == "inductor" or (mode == "cudagraph" and self._obstacle(graph) is None):
            began = time.monotonic()
            try:
                with torch.no_grad():
                    run = compile_graph(graph, tensors)
                _logger.info("compiled in %.1f s", time.monotonic() - began)
            except Exception as error:  # no compiler on this machine, or an operation that it does not know
                problem = f"{type(error).__name__}: {_first_line(error)}"
                text = f"the SVI step runs traced, TorchInductor could not compile it: {problem}"
                warnings.warn(text, CompileWarning, stacklevel=5)

        def step_of(*tensors: Tensor) -> Sequence[Tensor | None]:
            return run(*graph.captured, *tensors)

        if mode == "cudagraph":
            try:
                with torch.no_grad(), self._kept_buffers():
                    return CapturedStep(step_of, tensors)
            except RuntimeError as error:  # an operation that waits for the device
                text = f"the SVI step runs traced, CUDA could not record it: {_first_line(error)}"
                warnings.warn(text, CompileWarning, stacklevel=5)
        return step_of

    @contextmanager
    def _kept_buffers(self) -> Iterator[None]:
        """Afterwards, what model and guide count in buffers is as before."""
        buffers = [
            (tensor, tensor.clone()) for _, _, tensor in self._tensors if not isinstance(tensor, nn.Parameter | None)
        ]
        try:
            yield
        finally:
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)

    def _rehearse(self, step: Callable[..., Tensor], tensors: list[Tensor]) -> None:
        """One eager step for its errors, and under Pyro's validation if that is on: a graph cannot check values."""
        kept = [parameter.grad for parameter in self.parameters]
        try:
            with preserved_generators():
                step(*tensors)
        finally:
            for parameter, gradient in zip(self.parameters, kept, strict=True):
                parameter.grad = gradient

    def _choose(self, graph: StepGraph, on_cuda: bool) -> tuple[str, str]:
        """The mode for a graph, and the reason if it is not the requested one."""
        if self.mode != "auto":
            return self.mode, ""
        if on_cuda and (self.expected_steps is None or self.expected_steps >= WORTH_RECORDING):
            return "cudagraph", " (on a CUDA device a recording saves every launch)"
        obstacle = self._obstacle(graph)
        if obstacle is not None:
            return "trace", f" ({obstacle})"
        return "inductor", f" (worth compiling for {self.expected_steps} steps)"

    def _obstacle(self, graph: StepGraph) -> str | None:
        """Why a graph is not worth compiling, if it is not."""
        if self.expected_steps is None:
            return "how many steps will be taken is not known"
        if self.expected_steps < WORTHWHILE_STEPS:
            return f"{self.expected_steps} steps are too few to be worth compiling"
        if graph.num_operations > LARGEST_COMPILED:
            return "too large to compile"
        return None

    def _refuse(self, problem: str) -> None:
        self._refused = True
        self._warn(f"the SVI step runs eagerly, it cannot be compiled: {problem}")

    def _warn(self, text: str) -> None:
        warnings.warn(text, CompileWarning, stacklevel=6)


def _signature(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return leaf.shape, leaf.stride(), leaf.dtype, leaf.device, leaf.requires_grad
    return leaf


def _problem(error: Exception) -> str:
    """Where a trace failed, why, and the usual remedy."""
    place = _place_of(error)
    if "get value out of a tracing tensor" in str(error):
        return (
            f"{place} uses the value of a tensor (a branch, .item(), float(), a shape that depends on it); "
            "torch.where or a mask does the same for all values"
        )
    return f"{place} raised {type(error).__name__}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]


def _place_of(error: Exception) -> str:
    """The innermost line of the step that is the user's own: in no installed library, nor in this package."""
    frames = traceback.extract_tb(error.__traceback__)
    entered = max(
        (i for i, frame in enumerate(frames) if (frame.filename, frame.name) == (__file__, "step")), default=-1
    )
    frames = frames[entered + 1 :] or frames
    paths = sysconfig.get_paths()
    libraries = (paths["purelib"], paths["platlib"], paths["stdlib"], str(Path(__file__).parent))
    own = [frame for frame in frames if not frame.filename.startswith(libraries)]
    pyro_folder = str(Path(str(pyro.__file__)).parent)
    frame = (own or [frame for frame in frames if frame.filename.startswith(pyro_folder)] or frames)[-1]
    return f"{frame.filename}:{frame.lineno} ({frame.line})"
