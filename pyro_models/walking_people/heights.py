"""How tall people are where, from a foreground mask: start values before anybody is tracked."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

_LEAST_HEIGHT = 8  # pixels of a blob that may be a person
_SHAPES = (1.6, 5.0)  # height over width
_LEAST_FILL = 0.4  # covered share of a blob's box
_REWEIGHTINGS = 20


def blobs_like_people(
    masks: Float[Tensor, "time height width"],
) -> tuple[Float[Tensor, " blobs"], Float[Tensor, " blobs"], Float[Tensor, " blobs"]]:
    """Rows of the feet, heights and widths of blobs of the shape of a person that do not touch the frame's edge.

    Args:
        masks: of zeros and ones.

    Returns:
        Row of the lowest pixel's lower edge, height, width; pixels.
    """
    from scipy.ndimage import find_objects, label

    found = []
    for mask in masks.cpu().numpy() > 0.5:
        labelled: Any = label(mask, structure=np.ones((3, 3)))
        numbers = labelled[0]
        for number, (rows, columns) in enumerate(find_objects(numbers), 1):
            height, width = rows.stop - rows.start, columns.stop - columns.start
            inside = 0 < rows.start and rows.stop < mask.shape[0] and 0 < columns.start and columns.stop < mask.shape[1]
            upright = height >= _LEAST_HEIGHT and _SHAPES[0] < height / width < _SHAPES[1]
            if inside and upright and (numbers[rows, columns] == number).mean() > _LEAST_FILL:
                found.append((rows.stop - 0.5, height, width))
    table = torch.tensor(found, dtype=masks.dtype).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


def fit_heights(feet: Float[Tensor, " people"], heights: Float[Tensor, " people"]) -> tuple[float, float]:
    """Intercept and slope of heights by the row of the feet: least squares of relative errors, reweighted by Cauchy.

    Blobs of two people, or of half a person, hardly count.

    Args:
        feet: rows, pixels.
        heights: pixels, positive.

    Raises:
        ValueError: if there are fewer than ten people.
    """
    if len(feet) < 10:
        raise ValueError(
            f"frames: expected at least 10 blobs of the shape of a person, found {len(feet)}; are these masks of the "
            "foreground, of zeros and ones, with people at least 8 pixels tall?"
        )
    matrix = torch.stack([torch.ones_like(feet), feet], -1)
    weight = torch.ones_like(feet)
    line = torch.zeros(2)
    for _ in range(_REWEIGHTINGS):
        scaled = weight / heights
        line = torch.linalg.lstsq(matrix * scaled[:, None], heights * scaled).solution
        errors = (heights - matrix @ line) / heights
        spread = (1.48 * errors.abs().median()).clamp(min=1e-3)
        weight = 1 / (1 + (errors / (2 * spread)).square())
    return float(line[0]), float(line[1])
