"""A traced step, and the update that follows it, as CUDA graphs: two launches in place of thousands."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from inference.runtime.generators import preserved_generators

Results = Sequence[Tensor | None]
Recording = tuple[Callable[[], None], Results]

WARM_UP = 3  # runs before the recording, in which libraries choose their kernels and take their memory


class CapturedStep:
    """Loss and gradients by replaying a recording of all their kernels.

    A recording is tied to addresses: inputs are copied into tensors of its own, and it writes its results where it
    wrote them first. So gradients are valid until the next replay, when the optimizer has used them; the loss, which a
    caller may keep, is copied. Parameters are read where they are, hence an optimizer must change them in place, as all
    of torch's do. Each replay draws new random numbers: those of the same operations without a recording.

    Args:
        run: (*inputs) -> (loss, *gradients), operations on one CUDA device that never wait for it.
        inputs: tensors of the size of a batch.
        record: runs a function of no arguments, and returns what replays it and where its results are.

    Raises:
        RuntimeError: if an operation cannot be recorded, as it waits for the device.
    """

    def __init__(
        self,
        run: Callable[..., Results],
        inputs: Sequence[Tensor],
        record: Callable[[Callable[[], Results]], Recording] | None = None,
    ) -> None:
        self._inputs = [tensor.clone() for tensor in inputs]
        with preserved_generators():
            self._replay, self._results = (record or record_kernels)(lambda: run(*self._inputs))

    def __call__(self, *inputs: Tensor) -> Results:
        """Loss and gradients for a batch of the recorded size."""
        for mine, given in zip(self._inputs, inputs, strict=True):
            mine.copy_(given)
        self._replay()
        loss, *gradients = self._results
        return [None if loss is None else loss.clone(), *gradients]


class CapturedUpdate:
    """What follows gradients (clipping, the optimizer's step) by replaying a recording of its kernels.

    Learning rates are numbers that a schedule changes from step to step; the recording reads them from tensors, which
    are filled at each call from the optimizer's `param_groups`. Everything else that the optimizer keeps as a number is
    as it was when recorded.

    Args:
        update: what to record: changes parameters, the optimizer's state and other tensors in place, by operations
            that never wait for the device.
        optimizer: the one whose step is taken in it. It has taken a step before, so that its state exists.
        record: runs a function of no arguments without any lasting effect, and returns what replays it.

    Raises:
        RuntimeError: if an operation cannot be recorded.
    """

    def __init__(
        self,
        update: Callable[[], None],
        optimizer: torch.optim.Optimizer,
        record: Callable[[Callable[[], None]], Callable[[], None]] | None = None,
    ) -> None:
        self._optimizer = optimizer
        device = optimizer.param_groups[0]["params"][0].device
        self._rates = [torch.tensor(float(group["lr"]), device=device) for group in optimizer.param_groups]
        with _recordable(optimizer, self._rates):
            self._replay = (record or record_update)(update)

    @staticmethod
    def fits(optimizer: torch.optim.Optimizer) -> bool:
        """Whether an optimizer's step can be recorded: it says so itself, and counts its steps on the device."""
        counts = [(parameter, state.get("step")) for parameter, state in optimizer.state.items()]
        return all("capturable" in group for group in optimizer.param_groups) and all(
            isinstance(count, Tensor) and count.device == parameter.device for parameter, count in counts
        )

    def __call__(self) -> None:
        """Take the optimizer's step."""
        for rate, group in zip(self._rates, self._optimizer.param_groups, strict=True):
            rate.fill_(group["lr"])
        self._replay()


@contextmanager
def _recordable(optimizer: torch.optim.Optimizer, rates: Sequence[Tensor]) -> Iterator[None]:
    """Inside, the optimizer reads its learning rates from tensors and does without the host."""
    kept = [(group["lr"], group["capturable"]) for group in optimizer.param_groups]
    try:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"], group["capturable"] = rate, True
        yield
    finally:
        for group, (rate, capturable) in zip(optimizer.param_groups, kept, strict=True):
            group["lr"], group["capturable"] = rate, capturable


def record_kernels(run: Callable[[], Results]) -> Recording:
    """Record everything that a function launches on the current CUDA device."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = run()
    return graph.replay, results


def record_update(update: Callable[[], None]) -> Callable[[], None]:
    """Record, without a warm-up: its kernels ran in the step before, and running them would be one more step."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        update()
    return graph.replay
