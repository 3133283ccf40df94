"""Predict positions from codes: an affine or quadratic map, and its R2 and error."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from videos.typed import typed


@dataclass(frozen=True)
class PositionMap:
    """A map from codes to positions, fitted by least squares with `fit_position_map`.

    Fit it on some sequences and score it on others. A map with few coefficients hardly overfits many frames, but
    held-out scores need no such argument.

    Attributes:
        degree: "affine" (1, a) or "quadratic" (1, a, a_i a_j).
        coefficients: one row per feature of the code, one column per coordinate.
    """

    degree: str
    coefficients: Float[Tensor, "feature coordinate"]

    def predict(self, codes: Tensor) -> Tensor:
        """Positions of these codes in pixels, (*batch, coordinate), for codes (*batch, code)."""
        return (_features(codes.double(), self.degree) @ self.coefficients).to(codes.dtype)

    def r_squared(self, codes: Tensor, positions: Tensor) -> Tensor:
        """Share of each coordinate's variance that the map explains, (coordinate,): 1 is perfect, 0 the mean position.

        Args:
            codes: (*batch, code).
            positions: (*batch, coordinate) in pixels.

        Raises:
            ValueError: if batch shapes differ or a coordinate does not vary.
        """
        guess, target = _flatten(self.predict(codes), positions)
        spread = (target - target.mean(0)).square().sum(0)
        if not bool((spread > 0).all()):
            raise ValueError("positions: expected coordinates that vary, got a constant one")
        return 1 - (guess - target).square().sum(0) / spread

    def error(self, codes: Tensor, positions: Tensor) -> Tensor:
        """Root mean squared error of each coordinate in pixels, (coordinate,); arguments as for `r_squared`."""
        guess, target = _flatten(self.predict(codes), positions)
        return (guess - target).square().mean(0).sqrt()


@typed
def fit_position_map(codes: Tensor, positions: Tensor, degree: str = "affine") -> PositionMap:
    """Fit the map from codes to positions by least squares.

    Codes are identified only up to an invertible map, so the test is whether a simple map recovers the position
    (Fraccaro et al. 2017, figure 4, where codes look like an affine image of the ball's position).

    Args:
        codes: (*batch, code).
        positions: (*batch, coordinate) in pixels; several objects' coordinates side by side.
        degree: "affine" or "quadratic".

    Raises:
        ValueError: if batch shapes differ, numbers are not finite, there are fewer frames than coefficients, or the
            degree is unknown.
    """
    if degree not in ("affine", "quadratic"):
        raise ValueError(f"degree: expected 'affine' or 'quadratic', got {degree!r}")
    source, target = _flatten(codes, positions)
    for name, value in (("codes", source), ("positions", target)):
        if not bool(value.isfinite().all()):
            raise ValueError(f"{name}: expected finite numbers, got {int((~value.isfinite()).sum())} that are not")
    features = _features(source, degree)
    if features.shape[0] < features.shape[1]:
        raise ValueError(
            f"codes: expected at least {features.shape[1]} frames for the {degree} map's coefficients, "
            f"got {features.shape[0]}"
        )
    # gelsd handles collinear codes
    solution = torch.linalg.lstsq(features.cpu(), target.cpu(), driver="gelsd").solution
    return PositionMap(degree, solution.to(codes.device))


def _features(codes: Tensor, degree: str) -> Tensor:
    parts = [torch.ones_like(codes[..., :1]), codes]
    if degree == "quadratic":
        rows, columns = torch.triu_indices(codes.shape[-1], codes.shape[-1], device=codes.device)
        parts.append(codes[..., rows] * codes[..., columns])
    return torch.cat(parts, -1)


def _flatten(codes: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Both as float64 (frames, entry)."""
    if codes.dim() < 2 or codes.shape[:-1] != positions.shape[:-1]:
        raise ValueError(
            "codes, positions: expected (*batch, code) and (*batch, coordinate) of one batch shape, "
            f"got {tuple(codes.shape)} and {tuple(positions.shape)}"
        )
    return codes.double().flatten(0, -2), positions.double().flatten(0, -2)
