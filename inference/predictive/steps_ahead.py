"""One-step-ahead scores from the log evidence of the first frames of each video, and standard errors of their sums."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from inference.predictive.record import FrameScore


class StepsAhead:
    """log p(x_t | x_{<t}) = log p(x_1, ..., x_t) - log p(x_1, ..., x_{t-1}) of each seen frame, nats.

    Both terms are logarithms of means over repeats. The mean is unbiased; its logarithm is too low by about
    spread^2 / 2 R, with R repeats. Errors are by the jackknife over repeats, which accounts for the correlation between
    frames of a video that share draws.

    Args:
        prefixes: log estimates of p(x_1, ..., x_t), in independent repeats.
        seen: mask of observed frames.
        normalised: whether the prefixes were shown to be marginals of one distribution.

    Attributes:
        spread: standard deviation of the log evidence of a video over repeats, root mean square over videos, nats.
    """

    def __init__(
        self,
        prefixes: Float[Tensor, "repeats time sequences"],
        seen: Bool[Tensor, "sequences time"],
        normalised: bool = True,
    ) -> None:
        steps = torch.arange(1, seen.shape[1] + 1)
        latest = torch.where(seen, steps, 0).cummax(1).values.T  # number of the last seen frame so far, 0 before it
        before = torch.cat([torch.zeros_like(latest[:1]), latest[:-1]])
        known = torch.cat([torch.zeros_like(prefixes[:, :1]), prefixes], 1)  # log p of no frame is 0
        known = known.gather(1, latest.expand(len(known), -1, -1)), known.gather(1, before.expand(len(known), -1, -1))
        self.normalised = normalised
        self.spread = known[0][:, -1].std(0).square().mean().sqrt().item()
        self._scores = _difference(*known)
        kept = [[other for other in range(len(prefixes)) if other != repeat] for repeat in range(len(prefixes))]
        self._left_out = torch.stack([_difference(known[0][some], known[1][some]) for some in kept])

    def score(self, frames: Bool[Tensor, "sequences time"], *, by_frame: bool = True) -> FrameScore:
        """Scores of some of the seen frames.

        Args:
            frames: mask of the frames to score.
            by_frame: whether the record keeps scores of single frames, or only their sums.
        """
        totals = torch.where(frames, self._scores, 0.0).sum(1)
        left_out = torch.where(frames, self._left_out, 0.0).sum(2)
        repeats = len(left_out)
        errors = ((left_out - left_out.mean(0)).square().sum(0) * (repeats - 1) / repeats).sqrt()
        each = torch.where(frames, self._scores, torch.nan) if by_frame else None
        return FrameScore(totals, frames.sum(1), errors, each, self.normalised)


def _difference(
    now: Float[Tensor, "repeats time sequences"], before: Float[Tensor, "repeats time sequences"]
) -> Float[Tensor, "sequences time"]:
    """Difference of log means over repeats."""
    return (now.logsumexp(0) - before.logsumexp(0)).T
