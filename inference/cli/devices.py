"""The device that a word names."""

import torch

from inference.recipes import OptionError


def device_named(word: str) -> torch.device:
    """The device.

    Raises:
        OptionError: if there is none of this name, or this machine has no CUDA device.
    """
    try:
        device = torch.device(word)
    except RuntimeError:
        meant = "--device cuda" if word.lower() in ("gpu", "nvidia", "cuda:") else "--device cpu, or leave it out"
        raise OptionError(f"--device: expected cpu or cuda, got {word!r}; write {meant}") from None
    if device.type not in ("cpu", "cuda"):
        raise OptionError(f"--device: expected cpu or cuda, on which runs are tested, got {word!r}; write --device cpu")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise OptionError(f"--device: this machine has no CUDA device, got {word}; leave it out for the CPU")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        known = ", ".join(f"cuda:{index}" for index in range(torch.cuda.device_count()))
        raise OptionError(f"--device: this machine has {known}, got {word}; write one of these")
    return device
