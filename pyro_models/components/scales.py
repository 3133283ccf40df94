"""Standard deviations from unbounded numbers."""

from torch import Tensor
from torch.nn.functional import softplus

SMALLEST_SCALE = 0.01


def scale_of(raw: Tensor) -> Tensor:
    """softplus(raw) + 0.01."""
    return softplus(raw) + SMALLEST_SCALE
