"""`kinema render RUN`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from inference.cli.devices import device_named
from inference.cli.words import parse
from inference.experiments.render import render as render_run
from inference.experiments.runs import load_run


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """What is drawn.

    Attributes:
        run: folder of the run.
        device: cpu or cuda.
    """

    run: tyro.conf.Positional[Path]
    device: str = "cpu"


def render(words: Sequence[str]) -> int:
    """Draw a run: training curves, and its recipe's pictures (reconstructions, imputations, tracks, codes).

    What each picture shows is in captions.md beside them.
    """
    given = parse(words, prog="kinema render", description=str(render.__doc__), rendering=Rendering).rendering
    for path in render_run(load_run(given.run, device_named(given.device))):
        print(path)
    return 0
