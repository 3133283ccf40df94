"""How well the masks of a model segment videos, and how well it reconstructs them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from inference.metrics.best_overlap import overlap_of_counts
from inference.metrics.distance_means import mean_over_objects
from inference.metrics.partitions import shared_pixels
from inference.metrics.segmentation import index_of_counts
from inference.queries.imputation import chunks
from inference.scores.score import Evaluated, Score
from pyro_models.components.scene import Scene
from videos import VideoBatch

TABLE_LENGTHS = (10, 20, 30, 40)
"""Frames after which table 1 of Zablotskaia et al. (2020) gives scores."""
_VIDEOS_AT_ONCE = 32  # masks of all test videos in float32 may not fit into memory twice


@dataclass(frozen=True)
class VideoMean:
    """A mean over videos.

    Attributes:
        mean: over the videos for which the number is defined; NaN without any.
        standard_error: over the same videos; NaN with fewer than two.
        num_videos: their number.
    """

    mean: float
    standard_error: float
    num_videos: int

    @classmethod
    def of(cls, values: Float[Tensor, " sequences"]) -> "VideoMean":
        """Mean of the values that are not NaN."""
        defined = ~values.isnan()
        mean, error, number = mean_over_objects(torch.where(defined, values, 0.0), defined)
        return cls(float(mean), float(error), int(number))


@dataclass(frozen=True)
class SegmentationScores:
    """Scores of masks and squared error of a reconstruction.

    A pixel belongs to the largest mask. Indices of the foreground count pixels of true objects only; the others count
    true background as one more object. Frames are scored independently and averaged over each video, so only scores of
    whole videos penalise a component that changes its object. See `adjusted_rand_index` and `mean_best_overlap`.

    Attributes:
        frame_index: adjusted Rand index of frames.
        frame_foreground_index: of the foreground of frames.
        video_index: of videos, with the pixels of all frames as one set.
        video_foreground_index: of the foreground of videos.
        frame_overlap: mean best overlap of frames.
        video_overlap: mean best overlap of videos.
        squared_error: of expected pixels of observed frames, mean over frames, channels and pixels.
    """

    frame_index: VideoMean
    frame_foreground_index: VideoMean
    video_index: VideoMean
    video_foreground_index: VideoMean
    frame_overlap: VideoMean
    video_overlap: VideoMean
    squared_error: VideoMean


@dataclass(frozen=True)
class FirstFrames:
    """Scores of the first frames of all videos.

    Attributes:
        num_frames: their number.
        scores: of these frames alone.
    """

    num_frames: int
    scores: SegmentationScores


@dataclass(frozen=True)
class SegmentationSummary(SegmentationScores):
    """Scores of the masks in the reconstruction (`reconstruct`) of whole videos, and of their first frames.

    All frames are observed before any is scored, so a guide that looks ahead has seen later frames as well.

    Attributes:
        first_frames: by length, shortest first; empty in records of earlier versions.
    """

    first_frames: tuple[FirstFrames, ...] = ()

    def __str__(self) -> str:
        rows = [
            ("ARI, frames", self.frame_index),
            ("ARI, videos", self.video_index),
            ("foreground ARI, frames", self.frame_foreground_index),
            ("foreground ARI, videos", self.video_foreground_index),
            ("best overlap, frames", self.frame_overlap),
            ("best overlap, videos", self.video_overlap),
        ]
        lines = [f"{text:24} {value.mean:10.4f} +- {value.standard_error:.4f}" for text, value in rows]
        error = self.squared_error
        lines.append(f"{'squared error of pixels':24} {error.mean:10.6f} +- {error.standard_error:.6f}")
        if self.first_frames:
            lines.append(f"{'':24} {'ARI':>10}            foreground ARI      squared error of pixels")
        for first in self.first_frames:
            index, foreground = first.scores.frame_index, first.scores.frame_foreground_index
            error = first.scores.squared_error
            lines.append(
                f"{f'first {first.num_frames} frames':24} {index.mean:10.4f} +- {index.standard_error:.4f}  "
                f"{foreground.mean:10.4f} +- {foreground.standard_error:.4f}  "
                f"{error.mean:10.6f} +- {error.standard_error:.6f}"
            )
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Segmentation(Score):
    """Adjusted Rand index, mean best overlap and squared error, as in Zablotskaia et al. 2020, section 4.

    Attributes:
        lengths: numbers of first frames that are also scored alone; empty = those of 10, 20, 30 and 40 that the test
            videos have.
    """

    name: ClassVar[str] = "segmentation"
    needs: ClassVar[tuple[str, ...]] = ("masks",)
    lengths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse lengths below 1, and a length that is given twice."""
        if any(length < 1 for length in self.lengths) or len(set(self.lengths)) < len(self.lengths):
            raise ValueError(f"lengths: expected different numbers of frames from 1 on, got {self.lengths}")

    def check(self, test: VideoBatch) -> None:
        """See `Score.check`: videos must be as long as the lengths."""
        if self.lengths and max(self.lengths) > test.num_frames:
            raise ValueError(
                f"lengths: expected at most {test.num_frames}, the frames of the test videos, got {max(self.lengths)}; "
                "leave it out for those of 10, 20, 30 and 40 that they have"
            )

    def compute(self, evaluated: Evaluated) -> SegmentationSummary | None:
        """The summary; None for a model without masks, or if the true masks are unknown.

        Raises:
            ValueError: if the model's masks have another shape than the true ones, or are not in [0, 1], or videos are
                shorter than a given length.
        """
        test = evaluated.test
        if test.masks is None:
            return None
        self.check(test)
        scene = evaluated.scene
        if scene is None or scene.masks is None:
            return None
        squares = (evaluated.reconstruction.frames - test.frames).double().square().mean((-3, -2, -1))
        if test.observed is not None:
            squares = torch.where(test.observed, squares, torch.nan)
        lengths = self.lengths or tuple(length for length in TABLE_LENGTHS if length <= test.num_frames)
        lengths = (*sorted(lengths), test.num_frames)
        parts: list[list[dict[str, Tensor]]] = [[] for _ in lengths]
        for rows in chunks(test.num_sequences, _VIDEOS_AT_ONCE):
            found = Scene(**{name: value[rows] for name, value in vars(scene).items() if value is not None})
            shared = shared_pixels(components_of(found), test.masks[rows].cpu(), over="frame")
            errors = squares[rows].cpu()
            for length, part in zip(lengths, parts, strict=True):
                part.append(scores_of_videos(shared[:, :length], errors[:, :length]))
        *first, whole = (
            {name: VideoMean.of(torch.cat([one[name] for one in part])) for name in part[0]} for part in parts
        )
        each = zip(lengths, first, strict=False)
        return SegmentationSummary(
            **whole, first_frames=tuple(FirstFrames(length, SegmentationScores(**scores)) for length, scores in each)
        )

    def read(self, written: Mapping[str, Any]) -> SegmentationSummary:
        """Rebuild the summary from parsed JSON; records of earlier versions have whole videos alone."""
        first = tuple(
            FirstFrames(one["num_frames"], SegmentationScores(**_read(one["scores"])))
            for one in written.get("first_frames", ())
        )
        return SegmentationSummary(**_read(written), first_frames=first)


