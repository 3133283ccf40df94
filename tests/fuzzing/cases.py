"""One call of a target with one or two arguments changed: the strategy that draws it, and how it ends."""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import pyro
import torch
from hypothesis import strategies
from torch import Tensor

from tests.fuzzing.outcomes import ANSWER, HANG, NAN, Outcome, run
from tests.fuzzing.targets import Target, programs
from tests.fuzzing.values import Change, changes_of

STATES_NAN = ("incorrect_pixels_per_frame", "mean_best_overlap")  # their docstrings say where

DEFAULTS = frozenset({"annealing", "budget", "filtering", "pilot"})  # None asks for settings that take minutes


@dataclass(frozen=True)
class Case:
    """A call.

    Attributes:
        target: name of what is called, in a mapping of targets.
        changes: argument and name of its change.
        seed: of the sensible arguments.
    """

    target: str
    changes: tuple[tuple[str, str], ...] = ()
    seed: int = 0


def cases(targets: dict[str, Target]) -> strategies.SearchStrategy[Case]:
    """Any target with none to two arguments changed, shrunk towards fewer."""
    changed = {name: sorted(target.build()) for name, target in targets.items()}

    @strategies.composite
    def case(draw: Any) -> Case:
        name = draw(strategies.sampled_from(sorted(targets)))
        torch.manual_seed(0)
        given = targets[name].build()
        keys = draw(strategies.lists(strategies.sampled_from(changed[name]), max_size=2, unique=True)) if given else []
        chosen = [(key, draw(strategies.sampled_from([one.name for one in changes_of(given[key])]))) for key in keys]
        return Case(name, tuple(chosen), draw(strategies.integers(0, 3)))

    return case()


def outcome_of(case: Case, targets: dict[str, Target]) -> Outcome:
    """Make the call of a case and say how it ended."""
    target = targets[case.target]
    pyro.clear_param_store()  # a call that was stopped in time may have left it half written
    pyro.set_rng_seed(case.seed)
    given: dict[str, Any] = target.build()
    refused = False
    for key, name in case.changes:
        change = next(one for one in changes_of(given[key]) if one.name == name)
        try:
            given[key], before = change.apply(given[key]), given[key]
        except (IndexError, RuntimeError, TypeError, ValueError):
            continue  # this value cannot be changed so, after the other change
        refused |= key == "frames" and target.pair is not None and _is_wrong(change, target, before)
    if len(case.changes) > 1:
        refused = False  # a changed mask may hide a wrong value
    arguments = programs(target) | given
    pyro.set_rng_seed(case.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcome = run(lambda: target.call(**arguments), refused=refused, draws=target.draws)
    stated = outcome.kind == NAN and target.name in STATES_NAN
    asked = outcome.kind == HANG and any(given[key] is None for key in DEFAULTS.intersection(given))
    return Outcome(ANSWER) if stated or asked else outcome


def _is_wrong(change: Change, target: Target, frames: Any) -> bool:
    """Whether the target must refuse frames that were changed like this."""
    if change.by_value and (target.blind or change.name == "negative"):
        return False  # shades below black are refused only where pixels have no noise
    return change.wrong and isinstance(frames, Tensor) and change.name != "first two swapped"


def sensible(case: Case) -> Case:
    """The same call with nothing changed."""
    return replace(case, changes=())
