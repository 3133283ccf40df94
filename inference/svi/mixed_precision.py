"""Mixed precision: networks multiply in bfloat16; weights, densities and the algebra of Gaussians stay in float32."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

PRECISIONS = ("float32", "bfloat16")

# What layers of networks are made of, by torch's names. A product that a density or a Kalman filter takes has another.
NETWORKS = frozenset(
    ["linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]
    + [name + cell for name in ("lstm", "gru", "rnn_tanh", "rnn_relu") for cell in ("", "_cell")]
)


def check_precision(precision: str) -> None:
    """Refuse an unknown precision.

    Raises:
        ValueError: if there is no such precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}")


def mixed_precision(precision: str) -> AbstractContextManager[Any]:
    """Inside, linear, convolutional and recurrent layers compute in a precision; everything else is as it was.

        with mixed_precision("bfloat16"):
            evidence = log_evidence(model, guide, frames, num_particles=1000)

    Each layer takes float32 and gives float32: only its products and sums of products are reduced (torch's autocast,
    layer by layer), so no density sees a bfloat16 number, whatever the model. Layers in float64 are left alone.

    Args:
        precision: "bfloat16", or "float32", which does nothing.

    Raises:
        ValueError: if there is no such precision.
    """
    check_precision(precision)
    return nullcontext() if precision == "float32" else _ReducedNetworks()


class _ReducedNetworks(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [given for given in (*args, *kwargs.values()) if isinstance(given, Tensor)]
        if getattr(func, "__name__", "") not in NETWORKS or tensors[0].dtype != torch.float32:
            return func(*args, **kwargs)
        with torch.autocast(tensors[0].device.type, torch.bfloat16):
            result = func(*args, **kwargs)
        return pytree.tree_map_only(Tensor, Tensor.float, result)
