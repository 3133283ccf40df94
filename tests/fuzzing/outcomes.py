"""How a call ended: an answer, an error of ours, or one of the ways in which none may end."""

import linecache
import math
import re
import resource
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inference.runtime.generators import capture_generators

ROOT = Path(__file__).parents[2]
OURS = tuple(str(ROOT / package) + "/" for package in ("videos", "pyro_models", "guides", "inference"))
SECONDS = 15.0
MEMORY = 4 << 30  # bytes that a call may add
WORDS = re.compile(r"expected|found|got|before|unknown|no such|needs", re.IGNORECASE)

ANSWER, CLEAR, OBSCURE, SILENT, NAN, HANG, GENERATORS = ANY = (
    "answer",
    "clear",
    "obscure",
    "silent",
    "nan",
    "hang",
    "generators",
)
GOOD = ANSWER, CLEAR
STATE_NAN = "by_frame", "pareto_k", "standard_error"  # fields of records that say where they have no number


@dataclass(frozen=True)
class Outcome:
    """How a call ended.

    Attributes:
        kind: one of the kinds above.
        words: of the error, or what is wrong.
    """

    kind: str
    words: str = ""


class TooLongError(BaseException):
    """A call did not end in time; no handler of ordinary errors catches it."""


def run(call: Callable[[], Any], *, refused: bool, draws: bool, seconds: float = SECONDS) -> Outcome:
    """Make a call and say how it ended.

    Args:
        call: makes it.
        refused: whether an answer would be wrong, since an argument is.
        draws: whether it may draw from the global generators.
        seconds: time limit.
    """
    before = capture_generators()
    try:
        with limited(seconds):
            answer = call()
            spoiled = any(map(_is_nan, numbers(answer)))
    except TooLongError:
        return Outcome(HANG, f"more than {seconds:g} s")
    except Exception as error:
        kind = CLEAR if is_clear(error) else OBSCURE
        place = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome(kind, f"{type(error).__name__}: {str(error)[:200]} ({Path(place.filename).name}:{place.lineno})")
    if not draws and not _same(before, capture_generators()):
        return Outcome(GENERATORS, "a global generator has moved")
    if refused:
        return Outcome(SILENT, f"answered with {type(answer).__name__}")
    return Outcome(NAN, f"NaN in {type(answer).__name__}") if spoiled else Outcome(ANSWER)


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Limits on this process's own time, and on memory, so that the system refuses a huge tensor."""

    def stop(*_: Any) -> None:
        raise TooLongError

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGPROF, stop)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, hard))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def is_clear(error: BaseException) -> bool:
    """Whether an error is ours: a `ValueError` or `TypeError` raised by a statement of our packages, with our words.

    Pyro raises errors inside a trace once more, with the shapes of its sites: then the first one counts.
    """
    place = traceback.extract_tb(error.__traceback__)[-1]
    if "/pyro/" in place.filename and error.__cause__ is not None:
        return is_clear(error.__cause__)
    ours = place.filename.startswith(OURS) and place.lineno is not None
    stated = ours and linecache.getline(place.filename, place.lineno).lstrip().startswith("raise")
    known = isinstance(error, ValueError | TypeError | ArithmeticError | FileNotFoundError | NotImplementedError)
    return bool(stated and known and WORDS.search(str(error)))


def numbers(answer: Any, depth: int = 4) -> Iterator[Any]:
    """The tensors, arrays and floats of an answer."""
    if isinstance(answer, Tensor | np.ndarray | float):
        yield answer
    elif depth and isinstance(answer, Mapping):
        for value in answer.values():
            yield from numbers(value, depth - 1)
    elif depth and isinstance(answer, tuple | list):
        for value in answer:
            yield from numbers(value, depth - 1)
    elif depth and is_dataclass(answer) and not isinstance(answer, type):
        for field in fields(answer):
            if field.name not in STATE_NAN:
                yield from numbers(getattr(answer, field.name), depth - 1)


def _is_nan(value: Any) -> bool:
    if isinstance(value, float):
        return math.isnan(value)
    if isinstance(value, np.ndarray):
        return bool(np.issubdtype(value.dtype, np.floating) and np.isnan(value).any())
    return bool(value.is_floating_point() and value.device.type != "meta" and value.isnan().any())


def _same(before: dict[str, Any], after: dict[str, Any]) -> bool:
    same = torch.equal(before["torch"], after["torch"]) and before["python"] == after["python"]
    return same and torch.equal(before["numpy"][1], after["numpy"][1]) and before["numpy"][2:] == after["numpy"][2:]
