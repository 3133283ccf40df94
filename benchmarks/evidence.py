"""The evidence of trained runs, by several methods: estimates, verdicts, brackets and seconds.

    python benchmarks/evidence.py runs/demo runs/dmm-pendulum-0 ... --output results/evidence.json

For the first test videos of each run: `log_evidence(method="auto")`; importance sampling with K = 1000; and, for models
and guides with steps, one filter of 256 particles with pilots and a bracket on videos near the test videos, with more
particles until it is at most one nat wide or takes too long. Uses one thread.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from inference import FIVO, Budget, Pilot, bracket, log_evidence
from inference.estimators.particle_filter import has_steps
from inference.experiments.evaluate import check_has_evidence
from inference.experiments.runs import TrainedRun, load_run
from inference.runs.checkpoints import write_bytes
from inference.runs.provenance import provenance
from inference.runtime.host_memory import keep_freed_memory

IMPORTANCE_DRAWS = 1000
FILTER = FIVO(256)
FILTER_PILOT = Pilot(128, rounds=2)
BRACKETS = (  # tried in turn until one is narrow enough: particles of filters, particles of pilots, pilot rounds
    (256, 256, 20),
    (1024, 512, 60),
    (4096, 2048, 40),
)
NARROW = 1.0  # nats per sequence


def measure(
    run: TrainedRun, num_sequences: int, budget: Budget, sweeps: int, longest: float, bar: tqdm
) -> dict[str, Any]:
    """All methods for one run: nats per sequence, seconds per sequence."""
    videos = run.test.select(slice(0, num_sequences))
    pair = (run.model, run.guide, *videos.arguments)
    seconds: dict[str, float] = {}

    def timed(name: str, work: Any) -> Any:
        bar.set_postfix_str(f"{run.folder.path.name}, {name}")
        start = time.monotonic()
        found = work()
        seconds[name] = (time.monotonic() - start) / videos.num_sequences
        bar.update()
        return found

    weighed = timed(
        "importance sampling",
        lambda: log_evidence(*pair, num_particles=IMPORTANCE_DRAWS, particles_per_chunk=25, sequences_per_chunk=4),
    )
    evidence = timed("automatic", lambda: log_evidence(*pair, method=budget))
    record = {
        "run": run.folder.path.name,
        "recipe": run.folder.config["recipe"],
        "num_sequences": videos.num_sequences,
        "frames": videos.num_frames,
        "log_evidence": evidence.log_evidence.mean().item(),
        "monte_carlo_error": evidence.standard_error.square().sum().sqrt().item() / videos.num_sequences,
        "verdict": evidence.verdict.kind,
        "reasons": evidence.verdict.words,
        "width": evidence.verdict.width,
        "videos": evidence.videos,
        "each": evidence.log_evidence.tolist(),
        "importance_weighted_each": weighed.log_evidence.tolist(),
        "elbo": weighed.elbo.mean().item(),
        "importance_weighted": weighed.log_evidence.mean().item(),
        "stated_error": weighed.standard_error.square().sum().sqrt().item() / videos.num_sequences,
        "pareto_k_above": (weighed.pareto_k > 0.7).double().mean().item(),
    }
    if has_steps(run.model, run.guide):
        once = timed(
            "one filter",
            lambda: log_evidence(*pair, num_particles=1, method=FILTER, pilot=FILTER_PILOT),
        )
        record["one_filter"] = once.log_evidence.mean().item()
        for particles, of_pilots, rounds in BRACKETS:
            how = {"filtering": FIVO(particles), "pilot": Pilot(of_pilots, rounds), "sweeps": sweeps}
            found = timed("bracket", lambda how=how: bracket(*pair, **how))
            wide = found.width.mean().item() > NARROW
            if not wide or 8 * seconds["bracket"] > longest:
                break
            bar.total += 1
        record |= {"lower": found.lower.mean().item(), "upper": found.upper.mean().item()}
        record["bracket_particles"] = particles
        record["largest_width"] = found.width.max().item()
        record["width_error"] = (found.width.std() / videos.num_sequences**0.5).item()
    return record | {"seconds": seconds}


def main() -> None:
    """Measure all, print and write a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of trained runs")
    parser.add_argument("--num-sequences", type=int, default=8, help="test videos of each run (%(default)s)")
    parser.add_argument("--evidence-particles", type=int, default=512, help="most particles of a repeat (%(default)s)")
    parser.add_argument(
        "--populations", nargs="*", default=[], help="names of runs whose videos are annealed where estimates disagree"
    )
    parser.add_argument("--sweeps", type=int, default=10, help="particle Gibbs sweeps of the bracket (%(default)s)")
    parser.add_argument(
        "--bracket-seconds", type=float, default=120.0, help="longest time per video for a bracket (%(default)s)"
    )
    parser.add_argument("--output", type=Path, default=Path("runs/evidence.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    names = [path.absolute().name for path in options.runs]
    if len(set(names)) < len(names):
        raise SystemExit(f"runs: expected folders with different names, got {', '.join(names)}; rename one of them")
    if unknown := [name for name in options.populations if name not in names]:
        raise SystemExit(
            f"--populations: expected names among those of the runs, {', '.join(names)}, got {', '.join(unknown)}"
        )
    runs = [load_run(path.absolute()) for path in options.runs]
    for run in runs:
        check_has_evidence(run)
    rows = []
    total = sum(4 if has_steps(run.model, run.guide) else 2 for run in runs)
    with tqdm(total=total, desc="evidence", unit="estimate") as bar:
        for run in runs:
            populations = run.folder.path.name in options.populations
            budget = Budget(particles=options.evidence_particles, populations=populations)
            rows.append(measure(run, options.num_sequences, budget, options.sweeps, options.bracket_seconds, bar))
            record = {"provenance": provenance(), "importance_draws": IMPORTANCE_DRAWS, "rows": rows}
            options.output.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(options.output, json.dumps(record, indent=1).encode())
    for row in rows:
        print(
            f"{row['run']:24} {row['log_evidence']:10.2f}  {row['verdict']:11}  {row['seconds']['automatic']:6.1f} s "
            f"per video; importance sampling {row['importance_weighted']:10.2f}"
        )


if __name__ == "__main__":
    main()
