"""Sections of RESULTS.md on `decompositions.py`: tables 1 to 3 and figure 5 of Zablotskaia et al. (2020), claims."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from statistics import mean, stdev

from decomposition_claims import (
    MORE,
    MORE_COLOURS,
    Row,
    Rows,
    ablation_claims,
    ahead,
    ari,
    error,
    foreground,
    harder,
    judged,
    kept,
    model_claims,
    prediction_claims,
)
from judged import Judged, claims_table
from records import origin, table

HORIZONS = (1, 3, 5, 7, 10, 20)  # frames after the observed ones
PUBLISHED_LENGTHS = ["10", "20", "30", "40"]
PUBLISHED = {  # of 64 x 64 pixels with four balls, in so many frames: ARI, F-ARI, squared error
    "binary: spatio-temporal": (
        (0.7169, 0.7263, 0.7286, 0.7294),
        (0.9999, 0.9999, 0.9999, 0.9999),
        (0.0004, 0.0004, 0.0004, 0.0004),
    ),
    "binary: IODINE": ((0.0318,) * 4, (0.9986,) * 4, (0.0018,) * 4),
    "binary: SEQ-IODINE": (
        (0.0230, 0.0223, 0.0021, -0.0201),
        (0.8645, 0.6028, 0.5444, 0.4063),
        (0.0385, 0.0782, 0.0846, 0.0968),
    ),
    "binary: R-NEM": (
        (0.5031, 0.6199, 0.6632, 0.6833),
        (0.6259, 0.7325, 0.7708, 0.7899),
        (0.0252, 0.0138, 0.0096, 0.0076),
    ),
    "colour: spatio-temporal": (
        (0.7275, 0.7291, 0.7298, 0.7301),
        (1.0, 1.0, 0.9999, 0.9999),
        (0.0002, 0.0002, 0.0002, 0.0002),
    ),
    "colour: IODINE": ((0.5841,) * 4, (0.9752,) * 4, (0.0014,) * 4),
    "colour: SEQ-IODINE": (
        (0.3789, 0.3743, 0.3225, 0.2654),
        (0.7517, 0.8159, 0.7537, 0.6734),
        (0.0160, 0.0164, 0.0217, 0.0270),
    ),
}
PUBLISHED_HARDER = {  # table 2, ten frames: six to eight balls
    ("binary: spatio-temporal", MORE): (0.4453, 0.9999, 0.0008),
    ("binary: IODINE", MORE): (0.0271, 0.9969, 0.0040),
    ("binary: SEQ-IODINE", MORE): (0.0263, 0.8874, 0.0521),
    ("binary: R-NEM", MORE): (0.4484, 0.6377, 0.0328),
    ("colour: spatio-temporal", MORE): (0.4275, 0.9998, 0.0004),
    ("colour: IODINE", MORE): (0.4136, 0.8211, 0.0138),
    ("colour: SEQ-IODINE", MORE): (0.2068, 0.5854, 0.0338),
    ("colour: spatio-temporal", MORE_COLOURS): (0.4317, 0.9900, 0.0114),
    ("colour: IODINE", MORE_COLOURS): (0.2823, 0.7197, 0.0281),
    ("colour: SEQ-IODINE", MORE_COLOURS): (0.1571, 0.5231, 0.0433),
}
PUBLISHED_PARTS = {  # table 3
    "full grid, only the guide remembers": (0.0126, 0.7765, 0.0340),
    "triangle, prior and decoder remember": (0.2994, 0.9999, 0.0010),
    "and entropy": (0.7263, 0.9999, 0.0004),
}
DIGITS = (3, 4, 5)  # of ARI, F-ARI, squared error
EXPLAINED = (
    "Claims of the paper, with the margin of the case closest to failing (mean and standard error over seeds), and",
    "the number of seeds that hold by themselves.",
)
SCORES = (("ARI", ari), ("F-ARI", foreground), ("error", error))


def all_claims(records: Path) -> list[tuple[str, list[Judged]]]:
    """Claims by the plan whose record they are judged by."""
    plans = (("models", model_claims), ("ablation", ablation_claims), ("predictions", prediction_claims))
    paths = ((records / f"decompositions-{plan}.json", claims) for plan, claims in plans)
    return [("small videos of balls", judged(claims(_read(path)[0]))) for path, claims in paths if path.is_file()]


def models_section(path: Path) -> list[str]:
    """Tables 1 and 2."""
    if not path.is_file():
        return []
    rows, written = _read(path)
    some = written[0]
    low, high = some["balls"]
    balls = f"{low}" if low == high else f"{low} to {high}"
    lines = [
        f"{some['num_test']} videos of {balls} balls, from the first frame on: adjusted Rand index of frames, with the",
        "background (ARI) and of the foreground (F-ARI), and squared error of pixels; slots kept: how often an object",
        f"that is visible in two frames in a row has the same slot to itself in both, in {rows.lengths[-1]} frames.",
        "Mean and standard error over seeds. The paper's numbers, of larger videos and networks, are below ours.",
        "",
    ]
    header = ["", *(f"{name}, {length}" for length in rows.lengths for name, _ in SCORES), "slots kept", "seeds"]
    cells = []
    for name in rows.settings:
        scores = [_cell(rows, name, score(length), digits) for length, score, digits in _scores(rows.lengths)]
        cells.append((name, *scores, _kept(rows, name), _seeds(rows, name)))
        numbers = zip(*PUBLISHED.get(name, ()), strict=True)
        paper = [f"{value:.4f}" for values in numbers for value in values]
        if paper and rows.lengths == PUBLISHED_LENGTHS:
            cells.append(("paper", *paper, "", ""))
    lines += [
        *table(header, cells),
        *_harder(rows),
        *_decodes(rows),
        *claims_table(judged(model_claims(rows)), *EXPLAINED),
    ]
    return [*lines, *_origins(written)]


def ablation_section(path: Path) -> list[str]:
    """Table 3, and one part after the other."""
    if not path.is_file():
        return []
    rows, written = _read(path)
    shown = (rows.lengths[1], rows.lengths[-1])
    header = ["", *(f"{name}, {length}" for length in shown for name, _ in SCORES)]
    header += ["slots kept", "predicted, 5", "seeds", "minutes", "paper: ARI", "F-ARI", "error"]
    cells = []
    for name in rows.settings:
        scores = [_cell(rows, name, score(length), digits) for length, score, digits in _scores(shown)]
        minutes = f"{mean(rows.each(name, lambda row: row['seconds'])) / 60:.0f}"
        paper = [f"{value:.4f}" for value in PUBLISHED_PARTS.get(name, ())] or [""] * 3
        ending = (_kept(rows, name), _predicted(rows, name, 5), _seeds(rows, name), minutes)
        cells.append((name, *scores, *ending, *paper))
    return [
        "Balls in black and white. The first three settings lead from IODINE whose guide has a memory to the paper's",
        "system, trained as ours; the paper's numbers are those of larger videos, in 20 frames. The others exchange",
        "one part of the recommended setting, and in the end all of them.",
        "",
        *table(header, cells),
        *claims_table(judged(ablation_claims(rows)), *EXPLAINED),
        *_origins(written),
    ]


def predictions_section(path: Path) -> list[str]:
    """Figure 5."""
    if not path.is_file():
        return []
    rows, written = _read(path)
    header = ["frames ahead", *(str(horizon) for horizon in HORIZONS), "seeds"]
    cells = [
        (name, *(_predicted(rows, name, horizon) for horizon in HORIZONS), _seeds(rows, name)) for name in rows.settings
    ]
    return [
        f"Squared error of pixels, balls in black and white, after {written[0]['observed']} observed frames.",
        "",
        *table(header, cells),
        *claims_table(judged(prediction_claims(rows)), *EXPLAINED),
        *_origins(written),
    ]


def _harder(rows: Rows) -> list[str]:
    """Table 2."""
    cells, about = [], {}
    for name in rows.settings:
        for videos, found in rows.of_setting(name)[0]["harder"].items():
            low, high = found["balls"]
            colours = f" in {found['colours']} colours" if videos == MORE_COLOURS else ""
            about[videos] = f"{videos}: {low} to {high} balls{colours}, {found['num_slots']} slots"
            scores = ("ari", "foreground_ari", "squared_error")
            ours = (
                _cell(rows, name, harder(videos, score), digits) for score, digits in zip(scores, DIGITS, strict=True)
            )
            paper = [f"{value:.4f}" for value in PUBLISHED_HARDER.get((name, videos), ())] or [""] * 3
            cells.append((f"{name}, {videos}", *ours, *paper))
    return [
        f"More balls and slots than in training, in {rows.lengths[0]} frames ({'; '.join(about.values())}).",
        "The paper has six to eight balls and nine slots. A ball's colour goes with its number: a further ball may",
        "have a new colour in either case.",
        "",
        *table(["", "ARI", "F-ARI", "error", "paper: ARI", "F-ARI", "error"], cells),
    ]


def _decodes(rows: Rows) -> list[str]:
    counted = {name: found[0]["decodes"] for name in rows.settings if "decodes" in (found := rows.of_setting(name))[0]}
    if not counted:
        return []
    cells = []
    for name, found in counted.items():
        (before, first), (after, last) = list(found.items())[-2:]
        slope = (last - first) / (int(after) - int(before))
        cells.append((name, *(str(number) for number in found.values()), f"{slope:g}"))
    header = ["decodes of a video", *(f"{length} frames" for length in next(iter(counted.values()))), "a further frame"]
    return [
        "Counted calls of the decoder in a step of training, with six refinements of the first frame, as in the paper.",
        "",
        *table(header, cells),
    ]


def _scores(lengths: Iterable[str]) -> Iterator[tuple[str, Callable[[str], Callable[[Row], float]], int]]:
    for length in lengths:
        for (_, score), digits in zip(SCORES, DIGITS, strict=True):
            yield length, score, digits


def _kept(rows: Rows, name: str) -> str:
    return _cell(rows, name, lambda row: 100 * kept(rows.lengths[-1])(row), 1) + " %"


def _predicted(rows: Rows, name: str, horizon: int) -> str:
    known = horizon <= len(rows.of_setting(name)[0]["predictions"])
    return _cell(rows, name, ahead(horizon), DIGITS[-1]) if known else ""


def _cell(rows: Rows, name: str, value: Callable[[Row], float], digits: int) -> str:
    """Mean and standard error over seeds."""
    values = rows.each(name, value)
    spread = f" ± {stdev(values) / len(values) ** 0.5:.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{spread}"


def _seeds(rows: Rows, name: str) -> str:
    return ", ".join(str(row["seed"]) for row in rows.of_setting(name))


def _read(path: Path) -> tuple[Rows, list[Row]]:
    written = json.loads(path.read_text())["rows"]
    return Rows.of(written), written


def _origins(written: Sequence[Row]) -> list[str]:
    return [*dict.fromkeys(origin(row["provenance"]) for row in written), ""]
