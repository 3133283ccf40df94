"""How far from the true objects a model tracks them, and predicts them after the first frames."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

from inference.metrics.distance_means import DistanceCurve, MeanDistance
from inference.metrics.motion_baselines import constant_velocity, hold_last
from inference.metrics.prefix_matches import match_on_prefix
from inference.programs.traces import evaluation_mode
from inference.queries.ask import impute
from inference.runs.records import with_tuples
from inference.scores.score import Evaluated, Score
from pyro_models.components.scene import PlacesObjects, Scene
from videos import Simulator, VideoBatch
from videos.missing import tail

LONG_SEED = 5_000_000  # of long videos, which all models are scored on


@dataclass(frozen=True)
class ErrorCurve:
    """Mean distances over objects, pixels, in each frame of the videos, with standard errors over sequences."""

    means: tuple[float, ...]
    standard_errors: tuple[float, ...]

    @classmethod
    def of(cls, curve: DistanceCurve) -> "ErrorCurve":
        """From `PrefixMatches.error_by_frame`."""
        return cls(tuple(curve.means.tolist()), tuple(curve.standard_errors.tolist()))

    def distances(self, prefix: int, frame_width: int) -> DistanceCurve:
        """For a picture; how many objects there are in a frame is forgotten, only whether there are any.

        Args:
            prefix: number of observed frames.
            frame_width: pixels.
        """
        means = torch.tensor(self.means)
        counts = torch.isfinite(means).long()
        return DistanceCurve(means, torch.tensor(self.standard_errors), counts, prefix, float(frame_width))


@dataclass(frozen=True)
class HorizonErrors:
    """Columns of table 1 and curves of figures 5 to 7 of Akhundov et al. (2019); see `PrefixMatches`.

    Attributes:
        prefix: number of frames on which objects are matched, and that a prediction observes.
        frame_width: pixels.
        num_frames: of the test videos.
        counting: share of test videos with the right number of objects, all frames observed.
        inference: error with all frames observed.
        prediction: error after the prefix, with only the prefix observed.
        inference_right: the same as `inference`, over videos with the right number of objects.
        prediction_right: the same as `prediction`, over videos with the right number of objects.
        held: error of predicting that true objects stay where they are in the last frame of the prefix.
        straight: the same, if they keep their true velocity and the edges of the frame reflect their boxes; None if
            boxes are unknown, or for a prefix of one frame.
        tracked_curve: error in each frame of long videos with all frames observed; None = not computed.
        predicted_curve: the same with only the prefix observed.
        held_curve: the same for true objects that stay where they are.
        straight_curve: the same for true objects that keep their velocity.
    """

    prefix: int
    frame_width: int
    num_frames: int
    counting: float
    inference: MeanDistance
    prediction: MeanDistance
    inference_right: MeanDistance
    prediction_right: MeanDistance
    held: MeanDistance
    straight: MeanDistance | None = None
    tracked_curve: ErrorCurve | None = None
    predicted_curve: ErrorCurve | None = None
    held_curve: ErrorCurve | None = None
    straight_curve: ErrorCurve | None = None

    def __str__(self) -> str:
        def line(text: str, error: MeanDistance) -> str:
            share = error.mean / self.frame_width
            return f"{text:24} {error.mean:10.3f} +- {error.standard_error:.3f} pixels, {share:.2%} of the width"

        lines = [
            f"{'counted, videos':24} {self.counting:10.4f}",
            line("inference error", self.inference),
            line(f"prediction after {self.prefix}", self.prediction),
            line("  of rightly counted", self.prediction_right),
            line("  objects held still", self.held),
        ]
        if self.straight is not None:
            lines.append(line("  on straight lines", self.straight))
        if self.predicted_curve is not None and self.tracked_curve is not None:
            frames = [frame for frame in (10, 20, 50, 100) if self.prefix < frame <= len(self.predicted_curve.means)]
            for text, curve in (("tracked", self.tracked_curve), ("predicted", self.predicted_curve)):
                values = ", ".join(f"{curve.means[frame - 1]:.2f}" for frame in frames)
                lines.append(f"{text + ', pixels':24} {values} in frames {', '.join(map(str, frames))}")
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Horizons(Score):
    """Errors of tracked and of predicted positions, on the test videos and by frame of long videos.

    Attributes:
        prefix: observed frames of a prediction; objects are matched on them.
        long_videos: simulator of long videos with test objects; None = no curves.
        num_long: number of long videos; 0 = no curves.
        method: completion method of the guide; None = its first.
    """

    name: ClassVar[str] = "horizons"
    needs: ClassVar[tuple[str, ...]] = ("positions",)
    prefix: int = 5
    long_videos: Simulator | None = None
    num_long: int = 200
    method: str | None = None

    def __post_init__(self) -> None:
        """Refuse an empty prefix, and a negative number of videos."""
        if self.prefix < 1:
            raise ValueError(f"prefix: expected at least 1 observed frame, got {self.prefix}; a forecast needs one")
        if self.num_long < 0:
            raise ValueError(f"num_long: expected at least 0 long videos, got {self.num_long}; 0 leaves the curves out")

    def without_simulator(self) -> "Horizons":
        """Without curves of long videos, which are simulated."""
        return replace(self, long_videos=None)

    def compute(self, evaluated: Evaluated) -> HorizonErrors | None:
        """The errors; None for a model without objects, or videos without positions.

        Raises:
            ValueError: if no frame of the test videos follows the prefix.
        """
        test = evaluated.test
        if evaluated.scene is None or test.positions is None:
            return None
        if test.num_frames <= self.prefix:
            raise ValueError(
                f"prefix: expected 1 to {test.num_frames - 1}, one less than the frames of the test videos, got "
                f"{self.prefix}; choose how many frames to predict from"
            )
        truth = test.to("cpu")
        tracked = match_on_prefix(inferred_scene(evaluated, test.num_frames, self.method), truth, self.prefix)
        predicted = match_on_prefix(inferred_scene(evaluated, self.prefix, self.method), truth, self.prefix)
        held = {
            name: match_on_prefix(scene, truth, self.prefix).prediction_error
            for name, scene in _baselines(truth, self.prefix).items()
        }
        errors = HorizonErrors(
            prefix=self.prefix,
            frame_width=truth.frames.shape[-1],
            num_frames=truth.num_frames,
            counting=tracked.counting_accuracy,
            inference=tracked.inference_error,
            prediction=predicted.prediction_error,
            inference_right=tracked.with_right_count().inference_error,
            prediction_right=predicted.with_right_count().prediction_error,
            held=held["held"],
            straight=held.get("straight"),
        )
        if self.long_videos is None or self.num_long == 0:
            return errors
        generator = torch.Generator().manual_seed(LONG_SEED)
        truth = self.long_videos.simulate(self.num_long, generator)
        long = Evaluated(evaluated.model, evaluated.guide, truth.to(test.frames.device), seed=evaluated.seed)
        seen = {"tracked": truth.num_frames, "predicted": self.prefix}
        scenes = {name: inferred_scene(long, frames, self.method) for name, frames in seen.items()}
        return replace(
            errors,
            **{
                f"{name}_curve": ErrorCurve.of(match_on_prefix(scene, truth, self.prefix).error_by_frame())
                for name, scene in (scenes | _baselines(truth, self.prefix)).items()
            },
        )

    def read(self, written: Mapping[str, Any]) -> HorizonErrors:
        """Rebuild the errors from parsed JSON."""
        kinds = {"means": ErrorCurve, "mean": MeanDistance}

        def rebuilt(value: Any) -> Any:
            if not isinstance(value, Mapping):
                return value
            return next(kind for key, kind in kinds.items() if key in value)(**with_tuples(value))

        return HorizonErrors(**{name: rebuilt(value) for name, value in written.items()})


def inferred_scene(evaluated: Evaluated, num_seen: int, method: str | None = None) -> Scene:
    """The most probable objects when only the first frames are observed, on the CPU.

    Args:
        evaluated: a model with objects, its guide and the videos.
        num_seen: number of observed frames.
        method: completion method of the guide; None = its first.
    """
    test, model, guide = evaluated.test, evaluated.model, evaluated.guide
    assert isinstance(model, PlacesObjects)
    if num_seen == test.num_frames and method is None and evaluated.scene is not None:
        return evaluated.scene
    start = tail(test.num_sequences, test.num_frames, num_seen=num_seen).to(test.frames.device)
    with evaluation_mode(model, guide):
        answer = impute(model, guide, *test.with_observed(start).arguments, method=method, seed=evaluated.seed)
        scene = model.scene(answer.values)
    return Scene(**{name: value.cpu() for name, value in vars(scene).items() if value is not None})


def _baselines(truth: VideoBatch, prefix: int) -> dict[str, Scene]:
    """Predictions from the true positions of the prefix, by name."""
    places, boxes = truth.positions, truth.box_sizes
    assert places is not None
    found = {"held": hold_last(places, prefix)}
    if boxes is not None and prefix > 1:
        half = 0.5 * (boxes[:, 0] - 1)
        height, width = truth.frames.shape[-2:]
        found["straight"] = constant_velocity(places, prefix, (half, half.new_tensor([width - 1, height - 1]) - half))
    presence = None if truth.presence is None else truth.presence.float()
    return {name: Scene(presence, positions) for name, positions in found.items()}
