"""Every public callable, with arguments that it answers, found by what the packages export."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pyro.infer import Trace_ELBO

import pyro_models.distributions
from inference import SVI
from tests.contracts.registry import GUIDES, MODELS, build_guide, guide_of
from tests.fuzzing.values import GOOD, OF_FUNCTION

PACKAGES = (
    "videos",
    "pyro_models.distributions",
    "guides",
    "inference",
    "inference.queries",
    "inference.metrics",
)
PAIR = ("model", "guide")
DRAWS = ("model call", "guide call", "SVI.step", *pyro_models.distributions.__all__)
BLIND = ("simulate", "describe_sites", "calibrate", "sandwich", "model call", "guide call")
"""They look at no value of the frames: their values are not used, or a look would wait for the device."""

NOT_CALLED: dict[str, str] = {
    **dict.fromkeys(
        (
            *("Bracket", "Calibration", "Comparison", "Evidence", "Generation", "GuideCheck", "Imputation"),
            *("LatentWalk", "LoadedRun", "PredictiveScores", "Sandwich", "TrainingResult", "Verdict", "Foreground"),
            *("DistanceCurve", "HOTAScores", "MeanDistance", "PixelErrors", "PositionMap", "PrecisionRecall"),
            *("PrefixMatches", "TrackingScores", "GaussianPath", "SiteTable", "PixelGradients", "Digits"),
        ),
        "a record that the library makes",
    ),
    **dict.fromkeys(("Logger", "MissingPattern", "Objective", "Simulator", "VideoSource"), "a protocol"),
    **dict.fromkeys(("register", "train_recipe"), "takes a recipe, and changes a registry or trains"),
    **dict.fromkeys(("CompileWarning", "GuideMismatchError", "NonFiniteError"), "an error or a warning"),
    **dict.fromkeys(
        (
            *("ClevrerClips", "Surveillance", "load", "load_clevrer", "load_digits", "load_frames", "load_video"),
            *(
                "load_videos",
                "read_tracks",
                "save_videos",
                "write_tracks",
                "RunFolder",
                "synthetic_clip",
                "MovingBlobs",
            ),
        ),
        "reads or writes files, which have tests of their own",
    ),
    "fit_silhouettes": "learns from a clip",
    "SVI": "called as its step",
    **dict.fromkeys(("keep_freed_memory", "mixed_precision", "SIMULATORS", "queries"), "takes no numbers"),
    **dict.fromkeys(("inner_gradients", "log_joint", "compare"), "takes functions, or records of other calls"),
}


@dataclass(frozen=True)
class Target:
    """A callable to be fuzzed.

    Attributes:
        name: in words; the name of the export, or what is called.
        call: takes its arguments by name.
        build: sensible arguments by name.
        pair: name of the guide's case, for what takes a model and a guide; these two are not changed.
        constructs: whether it makes a model or a guide.
    """

    name: str
    call: Callable[..., Any]
    build: Callable[[], dict[str, Any]]
    pair: str | None = None
    constructs: bool = False

    @property
    def draws(self) -> bool:
        """Whether it may draw from the global generators."""
        return self.constructs or self.name in DRAWS

    @property
    def blind(self) -> bool:
        """Whether it looks at no value of the frames."""
        return self.name in BLIND


def exported() -> dict[str, Any]:
    """Every export by its name, models, guides and their parts apart: see `constructors.py`."""
    found: dict[str, Any] = {}
    for package in map(importlib.import_module, PACKAGES):
        for name in package.__all__:
            found[name] = getattr(package, name)
    return {name: thing for name, thing in found.items() if not _is_network(thing)}


def arguments(name: str, function: Callable[..., Any]) -> dict[str, Callable[[], Any]]:
    """A builder for each argument that is given: required ones, and optional ones with a plain default.

    Raises:
        LookupError: if a required argument has no sensible value in `tests.fuzzing.values`.
    """
    given: dict[str, Callable[[], Any]] = {}
    for key, parameter in inspect.signature(function).parameters.items():
        if key in PAIR or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        value = OF_FUNCTION.get(f"{name}.{key}")
        if value is None and parameter.default is parameter.empty:
            value = GOOD.get(key)
            if value is None:
                raise LookupError(f"{name}: argument {key!r} has no sensible value in tests/fuzzing/values.py")
        elif value is None and (isinstance(parameter.default, int | float | str) or key == "observed"):
            value = GOOD.get(key) or (lambda default=parameter.default: default)
        if value is not None:
            given[key] = value
    prefix = f"{name}."
    return given | {key.removeprefix(prefix): build for key, build in OF_FUNCTION.items() if key.startswith(prefix)}


def plain_targets() -> dict[str, Target]:
    """Exports that take no model."""
    found = {}
    for name, thing in exported().items():
        if name in NOT_CALLED or not callable(thing) or _takes_model(thing):
            continue
        builders = arguments(name, thing)
        found[name] = Target(name, _constructed(thing), _together(builders))
    return found


def pair_targets() -> dict[str, Target]:
    """Functions of a model and a guide, each with every guide that there is; and calls of these."""
    found = {}
    takers = {name: thing for name, thing in exported().items() if name not in NOT_CALLED and _takes_model(thing)}
    for case in without_controls():
        for name, function in takers.items():
            found[f"{name}, {case}"] = Target(name, function, _together(arguments(name, function)), case)
        video = _together({name: GOOD[name] for name in ("frames", "observed")})
        found[f"model, {case}"] = Target("model call", _call_model, video, case)
        found[f"guide, {case}"] = Target("guide call", _call_guide, video, case)
        found[f"step, {case}"] = Target("SVI.step", _step, video, case)
    return found


def programs(target: Target) -> dict[str, Any]:
    """Model and guide of a target, those of its parameters that it has."""
    if target.pair is None:
        return {}
    model, guide = build_guide(target.pair)
    keys = inspect.signature(target.call).parameters
    return {name: thing for name, thing in (("model", model.eval()), ("guide", guide.eval())) if name in keys}


def _together(builders: Mapping[str, Callable[[], Any]]) -> Callable[[], dict[str, Any]]:
    return lambda: {name: build() for name, build in builders.items()}


def _constructed(thing: Callable[..., Any]) -> Callable[..., Any]:
    """A call that also uses what was constructed: a simulator simulates, a distribution scores a draw."""

    def call(**given: Any) -> Any:
        made = thing(**given)
        if hasattr(made, "simulate"):
            return made.simulate(2, torch.Generator().manual_seed(0))
        if hasattr(made, "rsample") and hasattr(made, "log_prob"):
            drawn = made.sample()
            return drawn, made.log_prob(drawn)
        return made.batch(0) if hasattr(made, "batch") else made

    return call


def _call_model(model: Any, **given: Any) -> None:
    model(**given)


def _call_guide(guide: Any, **given: Any) -> None:
    guide(**given)


def _step(model: Any, guide: Any, **given: Any) -> Any:
    parameters = [*model.parameters(), *guide.parameters()]
    optimizer = torch.optim.SGD(parameters or [torch.nn.Parameter(torch.zeros(()))], 1e-3)
    return SVI(model, guide, optimizer, Trace_ELBO()).step(*given.values())


def _takes_model(thing: Any) -> bool:
    return inspect.isfunction(thing) and "model" in inspect.signature(thing).parameters


def _is_network(thing: Any) -> bool:
    return isinstance(thing, type) and issubclass(thing, torch.nn.Module)


def without_controls() -> list[str]:
    """Cases of guides whose models take none."""
    return [name for name, case in GUIDES.items() if not MODELS[case.model].control_dim]


def first_guides() -> list[str]:
    """One guide of each model, the first."""
    return sorted({guide_of(GUIDES[name].model) for name in without_controls()})
