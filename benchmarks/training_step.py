"""Where the time of a Kalman VAE's training step goes, and what width, precision and missing frames cost.

    python benchmarks/training_step.py --output runs/training_step.json

Times whole steps of `inference.SVI` (median over repetitions) for variants of the `kvae-box` recipe, and uses the
profiler to split one step into parts: convolutions, LSTM, Kalman marginal, optimizer, everything else.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from inference.recipes import RECIPES
from inference.recipes.recipe import Recipe
from inference.runs.checkpoints import write_bytes
from inference.runs.provenance import provenance
from inference.runtime.host_memory import keep_freed_memory
from inference.svi.step import SVI
from pyro_models.distributions import gaussian_marginal

VARIANTS: dict[str, dict[str, object]] = {
    "width 32": {},
    "width 32, bfloat16": {"precision": "bfloat16"},
    "width 16": {"channels": 16},
    "width 16, bfloat16": {"channels": 16, "precision": "bfloat16"},
    "width 8": {"channels": 8},
    "width 16, 40 % missing": {"channels": 16, "missing": 0.4},
    "width 16, states drawn (joint)": {"channels": 16, "posterior": "joint"},
    "width 16, batch 64": {"channels": 16, "batch_size": 64},
}


def prepared(recipe: Recipe, device: str):
    """A step that can be called repeatedly on one batch."""
    recipe = recipe.with_options(num_train=recipe.training.batch_size, num_validation=1, num_test=1)
    model, guide = (module.to(device) for module in recipe.build())
    optimizer = torch.optim.Adam([*model.parameters(), *guide.parameters()], 1e-4)
    options = {"clip_norm": recipe.training.clip_norm, "precision": recipe.training.precision}
    svi = SVI(model, guide, optimizer, recipe.loss(), **options)
    batch = recipe.training_source(recipe.splits().train).batch(0).to(device)
    return lambda: svi.step(*batch.arguments)


def milliseconds(step, repetitions: int, device: str) -> float:
    """Median time of a step."""
    times = []
    for repetition in range(repetitions + 2):
        began = time.perf_counter()
        step()
        if device == "cuda":
            torch.cuda.synchronize()
        if repetition >= 2:
            times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def parts(step) -> dict[str, float]:
    """Milliseconds of CPU time of one step by kind of operation, after three warm-up steps.

    The Kalman marginal bypasses torch's dispatcher: its forward pass is marked by hand for the profiler, its backward
    pass appears under the name of its autograd function.
    """
    forward = gaussian_marginal._Eager.forward

    def marked(*args):
        with torch.profiler.record_function("gaussian marginal"):
            return forward(*args)

    for _ in range(3):
        step()
    gaussian_marginal._Eager.forward = staticmethod(marked)
    try:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            step()
    finally:
        gaussian_marginal._Eager.forward = staticmethod(forward)
    kinds = {
        "convolutions": ("conv", "mkldnn_conv"),
        "LSTM": ("lstm", "rnn"),
        "Kalman marginal": ("gaussian", "_EagerBackward"),
        "optimizer": ("Optimizer",),
    }
    sums = dict.fromkeys([*kinds, "everything else"], 0.0)
    for event in profile.key_averages():
        kind = next(
            (kind for kind, words in kinds.items() if any(word in event.key for word in words)), "everything else"
        )
        sums[kind] += event.self_cpu_time_total / 1000
    return sums


def main() -> None:
    """Time all variants, print and write a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/training_step.json"))
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    keep_freed_memory()
    rows = {}
    for name, changes in VARIANTS.items():
        step = prepared(RECIPES["kvae-box"].with_options(**changes), options.device)
        rows[name] = milliseconds(step, options.repetitions, options.device)
        print(f"{name:45} {rows[name]:8.1f} ms", flush=True)
    profile = parts(prepared(RECIPES["kvae-box-cpu"], "cpu"))
    for kind, value in profile.items():
        print(f"    {kind:41} {value:8.1f} ms of CPU time")
    record = {"provenance": provenance(), "milliseconds": rows, "parts": profile, "profiled": "kvae-box-cpu"}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(options.output, json.dumps(record, indent=1).encode())


if __name__ == "__main__":
    main()
