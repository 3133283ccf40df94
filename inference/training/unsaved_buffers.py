"""Buffers that a loss changes and no checkpoint holds."""

from collections.abc import Mapping

import torch
from torch import nn

from inference.programs.traces import Program, modules_of


class UnsavedBuffers:
    """The buffers of a loss's own models and guides that are not part of the pair, as they were at first.

    Buffers that are registered with `persistent=False` are no state: what `begin_step` fills, say. They may change.

    Args:
        programs: of the loss, by name.
        model: whose buffers are saved.
        guide: whose buffers are saved.
    """

    def __init__(self, programs: Mapping[str, Program], model: nn.Module, guide: nn.Module) -> None:
        saved = {id(module) for module in modules_of(model, guide)}
        self._buffers = [
            (f"{place}: {type(module).__name__}.{name}", module, name, buffer.clone())
            for place, program in programs.items()
            for module in modules_of(program)
            if id(module) not in saved
            for name, buffer in module.named_buffers(recurse=False)
            if name not in module._non_persistent_buffers_set
        ]

    def check(self) -> None:
        """Refuse those that changed; waits for the device.

        Raises:
            ValueError: names the first.
        """
        for place, module, name, before in self._buffers:
            now = getattr(module, name)
            if now is None or now.shape != before.shape or not torch.equal(now, before):
                raise ValueError(
                    f"loss: expected buffers outside of model and guide to stay as they are, {place} changed; no "
                    "checkpoint holds it, so the run could not go on as it was: make its module part of model or "
                    "guide, or register it with persistent=False if begin_step computes it from the step alone"
                )
