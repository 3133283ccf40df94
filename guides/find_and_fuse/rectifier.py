"""A consensus of proposals from several frames."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from guides.find_and_fuse.slot_matching import Looks, match_slots
from pyro_models.components.frame_networks import mlp
from pyro_models.components.initial_weights import glorot
from pyro_models.vtssi.gaussians import Gaussian
from pyro_models.vtssi.object_scenes import ObjectScenes
from videos.typed import Count, typed

MOST_MATCHED = 5  # objects: 120 permutations
UNSEEN = -1e4  # logit of a frame that is missing, finite so that gradients are finite


class Rectifier(nn.Module):
    """Proposals of the first K frames, weighed by how much they agree (Akhundov et al. 2019, algorithm 4)::

        w = softmax_k(MLP(BiLSTM(proposals_1 ... proposals_K)))
        c ~ N(sum_k w_k mu_k, sum_k w_k^2 sigma_k^2)             the same for every size and appearance, with these w

    A frame has one weight for its count and all its objects: frames whose slots are permuted can be ignored, not
    repaired, unless they are `matched` before. Objects that overlap in the first frames may part later: with `spread`
    the K frames lie evenly between the first and the last.

    Args:
        scenes: the model's.
        frames: K, the number of frames, at least 1. Shorter videos have as many as there are.
        units: of the LSTM in each direction.
        hidden: units of the layers between it and a frame's logit.
        matched: bring the slots of all frames into the order of the first one, see `match_slots`.
        spread: read frames spread over the video.

    Raises:
        ValueError: if `frames` is below 1, or too many objects are to be matched.
    """

    @typed
    def __init__(
        self,
        scenes: ObjectScenes,
        frames: Count = 5,
        *,
        units: Count = 128,
        hidden: tuple[Count, ...] = (64, 64),
        matched: bool = False,
        spread: bool = False,
    ) -> None:
        super().__init__()
        if matched and scenes.num_objects > MOST_MATCHED:
            raise ValueError(
                f"matched: expected at most {MOST_MATCHED} objects, whose permutations are all tried, got "
                f"{scenes.num_objects}; leave them unmatched"
            )
        self.frames = frames
        self.matched = matched
        self.spread = spread
        self.num_objects = scenes.num_objects
        self.what_dim = scenes.what_dim
        inputs = 2 * (1 + scenes.num_objects * (2 + scenes.what_dim))
        self.recurrence = nn.LSTM(inputs, units, batch_first=True, bidirectional=True).apply(glorot)
        self.logit = mlp(2 * units, hidden, 1)
        # A softmax does not see this bias: its gradient is rounding noise, which Adam would turn into steps.
        self.logit[-1].get_parameter("bias").register_hook(torch.zeros_like)

    def forward(self, proposals: Looks, valid: Bool[Tensor, "frames sequences"]) -> Looks:
        """The consensus, without the dim of frames.

        Args:
            proposals: of each frame, (frames, 1, sequences) and (frames, objects, sequences, ...).
            valid: False where a frame is missing.
        """
        proposals = match_slots(proposals) if self.matched else proposals
        weights = self.weights(proposals, valid).unsqueeze(1)
        return Looks(
            consensus(weights, proposals.count),
            consensus(weights.unsqueeze(-1), proposals.scale),
            consensus(weights.unsqueeze(-1), proposals.what),
        )

    def weights(self, proposals: Looks, valid: Bool[Tensor, "frames sequences"]) -> Float[Tensor, "frames sequences"]:
        """Weights of the frames, which add up to 1; equal where all are missing.

        Args:
            proposals: as in `forward`.
            valid: as in `forward`.
        """
        parts = [values.permute(2, 0, 1) for values in proposals.count]
        parts += [values.permute(2, 0, 1, 3).flatten(2) for one in proposals[1:] for values in one]
        logits = self.logit(self.recurrence(torch.cat(parts, -1))[0]).squeeze(-1).T
        return torch.where(valid, logits, UNSEEN).softmax(0)


def consensus(weights: Float[Tensor, "frames *#batch"], proposals: Gaussian) -> Gaussian:
    """The distribution of sum_k w_k X_k for independent X_k: means add up with w, variances with w^2.

    Args:
        weights: w; they broadcast.
        proposals: distributions of X_k, (frames, *batch).
    """
    variance = (weights * proposals.scale).square().sum(0)
    return Gaussian((weights * proposals.loc).sum(0), variance.sqrt())
