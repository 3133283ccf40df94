"""A traced step as one CUDA graph: a single launch in place of thousands."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from inference.generators import preserved_generators

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
