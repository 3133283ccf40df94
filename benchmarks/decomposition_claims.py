"""Claims of Zablotskaia et al. (2020) on taking videos apart, tested on the rows of `decompositions.py`.

A margin is positive where the claim holds. There is one for each seed; where two models are compared, one for each seed
that both have.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean, stdev
from typing import Any, NamedTuple

from judged import Judged

Row = Mapping[str, Any]

SLOTS, IODINE, SEQUENTIAL, NEM = (f"binary: {model}" for model in ("spatio-temporal", "IODINE", "SEQ-IODINE", "R-NEM"))
COLOUR, IODINE_COLOUR = "colour: spatio-temporal", "colour: IODINE"
MORE, MORE_COLOURS = "more balls", "more balls and colours"
BASE, TRIANGLE = "full grid, only the guide remembers", "triangle, prior and decoder remember"
ENTROPY = "and entropy"
OURS = "the model's memory"
PAPERS_DECODES = {SLOTS: 90, IODINE: 240}  # of as many frames as follow
COUNTED = "40"
SLACK = 0.01  # change of an index that counts as none


class Claim(NamedTuple):
    """A claim and its margins, one for each seed, in each case; it holds if it does in all cases."""

    text: str
    cases: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Rows:
    """Rows of a plan by name of the setting, then by seed."""

    settings: Mapping[str, Mapping[int, Row]]

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "Rows":
        """In the order in which they come."""
        found: dict[str, dict[int, Row]] = {}
        for row in rows:
            found.setdefault(row["setting"], {})[row["seed"]] = row
        return cls(found)

    @property
    def lengths(self) -> list[str]:
        """Numbers of frames for which there are scores.

        Raises:
            SystemExit: if they differ between rows.
        """
        each = {tuple(row["lengths"]): row["run"] for found in self.settings.values() for row in found.values()}
        if len(each) != 1:
            runs = "; ".join(f"{', '.join(lengths)} frames in {run}" for lengths, run in each.items())
            raise SystemExit(f"rows: expected scores of the same numbers of frames, got {runs}; use two folders")
        return list(next(iter(each)))

    def of_setting(self, name: str) -> list[Row]:
        """The rows of a setting, by seed."""
        return list(self.settings.get(name, {}).values())

    def each(self, name: str, value: Callable[[Row], float]) -> list[float]:
        """A number of every row of a setting."""
        return [value(row) for row in self.of_setting(name)]

    def above(self, first: str, second: str, value: Callable[[Row], float]) -> list[float]:
        """By how much the first setting's number exceeds the second's, for each seed that both have."""
        one, other = (self.settings.get(name, {}) for name in (first, second))
        return [value(one[seed]) - value(other[seed]) for seed in one if seed in other]


def ari(length: str) -> Callable[[Row], float]:
    """The adjusted Rand index of so many frames."""
    return lambda row: row["lengths"][length]["ari"]["mean"]


def foreground(length: str) -> Callable[[Row], float]:
    """That of the foreground."""
    return lambda row: row["lengths"][length]["foreground_ari"]["mean"]


def error(length: str) -> Callable[[Row], float]:
    """The squared error of so many frames."""
    return lambda row: row["lengths"][length]["squared_error"]["mean"]


def kept(length: str) -> Callable[[Row], float]:
    """The share of frames in which objects keep their slots."""
    return lambda row: row["lengths"][length]["kept"]["mean"]


def harder(videos: str, score: str) -> Callable[[Row], float]:
    """A score of videos with more balls."""
    return lambda row: row["harder"][videos]["scores"][score]["mean"]


def ahead(horizon: int) -> Callable[[Row], float]:
    """The squared error so many frames after the observed ones; NaN if so many are not predicted."""
    return lambda row: row["predictions"][horizon - 1]["mean"] if horizon <= len(row["predictions"]) else math.nan


def judged(claims: Iterable[Claim]) -> list[Judged]:
    """Those whose rows exist, each with the case closest to failing and the number of seeds that hold."""
    found = []
    for claim in claims:
        known = all(margins and not any(map(math.isnan, margins)) for margins in claim.cases.values())
        if not claim.cases or not known:
            continue
        case, margins = min(claim.cases.items(), key=lambda item: mean(item[1]))
        middle = mean(margins)
        spread = f" ± {stdev(margins) / len(margins) ** 0.5:.5f}" if len(margins) > 1 else ""
        holding = f"{sum(margin >= 0 for margin in margins)} of {len(margins)}"
        found.append(Judged(claim.text, middle >= 0, f"{middle:+.5f}{spread}", holding, case))
    return found


def model_claims(rows: Rows) -> Iterator[Claim]:
    """Tables 1 and 2."""
    short, *others = rows.lengths
    long = others[-1]
    yield from _accuracy(rows, short)
    yield Claim(
        f"2 ARI and F-ARI do not fall from {short} frames on (slack {SLACK})",
        {
            f"{name}, {length}": [change + SLACK for change in _growth(rows, SLOTS, score(short), score(length))]
            for name, score in (("ARI", ari), ("F-ARI", foreground))
            for length in others
        },
    )
    lost = _growth(rows, SEQUENTIAL, foreground(long), foreground(short))
    yield Claim(f"2 SEQ-IODINE's F-ARI falls by more than 0.3 up to {long} frames", {"": [one - 0.3 for one in lost]})
    yield from _order(rows, short)
    steps = list(pairwise(rows.lengths))
    yield Claim(
        "4 R-NEM's ARI and squared error improve with every length",
        {f"ARI, {after}": _growth(rows, NEM, ari(before), ari(after)) for before, after in steps}
        | {f"error, {after}": _growth(rows, NEM, error(after), error(before)) for before, after in steps},
    )
    gained = _growth(rows, SLOTS, ari(short), ari(long))
    yield Claim(
        f"4 but the first frames of spatio-temporal are good: its ARI gains at most 0.02 from {short} to {long} frames",
        {"": [0.02 - one for one in gained]},
    )
    yield Claim("5 colour reduces the squared error", {"": rows.above(SLOTS, COLOUR, error(short))})
    yield Claim("5 and changes ARI by less than 0.02", {"": _alike(rows.above(COLOUR, SLOTS, ari(short)), 0.02)})
    changed = rows.above(IODINE_COLOUR, IODINE, ari(short))
    yield Claim("5 but that of IODINE by more than 0.5", {"": [abs(one) - 0.5 for one in changed]})
    yield from _generalisation(rows, short)
    yield Claim(
        f"11 objects keep their slots more often than IODINE's, in {long} frames",
        {"binary": rows.above(SLOTS, IODINE, kept(long)), "colour": rows.above(COLOUR, IODINE_COLOUR, kept(long))},
    )
    if COUNTED in rows.lengths:
        yield Claim(
            f"12 {COUNTED} frames take {PAPERS_DECODES[SLOTS]} decodes, IODINE {PAPERS_DECODES[IODINE]}",
            {
                name: rows.each(name, lambda row, number=number: -abs(float(row["decodes"][COUNTED] - number)))
                for name, number in PAPERS_DECODES.items()
            },
        )


def ablation_claims(rows: Rows) -> Iterator[Claim]:
    """Table 3, whose scores are those of 20 frames, our second length."""
    length = rows.lengths[1]
    raised = rows.above(ENTROPY, TRIANGLE, ari(length))
    yield Claim("6 entropy raises ARI by more than 0.3", {"": [one - 0.3 for one in raised]})
    changed = rows.above(ENTROPY, TRIANGLE, foreground(length))
    yield Claim(f"6 and changes F-ARI by at most {SLACK}", {"": _alike(changed, SLACK)})
    yield Claim(
        "7 on the full grid, where only the guide remembers, F-ARI stays below 0.9",
        {"": [0.9 - one for one in rows.each(BASE, foreground(length))]},
    )
    yield Claim(
        "7 the triangle, and a prior and a decoder that remember, lift it above 0.99",
        {"": [one - 0.99 for one in rows.each(TRIANGLE, foreground(length))]},
    )


def prediction_claims(rows: Rows) -> Iterator[Claim]:
    """Figure 5, binary balls."""
    yield Claim(
        "10 predictions three and five frames ahead are better than R-NEM's",
        {f"{horizon}": rows.above("R-NEM", OURS, ahead(horizon)) for horizon in (3, 5)},
    )
    yield Claim("10 but not those ten frames ahead", {"": rows.above(OURS, "R-NEM", ahead(10))})


def _accuracy(rows: Rows, short: str) -> Iterator[Claim]:
    limits = ((foreground, "F-ARI is at least 0.99", 0.99), (ari, "ARI is at least 0.6", 0.6))
    for score, text, limit in limits:
        yield Claim(f"1 {text} in {short} frames", {"": [one - limit for one in rows.each(SLOTS, score(short))]})
    errors = rows.each(SLOTS, error(short))
    yield Claim(f"1 the squared error is at most 0.001 in {short} frames", {"": [0.001 - one for one in errors]})


def _order(rows: Rows, short: str) -> Iterator[Claim]:
    yield Claim(
        f"3 ARI in {short} frames: spatio-temporal > R-NEM > IODINE and SEQ-IODINE",
        {
            "spatio-temporal, R-NEM": rows.above(SLOTS, NEM, ari(short)),
            "R-NEM, IODINE": rows.above(NEM, IODINE, ari(short)),
            "R-NEM, SEQ-IODINE": rows.above(NEM, SEQUENTIAL, ari(short)),
        },
    )
    yield Claim(
        "3 those of IODINE and SEQ-IODINE differ by at most 0.05",
        {"": _alike(rows.above(IODINE, SEQUENTIAL, ari(short)), 0.05)},
    )
    yield Claim(
        f"3 F-ARI in {short} frames: IODINE > SEQ-IODINE > R-NEM",
        {
            "IODINE, SEQ-IODINE": rows.above(IODINE, SEQUENTIAL, foreground(short)),
            "SEQ-IODINE, R-NEM": rows.above(SEQUENTIAL, NEM, foreground(short)),
        },
    )
    yield Claim(
        f"3 those of spatio-temporal and IODINE differ by at most {SLACK}",
        {"": _alike(rows.above(SLOTS, IODINE, foreground(short)), SLACK)},
    )


def _generalisation(rows: Rows, short: str) -> Iterator[Claim]:
    found = rows.each(SLOTS, harder(MORE, "foreground_ari"))
    yield Claim("8 with more balls and slots F-ARI is above 0.99", {"": [one - 0.99 for one in found]})
    yield Claim("8 while ARI drops", {"": _growth(rows, SLOTS, harder(MORE, "ari"), ari(short))})
    errors = (harder(videos, "squared_error") for videos in (MORE, MORE_COLOURS))
    yield Claim("8 more colours raise the squared error", {"": _growth(rows, COLOUR, *errors)})
    indices = (harder(videos, "foreground_ari") for videos in (MORE, MORE_COLOURS))
    lowered = _growth(rows, COLOUR, *indices)
    yield Claim(f"8 and lower F-ARI by less than {SLACK}", {"": [SLACK + one for one in lowered]})


def _growth(rows: Rows, name: str, before: Callable[[Row], float], after: Callable[[Row], float]) -> list[float]:
    """By how much a second number of a row exceeds a first."""
    return rows.each(name, lambda row: after(row) - before(row))


def _alike(differences: Sequence[float], most: float) -> list[float]:
    return [most - abs(one) for one in differences]
