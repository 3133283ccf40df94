"""How well a model keeps track of the objects of videos."""

from dataclasses import dataclass

from torch import nn

from inference.estimators.traces import evaluation_mode
from inference.metrics.tracking import score_tracks
from inference.queries import reconstruct
from pyro_models.components.scene import PlacesObjects, Scene
from videos import VideoBatch

NEAR = 0.5  # of a true box's mean side: as far as a found object's middle may lie from the true one


@dataclass(frozen=True)
class TrackingSummary:
    """Scores of the likeliest objects, by what `reconstruct` gives; see `inference.metrics.tracking`.

    Attributes:
        mota: tracking accuracy, an object being found where its middle is within half a true box's mean side. What is
            below goes by that as well, but for `box_mota`.
        idf1: share of objects that the one right identity explains.
        box_mota: tracking accuracy, an object being found where boxes overlap by half.
        position_error: mean distance of a found object's middle from the true one, pixels.
        switches: identity switches in a video.
        unswitched: share of videos without any.
        late_discoveries: objects that are first found after the first frame, in a video.
    """

    mota: float
    idf1: float
    box_mota: float
    position_error: float
    switches: float
    unswitched: float
    late_discoveries: float

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
            )
        )


def summarize_tracking(
    model: nn.Module, guide: nn.Module, videos: VideoBatch, *, seed: int = 0
) -> TrackingSummary | None:
    """Follow all objects; None for a model that gives no identities, or if the truth is not known.

    Args:
        model: a trained model.
        guide: its guide.
        videos: with `presence`, `positions` and `box_sizes`.
        seed: of what `reconstruct` draws, if anything.
    """
    if None in (videos.presence, videos.positions, videos.box_sizes) or not isinstance(model, PlacesObjects):
        return None
    with evaluation_mode(model, guide):
        scene = model.scene(reconstruct(model, guide, *videos.arguments, seed=seed).latents)
    if scene.identities is None:
        return None
    found = Scene(**{name: value.cpu() for name, value in vars(scene).items() if value is not None})
    truth = videos.to("cpu")
    assert truth.presence is not None
    assert truth.box_sizes is not None
    true = Scene(presence=truth.presence.float(), positions=truth.positions, box_sizes=truth.box_sizes)
    near = NEAR * truth.box_sizes[truth.presence].mean().item()
    tracks, boxes = score_tracks(found, true, max_distance=near), score_tracks(found, true)
    return TrackingSummary(
        mota=tracks.mota,
        idf1=tracks.idf1,
        box_mota=boxes.mota,
        position_error=tracks.position_error,
        switches=tracks.switches.double().mean().item(),
        unswitched=tracks.unswitched_share,
        late_discoveries=tracks.late_discoveries.double().mean().item(),
    )
