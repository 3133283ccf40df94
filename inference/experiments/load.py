"""Load a trained run: `run = load("runs/demo")`, then `run.model`, `run.guide`, `run.evaluate()`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from inference.experiments.evaluate import evaluate
from inference.experiments.evaluation import Evaluation
from inference.experiments.export import export_run
from inference.experiments.packaged_runs import found_run
from inference.experiments.runs import TrainedRun, load_run


@dataclass(frozen=True)
class LoadedRun(TrainedRun):
    """A run with its weights loaded with methods to evaluate and export it; see `TrainedRun` for its attributes."""

    def evaluate(self, **options: Any) -> Evaluation:
        """Score the run on its test videos.

        Args:
            options: settings of `inference.experiments.evaluate.evaluate`, such as `num_evidence_sequences=8`, and
                options of the recipe's scores.

        Raises:
            TypeError: for an option that neither has.
            ValueError: what `evaluate` raises.
        """
        return evaluate(self, **options)

    def export(self, folder: str | Path, *, num_sequences: int = 16, seed: int = 0) -> list[Path]:
        """Write what the run infers about its first test videos: tracks, codes, samples, evidence, a film.

        Args:
            folder: an empty folder, or one that is not there; see `inference.experiments.export.export_run` for the
                files.
            num_sequences: number of test videos, and of samples from the prior.
            seed: seed of all draws.

        Returns:
            The files written.

        Raises:
            ValueError: if the folder has files in it, or `num_sequences` is below 1.
        """
        return export_run(self, folder, num_sequences=num_sequences, seed=seed)


def load(path: str | Path, device: torch.device | str = "cpu", which: str = "best") -> LoadedRun:
    """Rebuild a run's model and guide with their weights, and its test videos.

    Args:
        path: the run's folder, as made by `kinema train` or `kinema demo`; or the name of weights that come with the
            package, see `inference.experiments.packaged_runs`.
        device: where model, guide and test videos go.
        which: "best" validation bound, or "last".

    Raises:
        ValueError: if there is neither such a folder nor such weights, or the folder is no run, has no checkpoint, or
            was made by another version.
    """
    run = load_run(found_run(path), device, which)
    return LoadedRun(**vars(run))
