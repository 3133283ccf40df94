"""VTSSI's recipes: the five variants of its guide, at the paper's size and at one that a core trains in minutes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from pyro.nn import PyroModule
from torch import Tensor

from guides.find_and_fuse import (
    AIREncoder,
    Convolution,
    CorrelationFinder,
    FindAndFuseGuide,
    Finder,
    FrameProposalGuide,
    MapPlaces,
    MotionFuser,
    ProductFuser,
    Rectifier,
    TwoWayMotionFuser,
)
from guides.find_and_fuse.map_places import MAP_LAYERS
from inference.estimators import FIVO
from inference.estimators.count_boundary import CountBoundary
from inference.estimators.first_frames import FirstFrames
from inference.recipes.options import OptionError
from inference.recipes.recipe import Pair, Recipe, Training
from inference.recipes.tracked_digits import SMALL_TRACKED, TrackedDigitVideos
from inference.svi.schedules import CosineRamp, GeometricRamp, LinearRamp, Piecewise, Schedule
from inference.svi.weighted_sum import Term, WeightedSum
from inference.training.stages import Stage
from pyro_models.vtssi import (
    ContinuousAttendInferRepeat,
    DisentangledStateSpaceModel,
    MotionTransition,
    ObjectScenes,
)
from pyro_models.vtssi.object_scenes import count_thresholds

Variant = Literal["vtssi", "find", "rect-find", "find-mot", "air"]
LABELS: dict[Variant, str] = {
    "vtssi": "VTSSI",
    "find": "FIND",
    "rect-find": "RECT/FIND",
    "find-mot": "FIND/MOT",
    "air": "AIR",
}
Fusion = Literal["random", "product", "two-way"]
FUSERS: dict[Fusion, type[MotionFuser]] = {
    "random": MotionFuser,
    "product": ProductFuser,
    "two-way": TwoWayMotionFuser,
}
LARGE_GLIMPSE = 20  # pixels, from which on a map's cells have to see further
LARGE_MAP_LAYERS = (Convolution(8, 5, 2), Convolution(16, 5, 2), Convolution(16, 5))
DECAY_STEPS = 437_087  # 0.9 every 20,000 steps, until a tenth is left


@dataclass(frozen=True, kw_only=True)
class VTSSIPair(Pair):
    """A disentangled state-space model and a guide of modules.

    Attributes:
        variant: which modules the guide has: find, find-mot (with motion), rect-find (with a consensus of several
            frames), vtssi (with both); or air, every frame by itself.
        num_objects: largest number of objects.
        what_dim: size of an appearance.
        glimpse_size: height and width of a glimpse, pixels.
        size_mean: prior mean of an object's width and height, shares of the frame.
        size_scale: prior standard deviation of both.
        kernel_size: height and width of the finder's kernels, pixels; correlations take the next odd size.
        rectified_frames: frames whose proposals are rectified.
        matched: whether objects of these frames are matched first.
        spread: whether these frames are spread over the video, rather than its first.
        first_motion: number of the frame with the first motion variable.
        gain: largest absolute mean of a position; above 1 objects may leave the frame.
        residual: whether the transition predicts changes.
        places: how single frames propose places: by the paper's recurrent attention, or off a map; with counting-map
            the count too.
        finder: how objects are found: from features of the whole frame, or by a soft-argmax of a correlation map.
        finder_input: where the finder looks once there are motions: near where it found an object before, near where
            the object was drawn, or near where the dynamics predict it.
        finder_start: where the finder starts under a rectifier: nowhere, or at the positions proposed for frame 1.
        fuser: how predictions are fused: with random weights, by the product of densities, or with random weights and
            motions inferred from both directions of time.
        weights: least and largest random weight of the prediction in training.
        displacements: whether motions are inferred from displacements too.
        counting: whether objects that are not in play have densities: masked = no, always_on = yes.
        detach_previous: whether the mean of the random walk passes no gradient on.
    """

    variant: Variant = "vtssi"
    num_objects: int = 2
    what_dim: int = 20
    glimpse_size: int = 25
    size_mean: tuple[float, float] = (0.3, 0.4)
    size_scale: float = 0.1
    kernel_size: int = 10
    rectified_frames: int = 5
    matched: bool = False
    spread: bool = False
    first_motion: int = 5
    gain: float = 1.0
    residual: bool = False
    places: Literal["recurrent", "map", "counting-map"] = "recurrent"
    finder: Literal["features", "correlation"] = "features"
    finder_input: Literal["found", "fused", "predicted"] = "found"
    finder_start: Literal["nowhere", "proposed"] = "nowhere"
    fuser: Fusion = "random"
    weights: tuple[float, float] = (0.01, 0.99)
    displacements: bool = False
    counting: Literal["masked", "always_on"] = "masked"
    detach_previous: bool = True

    @property
    def label(self) -> str:
        """Name of the variant in the paper's table."""
        return LABELS[self.variant]

    def build(self, recipe: Recipe[TrackedDigitVideos, Any, Any]) -> tuple[PyroModule, PyroModule]:
        """Model and guide, freshly initialised."""
        scenes = ObjectScenes(
            recipe.videos.frame_shape,
            num_objects=self.num_objects,
            what_dim=self.what_dim,
            glimpse_size=self.glimpse_size,
            counting=self.counting,
            size_mean=self.size_mean,
            size_scale=self.size_scale,
        )
        if self.variant == "air":
            frames = ContinuousAttendInferRepeat(scenes)
            return frames, FrameProposalGuide(frames, self._encoder(scenes))
        moving, rectified = self.variant in ("vtssi", "find-mot"), self.variant in ("vtssi", "rect-find")
        model = DisentangledStateSpaceModel(
            scenes,
            first_motion=self.first_motion if moving else None,
            transition=MotionTransition(residual=self.residual, gain=self.gain) if moving else None,
            detach_previous=self.detach_previous,
        )
        guide = FindAndFuseGuide(
            model,
            self._encoder(scenes),
            self._finder(model),
            finder_input=self.finder_input if moving else "found",
            finder_start=self.finder_start if rectified else "nowhere",
            rectifier=Rectifier(scenes, self.rectified_frames, matched=self.matched, spread=self.spread)
            if rectified
            else None,
            fuser=FUSERS[self.fuser](model, weights=self.weights, displacements=self.displacements) if moving else None,
        )
        return model, guide

    def _encoder(self, scenes: ObjectScenes) -> AIREncoder:
        if self.places == "recurrent":
            return AIREncoder(scenes)
        layers = MAP_LAYERS if self.glimpse_size < LARGE_GLIMPSE else LARGE_MAP_LAYERS
        return AIREncoder(scenes, MapPlaces(scenes, layers=layers, counts=self.places == "counting-map"))

    def _finder(self, model: DisentangledStateSpaceModel) -> Finder | CorrelationFinder:
        if self.finder == "correlation":
            return CorrelationFinder(model, side=self.kernel_size + (self.kernel_size + 1) % 2)
        return Finder(model, kernels=Convolution(8, self.kernel_size, 2))


