"""Spatial mixtures of slots with memory, on balls: the system of Zablotskaia et al. (2020), and what trains faster."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from pyro.nn import PyroModule

from guides.spatio_temporal_refinement import RefinementNetwork, SpatioTemporalRefinementGuide
from inference.estimators.refinement_bounds import RefinementBounds
from inference.recipes.ball_segmentation import SMALL_BALLS, MassiveBallVideos
from inference.recipes.options import OptionError
from inference.recipes.recipe import Pair, Recipe, Training
from inference.svi.schedules import CosineRamp, GeometricRamp, LinearRamp, Schedule
from inference.training.stages import Stage
from pyro_models.spatio_temporal_mixture import BroadcastDecoder, SlotMemory, SpatioTemporalMixture


@dataclass(frozen=True, kw_only=True)
class SlotPair(Pair):
    """A spatial mixture of slots and its refining guide.

    Attributes:
        num_slots: K, background included.
        latent_dim: size of a slot's latent.
        units: units of the memory and of the guide's cell.
        channels: filters of decoder and refinement network.
        decoder_layers: hidden layers of the decoder.
        halvings: how often the decoder's grid is halved.
        bounded: whether the decoder's means pass a sigmoid.
        reading_layers: convolutions of the refinement network.
        strided: whether these halve images.
        memory: whose memory slots have: the model's; the guide's, as in the paper; or none: IODINE.
        relations: size of what slots see of one another; 0 = nothing.
        conditioned: whether prior and decoder depend on the memory; without, only the guide remembers.
        refinements: decodes of the first frame.
        grid: triangle, or full: as many decodes in every frame.
        start: where a frame's refinement starts: from a constant or from the prediction.
        scattered: whether slots start apart, or only their first draws, as in the paper.
        starts: from how many starts the first frame is inferred after training; the best is kept.
        gradients: what training differentiates: first_order, all refinements; truncated; or implicit, the last
            refinement of a frame alone, in memory that does not grow with refinements.
        log_variance: of the prior, free or softplus.
        per_channel: whether channels are assigned to slots one by one.
        leave_one_out: whether the guide sees what a pixel's density would be without a slot.
        norms: whether it sees norms of gradients.
    """

    num_slots: int = 5
    latent_dim: int = 64
    units: int = 128
    channels: int = 64
    decoder_layers: int = 4
    halvings: int = 0
    bounded: bool = True
    reading_layers: int = 4
    strided: bool = True
    memory: Literal["model", "guide", "none"] = "model"
    relations: int = 0
    conditioned: bool = True
    refinements: int = 6
    grid: Literal["triangle", "full"] = "triangle"
    start: Literal["constant", "prediction"] = "prediction"
    scattered: bool = True
    starts: int = 8
    gradients: Literal["first_order", "truncated", "implicit"] = "first_order"
    log_variance: Literal["free", "softplus"] = "free"
    per_channel: bool = False
    leave_one_out: bool = True
    norms: bool = True

    @property
    def label(self) -> str:
        """Name of the model in the paper's tables."""
        return "IODINE" if self.memory == "none" else "Spatio-temporal"

    def build(self, recipe: Recipe[Any, Any, Any]) -> tuple[PyroModule, PyroModule]:
        """Model and guide, freshly initialised."""
        shape = recipe.videos.frame_shape
        model = SpatioTemporalMixture(
            shape,
            num_slots=self.num_slots,
            decoder=BroadcastDecoder(
                shape,
                self.latent_dim,
                self.units if self.conditioned and self.memory != "none" else 0,
                channels=self.channels,
                layers=self.decoder_layers,
                halvings=self.halvings,
                bounded=self.bounded,
            ),
            memory=self._memory(),
            units=self.units,
            conditional_prior=self.conditioned,
            log_variance=self.log_variance,
            frame_scale=recipe.training.frame_scale[0],
            per_channel=self.per_channel,
        )
        network = RefinementNetwork(
            shape,
            self.latent_dim,
            self.units,
            channels=self.channels,
            layers=self.reading_layers,
            strided=self.strided,
            leave_one_out=self.leave_one_out,
            norms=self.norms,
            two_axes=self.memory != "none",
        )
        return model, SpatioTemporalRefinementGuide(
            model,
            refinements=self.refinements,
            start=self.start,
            grid=self.grid,
            scattered=self.scattered,
            starts=self.starts,
            gradients=self.gradients,
            network=network,
            divergence_weight=recipe.training.divergence_weight[0],
        )

    def check(self, recipe: Recipe[Any, Any, Any]) -> None:
        """Refuse a model without slots, and a memory of the model that nothing in it depends on."""
        if self.num_slots < 1:
            raise OptionError(f"--num-slots: expected at least 1, got {self.num_slots}; give one more than objects")
        if self.starts < 1:
            raise OptionError(f"--starts: expected at least 1, got {self.starts}; 1 is quickest")
        if not self.conditioned and self.memory == "model":
            raise OptionError(
                "--no-conditioned: expected --memory guide or none, got model, whose memory nothing would depend on"
            )

    def _memory(self) -> SlotMemory | Literal["guide"] | None:
        if self.memory == "model":
            return SlotMemory(self.latent_dim, self.units, relations=self.relations)
        return "guide" if self.memory == "guide" else None


