"""Several processes that train one model: ranks, shared work, and communication."""

import importlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as distributed
from torch import Tensor, nn

from videos import VideoBatch

T = TypeVar("T")
N = TypeVar("N", float, Tensor)


@dataclass(frozen=True)
class Processes:
    """The processes of a run, as `torchrun` starts them; a single process is a group of one.

    Each takes its share of the sequences of a batch. Gradients and losses are those of the whole batch: averages over
    processes, weighted by their numbers of sequences, in one all-reduce. The first process leads: only it writes.

    Attributes:
        rank: rank of this process, from 0.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.size:
            raise ValueError(f"rank: expected 0 to {self.size - 1}, got {self.rank}")

    @property
    def leads(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0

    def places(self, count: int) -> slice:
        """This process's part of a range, as equal as possible; empty if there are too few."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def share(self, batch: VideoBatch) -> VideoBatch:
        """This process's sequences of a batch.

        Raises:
            ValueError: if there are fewer sequences than processes.
        """
        if self.size == 1:
            return batch
        if batch.num_sequences < self.size:
            raise ValueError(
                f"batch: expected at least one sequence for each of {self.size} processes, got {batch.num_sequences}"
            )
        return batch.select(self.places(batch.num_sequences))

    def average(self, loss: Tensor, gradients: Sequence[Tensor], num_sequences: int) -> Tensor:
        """Average gradients over the sequences of all processes, in place.

        Args:
            loss: mean over this process's sequences.
            gradients: gradients of that mean, for the same parameters in every process.
            num_sequences: number of sequences of this process.

        Returns:
            The loss averaged over all sequences.
        """
        if self.size == 1:
            return loss
        count = torch.full((1,), float(num_sequences), dtype=loss.dtype, device=loss.device)
        parts = [*(gradient.reshape(-1) for gradient in gradients), loss.reshape(1)]
        flat = torch.cat([torch.cat(parts) * num_sequences, count])
        distributed.all_reduce(flat)
        flat = flat / flat[-1]
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
            start += gradient.numel()
        return flat[start]

    def total(self, value: N) -> N:
        """The sum of a number, or of a tensor on the CPU, over all processes."""
        if self.size == 1:
            return value
        first, *others = self._gathered(value)
        for other in others:
            first = first + other
        return first

    def any(self, flag: bool) -> bool:
        """Whether the flag is True in any process."""
        return flag if self.size == 1 else any(self._gathered(flag))

    def of_the_leader(self, function: Callable[[], T]) -> T:
        """Result of a function called in the leading process only; its exception is re-raised in every process."""
        if self.size == 1:
            return function()
        found: list[Any] = [None, None]
        if self.leads:
            try:
                found[0] = function()
            except Exception as error:
                found[1] = error
        distributed.broadcast_object_list(found, src=0)
        if found[1] is not None:
            raise found[1]
        return found[0]

    def align(self, modules: Iterable[nn.Module]) -> None:
        """Copy parameters and buffers of the leading process to all."""
        if self.size > 1:
            for module in modules:
                for tensor in (*module.parameters(), *module.buffers()):
                    distributed.broadcast(tensor.detach(), src=0)

    def _gathered(self, value: T) -> list[T]:
        found: list[Any] = [None] * self.size
        distributed.all_gather_object(found, value)
        return found


ALONE = Processes()


@contextmanager
def joined_processes(device: torch.device) -> Iterator[tuple[Processes, torch.device]]:
    """Join the processes that `torchrun` started, by its environment variables; without them, a group of one.

    Args:
        device: cpu or cuda; with several processes each takes the CUDA device of its local rank.

    Returns:
        The group, and this process's device.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE, device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    # Its functions bind the current group as a default at import. If torch imported it later, that reference would keep
    # the group and its threads alive until the interpreter exits, where they abort the process.
    importlib.import_module("torch.distributed.nn.functional")
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size()), device
        distributed.barrier()  # torchrun kills the others when one process fails, even while they still write
    finally:
        distributed.destroy_process_group()