def components_of(scene: Scene) -> Float[Tensor, "sequences time components height width"]:
    """Masks of a scene's objects by identity, if it has identities, else by slot; the last one is what they leave over.

    Slots whose presence is not above 0.5, and those whose identity is -1, are left out.

    Args:
        scene: with masks, leading dims (sequences, time).

    Raises:
        ValueError: if the scene has no masks, or a shape is wrong.
    """
    if scene.masks is None or scene.masks.dim() != 5:
        got = None if scene.masks is None else tuple(scene.masks.shape)
        raise ValueError(
            f"scene.masks: expected (sequences, time, components, height, width), got {got}; "
            "let the model's scene() give one mask for each component, without channels or particles"
        )
    for name in ("presence", "identities"):
        value = getattr(scene, name)
        if value is not None and value.shape != scene.masks.shape[:3]:
            raise ValueError(
                f"scene.{name}: expected (sequences, time, components) of the masks = {tuple(scene.masks.shape[:3])}, "
                f"got {tuple(value.shape)}; give all fields of a scene the same slots"
            )
    masks = scene.masks.float()
    if scene.presence is not None:
        masks = torch.where((scene.presence > 0.5)[..., None, None], masks, 0.0)
    if scene.identities is not None:
        identities = scene.identities.long()[..., None, None]
        masks = torch.where(identities >= 0, masks, 0.0)
        count = int(identities.max().clamp(min=0)) + 1
        joined = masks.new_zeros(*masks.shape[:2], count, *masks.shape[3:])
        masks = joined.scatter_add_(2, identities.clamp(min=0).expand_as(masks), masks)
    return torch.cat([masks, (1.0 - masks.sum(2, keepdim=True)).clamp(0.0, 1.0)], 2)


def scores_of_videos(
    shared: Int64[Tensor, "sequences time objects components"], errors: Float[Tensor, "sequences time"]
) -> dict[str, Float[Tensor, " sequences"]]:
    """Scores of each video, named as in `SegmentationScores`.

    Args:
        shared: result of `shared_pixels(..., over="frame")`.
        errors: mean squared error of each frame; NaN = leave the frame out.
    """
    videos = shared.sum(1)
    return {
        "frame_index": index_of_counts(shared, foreground_only=False).nanmean(1),
        "frame_foreground_index": index_of_counts(shared).nanmean(1),
        "video_index": index_of_counts(videos, foreground_only=False),
        "video_foreground_index": index_of_counts(videos),
        "frame_overlap": overlap_of_counts(shared).nanmean(1),
        "video_overlap": overlap_of_counts(videos),
        "squared_error": errors.nanmean(1),
    }


def _read(written: Mapping[str, Any]) -> dict[str, VideoMean]:
    return {name: VideoMean(**value) for name, value in written.items() if name != "first_frames"}
