"""How well the codes of a trained model predict object positions."""

from dataclasses import dataclass
from typing import ClassVar

from inference.metrics.positions import fit_position_map
from inference.scores.score import Evaluated, Score


@dataclass(frozen=True, kw_only=True)
class PositionR2(Score):
    """R2 of true positions predicted from codes, by maps fit on one half of the videos and scored on the other.

    Attributes:
        codes: name of the latent site with the codes, (sequences, time, code).
    """

    name: ClassVar[str] = "position_r2"
    needs: ClassVar[tuple[str, ...]] = ("positions",)
    codes: str = "a"

    def compute(self, evaluated: Evaluated) -> dict[str, float] | None:
        """R2 of an "affine" and a "quadratic" map; None if positions are not known.

        Raises:
            ValueError: if the model has no latent of that name; lists those that it has.
        """
        positions = evaluated.test.positions
        if positions is None:
            return None
        latents = evaluated.reconstruction.latents
        if self.codes not in latents:
            listed = ", ".join(map(repr, latents)) or "none"
            raise ValueError(f"codes: expected the name of a latent site ({listed}), got {self.codes!r}")
        codes, positions = latents[self.codes], positions.flatten(-2)  # the coordinates of all objects
        half = codes.shape[0] // 2
        result = {}
        for degree in ("affine", "quadratic"):
            fitted = fit_position_map(codes[:half], positions[:half], degree)
            result[degree] = fitted.r_squared(codes[half:], positions[half:]).mean().item()
        return result

    def table(self, score: dict[str, float]) -> str:
        """One line per map."""
        lines = (f"R2 of positions      {value:10.4f}    {degree} map of codes" for degree, value in score.items())
        return "\n".join(lines)