class AnalyticBound(TraceMeanField_ELBO):
    """Pyro's bound with analytic divergences, for a guide that draws sites in an order of its own.

    Pyro warns where the orders of model and guide differ. What has to hold is that no parent of a site in the model
    descends from it in the guide; without a rectifier, first positions are drawn before appearances, and neither has
    parents.
    """

    def _get_trace(self, model: Any, guide: Any, args: Any, kwargs: Any) -> Any:
        return Trace_ELBO._get_trace(self, model, guide, args, kwargs)


class FrameBound:
    """Bound of every frame by itself, under the same scenes and encoder (Akhundov et al. 2019, section 4).

    A training aid: the encoder learns from single frames what objects are.
    """

    def differentiable_loss(
        self,
        model: Any,
        guide: Any,
        frames: Tensor,
        observed: Tensor | None = None,
        controls: Tensor | None = None,
    ) -> Float[Tensor, ""]:
        """See `Objective`."""
        single = ContinuousAttendInferRepeat(model.scenes)
        return Trace_ELBO().differentiable_loss(single, FrameProposalGuide(single, guide.encoder), frames, observed)


@dataclass(frozen=True, kw_only=True)
class VTSSITraining(Training):
    """Training as in Akhundov et al. (2019), or faster.

    Attributes:
        frame_epochs: initial epochs in which the bound of the first frames by themselves is added; 0 = none. AIR has
            nothing else.
        count_mean: prior mean of the count at first and at last.
        count_epochs: epochs between which it changes.
        bell: how the offset of the centring mask grows: "linear" (0.1 per 1,000 steps, up to 100) or "geometric" (from
            0.1 to 100 when the count's prior has changed).
        divergence: how KL divergences are computed: analytic, given the draws of earlier latents; or sampled.
        count_gradient: of the count where it switches objects on: "pathwise", which misses what that costs, or
            "boundary", see `CountBoundary`, with sampled divergences.
        particles: 1 = the ELBO; more are a particle filter (`FIVO`), whose proposals the guide makes.
        decay: learning rate: "paper" (constant for 200,000 steps, then 0.9 every 20,000, down to a tenth) or "cosine"
            to a thirtieth.
    """

    batch_size: int = 64
    epochs: int = 780
    learning_rate: float = 1e-4
    clip_norm: float | None = 5.0
    frame_epochs: int = 90
    count_mean: tuple[float, float] = (-2.0, -3.0)
    count_epochs: tuple[int, int] = (100, 200)
    bell: Literal["linear", "geometric"] = "linear"
    divergence: Literal["analytic", "sampled"] = "analytic"
    count_gradient: Literal["pathwise", "boundary"] = "pathwise"
    particles: int = 1
    decay: Literal["paper", "cosine"] = "paper"

    def check(self, recipe: Recipe[Any, Any, Any]) -> None:
        """Refuse stages that do not come one after the other, and two estimators at once."""
        if self.particles > 1 and self.count_gradient == "boundary":
            raise OptionError(
                f"--particles: expected 1 with --count-gradient boundary, which is for the ELBO, got {self.particles}; "
                "take --count-gradient pathwise"
            )
        begin, end = self.count_epochs
        if not 0 <= self.frame_epochs <= begin < end < self.epochs:
            raise OptionError(
                f"--frame-epochs, --count-epochs: expected 0 <= frame-epochs <= first < last count-epoch < epochs = "
                f"{self.epochs}, got {self.frame_epochs}, {begin} and {end}; give --epochs above the last"
            )

    def optimizer(self) -> Callable[..., torch.optim.Optimizer]:
        """Adam with a first moment of 0.5."""
        return partial(torch.optim.Adam, betas=(0.5, 0.999), fused=True)

    def schedule(self, recipe: Recipe[Any, Any, Any]) -> Schedule:
        """Learning rate as a function of the step."""
        rate = self.learning_rate
        if self.decay == "cosine":
            return CosineRamp(rate, rate / 30, recipe.num_steps)
        return Piecewise({0: rate, 200_000: GeometricRamp(rate, rate / 10, DECAY_STEPS, begin=200_000)})

    def loss(self, recipe: Recipe[Any, VTSSIPair, Any]) -> Trace_ELBO | CountBoundary | FIVO:
        """The bound of whole videos."""
        if self.particles > 1:
            return FIVO(self.particles)
        if self.count_gradient == "boundary":
            count = "count" if recipe.pair.variant == "air" else "count_1"
            return CountBoundary(count_thresholds(recipe.pair.num_objects), count=count)
        return AnalyticBound() if self.divergence == "analytic" else Trace_ELBO()

    def stages(self, recipe: Recipe[Any, VTSSIPair, Any]) -> list[Stage]:
        """With the frames' bound, with the count's prior annealed, and with all as it stays."""
        epoch = recipe.steps_per_epoch
        begin, end = (epochs * epoch for epochs in self.count_epochs)
        buffers: dict[str, Schedule] = {
            "model.scenes.count_mean": LinearRamp(*self.count_mean, end - begin, begin),
            "model.scenes.bell_offset": LinearRamp(0.0, 100.0, 1_000_000)
            if self.bell == "linear"
            else GeometricRamp(0.1, 100.0, end),
        }
        stage = partial(Stage, fresh_optimizer=False, buffers=buffers)
        frame_steps = 0 if recipe.pair.variant == "air" else self.frame_epochs * epoch
        frames = FirstFrames(FrameBound(), recipe.pair.rectified_frames)
        both = WeightedSum({"video": Term(self.loss(recipe)), "frames": Term(frames)})
        first = [stage(frame_steps, loss=both)] if frame_steps else []
        return [*first, stage(end - frame_steps), stage(recipe.num_steps - end)]


