"""How well missing frames are imputed as more of them are missing: figures 3a and 3b of Fraccaro et al. (2017)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor
from tqdm import tqdm

from inference.metrics.pixels import wrong_share
from inference.queries.ask import impute
from inference.runs.records import with_tuples
from inference.scores.score import Evaluated, Score
from videos.batch import VideoBatch
from videos.missing import gap, random_drop

NUM_SEEN = 4  # first frames that are never missing
LAST_FRAME = "last frame"  # baseline: copy the last observed frame
PATTERNS: dict[str, tuple[Callable[..., Tensor], str, tuple[float | int, ...]]] = {
    "random": (random_drop, "probability", (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)),
    "gap": (gap, "length", (1, 3, 5, 7, 9, 11, 13, 15)),
}
"""Pattern of missing frames -> its mask function, the argument varied, its values in the figure (four frames seen)."""


@dataclass(frozen=True)
class ImputationCurve:
    """Fraction of incorrect pixels in the missing frames, as a function of how many are missing.

    Attributes:
        pattern: "random" (each frame after the fourth is dropped, figure 3a) or "gap" (a gap from the fifth on, 3b).
        method: imputation method.
        levels: probability of dropping a frame, or length of the gap in frames.
        errors: fraction of pixels on the wrong side of 0.5, over all missing frames of all sequences.
        standard_errors: standard error of each error, over sequences.
    """

    pattern: str
    method: str
    levels: tuple[float | int, ...]
    errors: tuple[float, ...]
    standard_errors: tuple[float, ...]


def imputation_curve(
    evaluated: Evaluated,
    pattern: str,
    method: str,
    *,
    levels: Sequence[float | int] | None = None,
    num_masks: int = 4,
) -> ImputationCurve:
    """Impute under one pattern at every level, and compare with the true frames.

    The masks depend only on the seed and the level, so all models and methods are scored on the same ones. Each
    sequence has its own mask (the reference code reused one mask of 32 sequences for all batches).

    Args:
        evaluated: model and guide as for `inference.queries.ask.impute`, test videos with every frame known, the seed
            of the masks, whether to show a bar, and the processes that share the videos; all get the whole curve.
        pattern: "random" or "gap".
        method: one of `guide.completion_methods`, or "last frame": the last seen frame, copied.
        levels: None = the figure's.
        num_masks: masks per sequence and level, if they are random.

    Raises:
        ValueError: if the pattern is unknown, or there is no mask.
    """
    if pattern not in PATTERNS:
        raise ValueError(f"pattern: expected one of {', '.join(PATTERNS)}, got {pattern!r}")
    _check_masks(num_masks)
    draw, argument, default_levels = PATTERNS[pattern]
    levels = default_levels if levels is None else tuple(levels)
    videos, processes = evaluated.test, evaluated.processes
    complete = _copy_last_frame if method == LAST_FRAME else partial(_impute, evaluated, method)
    places = processes.places(videos.num_sequences)
    mine = videos.select(places)
    errors, standard_errors = [], []
    for level in tqdm(levels, desc=f"{pattern}, {method}", disable=not evaluated.progress, leave=False):
        generator = torch.Generator().manual_seed(evaluated.seed + round(1000 * level))
        wrong = torch.zeros(videos.num_sequences, dtype=torch.float64)
        counted = torch.zeros_like(wrong)
        for _ in range(num_masks if draw is random_drop else 1):
            observed = draw(videos.num_sequences, videos.num_frames, **{argument: level}, generator=generator)
            completed = complete(mine.with_observed(observed[places].to(videos.frames.device)))
            incorrect = wrong_share(completed, mine.frames).cpu()
            del completed  # before the next one is made
            wrong[places] += (incorrect * ~observed[places]).sum(-1)
            counted[places] += (~observed[places]).sum(-1)
        wrong, counted = processes.total(wrong), processes.total(counted)
        ratio = wrong.sum() / counted.sum()
        errors.append(ratio.item())
        # The error is a ratio of sums over independent sequences: its delta-method standard error.
        standard_errors.append(((wrong - ratio * counted).square().sum().sqrt() / counted.sum()).item())
    return ImputationCurve(pattern, method, levels, tuple(errors), tuple(standard_errors))


@dataclass(frozen=True, kw_only=True)
class ImputationCurves(Score):
    """Wrong pixels in missing binary frames under both patterns, by each method of the guide and by copying.

    Attributes:
        num_masks: random masks per sequence and level.
    """

    name: ClassVar[str] = "curves"
    num_masks: int = 4

    def __post_init__(self) -> None:
        """Refuse a number of masks that leaves no missing frame."""
        _check_masks(self.num_masks)

    def compute(self, evaluated: Evaluated) -> tuple[ImputationCurve, ...] | None:
        """The curves, with the gaps of the figure that videos are long enough for; None for five frames or fewer."""
        room = evaluated.test.num_frames - NUM_SEEN
        if room < 2:
            return None
        levels = {name: levels for name, (_, _, levels) in PATTERNS.items()}
        levels["gap"] = tuple(length for length in levels["gap"] if length <= room)
        return tuple(
            imputation_curve(evaluated, pattern, method, levels=levels[pattern], num_masks=self.num_masks)
            for pattern in PATTERNS
            for method in (*getattr(evaluated.guide, "completion_methods", ()), LAST_FRAME)
        )

    def read(self, written: Sequence[Mapping[str, Any]]) -> tuple[ImputationCurve, ...]:
        """Rebuild the curves from parsed JSON."""
        return tuple(ImputationCurve(**with_tuples(curve)) for curve in written)

    def table(self, score: tuple[ImputationCurve, ...]) -> str:
        """One line per curve."""
        lines = []
        for curve in score:
            levels = "  ".join(
                f"{level:g}: {error:.4f}" for level, error in zip(curve.levels, curve.errors, strict=True)
            )
            lines.append(f"{curve.pattern:6} {curve.method:10}  {levels}")
        return "\n".join(lines)


def _check_masks(num_masks: int) -> None:
    if num_masks < 1:
        raise ValueError(f"num_masks: expected at least 1 mask per sequence and level, got {num_masks}")


def _impute(evaluated: Evaluated, method: str, videos: VideoBatch) -> Tensor:
    return impute(evaluated.model, evaluated.guide, *videos.arguments, method=method).frames


def _copy_last_frame(videos: VideoBatch) -> Tensor:
    observed = videos.observed
    assert observed is not None
    steps = torch.arange(videos.num_frames, device=observed.device).expand_as(observed)
    last = torch.where(observed, steps, 0).cummax(-1).values
    return videos.frames.gather(1, last[..., None, None, None].expand_as(videos.frames))
