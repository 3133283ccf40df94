"""A recipe: videos, a model with its guide, and a training, which together reproduce one row of one paper."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import pyro
import torch
from pyro.infer import ELBO, Trace_ELBO
from pyro.nn import PyroModule
from torch import nn

from inference.gallery.picture import Picture
from inference.recipes.options import OptionError, check_names, check_words
from inference.runtime.numbers import check_count, check_positive
from inference.scores.score import Score
from inference.svi.schedules import Schedule
from inference.training.options import FUSED_ADAM
from inference.training.stages import Stage
from videos import Simulator, VideoBatch, VideoSource
from videos.loaders import simulate_in_pieces

# Test videos are simulated in pieces of this size, whatever `num_test` is: two runs then share their first test videos.
# Results were computed with these sizes.
TEST_PIECES = {
    "cannonballs": 400,
    "massive-balls": 200,
    "pendulum": 500,
    "sprites": 100,
    "surveillance": 500,
    "tabletop": 10,
}
OTHER_TEST_PIECE = 1000
TRAINING_SEED = 1_000_000  # plus the seed of the run
VALIDATION_SEED, TEST_SEED = 2_000_000, 3_000_000  # independent of the run's seed: runs are compared on these videos
PARTS = ("videos", "pair", "training")


@dataclass(frozen=True)
class Splits:
    """Training, validation and test videos of one run, and their source."""

    train: VideoBatch
    validation: VideoBatch
    test: VideoBatch
    source: str


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a recipe; its fields are options. Fields of a `Literal` type accept only its words."""

    def __post_init__(self) -> None:
        """Refuse words that an option does not accept."""
        check_words(type(self), {field.name: getattr(self, field.name) for field in fields(self)})

    def check(self, recipe: "Recipe[Any, Any, Any]") -> None:
        """Refuse invalid values before anything is built.

        Raises:
            OptionError: names the option.
        """

    def scores(self, recipe: "Recipe[Any, Any, Any]") -> tuple[Score, ...]:
        """What `kinema evaluate` computes beside bounds and evidence."""
        return ()

    def pictures(self, recipe: "Recipe[Any, Any, Any]") -> tuple[Picture, ...]:
        """What `kinema render` draws."""
        return ()


@dataclass(frozen=True, kw_only=True)
class Videos(Part, ABC):
    """Where videos come from.

    Attributes:
        world: name of a simulator, see `videos.SIMULATORS`; or "surveillance", for videos from clips.
        data: file or folder with real data; None = simulate.
        num_train: training sequences; if every step draws new ones, the number that makes an epoch.
        num_validation: validation sequences.
        num_test: test sequences; a smaller number gives the first ones of a larger.
        missing: probability that a frame after the third is missing in training.
        redraw_missing: draw new masks in each epoch, so every frame is seen in some epoch; otherwise each sequence
            keeps its mask, and a missing frame is never seen.
    """

    world: str
    data: Path | None = None
    num_train: int = 4800
    num_validation: int = 200
    num_test: int = 1000
    missing: float = 0.0
    redraw_missing: bool = False

    @property
    @abstractmethod
    def frame_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a frame."""

    @property
    @abstractmethod
    def length(self) -> int:
        """Number of frames of a training video, when it is as long as videos become."""

    @abstractmethod
    def splits(self, recipe: "Recipe[Any, Any, Any]") -> Splits:
        """Training, validation and test videos."""

    @abstractmethod
    def source(self, recipe: "Recipe[Any, Any, Any]", train: VideoBatch) -> VideoSource:
        """Batches to train on.

        Args:
            recipe: the recipe with these videos.
            train: the training videos of `splits`.
        """

    def sources(self) -> dict[str, Path]:
        """Files and folders of the user that are read, by option: a run records what was in them."""
        return {}

    def data_set(self) -> str | None:
        """The public data set that is read, where another may stand in for it; a run records which. None = neither."""
        return None

    def reading(self, path: Path) -> "Videos | None":
        """The same videos made from a user's, if these have a way of their own; None = see `GivenVideos`."""
        return None

    def simulated(
        self, simulator: Callable[[str], Simulator], source: str, *, seed: int, num_train: int | None = None
    ) -> Splits:
        """Training videos from the run's seed; validation and test videos independent of it.

        Args:
            simulator: maps the name of a split to its simulator.
            source: source of the videos, in words.
            seed: the run's seed.
            num_train: training videos; None = all.
        """
        sizes = {
            "train": (self.num_train if num_train is None else num_train, TRAINING_SEED + seed),
            "validation": (self.num_validation, VALIDATION_SEED),
        }
        train, validation = (
            simulator(split).simulate(size, torch.Generator().manual_seed(number))
            for split, (size, number) in sizes.items()
        )
        piece = TEST_PIECES.get(self.world, OTHER_TEST_PIECE)
        test = simulate_in_pieces(simulator("test"), self.num_test, piece, TEST_SEED)
        return Splits(train, validation, test, source=source)

    def check_world(self, world: str, why_no_missing: str = "") -> None:
        """Refuse another world, and missing frames: for videos of a single world, without missing frames.

        Args:
            world: the only supported world.
            why_no_missing: reason to append to the message, if any.

        Raises:
            OptionError: names the option.
        """
        if self.world != world:
            raise OptionError(f"--world: expected {world}, got {self.world!r}")
        if self.missing:
            raise OptionError(f"--missing: expected 0{why_no_missing}, got {self.missing}")


