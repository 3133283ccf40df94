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
        raise OptionError(f"--device: expected cpu or cuda, got {word!r}; leave it out for the CPU") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise OptionError(f"--device: this machine has no CUDA device, got {word}; leave it out for the CPU")
    return device
