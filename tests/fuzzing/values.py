"""Sensible arguments by their names, and what a user may give instead of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from pyro.infer import Trace_ELBO
from torch import Tensor

from inference import FIVO, IWAE, Annealing, Budget, Pilot, Stage, Term, TrainingOptions
from pyro_models.components.scene import Scene
from pyro_models.distributions import LinearGaussianSSM
from tests.contracts.cases import FRAME_SHAPE
from tests.oracles.random_state_space import random_parameters
from videos import SIMULATORS, FixedVideos, Tracks, VideoBatch
from videos.memory import memory

SEQUENCES, TIME, OBJECTS = 3, 5, 2
BATCH = SEQUENCES, TIME, OBJECTS


def frames() -> Tensor:
    return (torch.rand(SEQUENCES, TIME, *FRAME_SHAPE) > 0.5).float()


def labels() -> Tensor:
    """Disjoint masks of objects, (sequences, time, objects, height, width)."""
    owner = torch.randint(OBJECTS, (SEQUENCES, TIME, 8, 8))
    return torch.stack([owner == number for number in range(OBJECTS)], 2)


def tracks() -> Tracks:
    confidences = torch.rand(4).double()
    return Tracks(torch.tensor([1, 1, 2, 2]), torch.tensor([1, 2, 1, 2]), GOOD["boxes"](), confidences)


def scene() -> Scene:
    return Scene(
        presence=torch.ones(BATCH),
        positions=8 * torch.rand(*BATCH, 2),
        box_sizes=torch.ones(*BATCH, 2),
        identities=torch.arange(OBJECTS).expand(BATCH),
    )


def state_space() -> LinearGaussianSSM:
    return LinearGaussianSSM(**random_parameters((OBJECTS,)), num_steps=7)


GOOD: dict[str, Callable[[], Any]] = {
    "frames": frames,
    "observed": lambda: (torch.rand(SEQUENCES, TIME) > 0.3) | (torch.arange(TIME) == 0),
    "held_out": lambda: torch.arange(TIME).expand(SEQUENCES, TIME) == TIME - 1,
    "videos": lambda: VideoBatch(frames()),
    "stages": lambda: 1,
    "options": lambda: TrainingOptions(progress=False),
    "optimizer": lambda: partial(torch.optim.Adam, lr=1e-3),
    "loss": Trace_ELBO,
    "objective": lambda: IWAE(2),
    "estimator": lambda: IWAE(2),
    "thresholds": lambda: (0.5,),
    "method": lambda: None,
    "num_particles": lambda: 2,
    "num_samples": lambda: 2,
    "num_draws": lambda: 2,
    "num_frames": lambda: 6,
    "num_sequences": lambda: 2,
    "num_seen": lambda: 2,
    "length": lambda: 1,
    "probability": lambda: 0.5,
    "steps": lambda: 1,
    "every": lambda: 1,
    "min_frames": lambda: 1,
    "batch_size": lambda: 2,
    "seed": lambda: 0,
    "fractions": lambda: (0.5, 0.5),
    "generator": lambda: torch.Generator().manual_seed(0),
    "simulator": lambda: SIMULATORS["box"](num_frames=3, size=16, radius=2.0),
    "source": lambda: SIMULATORS["box"](num_frames=3, size=16, radius=2.0),
    "weights": lambda: {"frames": 1.0},
    "positions": lambda: 8 * torch.rand(*BATCH, 2),
    "inferred": lambda: 8 * torch.rand(*BATCH, 2),
    "presence": lambda: torch.ones(SEQUENCES, OBJECTS, dtype=torch.bool),
    "codes": lambda: torch.rand(SEQUENCES, TIME, 2),
    "encoded": lambda: torch.rand(SEQUENCES, TIME, 2),
    "pictures": frames,
    "components": lambda: torch.zeros(SEQUENCES, OBJECTS, dtype=torch.long),
    "labels": lambda: torch.zeros(SEQUENCES, OBJECTS, dtype=torch.long),
    "samples": lambda: torch.rand(4, SEQUENCES, TIME),
    "probabilities": lambda: torch.rand(4, SEQUENCES, TIME),
    "truth": lambda: torch.rand(SEQUENCES, TIME).round(),
    "predicted": labels,
    "layers": lambda: torch.rand(SEQUENCES, OBJECTS, 8, 8),
    "count": lambda: 1,
    "prefix": lambda: 2,
    "ssm": state_space,
    "log_weights": lambda: torch.zeros(OBJECTS),
    "readings": lambda: torch.randn(7, 3).double(),
    "variance": lambda: torch.rand(7, 3).double() + 0.5,
    "a": lambda: torch.randn(7, 3).double(),
    "logits": lambda: torch.randn(SEQUENCES, OBJECTS, 8, 8),
    "means": lambda: torch.rand(SEQUENCES, OBJECTS, 1, 8, 8),
    "scale": lambda: 0.3,
    "num_steps": lambda: 7,
    "walls": lambda: None,
    "identities": lambda: torch.tensor([1, 2, 1, 2]),
    "boxes": lambda: torch.rand(4, 4).double() * 10 + 1,
    "terms": lambda: {"video": Term(IWAE(2))},
    **{name: partial(lambda name: random_parameters()[name], name) for name in random_parameters()},
}
"""Sensible arguments by name; parameters with a default may be left out."""

OF_FUNCTION: dict[str, Callable[[], Any]] = {
    "adjusted_rand_index.truth": labels,
    "mean_best_overlap.truth": labels,
    "count_incorrect_pixels.truth": frames,
    "incorrect_pixels_per_frame.truth": frames,
    "intersection_over_union.truth": frames,
    "counting_accuracy.truth": lambda: torch.ones(BATCH, dtype=torch.bool),
    "counting_confusion.truth": lambda: torch.ones(BATCH, dtype=torch.bool),
    "find_discs.pictures": lambda: torch.rand(SEQUENCES, 16, 16),
    "fit_position_map.positions": lambda: torch.rand(SEQUENCES, TIME, 2),
    "match_on_prefix.predicted": scene,
    "match_on_prefix.truth": lambda: VideoBatch(
        frames(), positions=8 * torch.rand(*BATCH, 2), presence=torch.ones(BATCH, dtype=torch.bool)
    ),
    "score_tracks.predicted": scene,
    "score_tracks.truth": scene,
    **{
        f"{name}.{side}": tracks
        for name in ("score_clip", "score_confidences", "score_hota")
        for side in ("predicted", "truth")
    },
    "fit_single_object_map.inferred": lambda: 8 * torch.rand(SEQUENCES, TIME, 1, 2),
    "fit_single_object_map.positions": lambda: 8 * torch.rand(SEQUENCES, TIME, 1, 2),
    "fit_single_object_map.presence": lambda: torch.ones(SEQUENCES, 1, dtype=torch.bool),
    "MixtureLinearGaussianSSM.components": state_space,
    "ObservationsGivenReadings.ssm": lambda: LinearGaussianSSM(**random_parameters(), num_steps=7),
    "StatePathPosterior.ssm": lambda: LinearGaussianSSM(**random_parameters(), num_steps=7),
    "OwnLoss.method": lambda: "expectation_loss",
    "CountBoundary.num_particles": lambda: 1,
    **{f"counting_{end}.presence": lambda: torch.ones(BATCH, dtype=torch.bool) for end in ("accuracy", "confusion")},
    "Tracks.frames": lambda: torch.tensor([1, 1, 2, 2]),
    "FirstFrames.frames": lambda: 2,
    "crps.truth": lambda: torch.rand(SEQUENCES, TIME),
    "energy_score.truth": lambda: torch.rand(SEQUENCES, TIME),
    "bracket.filtering": lambda: FIVO(4),
    "bracket.pilot": lambda: Pilot(4, 1),
    "bracket.repeats": lambda: 1,
    "bracket.sweeps": lambda: 1,
    "sandwich.annealing": lambda: Annealing(2, 1, 2),
    "predictive_scores.budget": lambda: Budget(particles=32),
    "predictive_scores.num_samples": lambda: 2,
    "predictive_scores.num_particles": lambda: 2,
    "generate.num_sequences": lambda: 2,
    "forecast.num_samples": lambda: 2,
    "impute.coverage": lambda: 0.9,
    "impute.frames_per_chunk": lambda: 7,
    "log_evidence.num_particles": lambda: 2,
    "log_evidence.particles_per_chunk": lambda: 2,
    "log_evidence.sequences_per_chunk": lambda: 2,
    "calibrate.draws_per_chunk": lambda: 2,
    "GrowingVideos.source": lambda: _source(),
    "SingleFrames.source": lambda: _source(),
    "train.stages": lambda: [Stage(1)],
    "visible_masks.layers": lambda: torch.rand(SEQUENCES, OBJECTS, 8, 8),
}
"""Arguments that mean something else in one function."""


def _source() -> Any:
    return FixedVideos(VideoBatch(frames()), 2, 0)


@dataclass(frozen=True)
class Change:
    """What is given instead of a sensible argument.

    Attributes:
        name: in words.
        apply: makes it.
        wrong: whether frames changed like this must be refused by whatever reads them.
        by_value: whether that takes a look at values, not only at shape, dtype and device.
    """

    name: str
    apply: Callable[[Any], Any]
    wrong: bool = True
    by_value: bool = False


def _with(number: float) -> Callable[[Tensor], Tensor]:
    def apply(value: Tensor) -> Tensor:
        changed = value.clone()
        if changed.numel() and changed.is_floating_point():
            changed.view(-1)[0] = number
        return changed

    return apply


TENSORS = (
    Change("no first", lambda value: value[:0]),
    Change("no second", lambda value: value[:, :0]),
    Change("one dim less", lambda value: value[0]),
    Change("one dim more", lambda value: value[None]),
    Change("last dim longer", lambda value: torch.cat([value, value[..., :1]], -1)),
    Change("first two swapped", lambda value: value.transpose(0, 1)),
    Change("a number", lambda value: value.flatten()[0]),
    Change("one sequence", lambda value: value[:1], wrong=False),
    Change("one frame", lambda value: value[:, :1], wrong=False),
    Change("NaN", _with(float("nan")), by_value=True),
    Change("infinite", _with(float("inf")), by_value=True),
    Change("bytes", lambda value: value * 255, by_value=True),
    Change("negative", lambda value: -1.0 - 9 * value, by_value=True),
    Change("integers", lambda value: value.long()),
    Change("float64", lambda value: value.double()),
    Change("bool", lambda value: value.bool()),
    Change("other device", lambda value: value.to("meta")),
    Change("numpy", lambda value: value.numpy()),
    Change("list", lambda value: value.tolist()),
    Change("VideoBatch", lambda _: VideoBatch(frames())),
    Change("text", lambda _: "frames"),
)
MANY = 10**10
NUMBERS = tuple(
    Change(f"{number!r}", lambda _, number=number: number)
    for number in (0, -1, 1, 2, 0.5, 2.5, 1e-30, 1e30, float("nan"), float("inf"), -float("inf"), True, "2", None, [1])
)
COUNTS = (*NUMBERS, Change("10^10", lambda _: MANY))
TUPLES = (
    *(
        Change(f"first {one!r}", lambda value, one=one: (one, *value[1:]))
        for one in (0, -1, 0.5, float("nan"), "2", None)
    ),
    Change("last 10^10", lambda value: (*value[:-1], MANY)),
    Change("one more", lambda value: (*value, value[-1])),
    Change("one less", lambda value: value[:-1]),
    Change("list", list),
)
WORDS = tuple(Change(f"{word!r}", lambda _, word=word: word) for word in ("", "nonsense", 3, None, b"x", ["a"]))
THINGS = tuple(
    Change(f"{thing!r}", lambda _, thing=thing: thing) for thing in (None, 3, "nonsense", (), {}, float("nan"))
)


def changes_of(value: Any) -> tuple[Change, ...]:
    """What a user may give instead of a value of this kind."""
    if isinstance(value, Tensor):
        return TENSORS
    if isinstance(value, tuple) and value and all(isinstance(one, int | float) for one in value):
        return (*TUPLES, *THINGS)
    if isinstance(value, bool) or callable(value):
        return THINGS
    if isinstance(value, int):
        return COUNTS if MANY * 8 > memory() else NUMBERS
    if isinstance(value, float):
        return NUMBERS
    return WORDS if isinstance(value, str) else THINGS
