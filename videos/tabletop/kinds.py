"""The kinds of objects of CLEVR and CLEVRER: three shapes, two materials, eight colours."""

import torch
from jaxtyping import Int64
from torch import Tensor

SHAPES = ("sphere", "cube", "cylinder")
MATERIALS = ("rubber", "metal")
#: Colours by name, red-green-blue of 255 (Johnson et al. 2017, the published properties of CLEVR).
COLORS = {
    "gray": (87, 87, 87),
    "red": (173, 35, 35),
    "blue": (42, 75, 215),
    "green": (29, 105, 20),
    "brown": (129, 74, 25),
    "purple": (129, 38, 192),
    "cyan": (41, 208, 208),
    "yellow": (255, 238, 51),
}
NUM_KINDS = len(SHAPES) * len(MATERIALS) * len(COLORS)

_WORDS = (("shape", SHAPES), ("material", MATERIALS), ("color", tuple(COLORS)))


def kind_label(shape: str, material: str, color: str) -> int:
    """The label of a kind, (2 shape + material) 8 + color, each by its place in `SHAPES`, `MATERIALS` and `COLORS`.

    Args:
        shape: "sphere", "cube" or "cylinder".
        material: "rubber" or "metal".
        color: a name in `COLORS`.

    Raises:
        ValueError: if a word is unknown.
    """
    label = 0
    for (name, known), word in zip(_WORDS, (shape, material, color), strict=True):
        if word not in known:
            raise ValueError(f"{name}: expected one of {', '.join(known)}, got {word!r}; CLEVRER has no other")
        label = len(known) * label + known.index(word)
    return label


def kind_parts(
    labels: Int64[Tensor, "*batch"],
) -> tuple[Int64[Tensor, "*batch"], Int64[Tensor, "*batch"], Int64[Tensor, "*batch"]]:
    """Places of shape, material and color of each label: the inverse of `kind_label`."""
    rest, color = labels // len(COLORS), labels % len(COLORS)
    return rest // len(MATERIALS), rest % len(MATERIALS), color


def color_values(colors: Int64[Tensor, "*batch"]) -> Tensor:
    """Red-green-blue in [0, 1] of places in `COLORS`, (*batch, 3), float32."""
    return torch.tensor(list(COLORS.values()), device=colors.device)[colors] / 255.0
