"""How well a model tracks the objects of videos."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from inference.metrics.boxes import near_distance
from inference.metrics.tracking import TrackingScores, score_tracks
from inference.scores.score import Evaluated, Score
from pyro_models.components.scene import Scene


@dataclass(frozen=True)
class TrackingSummary:
    """Scores of the most probable objects in the reconstruction (`reconstruct`); see `inference.metrics.tracking`.

    Attributes:
        mota: tracking accuracy; an object counts as found if its centre is within half a true box's mean side. All
            other scores but `box_mota` use the same criterion.
        idf1: F1 of objects under the best one-to-one match of identities.
        box_mota: tracking accuracy; an object counts as found if boxes overlap by half.
        position_error: mean distance of a found object's centre from the true one, pixels.
        switches: identity switches per video.
        unswitched: share of videos without identity switches.
        late_discoveries: objects per video first found after the first frame.
        discovered: objects per frame that are found for the first time, and
        propagated: objects per frame that were found before; ideally n / T and n (T - 1) / T for n objects in T frames.
            Records of earlier versions have neither.
    """

    mota: float
    idf1: float
    box_mota: float
    position_error: float
    switches: float
    unswitched: float
    late_discoveries: float
    discovered: float | None = None
    propagated: float | None = None

    def __str__(self) -> str:
        return "\n".join(
            f"{text:24} {value:10.4f}"
            for text, value in (
                ("tracking accuracy, near", self.mota),
                ("tracking accuracy, boxes", self.box_mota),
                ("identity F1", self.idf1),
                ("error of middles, pixels", self.position_error),
                ("switches in a video", self.switches),
                ("videos without switches", self.unswitched),
                ("late discoveries", self.late_discoveries),
                ("discovered in a frame", self.discovered),
                ("propagated in a frame", self.propagated),
            )
            if value is not None
        )


@dataclass(frozen=True, kw_only=True)
class Tracking(Score):
    """How well objects are tracked; each slot of the true objects keeps its object."""

    name: ClassVar[str] = "tracking"
    needs: ClassVar[tuple[str, ...]] = ("presence", "positions", "box_sizes")

    def compute(self, evaluated: Evaluated) -> TrackingSummary | None:
        """The summary; None without identities, for videos of one frame, or if the true objects are unknown."""
        scenes = None if evaluated.test.num_frames == 1 else found_and_true(evaluated)
        if scenes is None:
            return None
        found, true = scenes
        assert found.presence is not None
        tracks, boxes = score_middles(found, true), score_tracks(found, true)
        present = found.presence > 0.5
        num_frames = evaluated.test.num_frames
        discovered = (tracks.late_discoveries + present[:, 0].sum(-1)).double().mean().item() / num_frames
        return TrackingSummary(
            mota=tracks.mota,
            idf1=tracks.idf1,
            box_mota=boxes.mota,
            position_error=tracks.position_error,
            switches=tracks.switches.double().mean().item(),
            unswitched=tracks.unswitched_share,
            late_discoveries=tracks.late_discoveries.double().mean().item(),
            discovered=discovered,
            propagated=present.sum(-1).double().mean().item() - discovered,
        )

    def read(self, written: Mapping[str, Any]) -> TrackingSummary:
        """Rebuild the summary from parsed JSON."""
        return TrackingSummary(**written)


def score_middles(found: Scene, true: Scene) -> TrackingScores:
    """Scores by centres: an object counts as found if its centre is within half a true box's mean side of the true one.

    Args:
        found: presence, positions and identities, leading dims (sequences, time).
        true: presence, positions and box sizes, leading dims (sequences, time).
    """
    assert true.presence is not None
    assert true.box_sizes is not None
    return score_tracks(found, true, max_distance=near_distance(true.box_sizes, true.presence))


def found_and_true(evaluated: Evaluated) -> tuple[Scene, Scene] | None:
    """The most probable and the true objects, on the CPU; None without identities, or if the true ones are unknown.

    Args:
        evaluated: test videos with `presence`, `positions` and `box_sizes`.
    """
    truth = evaluated.test.to("cpu")
    if truth.presence is None or truth.positions is None or truth.box_sizes is None:
        return None
    found = evaluated.scene
    if found is None or found.identities is None:
        return None
    true = Scene(truth.presence.float(), truth.positions, truth.box_sizes, truth.masks)
    return found, true
