"""A recipe: a typed configuration that reproduces one row of one paper, and what is built from it."""

import difflib
import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from pyro.infer import ELBO, Trace_ELBO
from pyro.nn import PyroModule
from torch import nn

from inference.svi.schedules import Schedule
from inference.training.train import FUSED_ADAM, Stage
from videos import SIMULATORS, FixedVideos, Simulator, VideoBatch, VideoSource, load_videos
from videos.loaders import simulate_in_pieces
from videos.missing import random_drop

DATA_FILES = {"box": "box", "box-gravity": "box_gravity", "polygon": "polygon", "pong": "pong", "pendulum": "pendulum"}

# How many test videos of a world are simulated at a time, whatever `num_test` is: two runs then have the same ones, as
# far as both go. The numbers are those with which the results were made.
TEST_PIECES = {"cannonballs": 400, "pendulum": 500, "surveillance": 500}
OTHER_TEST_PIECE = 1000
TRAINING_SEED = 1_000_000  # plus the seed of the run
VALIDATION_SEED, TEST_SEED = 2_000_000, 3_000_000  # whatever the seed of the run: runs can be compared on these videos


class OptionError(ValueError):
    """An option that a recipe does not have, or a value that it cannot take."""


@dataclass(frozen=True)
class Splits:
    """Training, validation and test videos of one run, and where they came from."""

    train: VideoBatch
    validation: VideoBatch
    test: VideoBatch
    source: str


