"""These tests pin: whatever a public function is given, it answers with numbers or says what is wrong with an argument.

Calls are drawn by hypothesis: sensible arguments, of which up to two are changed (`values.py`). Every export is called,
or `targets.NOT_CALLED` says why not. `python -m tests.fuzzing.count 10000` counts how calls end.
"""

import inspect

import jaxtyping
import pytest

from tests.fuzzing.cases import Case, outcome_of
from tests.fuzzing.count import every
from tests.fuzzing.outcomes import GOOD, run
from tests.fuzzing.targets import NOT_CALLED, exported, first_guides, pair_targets, plain_targets

CHEAP = ("describe_sites", "simulate", "reconstruct", "impute", "forecast", "generate", "model", "guide", "step")
PLAIN, PAIRS = plain_targets(), pair_targets()
TARGETS = PLAIN | PAIRS
QUICK = PLAIN | {f"{name}, {guide}": PAIRS[f"{name}, {guide}"] for name in CHEAP for guide in first_guides()}


@pytest.fixture(autouse=True)
def without_annotations():
    """Annotations are checked in tests alone; users meet the checks of the functions themselves."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def judge(case: Case) -> None:
    outcome = outcome_of(case, TARGETS)
    assert outcome.kind in GOOD, f"{outcome}; {case}"


def test_every_export_is_called_or_it_is_said_why_not():
    called = {target.name for target in TARGETS.values()}
    assert {name for name in exported() if name not in called} == set(NOT_CALLED)


def test_drawn_calls_end_well():
    every(QUICK, 60, judge)


@pytest.mark.slow
def test_ten_thousand_drawn_calls_end_well():
    every(TARGETS, 10_000, judge)


FOUND = [
    Case("guide, DiscoveryPropagationGuide", (("frames", "no first"),)),
]
"""Calls that once ended otherwise: answered nonsense, NaN, or failed somewhere below."""


@pytest.mark.parametrize("case", FOUND, ids=lambda case: " ".join((case.target, *map(" ".join, case.changes))))
def test_what_was_found_stays_mended(case):
    judge(case)


# the wrong program: each way in which a call must not end is noticed


def _below() -> None:
    [][1]


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda: [][1], "obscure"),
        (lambda: 1.0, "silent"),
        (lambda: inspect.getsource(_below), "silent"),
    ],
)
def test_a_bad_end_is_noticed(call, kind):
    assert run(call, refused=True, draws=False).kind == kind
