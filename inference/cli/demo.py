"""`kinema demo`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inference.cli.words import parse
from inference.experiments.demo import run_demo


@dataclass(frozen=True, kw_only=True)
class Demo:
    """The run.

    Attributes:
        run: folder of the run.
        seed: seed of everything random.
        num_train: training videos; None = enough for two minutes of training.
    """

    run: Path = Path("runs/demo")
    seed: int = 0
    num_train: int | None = None


def demo(words: Sequence[str]) -> int:
    """Train a small Kalman VAE on simulated videos and show what it can do (three minutes)."""
    given = parse(words, prog="kinema demo", description=str(demo.__doc__), demo=Demo()).demo
    run_demo(given.run, seed=given.seed, num_train=given.num_train)
    return 0
