"""Claims 6 to 8 of Akhundov et al. (2019): trackers far beyond the videos that they were trained on."""

import math
from collections.abc import Sequence
from typing import Any

from judged import Judged, by_smallest

from inference.scores.horizons import ErrorCurve, HorizonErrors, Horizons

VTSSI, FINDER, DDPAE, SQAIR = "VTSSI", "VTSSI (finder)", "DDPAE", "SQAIR"
KEPT = "(kept)"  # SQAIR whose objects stay, as in the paper's worlds
STRAIGHT, SQAIRS_OWN = "LinearDigits", "MovingDigits"  # worlds
ALIKE = 2.0  # percent of the frame's width
EARLY = 10  # frames, up to which VTSSI is ahead of SQAIR in the paper
LOST = 20  # frames, after which SQAIR's tracks degrade there


def claims_of(record: dict[str, Any]) -> list[tuple[str, Sequence[float]]]:
    """Claims that a record of `horizons.py` can judge, with margins in percent of the width; negative ones fail."""
    rows = sorted(record["rows"], key=lambda row: KEPT in row["label"])  # the last of a kind is judged
    known = {_kind(row["label"]): row for row in rows}
    errors = {kind: Horizons().read(row["errors"]) for kind, row in known.items()}
    trained, prefix, claims = min(row["frames"] for row in record["rows"]), record["prefix"], []
    if {VTSSI, DDPAE} <= set(errors):
        ours, rival = (_Percent(errors[kind], "predicted_curve") for kind in (VTSSI, DDPAE))
        claims += [
            (
                f"6 as far as they were trained, VTSSI and DDPAE predict alike, within {ALIKE:g} % of the width",
                [ALIKE - abs(ours[frame] - rival[frame]) for frame in range(prefix + 1, trained + 1)],
            ),
            (
                "6 beyond that VTSSI predicts better than DDPAE",
                [rival[frame] - ours[frame] for frame in ours.frames(trained)],
            ),
        ]
    if {VTSSI, SQAIR} <= set(errors):
        ours, rival = (_Percent(errors[kind], "predicted_curve") for kind in (VTSSI, SQAIR))
        tracked = _Percent(errors[SQAIR], "tracked_curve")
        if record["world"].startswith(SQAIRS_OWN):
            claims += [
                (
                    f"7 up to frame {EARLY} VTSSI predicts better than SQAIR",
                    [rival[frame] - ours[frame] for frame in range(prefix + 1, EARLY + 1)],
                ),
                ("7 beyond that SQAIR predicts better", [ours[frame] - rival[frame] for frame in ours.frames(EARLY)]),
            ]
        if record["world"].startswith(STRAIGHT):
            claims.append(
                (
                    "7 on straight paths VTSSI predicts better than SQAIR",
                    [rival[frame] - ours[frame] for frame in ours.frames(prefix)],
                )
            )
        claims.append(
            (
                f"8 SQAIR's tracks degrade: its error in the last frame is twice that in frame {LOST}",
                [tracked[tracked.last] - 2 * tracked[LOST]],
            )
        )
    if {VTSSI, FINDER} <= set(errors):
        ours, found = (_Percent(errors[kind], "tracked_curve") for kind in (VTSSI, FINDER))
        claims += [
            (
                f"8 VTSSI's tracks do not: from frame {EARLY} on their error changes by at most 1 % of the width",
                [1 - abs(ours[frame] - ours[EARLY]) for frame in ours.frames(EARLY)],
            ),
            (
                "8 its finder alone is closer still, over all frames",
                [sum(ours[frame] - found[frame] for frame in ours.frames(prefix)) / len(ours.frames(prefix))],
            ),
        ]
    return claims


def horizon_claims(record: dict[str, Any]) -> list[Judged]:
    """Those claims, each by the frame closest to failing."""
    return [by_smallest(claim, margins, seeds="1") for claim, margins in claims_of(record)]


class _Percent:
    """An error by frame, counted from 1, in percent of the frame's width."""

    def __init__(self, errors: HorizonErrors, curve: str) -> None:
        values: ErrorCurve | None = getattr(errors, curve)
        self._values = () if values is None else values.means
        self._scale = 100 / errors.frame_width

    def __getitem__(self, frame: int) -> float:
        return self._scale * self._values[frame - 1] if frame <= len(self._values) else math.nan

    @property
    def last(self) -> int:
        return len(self._values)

    def frames(self, after: int) -> range:
        """Those after one."""
        return range(after + 1, self.last + 1)


def _kind(label: str) -> str:
    return SQAIR if SQAIR in label else label
