"""Sections of RESULTS.md on VTSSI: table 1 of Akhundov et al. (2019) with its claims, and what each part is worth."""

import json
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from horizon_claims import horizon_claims
from horizon_pictures import draw
from judged import Judged, by_smallest, claims_table
from records import EVIDENCE, Run, evidence_cells, origin, table

from inference.scores.horizons import ErrorCurve, Horizons

LABELS = {"air": "AIR", "find": "FIND", "rect-find": "RECT/FIND", "find-mot": "FIND/MOT", "vtssi": "VTSSI"}
FOUND = ("find", "rect-find", "find-mot", "vtssi")  # variants with a finder
FLAVOURS = ("linear, overlap no", "linear, overlap yes", "elliptic, overlap no", "elliptic, overlap yes")
PUBLISHED = (  # percent counted, and errors of inference and prediction in pixels of 50
    ((97.63, 5.953, None), (99.98, 1.019, None), (99.99, 1.131, None), (99.97, 1.291, 3.491), (99.99, 1.035, 3.442)),
    ((97.22, 5.620, None), (91.53, 2.739, None), (99.70, 1.225, None), (92.67, 3.002, 5.197), (99.50, 1.109, 3.544)),
    ((97.33, 5.160, None), (99.98, 0.973, None), (99.98, 1.095, None), (99.99, 0.846, 2.836), (99.96, 1.028, 2.583)),
    ((96.72, 4.833, None), (90.95, 2.130, None), (99.48, 1.194, None), (89.55, 2.282, 4.365), (99.54, 1.076, 2.676)),
)
RIGHT = 0.99  # share of rightly counted videos: how many steps it takes is reported
FRAMES = (10, 20, 50, 100)  # whose errors are given
FAILED = 0.9  # share of rightly counted videos below which a run failed


class Entry(NamedTuple):
    """Scores of a setting, averaged over seeds: percent counted, errors in percent of the frame's width."""

    counted: float
    inferred: float
    predicted: float


def variants_section(path: Path) -> list[str]:
    """Table 1, the paper's numbers below ours, and its claims."""
    if not path.is_file():
        return []
    record = json.loads(path.read_text())
    groups = _by_setting(record["rows"])
    lines, rows = [], []
    for flavour, published in zip(FLAVOURS, PUBLISHED, strict=True):
        for variant, paper in zip(LABELS, published, strict=True):
            runs = groups.get(f"{flavour}: {variant}")
            if runs is None:
                continue
            moving = paper[2] is not None
            rows.append(
                (
                    f"{flavour}: {LABELS[variant]}",
                    _with_spread(_percent(runs, "counted")),
                    _with_spread(_percent(runs, "inferred")),
                    _with_spread(_percent(runs, "predicted")) if variant != "air" else "",
                    f"{paper[0]:.2f}",
                    f"{2 * paper[1]:.2f}",
                    f"{2 * paper[2]:.2f}" if moving else "",
                    ", ".join(str(run["seed"]) for run in runs),
                )
            )
    some = record["rows"][0]["errors"]
    lines += [
        "Percent of videos with the right number of digits; distance of tracks from the middles of digits, in percent",
        f"of the frame's width, with all frames seen (inferred) and after {some['prefix']} of {some['num_frames']}",
        "frames (predicted); mean and standard error over seeds. AIR counts by frame.",
        "Variants without a motion predict that digits stay.",
        "",
    ]
    header = ["", "counted", "inferred", "predicted", "paper: counted", "inferred", "predicted", "seeds"]
    lines += table(header, rows)
    lines += claims_table(
        variant_claims(record), "Claims of the paper; the margin is that of the case closest to failing."
    )
    return [*lines, *_origins(record)]


def parts_section(path: Path, steps: Path) -> list[str]:
    """What each part is worth, by itself in the paper's guide.

    Args:
        path: record of scores.
        steps: record of milliseconds; need not be there.
    """
    if not path.is_file():
        return []
    record = json.loads(path.read_text())
    times = json.loads(steps.read_text())["milliseconds_of_parts"] if steps.is_file() else {}
    groups = _by_setting(record["rows"])
    rows = []
    for name, runs in groups.items():
        steps = [_steps_to(run["curve"], RIGHT) for run in runs]
        known = [number for number in steps if number is not None]
        text = f"{mean(known):.0f}" if len(known) == len(steps) else f"{len(known)} of {len(steps)} runs"
        failed = [str(run["seed"]) for run in runs if run["counted"] < FAILED]
        rows.append(
            (
                name,
                *(_with_spread(_percent(runs, kind)) for kind in Entry._fields),
                text,
                ", ".join(failed) or "none",
                ", ".join(str(run["seed"]) for run in runs),
                f"{times[name]['median']:.0f}" if name in times else "",
            )
        )
    header = ["", "counted", "inferred", "predicted", f"steps to {RIGHT:.0%} counted", "failed", "seeds", "ms a step"]
    return [
        "One part of the paper's guide exchanged at a time, on straight paths with overlap; units as above. A run",
        f"failed if it counts fewer than {FAILED:.0%} of videos; its seed is named. Milliseconds are of an eager step,",
        "one thread.",
        "",
        *table(header, rows),
        *_origins(record),
    ]