@dataclass(frozen=True, kw_only=True)
class Pair(Part, ABC):
    """A model and its guide."""

    @property
    @abstractmethod
    def label(self) -> str:
        """Name of the model in the paper's figures and tables."""

    @abstractmethod
    def build(self, recipe: "Recipe[Any, Any, Any]") -> tuple[PyroModule, PyroModule]:
        """Model and guide, freshly initialised; the caller has seeded all random generators."""


@dataclass(frozen=True, kw_only=True)
class Training(Part):
    """How a pair is trained.

    Attributes:
        batch_size: sequences per step.
        epochs: passes over the training sequences.
        learning_rate: initial learning rate.
        clip_norm: gradients are clipped to this norm, nats per sequence; None = no clipping.
        precision: precision of networks in training: float32, or bfloat16 (see `mixed_precision`).

    Raises:
        TypeError: if a count is no whole number.
        ValueError: if a number is not positive and finite.
    """

    batch_size: int = 32
    epochs: int = 80
    learning_rate: float = 0.007
    clip_norm: float | None = 3000.0
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("batch_size", self.batch_size)
        check_count("epochs", self.epochs)
        check_positive("learning_rate", self.learning_rate, or_zero=True)
        if self.clip_norm is not None:
            check_positive("clip_norm", self.clip_norm)

    def stages(self, recipe: "Recipe[Any, Any, Any]") -> list[Stage]:
        """Stages of training: trained parameters, schedules and site weights."""
        return [Stage(recipe.num_steps)]

    def schedule(self, recipe: "Recipe[Any, Any, Any]") -> Schedule:
        """Learning rate as a function of the step."""
        return self.learning_rate

    def optimizer(self) -> Callable[..., torch.optim.Optimizer]:
        """Called as `optimizer(parameters, lr=...)`."""
        return FUSED_ADAM

    def loss(self, recipe: "Recipe[Any, Any, Any]") -> ELBO:
        """The bound to maximise, here with one draw of the guide."""
        return Trace_ELBO()

    def check_step(self, recipe: "Recipe[Any, Any, Any]") -> int | None:
        """The step after which `complaint` runs its health check; None = no check."""
        return None

    def complaint(self, model: nn.Module, guide: nn.Module, videos: VideoBatch) -> str | None:
        """Why training should be abandoned, in words; None if it should continue.

        Args:
            model: the model after `check_step` steps.
            guide: its guide after the same steps.
            videos: validation videos.
        """
        return None


V = TypeVar("V", bound=Videos)
P = TypeVar("P", bound=Pair)
T = TypeVar("T", bound=Training)


