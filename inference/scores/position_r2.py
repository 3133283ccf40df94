"""How well the codes of a trained model tell where objects are."""

from torch import nn

from inference.metrics.positions import fit_position_map
from inference.programs.traces import evaluation_mode
from inference.queries.ask import reconstruct
from videos import VideoBatch


def position_r2(model: nn.Module, guide: nn.Module, videos: VideoBatch) -> dict[str, float]:
    """R2 of true positions by maps of the codes that are fit on one half of the videos and judged on the other.

    Args:
        model: a trained model, whose codes are the latents "a".
        guide: its guide.
        videos: with positions.

    Returns:
        "affine" and "quadratic"; nothing if positions are not known or the model has no codes.
    """
    if videos.positions is None:
        return {}
    with evaluation_mode(model, guide):
        codes = reconstruct(model, guide, *videos.arguments).latents.get("a")
    if codes is None:
        return {}
    positions = videos.positions.flatten(-2)  # the coordinates of all objects
    half = codes.shape[0] // 2
    result = {}
    for degree in ("affine", "quadratic"):
        fitted = fit_position_map(codes[:half], positions[:half], degree)
        result[degree] = fitted.r_squared(codes[half:], positions[half:]).mean().item()
    return result