PAPER = Recipe(
    name="vtssi",
    paper="Akhundov et al. 2019, table 1",
    videos=TrackedDigitVideos(num_frames=20, first_frames=6, growth_epochs=30),
    pair=VTSSIPair(),
    training=VTSSITraining(),
)
SMALL_VIDEOS: dict[str, Any] = {
    **SMALL_TRACKED,
    "growth_epochs": 4,
    "glimpse_size": 13,
    "size_mean": (0.25, 0.32),
    "kernel_size": 6,
    "batch_size": 32,
    "epochs": 50,
    "frame_epochs": 10,
    "count_epochs": (10, 20),
    "bell": "geometric",
    "learning_rate": 0.001,
    "decay": "cosine",
}
"""Options of small videos, and of a training that takes about a quarter of an hour on a core."""
BEST: dict[str, Any] = {
    "places": "counting-map",
    "matched": True,
    "spread": True,
    "residual": True,
    "finder": "correlation",
    "finder_start": "proposed",
    "finder_input": "predicted",
    "displacements": True,
    "count_mean": (-1.0, -1.0),
    "size_scale": 0.03,
    "learning_rate": 0.003,
}
"""The parts that tracked best in single runs; `benchmarks/trackers.py` measures each by itself."""
SMALL: dict[str, Any] = {**SMALL_VIDEOS, **BEST}
QUICK: dict[str, Any] = {
    **BEST,
    "growth_epochs": 1,
    "num_train": 32_000,
    "batch_size": 32,
    "epochs": 40,
    "frame_epochs": 5,
    "count_epochs": (5, 10),
    "bell": "geometric",
    "learning_rate": 0.002,
    "decay": "cosine",
}
"""Options of a training at the paper's size that takes hours instead of days."""


def _variants(recipe: Recipe[TrackedDigitVideos, VTSSIPair, VTSSITraining], suffix: str = "") -> tuple[Recipe, ...]:
    """A recipe with each of the five guides."""
    # all but VTSSI start with single frames; videos reach their full length at about the same step
    shorter = {"first_frames": 1, "growth_epochs": max(1, recipe.videos.growth_epochs * 2 // 3)}
    rows = []
    for name, label in LABELS.items():
        row = recipe.named(f"vtssi{suffix}" if name == "vtssi" else f"vtssi-{name}{suffix}", variant=name)
        row = row if name == "vtssi" else row.with_options(**shorter)
        rows.append(replace(row, paper=f"Akhundov et al. 2019, table 1, {label} (linear motion, overlap)"))
    return tuple(rows)


RECIPES = (
    *_variants(PAPER),
    replace(PAPER.named("vtssi-quick", **QUICK), paper="Akhundov et al. 2019, table 1, VTSSI (linear motion, overlap)"),
    *_variants(PAPER.with_options(**SMALL), "-small"),
    replace(
        PAPER.named("vtssi-literal-small", **SMALL_VIDEOS),
        paper="Akhundov et al. 2019, table 1, VTSSI with the paper's modules",
    ),
)
