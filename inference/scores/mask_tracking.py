"""How well objects are tracked by their masks: the protocol of the benchmark of Weis et al. (2021)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from inference.metrics.boxes import MIN_OVERLAP
from inference.metrics.tracking import score_tracks
from inference.programs.traces import evaluation_mode
from inference.scores.score import Evaluated, Score
from pyro_models.components.scene import Scene, ShowsObjects

FIRST_FRAME = 2  # index of the first frame that is scored: models that predict need two frames before it
SPECK = 5 / 64**2  # largest share of a frame that a mask may have and yet count as none: 5 of 64 x 64 pixels


@dataclass(frozen=True)
class MaskTracks:
    """Scores of masks over all videos, in percent.

    Matches, misses, switches and false positives are shares of the true masks; the first three add up to 100.

    Attributes:
        mota: tracking accuracy, 100 - misses - false positives - switches.
        motp: mean intersection over union of matched masks.
        mostly_detected: true objects that are found in at least 80 % of their frames, as a share of all.
        mostly_tracked: the same, where frames in which the identity switches do not count.
        matches: true masks that are found, by the identity that found their object last.
        misses: true masks that are not found.
        switches: true masks that are found by another identity than found their object last.
        false_positives: predicted masks without a match.
        true_masks: number of true masks.
    """

    mota: float
    motp: float
    mostly_detected: float
    mostly_tracked: float
    matches: float
    misses: float
    switches: float
    false_positives: float
    true_masks: int

    def __str__(self) -> str:
        values = {name: value for name, value in asdict(self).items() if name != "true_masks"}
        lines = [f"{name.replace('_', ' '):24} {value:10.2f}" for name, value in values.items()]
        return "\n".join([*lines, f"{'true masks':24} {self.true_masks:10}"])


def score_masks(
    predicted: Scene, truth: Scene, *, first_frame: int = FIRST_FRAME, min_overlap: float = MIN_OVERLAP
) -> MaskTracks:
    """Scores of Weis et al. (2021, section 5 and their evaluation code), as motmetrics counts them.

    Masks are matched where their intersection over union is at least `min_overlap`, frame by frame and one to one; an
    object keeps the identity that found it last while it can (see `score_tracks`). Only frames from `first_frame` on
    are scored. A true mask of no more than 5 of the 64 x 64 pixels of a frame (a share of 0.0012) is none: its object
    need not be found there, whether it is hidden or outside. A predicted mask of that size is none either, so it is no
    false positive; a larger one that lies over a true mask of that size is.

    Args:
        predicted: presence, positions, identities and masks, leading dims (sequences, time).
        truth: presence, positions and masks in the same layout; an object's identity is its slot.
        first_frame: index of the first frame that is scored.
        min_overlap: minimum intersection over union of a match.

    Raises:
        ValueError: if `first_frame` is not that of a frame, a field is missing or has a wrong shape, or there is
            nothing to be found.
    """
    found, true = _as_scored(predicted, first_frame), _as_scored(truth, first_frame)
    scores = score_tracks(found, true, min_overlap=min_overlap, by_masks=True)
    total, objects = int(scores.objects.sum()), int(scores.true_objects.sum())
    if total == 0:
        raise ValueError("truth: expected an object whose mask is no speck, got none; simulate more videos")

    def share(counts: Tensor, whole: int = total) -> float:
        return 100 * int(counts.sum()) / whole

    return MaskTracks(
        mota=100 * scores.mota,
        motp=100 * scores.motp,
        mostly_detected=share(scores.mostly_tracked, objects),
        mostly_tracked=share(scores.mostly_kept, objects),
        matches=share(scores.matches - scores.switches),
        misses=share(scores.misses),
        switches=share(scores.switches),
        false_positives=share(scores.false_positives),
        true_masks=total,
    )


def _as_scored(scene: Scene, first_frame: int) -> Scene:
    """The frames that are scored, without specks."""
    if scene.masks is None or scene.presence is None:
        raise ValueError("scenes: expected presence and masks, one of them is None")
    frames = scene.masks.shape[1]
    if not 0 <= first_frame < frames:
        raise ValueError(
            f"first_frame: expected the index of one of {frames} frames, 0 to {frames - 1}, got {first_frame}"
        )
    late = Scene(**{name: value[:, first_frame:].cpu() for name, value in vars(scene).items() if value is not None})
    assert late.masks is not None
    assert late.presence is not None
    large = late.masks.flatten(3).sum(-1) > SPECK * late.masks[0, 0, 0].numel()
    return replace(late, presence=late.presence * large)


@dataclass(frozen=True)
class MaskTrackingSummary:
    """Scores of the frames that the benchmark scores, and of all frames.

    Attributes:
        benchmark: from the third frame on.
        all_frames: from the first frame on.
    """

    benchmark: MaskTracks
    all_frames: MaskTracks

    def __str__(self) -> str:
        return f"from the third frame on\n{self.benchmark}\nall frames\n{self.all_frames}"


@dataclass(frozen=True, kw_only=True)
class MaskTracking(Score):
    """How well objects are tracked by their masks, at the size of the test videos; see `score_masks`."""

    name: ClassVar[str] = "mask_tracking"
    needs: ClassVar[tuple[str, ...]] = ("presence", "positions", "masks")

    def compute(self, evaluated: Evaluated) -> MaskTrackingSummary | None:
        """The summary; None for models without masks or identities, and for videos of fewer than three frames."""
        test = evaluated.test.to("cpu")
        if test.num_frames <= FIRST_FRAME or test.presence is None:
            return None
        found = masked_scene(evaluated)
        if found is None or found.identities is None:
            return None
        truth = Scene(presence=test.presence, positions=test.positions, masks=test.masks)
        return MaskTrackingSummary(score_masks(found, truth), score_masks(found, truth, first_frame=0))

    def read(self, written: Mapping[str, Any]) -> MaskTrackingSummary:
        """Rebuild the summary from parsed JSON."""
        return MaskTrackingSummary(**{name: MaskTracks(**part) for name, part in written.items()})


def masked_scene(evaluated: Evaluated, size: tuple[int, int] | None = None) -> Scene | None:
    """The most probable objects of the test videos with their masks, on the CPU; None for models without masks.

    Args:
        evaluated: model, guide and test videos.
        size: height and width of the masks, pixels; None = those of a frame.
    """
    model, scene = evaluated.model, evaluated.scene
    if scene is None or not isinstance(model, ShowsObjects):
        return None
    with torch.no_grad(), evaluation_mode(model, evaluated.guide):
        masks = model.object_masks(evaluated.reconstruction.values, size)
    return replace(scene, masks=masks.cpu())