def horizons_section(paths: Sequence[Path], document: Path) -> list[str]:
    """Figures 5 to 7: errors by frame, far beyond training, and the paper's claims on them."""
    lines = []
    for path in paths:
        record = json.loads(path.read_text())
        rows = []
        for row in record["rows"]:
            errors, cells = Horizons().read(row["errors"]), []
            for curve in (errors.tracked_curve, errors.predicted_curve):
                cells += [_error(curve, frame, record["prefix"]) for frame in FRAMES]
            rows.append((f"{row['label']}: {row['run']}", f"{100 * errors.counting:.1f}", f"{row['frames']}", *cells))
        header = ["", "counted", "frames in training"]
        header += [f"{kind}, frame {frame}" for kind in ("tracked", "predicted") for frame in FRAMES]
        lines += [
            "Percent of videos counted correctly, and distances in pixels, with all frames seen and after",
            f"{record['prefix']} frames, on `{record['world']}`; – where no track was left in any video.",
            "",
        ]
        for picture in draw(record["rows"], path):
            lines += [f"![Errors by frame]({os.path.relpath(picture, document.parent)})", ""]
        explained = "Claims of the paper; the margin, in percent of the width, is that of the frame closest to failing."
        lines += [*table(header, rows), *claims_table(horizon_claims(record), explained)]
        lines += [origin(record["provenance"]), ""]
    return lines


def _error(curve: ErrorCurve | None, frame: int, prefix: int) -> str:
    """Mean and standard error in a frame after the prefix, counted from 1."""
    if curve is None or not prefix < frame <= len(curve.means):
        return ""
    mean, error = curve.means[frame - 1], curve.standard_errors[frame - 1]
    return "–" if math.isnan(mean) else f"{mean:.2f} ± {error:.2f}"


def overlaps_section(path: Path, document: Path) -> list[str]:
    """Figures 3 and 4: digits that overlap in the first frames."""
    if not path.is_file():
        return []
    record = json.loads(path.read_text())
    ways = ("from the first frame", "from the overlap")
    rows = [
        (
            f"{row['label']}: {row['run']}",
            *(f"{100 * row[way]:.1f}" for way in ways),
            *(f"{row[f'error {way}']:.2f}" for way in ways),
        )
        for row in record["rows"]
    ]
    lines = [
        f"Percent of {record['rows'][0]['videos']} videos counted correctly, whose two digits are apart at first and",
        f"overlap in {record['overlapping']} frames in a row later, when the video starts before that and when it",
        "starts with that; and distances of tracks in pixels, where the count is right.",
        "",
    ]
    for way in ways:
        picture = path.with_name(f"{path.stem}-{way.split()[-1]}.png")
        if picture.is_file():
            lines += [f"![Tracks {way}]({os.path.relpath(picture, document.parent)})", ""]
    header = ["", *(f"counted {way}" for way in ways), *(f"error {way}" for way in ways)]
    return [*lines, *table(header, rows), origin(record["provenance"]), ""]


def variants_evidence_section(runs: Sequence[Run]) -> list[str]:
    """The five variants as models of the same videos."""
    rows = []
    for run in runs:
        bounds = run.evaluation.bounds
        if bounds is None or run.recipe.videos.world != "linear-mnist" or run.score("horizons") is None:
            continue
        frames = run.evaluation.frames
        elbo = f"{bounds.elbo / frames:.2f} ± {bounds.elbo_error / frames:.2f}"
        width = "" if bounds.width is None else f"{bounds.width / frames:.2f}"
        rows.append((f"{run.recipe.label}: {run.folder.path.name}", elbo, *evidence_cells([bounds], per=frames), width))
    if not rows:
        return []
    explained = [
        "Nats per frame, straight paths with overlap. Standard errors are over the same videos in all rows; those of",
        "differences are given by `kinema compare`.",
        "",
    ]
    return [*explained, *table(["", "ELBO", *EVIDENCE, "bracket"], rows)]


def vtssi_step_section(path: Path) -> list[str]:
    """Milliseconds of a step."""
    if not path.is_file():
        return []
    record = json.loads(path.read_text())
    rows = [(name, f"{row['median']:.0f}", f"{row['minimum']:.0f}") for name, row in record["milliseconds"].items()]
    parts = ", ".join(f"{name} {value:.0f} ms" for name, value in record["parts"].items())
    return [
        *table(["a step", "CPU ms", "minimum"], rows),
        f"One eager step of the small videos, by the profiler: {parts}.",
        "",
        origin(record["provenance"]),
        "",
    ]


