"""What particles cost: one gradient step with K particles in a plate against K steps with one.

    python benchmarks/particles.py --output runs/particles.json

Median times of `inference.SVI` steps for a Kalman VAE and a DMM (IWAE) and for AIR (VIMCO). Whatever does not depend on
the draws, such as encoding the frames, is computed once for all particles, and small operations take longer to launch
than to run, so K particles should cost far less than K times one.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from pyro.infer import ELBO

from inference import IWAE, SVI, VIMCO
from inference.recipes import RECIPES
from inference.runs.checkpoints import write_bytes
from inference.runs.provenance import provenance
from inference.runtime.host_memory import keep_freed_memory

CASES: dict[str, tuple[str, Callable[[int], ELBO], int]] = {
    "Kalman VAE, 16 videos, IWAE": ("kvae-demo", IWAE, 16),
    "DMM, 32 videos, IWAE": ("dmm-pendulum", IWAE, 32),
    "AIR, 64 scenes, VIMCO": ("air-small", VIMCO, 64),
}
PARTICLES = (1, 2, 5, 10, 20)


def milliseconds(recipe: str, loss: ELBO, batch_size: int, repetitions: int) -> float:
    """Median time of a step."""
    small = RECIPES[recipe].with_options(batch_size=batch_size, num_train=batch_size, num_validation=1, num_test=1)
    model, guide = small.build()
    svi = SVI(model, guide, torch.optim.Adam([*model.parameters(), *guide.parameters()], 1e-4), loss)
    batch = small.training_source(small.splits().train).batch(0)
    times = []
    for repetition in range(repetitions + 2):
        began = time.perf_counter()
        svi.step(*batch.arguments)
        if repetition >= 2:
            times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def main() -> None:
    """Time all cases, print and write a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/particles.json"))
    parser.add_argument("--repetitions", type=int, default=7)
    options = parser.parse_args()
    keep_freed_memory()
    rows: dict[str, dict[str, float]] = {}
    for name, (recipe, build, batch_size) in CASES.items():
        rows[name] = {}
        for count in PARTICLES:
            if count == 1 and build is VIMCO:
                continue  # its gradient needs two particles
            rows[name][str(count)] = milliseconds(recipe, build(count), batch_size, options.repetitions)
            print(f"{name:30} K = {count:2}  {rows[name][str(count)]:8.1f} ms", flush=True)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(options.output, json.dumps({"provenance": provenance(), "milliseconds": rows}, indent=1).encode())


if __name__ == "__main__":
    main()
