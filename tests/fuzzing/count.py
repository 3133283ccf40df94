"""Count how many random calls end how: `python -m tests.fuzzing.count 10000`, with the most frequent faults."""

import sys
from collections import Counter
from collections.abc import Callable
from functools import partial

import pooch
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded

from tests.fuzzing.cases import Case, cases, outcome_of
from tests.fuzzing.constructors import constructor_targets
from tests.fuzzing.outcomes import GOOD
from tests.fuzzing.targets import Target, pair_targets, plain_targets
from tests.fuzzing.values import state_space


def every(targets: dict[str, Target], number: int, judge: Callable[[Case], None], seed: int = 0) -> None:
    """Draw cases and hand each to a judge, which may raise."""
    draw = settings(
        max_examples=number, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=False
    )
    seeded(seed)(draw(given(cases(targets))(judge)))()


def main(number: int, seed: int = 0, kind: str = "all") -> Counter[str]:
    """Print a table of outcomes, and each fault with the call that shows it."""
    pooch.retrieve = _refuse  # scikit-learn's digits instead, as in the tests
    warm_up()
    made = {"pairs": pair_targets, "plain": plain_targets, "constructors": constructor_targets}
    chosen = [make() for name, make in made.items() if kind in (name, "all")]
    targets = {name: target for targets in chosen for name, target in targets.items()}
    counts: Counter[str] = Counter()
    faults: Counter[tuple[str, str, str]] = Counter()
    shown: dict[tuple[str, str, str], Case] = {}

    def judge(case: Case) -> None:
        outcome = outcome_of(case, targets)
        counts[outcome.kind] += 1
        if outcome.kind not in GOOD:
            key = outcome.kind, case.target.split(",")[0], outcome.words
            faults[key] += 1
            if key not in shown:
                shown[key] = case
                print(sum(counts.values()), *key, case.target, case.changes, flush=True)

    every(targets, number, judge, seed)
    for key, times in faults.most_common(20):
        print(f"{times} x", *key)
    print(sum(counts.values()), dict(counts.most_common()))
    return counts


def _refuse(*_: object, **__: object) -> None:
    raise ConnectionError("no downloads")


def warm_up() -> None:
    """Compile the kernel of the Kalman marginal, which takes longer than any call may."""
    marginal = state_space()
    marginal.log_prob(marginal.sample())


if __name__ == "__main__":
    partial(main, *map(int, sys.argv[1:3]))(**({"kind": sys.argv[3]} if len(sys.argv) > 3 else {}))