def _entries(record: dict[str, Any]) -> dict[tuple[str, str], Entry]:
    """Scores by flavour and variant, of those that were trained."""
    groups = _by_setting(record["rows"])
    return {
        (flavour, variant): Entry(*(mean(_percent(groups[setting], kind)) for kind in Entry._fields))
        for flavour in FLAVOURS
        for variant in LABELS
        if (setting := f"{flavour}: {variant}") in groups
    }


def variant_claims(record: dict[str, Any]) -> list[Judged]:
    """Claims 1 to 5, if all variants were trained in all flavours; seeds are those that all of them have."""
    entries = _entries(record)
    if len(entries) < len(FLAVOURS) * len(LABELS):
        return []
    pairs = (("linear, overlap no", "linear, overlap yes"), ("elliptic, overlap no", "elliptic, overlap yes"))
    clean, mixed = ([pair[index] for pair in pairs] for index in (0, 1))

    def gap(flavours: tuple[str, str], variant: str, kind: str) -> float:
        before, after = (getattr(entries[flavour, variant], kind) for flavour in flavours)
        return after - before

    claims: list[tuple[str, Iterable[float]]] = [
        (
            "1 with a clean first frame, finders count at least 99.9 %",
            (entries[flavour, variant].counted - 99.9 for flavour in clean for variant in FOUND),
        ),
        (
            "1 and infer within 2.6 % of the width",
            (2.6 - entries[flavour, variant].inferred for flavour in clean for variant in FOUND),
        ),
        (
            "1 AIR's inference error is more than four times theirs",
            (
                entries[flavour, "air"].inferred - 4 * entries[flavour, variant].inferred
                for flavour in clean
                for variant in FOUND
            ),
        ),
        (
            "2 overlap costs variants without RECT at least 7 points of counting",
            (-gap(pair, variant, "counted") - 7 for pair in pairs for variant in ("find", "find-mot")),
        ),
        (
            "2 and doubles their inference error",
            (
                entries[after, variant].inferred - 2 * entries[before, variant].inferred
                for before, after in pairs
                for variant in ("find", "find-mot")
            ),
        ),
        (
            "2 variants with RECT count at least 99.4 %",
            (entries[flavour, variant].counted - 99.4 for flavour in mixed for variant in ("rect-find", "vtssi")),
        ),
        (
            "2 and lose at most 0.2 % of the width",
            (0.2 - gap(pair, variant, "inferred") for pair in pairs for variant in ("rect-find", "vtssi")),
        ),
        (
            "3 RECT/FIND infers worse than FIND on clean videos",
            (entries[flavour, "rect-find"].inferred - entries[flavour, "find"].inferred for flavour in clean),
        ),
        (
            "4 VTSSI infers better than RECT/FIND",
            (entries[flavour, "rect-find"].inferred - entries[flavour, "vtssi"].inferred for flavour in FLAVOURS),
        ),
        (
            "5 ellipses are predicted better than lines",
            (
                entries[linear, variant].predicted - entries[elliptic, variant].predicted
                for linear, elliptic in (clean, mixed)
                for variant in ("find-mot", "vtssi")
            ),
        ),
        (
            "5 overlap costs VTSSI's predictions at most 0.22 % of the width",
            (0.22 - gap(pair, "vtssi", "predicted") for pair in pairs),
        ),
        (
            "5 and those of FIND/MOT at least 3 %",
            (gap(pair, "find-mot", "predicted") - 3 for pair in pairs),
        ),
        (
            "5 VTSSI predicts better than FIND/MOT",
            (entries[flavour, "find-mot"].predicted - entries[flavour, "vtssi"].predicted for flavour in FLAVOURS),
        ),
    ]
    fewest = min(map(len, _by_setting(record["rows"]).values()))
    return [by_smallest(claim, margins, seeds=f"{fewest}") for claim, margins in claims]


def _by_setting(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["setting"], []).append(row)
    return groups


def _percent(runs: Sequence[dict[str, Any]], kind: str) -> list[float]:
    """One of the scores of each run."""
    if kind == "counted":
        return [100 * run["counted"] for run in runs]
    name = {"inferred": "inference", "predicted": "prediction"}[kind]
    return [100 * run["errors"][name]["mean"] / run["errors"]["frame_width"] for run in runs]


def _with_spread(values: Sequence[float]) -> str:
    """Mean and standard error, over runs that found something."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return ""
    error = f" ± {stdev(known) / len(known) ** 0.5:.2f}" if len(known) > 1 else ""
    return f"{mean(known):.2f}{error}"


def _steps_to(curve: Sequence[dict[str, float]], share: float) -> float | None:
    return next((point["step"] for point in curve if point["counting"] >= share), None)


def _origins(record: dict[str, Any]) -> list[str]:
    return [*dict.fromkeys(origin(row["provenance"]) for row in record["rows"]), ""]
