"""`kinema doctor RUN`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from inference.cli.exit_status import FAILED
from inference.cli.words import parse
from inference.experiments.doctor import examine, findings_table


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What is examined.

    Attributes:
        run: folder of the run.
    """

    run: tyro.conf.Positional[Path]


def doctor(words: Sequence[str]) -> int:
    """Say file by file what is whole in a run, what is not, and what can be done; status 1 if something is wrong."""
    given: Examination = parse(words, prog="kinema doctor", description=str(doctor.__doc__), what=Examination).what
    findings = examine(given.run)
    print(findings_table(findings))
    return 0 if all(finding.whole for finding in findings) else FAILED