@dataclass(frozen=True, kw_only=True)
class Recipe(ABC):
    """What every recipe says: which videos, how long, how fast, from which seed.

    A recipe is complete: the same recipe on the same machine gives the same run. Options of the command line override
    its fields.

    Attributes:
        world: name of a simulator, see `videos.SIMULATORS`; or "surveillance", for videos from clips.
        data: folder with `<world>.npz` and `<world>_test.npz` of the KVAE authors' simulator; None = simulate.
        num_train: training sequences.
        num_validation: validation sequences, held out from the training file or simulated.
        num_test: test sequences; those of a smaller number are the first ones of a larger.
        missing: probability with which each frame after the third is missing from training.
        redraw_missing: draw new masks in each epoch, so that every frame is seen in some; otherwise each sequence keeps
            its mask and a missing frame is never seen at all.
        batch_size: sequences in a step.
        epochs: passes over the training sequences.
        learning_rate: of Adam, at the start.
        clip_norm: largest norm of the gradient, nats per sequence.
        precision: of networks in training: float32, or bfloat16 (see `mixed_precision`; made for GPUs).
        seed: of everything random; below a million, since validation and test videos have the seeds from there on.
    """

    paper: ClassVar[str]
    """What is reproduced: paper, figure or table, row."""
    names_objects: ClassVar[bool] = True
    """Whether each slot of true objects keeps its object from frame to frame, where there are objects."""

    @property
    def label(self) -> str:
        """Name of the model in the paper's figures and tables."""
        return ""

    world: str = "box"
    data: Path | None = None
    num_train: int = 4800
    num_validation: int = 200
    num_test: int = 1000
    missing: float = 0.0
    redraw_missing: bool = False
    batch_size: int = 32
    epochs: int = 80
    learning_rate: float = 0.007
    clip_norm: float | None = 3000.0
    precision: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse seeds with which training videos would be those of validation or test."""
        if not 0 <= self.seed < VALIDATION_SEED - TRAINING_SEED:
            raise OptionError(
                f"--seed: expected one from 0 to {VALIDATION_SEED - TRAINING_SEED - 1}, got {self.seed}; beyond, "
                "training videos would be those of validation or test, or of other seeds"
            )

    @abstractmethod
    def build(self) -> tuple[PyroModule, PyroModule]:
        """Model and guide, freshly initialised from the seed."""

    @abstractmethod
    def stages(self) -> list[Stage]:
        """What is trained when, and with which weights on the sites."""

    def schedule(self) -> Schedule:
        """Learning rate as a function of the step."""
        return self.learning_rate

    def optimizer(self) -> Callable[..., torch.optim.Optimizer]:
        """Called as `optimizer(parameters, lr=...)`."""
        return FUSED_ADAM

    def loss(self) -> ELBO:
        """The bound that is maximised: one draw of the guide."""
        return Trace_ELBO()

    @property
    def check_step(self) -> int | None:
        """The step after which `complaint` can tell whether training took a wrong turn; None = it never can."""
        return None

    def complaint(self, model: nn.Module, guide: nn.Module, videos: VideoBatch) -> str | None:
        """What is wrong with a model in training, if it is not worth going on with.

        Args:
            model: after `check_step` steps.
            guide: its guide after the same steps.
            videos: for validation.
        """
        return None

    @property
    def steps_per_epoch(self) -> int:
        """Updates in one pass over the training sequences; the last short batch is dropped."""
        return max(1, self.num_train // self.batch_size)

    @property
    def num_steps(self) -> int:
        """Updates in all."""
        return self.steps_per_epoch * self.epochs

    def override(self, options: Mapping[str, str]) -> "Recipe":
        """The same recipe with some fields replaced, given as text.

        Args:
            options: field name (dashes or underscores) -> value.

        Raises:
            OptionError: if there is no such field (the nearest name is suggested) or the value has the wrong type.
        """
        hints = typing.get_type_hints(type(self))
        names = [field.name for field in fields(self)]
        values: dict[str, Any] = {}
        for option, text in options.items():
            name = option.replace("-", "_")
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1)
                hint = f"; did you mean --{near[0].replace('_', '-')}?" if near else ""
                known = ", ".join("--" + known.replace("_", "-") for known in names)
                raise OptionError(f"--{option}: no such option{hint} Options of this recipe: {known}")
            values[name] = _parse(option, text, hints[name])
        return replace(self, **values)

    def splits(self) -> Splits:
        """Training, validation and test videos.

        Raises:
            FileNotFoundError: if `data` lacks a file.
            OptionError: if the world is unknown or not one that comes in files, or a file holds too few sequences.
        """
        if self.world not in SIMULATORS:
            near = difflib.get_close_matches(self.world, SIMULATORS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise OptionError(f"--world: expected one of {', '.join(sorted(SIMULATORS))}, got {self.world!r}{hint}")
        if self.data is None:
            simulator = SIMULATORS[self.world]()
            return self._simulated(lambda split: simulator, self.num_train, f"simulated: {simulator}")
        if self.world not in DATA_FILES:
            raise OptionError(
                f"--data: there are files of {', '.join(DATA_FILES)}, not of {self.world!r}; leave it out"
            )
        stem = Path(self.data) / DATA_FILES[self.world]
        train, test = load_videos(stem.with_suffix(".npz")), load_videos(stem.with_name(f"{stem.name}_test.npz"))
        num_kept = min(self.num_train, train.num_sequences - self.num_validation)
        if num_kept < self.batch_size:
            raise OptionError(
                f"--data: expected at least {self.batch_size + self.num_validation} sequences in {stem}.npz, "
                f"got {train.num_sequences}"
            )
        return Splits(
            train=train.select(slice(0, num_kept)),
            validation=train.select(slice(train.num_sequences - self.num_validation, train.num_sequences)),
            test=test.select(slice(0, self.num_test)),
            source=f"{stem}.npz",
        )

    def drawn_splits(self, simulator: Callable[[str], Simulator], source: str) -> Splits:
        """Validation and test videos that do not depend on the seed of the run, and one batch of training videos.

        Args:
            simulator: what makes the videos of a split.
            source: where they come from, in words.
        """
        return self._simulated(simulator, min(self.batch_size, self.num_train), source)

    def _simulated(self, simulator: Callable[[str], Simulator], num_train: int, source: str) -> Splits:
        sizes = {"train": (num_train, TRAINING_SEED + self.seed), "validation": (self.num_validation, VALIDATION_SEED)}
        train, validation = (
            simulator(split).simulate(size, torch.Generator().manual_seed(seed))
            for split, (size, seed) in sizes.items()
        )
        piece = TEST_PIECES.get(self.world, OTHER_TEST_PIECE)
        test = simulate_in_pieces(simulator("test"), self.num_test, piece, TEST_SEED)
        return Splits(train, validation, test, source=source)

    def training_source(self, train: VideoBatch) -> VideoSource:
        """Shuffled batches of the training videos, with missing frames if the recipe says so."""
        pattern = partial(random_drop, probability=self.missing, keep_first=3) if self.missing else None
        return FixedVideos(train, self.batch_size, self.seed, missing=pattern, redraw_missing=self.redraw_missing)


def _parse(option: str, text: str, hint: Any) -> Any:
    """A value of a field's type from its text on the command line."""
    choices = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if type(None) in choices and text.lower() == "none":
        return None
    for choice in choices:
        if choice is bool and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if choice in (int, float, str, Path):
            try:
                return choice(text)
            except ValueError:
                continue
        if typing.get_origin(choice) is tuple:
            items = typing.get_args(choice)
            try:
                values = tuple(items[0](part) for part in text.split(",") if part)
            except ValueError:
                continue
            if Ellipsis in items or len(values) == len(items):
                return values
    raise OptionError(f"--{option}: expected {_describe(choices)}, got {text!r}")


def _describe(choices: tuple[Any, ...]) -> str:
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a word", Path: "a path"}
    return " or ".join(
        "none" if choice is type(None) else words.get(choice, "numbers with commas") for choice in choices
    )
