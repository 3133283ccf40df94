"""Keep freed tensor memory in the process, as torch does on a GPU."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # options of mallopt(3), from malloc.h


def keep_freed_memory() -> bool:
    """Tell the C library to keep freed memory for the next tensor.

    By default glibc maps and unmaps memory for every large tensor, so each step pays a page fault for every 4 KiB of
    activations: 40 % of the time of a training step of the Kalman VAE with 16 channels. Afterwards the process keeps
    its peak memory until it ends, as with torch's allocator on a GPU. `train` and `kinema evaluate` call this; call it
    yourself before your own loop around `SVI.step`.

    Returns:
        Whether it took effect; it needs `mallopt`, that is, Linux with glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, -1))