def late_share(number: int, of: int) -> float:
    """The weight (r - 1) / (n - 1) of a refinement, counted from 1 (Greff et al. 2019)."""
    return (number - 1) / (of - 1)


@dataclass(frozen=True)
class ShareOfFirst:
    """Weights r / R of refinements in all frames, so that later frames weigh less: as in the code of the authors."""

    refinements: int

    def __call__(self, number: int, of: int) -> float:
        """The weight of a refinement, counted from 1."""
        return number / self.refinements


@dataclass(frozen=True, kw_only=True)
class SlotTraining(Training):
    """Training by the bounds after all refinements.

    Attributes:
        frame_scale: standard deviation of a pixel at first and at last.
        divergence_weight: weight of the divergence at first and at last, for the loss and for the guide's gradients.
            Where it is 1 at first, latents stay at their prior for thousands of steps, and the decoder ignores them.
        scale_epochs: epochs between which both change.
        entropy: weight of the masks' entropy, in the end.
        entropy_epochs: epochs between which it grows from 0.
        weights: of refinements: "late" ((r - 1) / (n_t - 1)), "share" (r / n_t, as in the paper) or "code" (r / R, as
            in the code of the authors). A first decode from noise teaches the decoder to ignore its latents: with
            "late" it has no weight, as in IODINE.
        decay: learning rate: "constant", or "cosine" to a thirtieth.
    """

    batch_size: int = 32
    learning_rate: float = 3e-4
    clip_norm: float | None = 5.0
    frame_scale: tuple[float, float] = (0.3, 0.1)
    divergence_weight: tuple[float, float] = (0.1, 1.0)
    scale_epochs: tuple[int, int] = (0, 10)
    entropy: float = 0.0
    entropy_epochs: tuple[int, int] = (5, 10)
    weights: Literal["late", "share", "code"] = "late"
    decay: Literal["constant", "cosine"] = "constant"

    def check(self, recipe: Recipe[Any, Any, Any]) -> None:
        """Refuse changes that end before they begin, or after the training, and numbers that no factor changes."""
        for name in ("frame_scale", "divergence_weight"):
            if min(getattr(self, name)) <= 0:
                given = " ".join(map(str, getattr(self, name)))
                raise OptionError(f"--{name.replace('_', '-')}: expected two numbers above 0, got {given}")
        for name in ("scale_epochs", "entropy_epochs"):
            begin, end = getattr(self, name)
            if not 0 <= begin < end < self.epochs:
                raise OptionError(
                    f"--{name.replace('_', '-')}: expected 0 <= first < last < epochs = {self.epochs}, got {begin} and "
                    f"{end}; give --epochs above the last"
                )

    def schedule(self, recipe: Recipe[Any, Any, Any]) -> Schedule:
        """Learning rate as a function of the step."""
        if self.decay == "cosine":
            return CosineRamp(self.learning_rate, self.learning_rate / 30, recipe.num_steps)
        return self.learning_rate

    def stages(self, recipe: Recipe[Any, SlotPair, Any]) -> list[Stage]:
        """By the bounds after all refinements: while pixels become sharper and the divergence counts more, and then."""
        epoch = recipe.steps_per_epoch
        (begin, end), (late, last) = self.scale_epochs, self.entropy_epochs
        changes = {"model.frame_scale": self.frame_scale, "guide.divergence_weight": self.divergence_weight}
        ramps = {name: GeometricRamp(*ends, (end - begin) * epoch, begin * epoch) for name, ends in changes.items()}
        weight = {"late": late_share, "share": None, "code": ShareOfFirst(recipe.pair.refinements)}[self.weights]
        stage = partial(
            Stage,
            buffers=ramps,
            loss=RefinementBounds(LinearRamp(0.0, self.entropy, (last - late) * epoch, late * epoch), weight),
            fresh_optimizer=False,
        )
        return [stage(end * epoch), stage(recipe.num_steps - end * epoch)]


