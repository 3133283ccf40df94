"""Milliseconds per step of stochastic variational inference: Pyro's, ours, and ours compiled.

    python benchmarks/svi_step.py --data FOLDER --output runs/svi_step.json

Each case (model, guide and estimator at their usual size) is timed with each variant in a separate process: Pyro's
`SVI`, and `inference.SVI` with the optimizer of `train` in each compile mode. Validation is off everywhere. "Python" is
the share of a step outside tensor operations, from the profiler. The first step includes tracing and compiling;
compilation caches of earlier processes are not used.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyro
import torch
from pyro.infer import SVI as PyroSVI
from pyro.infer import RenyiELBO, Trace_ELBO, TraceGraph_ELBO

from inference import SVI
from inference.recipes import RECIPES
from inference.recipes.recipe import Recipe
from inference.runs.checkpoints import write_bytes
from inference.runs.provenance import provenance
from inference.runtime.host_memory import keep_freed_memory
from inference.training.options import FUSED_ADAM


@dataclass(frozen=True)
class Case:
    """A step to time.

    Attributes:
        recipe: name of the recipe that gives model, guide and batch.
        options: changed fields of the recipe.
        loss: builds the loss of Pyro's variant.
        same: whether our variants use that loss as well; otherwise they use the recipe's own.
    """

    recipe: str
    options: dict[str, Any]
    loss: Any
    same: bool = True


CASES = {
    "KVAE, Trace_ELBO": Case("kvae-box-cpu", {}, Trace_ELBO),
    "AIR, TraceGraph_ELBO": Case("air", {"estimator": "graph"}, TraceGraph_ELBO),
    "AIR, Trace_ELBO": Case("air", {}, Trace_ELBO),
    "AIR, K = 5": Case(
        "air", {}, lambda: RenyiELBO(alpha=0, num_particles=5, vectorize_particles=True, max_plate_nesting=2), False
    ),
    "DMM, Trace_ELBO": Case("dmm-pendulum", {}, Trace_ELBO),
}
VARIANTS = ("pyro", "off", "trace", "inductor", "cudagraph")


def prepared(case: Case, variant: str, data: Path | None, device: str) -> Any:
    """A step that can be called repeatedly on one batch."""
    recipe: Recipe = RECIPES[case.recipe].with_options(**case.options, num_validation=1, num_test=1)
    if case.recipe.startswith("air"):
        recipe = recipe.with_options(data=data)
    else:
        recipe = recipe.with_options(num_train=recipe.training.batch_size)
    model, guide = (module.to(device) for module in recipe.build())
    batch = recipe.training_source(recipe.splits().train).batch(0).to(device).arguments
    if variant == "pyro":
        theirs = PyroSVI(model, guide, pyro.optim.Adam({"lr": 1e-4}), case.loss())
        return lambda: theirs.step(*batch)
    parameters = [*model.parameters(), *guide.parameters()]
    loss = case.loss() if case.same else recipe.loss()
    ours = SVI(model, guide, FUSED_ADAM(parameters, lr=1e-4), loss, compile=variant)
    return lambda: ours.step(*batch)


def python_share(step: Any) -> float:
    """Share of a step's time outside tensor operations."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        began = time.perf_counter()
        step()
        wall = time.perf_counter() - began
    return 1 - sum(event.self_cpu_time_total for event in profile.key_averages()) / 1e6 / wall


def measure(name: str, variant: str, options: argparse.Namespace) -> dict[str, float]:
    """Time one variant in this process."""
    keep_freed_memory()
    pyro.enable_validation(False)
    step = prepared(CASES[name], variant, options.data, options.device)
    began = time.perf_counter()
    step()
    first = time.perf_counter() - began
    times = []
    while len(times) < options.repetitions:
        began = time.perf_counter()
        step()
        if options.device == "cuda":
            torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - began))
    return {
        "median": statistics.median(times[2:]),
        "minimum": min(times),
        "first": first,
        "python": python_share(step),
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def in_a_process(name: str, variant: str, options: argparse.Namespace) -> dict[str, float]:
    """`measure` in a fresh process with an empty compilation cache."""
    words = [sys.executable, __file__, "--one", name, variant, "--device", options.device]
    words += ["--repetitions", str(options.repetitions), *(["--data", str(options.data)] if options.data else [])]
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": cache}
        printed = subprocess.run(words, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(printed.splitlines()[-1])


def main() -> None:
    """Time all, print and write a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/svi_step.json"))
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS[:-1]), choices=list(VARIANTS))
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--data", type=Path, default=None, help="folder with MNIST's files")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one, options)))
        return
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for name in options.cases:
        rows[name] = {}
        for variant in options.variants:
            found = rows[name][variant] = in_a_process(name, variant, options)
            print(
                f"{name:22} {variant:9} {found['median']:8.1f} ms, {found['python']:4.0%} in Python, "
                f"first step {found['first']:6.1f} s, {found['megabytes']:5.0f} MB",
                flush=True,
            )
    options.output.parent.mkdir(parents=True, exist_ok=True)
    record = {"provenance": provenance(), "threads": torch.get_num_threads(), "cases": rows}
    write_bytes(options.output, json.dumps(record, indent=1).encode())


if __name__ == "__main__":
    main()
