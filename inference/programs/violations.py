"""Values outside the support of their distribution, and distributions with impossible parameters, named by site."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pyro
from pyro.poutine.messenger import Messenger

from guides.check.support import OTHER_LIKELIHOODS, Violation, parameter_violations, value_violation
from inference.runtime.generators import restore_generators

# the start of torch's message; Pyro prepends the site, if known
_OF_TORCH = re.compile(r"Expected (?:value argument|parameter (?P<parameter>\w+)) \(")
_SITE = re.compile(r"at site '([^']*)'")


class SupportError(ValueError):
    """A value is outside the support of its distribution, or a parameter of a distribution outside its range.

    Attributes:
        site: name of the sample site.
        finite: whether the value is finite; if not, the cause is earlier.
    """

    def __init__(self, message: str, site: str, finite: bool) -> None:
        super().__init__(message)
        self.site = site
        self.finite = finite


class Violations(Messenger):
    """Record what each site violates, in the order in which sites run.

    Attributes:
        found: an error for each value or parameter, not raised.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[SupportError] = []

    def _pyro_post_sample(self, msg: Any) -> None:
        if type(msg["fn"]).__name__ not in ("_Subsample", "Unit") and not msg["infer"].get("_deterministic"):
            self.found += violations_of(msg)


def violations_of(msg: Any) -> Iterator[SupportError]:
    """Violations of a site: what was expected, what came, and what to do.

    Args:
        msg: the message of its sample statement, or its record in a trace.
    """

    def error(violation: Violation, mend: str) -> SupportError:
        text = f"site {msg['name']!r}: expected {violation.expected}, got {violation.got}; {mend}"
        return SupportError(text, msg["name"], violation.finite)

    for violation in parameter_violations(msg["fn"]):
        mend = "constrain what makes it, by softplus or exp say, and look for NaN in what goes in"
        yield error(violation, mend)
    violation, mend = value_violation(msg), OTHER_LIKELIHOODS
    if not msg["is_observed"]:
        mend = "restrict the guide's distribution of it to this support; check_guide lists all mismatches"
    elif violation is None:
        violation = value_violation(msg, masked=True)
        mend = "these entries are masked: put values from the support there, torch.where(observed, values, 0) say"
    if violation is not None:
        yield error(violation, mend)


def explain(error: ValueError, again: Callable[[], Any], generators: dict[str, Any]) -> None:
    """Raise a `SupportError` in place of torch's error about an invalid value; do nothing for other errors.

    Args:
        error: error of a run under validation.
        again: repeats the run.
        generators: the random states at its start, to repeat the same draws.

    Raises:
        SupportError: names the site; from the error.
    """
    said = _OF_TORCH.search(str(error))
    if said is None:
        return
    restore_generators(generators)
    with pyro.validation_enabled(False), Violations() as violations:
        try:
            again()
        except (ArithmeticError, RuntimeError, ValueError):
            pass  # the violating site ran before this
    site = _SITE.search(str(error))
    for found in violations.found:
        named = site is None or found.site == site[1]
        kind = said["parameter"] is None or f"the parameter {said['parameter']!r}" in str(found)
        if named and kind:
            raise found from error


def at_step(error: SupportError, step: int, ending: str) -> SupportError:
    """The same error with the step at which it occurred, and how to continue."""
    return SupportError(f"step {step}: {error}; {ending}", error.site, error.finite)