BALLS = Recipe(
    name="spatio-temporal-balls",
    paper="Zablotskaia et al. 2020, table 1 (binary balls)",
    videos=MassiveBallVideos(),
    pair=SlotPair(),
    training=SlotTraining(),
)
PAPER: dict[str, Any] = {
    "strided": False,
    "memory": "guide",
    "start": "constant",
    "scattered": False,
    "starts": 1,
    "divergence_weight": (0.1, 0.1),
    "log_variance": "softplus",
    "per_channel": True,
    "leave_one_out": False,
    "norms": False,
    "frame_scale": (0.3**0.5, 0.3**0.5),
    "weights": "code",
}
"""The paper's choices where ours differ by default, and those of its code."""
FRAMES: dict[str, Any] = {"memory": "none", "num_frames": 1, "first_frames": 1}
"""Options of IODINE: single frames."""
SMALL_SLOTS: dict[str, Any] = {
    "num_slots": 4,
    "latent_dim": 16,
    "units": 64,
    "channels": 24,
    "halvings": 2,
    "bounded": False,
    "reading_layers": 3,
    "refinements": 5,
    "batch_size": 16,
    "learning_rate": 0.002,
    "clip_norm": 100.0,
    "decay": "cosine",
}
"""Options of networks and of a training of small videos, for a core."""
SMALL: dict[str, Any] = {
    **SMALL_BALLS,
    **SMALL_SLOTS,
    "num_frames": 6,
    "first_frames": 1,
    "growth_epochs": 6,
    "epochs": 36,
    "frame_scale": (0.3, 0.15),
    "scale_epochs": (3, 30),
    "entropy": 0.5,
    "entropy_epochs": (4, 10),
}
"""Options of small balls: slots find them in single frames, and follow them in more and more; the fourth and later ones
are decoded twice. Without the entropy slots agree, as pixels become sharper, on a white and a black picture everywhere,
and only masks say where balls are: at a cost of log 2 for each pixel that they leave open."""
IODINE = replace(BALLS.named("iodine-balls", **FRAMES), paper="Zablotskaia et al. 2020, table 1, IODINE (binary balls)")
RECIPES = (
    BALLS,
    BALLS.named("spatio-temporal-balls-paper", **PAPER, entropy=0.001),
    BALLS.named("spatio-temporal-balls-colour", colour=True),
    BALLS.named("spatio-temporal-balls-small", **SMALL),
    BALLS.named("spatio-temporal-balls-colour-small", **SMALL, colour=True),
    IODINE,
    IODINE.named("iodine-balls-small", **{**SMALL, **FRAMES}),
    IODINE.named("iodine-balls-colour-small", **{**SMALL, **FRAMES, "colour": True}),
)