@dataclass(frozen=True, kw_only=True)
class Recipe(Generic[V, P, T]):
    """Videos, a model with its guide, and a training. The same recipe on the same machine gives the same run.

    The fields of the three parts are the recipe's options, by name: `kinema train NAME --epochs 20`, or
    `recipe.with_options(epochs=20)`.

    Attributes:
        name: name on the command line.
        paper: what is reproduced: paper, figure or table, row.
        videos: where videos come from.
        pair: model and guide.
        training: how they are trained.
        seed: seed of everything random, below a million: larger seeds would give the validation and test videos.
        replaced: the recipe's own videos, if others were given in their place; see `on_videos`.
    """

    name: str
    paper: str
    videos: V
    pair: P
    training: T
    seed: int = 0
    replaced: Videos | None = None

    def __post_init__(self) -> None:
        """Refuse seeds whose training videos are those of validation or test, and options with the same name."""
        if not 0 <= self.seed < VALIDATION_SEED - TRAINING_SEED:
            raise OptionError(
                f"--seed: expected one from 0 to {VALIDATION_SEED - TRAINING_SEED - 1}, got {self.seed}; with others, "
                "training videos would be those of validation or test, or of other seeds"
            )
        names = ["seed", *(field.name for part in self._parts.values() for field in fields(part))]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise TypeError(
                f"{self.name}: expected options with different names in videos, pair and training, got "
                f"{', '.join(twice)} twice; rename one of each"
            )

    @property
    def _parts(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in PARTS}

    @property
    def options(self) -> dict[str, Any]:
        """All options with their values, by name."""
        values = {field.name: getattr(part, field.name) for part in self._parts.values() for field in fields(part)}
        return values | {"seed": self.seed}

    def with_options(self, **options: Any) -> "Recipe[V, P, T]":
        """The same recipe with some options replaced.

        Raises:
            OptionError: if there is no such option (the nearest is suggested), or it does not accept a word.
        """
        check_names(options, self.options)
        parts = {}
        for name, part in self._parts.items():
            own = {field.name: options[field.name] for field in fields(part) if field.name in options}
            check_words(type(part), own)
            parts[name] = replace(part, **own)
        return replace(self, **parts, seed=options.get("seed", self.seed))

    def named(self, name: str, **options: Any) -> "Recipe[V, P, T]":
        """The same recipe under another name, with some options replaced."""
        return replace(self.with_options(**options), name=name)

    @property
    def label(self) -> str:
        """Name of the model in the paper's figures and tables."""
        return self.pair.label

    @property
    def steps_per_epoch(self) -> int:
        """Updates in one pass over the training sequences; the last short batch is dropped."""
        return max(1, self.videos.num_train // self.training.batch_size)

    @property
    def num_steps(self) -> int:
        """Updates in all."""
        return self.steps_per_epoch * self.training.epochs

    def build(self) -> tuple[PyroModule, PyroModule]:
        """Model and guide, freshly initialised from the seed.

        Raises:
            OptionError: if an option has an invalid value.
        """
        for part in self._parts.values():
            part.check(self)
        pyro.set_rng_seed(self.seed)
        return self.pair.build(self)

    def splits(self) -> Splits:
        """Training, validation and test videos.

        Raises:
            FileNotFoundError: if `data` lacks a file.
            OptionError: if an option of the videos has an invalid value.
        """
        return self.videos.splits(self)

    def training_source(self, train: VideoBatch) -> VideoSource:
        """Batches to train on.

        Args:
            train: the training videos of `splits`.
        """
        return self.videos.source(self, train)

    def stages(self) -> list[Stage]:
        """Stages of training: trained parameters, schedules and site weights."""
        return self.training.stages(self)

    def schedule(self) -> Schedule:
        """Learning rate as a function of the step."""
        return self.training.schedule(self)

    def optimizer(self) -> Callable[..., torch.optim.Optimizer]:
        """Called as `optimizer(parameters, lr=...)`."""
        return self.training.optimizer()

    def loss(self) -> ELBO:
        """The bound to maximise."""
        return self.training.loss(self)

    @property
    def check_step(self) -> int | None:
        """The step after which `complaint` runs its health check; None = no check."""
        return self.training.check_step(self)

    def complaint(self, model: nn.Module, guide: nn.Module, videos: VideoBatch) -> str | None:
        """Why training should be abandoned, in words, or None; see `Training.complaint`."""
        return self.training.complaint(model, guide, videos)

    def scores(self) -> tuple[Score, ...]:
        """What `kinema evaluate` computes beside bounds and evidence: the scores of the three parts."""
        return tuple(score for part in self._parts.values() for score in part.scores(self))

    def pictures(self) -> tuple[Picture, ...]:
        """What `kinema render` draws: the pictures of the three parts."""
        return tuple(picture for part in self._parts.values() for picture in part.pictures(self))
