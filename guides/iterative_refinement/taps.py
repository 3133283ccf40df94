"""Taps: what an update sees besides parameters and slopes, such as features of the decoder's error.

For a Kalman VAE whose pixels are Bernoulli the error x - E[x | a] is the gradient of the density in the decoder's
output; a learned network reads it for each frame, and the update of that frame's code sees the features::

    class DecodingError(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.decode = [model.decoder]  # in a list: not owned
            self.features = nn.Sequential(nn.Flatten(-3), nn.Linear(32 * 32, 16), nn.ELU())

        def forward(self, frames, seen, draws):
            error = frames - self.decode[0](draws["a"]).sigmoid()
            return {"a": self.features(torch.where(seen[..., None, None, None], error, 0.0))}

    guide = IterativeRefinementGuide(model, KalmanGuide(model), taps=DecodingError(model))
"""

from collections.abc import Callable, Mapping

from torch import Size, Tensor

from guides.iterative_refinement.rows import average_draws, to_rows
from guides.iterative_refinement.site_parameters import family_of

Taps = Callable[[Tensor, Tensor, Mapping[str, Tensor]], Mapping[str, Tensor]]
"""Called with frames (sequences, time, channels, height, width), zero where missing, a mask of seen ones (sequences,
time), and the inner draws of all latents, laid out as in the model, several to the left. Returns features for the
entries of some families' sites, (*draws, *plates, *event[:-1], features). A module is trained with the guide."""


def tap_sizes(found: Mapping[str, Tensor]) -> dict[str, int]:
    """Number of features by family.

    Args:
        found: what taps returned, by site.

    Raises:
        ValueError: if sites of a family differ.
    """
    sizes: dict[str, int] = {}
    for name, value in found.items():
        family, size = family_of(name), value.shape[-1]
        if sizes.setdefault(family, size) != size:
            raise ValueError(
                f"taps: expected {sizes[family]} features for each site of the family {family!r}, got {size} for "
                f"{name!r}; return the same number for all"
            )
    return sizes


def tap_rows(found: Mapping[str, Tensor], shapes: Mapping[str, Size]) -> Tensor | None:
    """Taps of a family as rows, (rows, features); None if it has none.

    Args:
        found: what taps returned, by site.
        shapes: by member of the family, that of its parameters.

    Raises:
        ValueError: if a member has no taps and others have, or taps do not fit their site.
    """
    if not any(name in found for name in shapes):
        return None
    parts = []
    for name, shape in shapes.items():
        entries = shape[:-1]
        value = found.get(name)
        if value is None or value.shape[value.dim() - 1 - len(entries) : -1] != entries:
            raise ValueError(
                f"taps: expected (*draws, *plates, *event[:-1], features) = (..., {', '.join(map(str, entries))}, ...) "
                f"for site {name!r}, got {'nothing' if value is None else tuple(value.shape)}; lay features out as the "
                "site is in the model, for all sites of a family"
            )
        parts.append(average_draws(value, Size((*entries, value.shape[-1]))))
    return to_rows(parts, parts[0].shape[-1])
