"""Milliseconds per step of stochastic variational inference: Pyro's, ours, ours compiled, and NumPyro's.

    python benchmarks/svi_step.py --data FOLDER --output runs/svi_step.json
    python benchmarks/svi_step.py --data FOLDER --threads 1 --peer PYTHON --beside

Each case (model, guide and estimator at their usual size) is timed with each variant: Pyro's `SVI`; `inference.SVI`
with the optimizer of `train` in each compile mode, and compiled with networks in bfloat16; and, given the interpreter
of an environment with `numpyro_ports/requirements.txt`, ports to NumPyro of the same step, from the same parameters on
the same batch. Each variant has its own process. The processes of a case take their steps in turn, in several rounds,
so that a machine that gets slower or faster favours none. Validation is off everywhere. "Python" is the share of a
step outside tensor operations, from the profiler. The first step includes tracing and compiling; compilation caches of
earlier processes are not used. A large matrix product takes its turns as well, as a measure of the machine; GFLOP are
those of the eager step's products and convolutions.

With `--beside`, everything is measured again while another process keeps the same cores busy.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyro
import torch
from measured_process import MeasuredProcess, busy_neighbour, keep_to_cores, serve, thread_environment
from svi_cases import CASES, export, prepared
from torch.utils.flop_counter import FlopCounterMode

from inference.runs.checkpoints import write_bytes
from inference.runs.provenance import provenance
from inference.runtime.host_memory import keep_freed_memory

VARIANTS = ("pyro", "off", "trace", "inductor", "bfloat16", "cudagraph")
PRODUCT = "product"
SIZE = 1024  # of its square matrices
WARMING = 2  # steps at the start of a round that only bring a process back into the caches of its core
PEER_VERSIONS = "import jax, numpyro; print(f'numpyro {numpyro.__version__}, jax {jax.__version__}')"


def python_share(step: Callable[[], Any]) -> float:
    """Share of a step's time outside tensor operations."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        began = time.perf_counter()
        step()
        wall = time.perf_counter() - began
    return 1 - sum(event.self_cpu_time_total for event in profile.key_averages()) / 1e6 / wall


def gigaflops(step: Callable[[], Any]) -> float:
    """GFLOP of an eager step's products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops() / 1e9


def serve_product(device: str) -> None:
    """Multiply two large matrices in this process."""
    left, right, result = (torch.ones(SIZE, SIZE, device=device) for _ in range(3))

    def product() -> None:
        torch.mm(left, right, out=result)
        if device == "cuda":
            torch.cuda.synchronize()

    serve(product, lambda: {"gigaflops": gigaflops(product)})


def serve_variant(name: str, variant: str, options: argparse.Namespace) -> None:
    """Take steps of one of our variants, or Pyro's, in this process."""
    keep_freed_memory()
    pyro.enable_validation(False)
    step = prepared(CASES[name], variant, options.data, options.device)

    def finished() -> None:
        step()
        if options.device == "cuda":
            torch.cuda.synchronize()

    def describe() -> dict[str, float]:
        counted = {"gigaflops": gigaflops(finished)} if variant in ("pyro", "off") else {}
        return {"python": python_share(finished), **counted}

    serve(finished, describe)


def started(name: str, variant: str, exported: Path, options: argparse.Namespace) -> MeasuredProcess:
    """A variant's process, after its first step."""
    if variant.startswith("numpyro"):
        words = [options.peer, Path(__file__).with_name("numpyro_step.py"), exported, variant]
    else:
        words = [sys.executable, __file__, "--one", name, variant, "--device", options.device]
        words += ["--data", options.data] if options.data else []
    return MeasuredProcess(words, thread_environment(options.threads))


def measured(name: str, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Times of all variants of a case.

    Returns:
        By variant, and for the product: `median` and `minimum` of a step and the medians of all `rounds`, milliseconds;
        `first`, seconds of the first step; `megabytes`; of our variants `python`; of eager ones and the product
        `gigaflops`; and, if it was measured, the median `beside` another process.
    """
    case = CASES[name]
    variants = [*options.variants, *(case.peers if options.peer and case.port else ()), PRODUCT]
    with ExitStack() as stack:
        exported = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "case.npz"
        if options.peer and case.port:
            export(name, exported, options.data)
        processes = {}
        for variant in variants:
            processes[variant] = started(name, variant, exported, options)
            stack.callback(processes[variant].kill)

        def rounds() -> dict[str, list[list[float]]]:
            found: dict[str, list[list[float]]] = {variant: [] for variant in variants}
            for _ in range(options.rounds):
                for variant, process in processes.items():
                    found[variant].append(process.milliseconds(WARMING + options.repetitions)[WARMING:])
            return found

        alone, beside = rounds(), None
        if options.beside:
            with busy_neighbour():
                beside = rounds()
        rows: dict[str, dict[str, Any]] = {}
        for variant, process in processes.items():
            times = sum(alone[variant], [])
            rows[variant] = {"median": statistics.median(times), "minimum": min(times), "first": process.first}
            rows[variant]["rounds"] = [statistics.median(each) for each in alone[variant]]
            if beside is not None:
                rows[variant]["beside"] = statistics.median(sum(beside[variant], []))
            rows[variant] |= process.end()
    return rows


def line(name: str, variant: str, found: dict[str, Any]) -> str:
    """A row of the printed table."""
    words = [f"{name:22} {variant:17} {found['median']:8.1f} ms (minimum {found['minimum']:.1f})"]
    words += [f"{found['python']:.0%} in Python"] if "python" in found else []
    words += [f"first step {found['first']:.1f} s", f"{found['megabytes']:.0f} MB"]
    words += [f"beside another process {found['beside'] / found['median']:.2f} times"] if "beside" in found else []
    return ", ".join(words)


def main() -> None:
    """Time all, print and write a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/svi_step.json"))
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS[:-1]), choices=list(VARIANTS))
    parser.add_argument("--repetitions", type=int, default=10, help="steps of each variant in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None, help="threads and cores of each step; default: all")
    parser.add_argument("--beside", action="store_true", help="measure once more beside a busy process")
    parser.add_argument("--peer", type=Path, default=None, help="an interpreter that has NumPyro")
    parser.add_argument("--data", type=Path, default=None, help="folder with MNIST's files")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, variant = options.one
        if variant == PRODUCT:
            serve_product(options.device)
        else:
            serve_variant(name, variant, options)
        return
    if options.threads:
        keep_to_cores(options.threads)
        torch.set_num_threads(options.threads)  # of this process: for the record
    record: dict[str, Any] = {"provenance": provenance(), "rounds": options.rounds, "cases": {}}
    record["threads"] = torch.get_num_threads()
    if options.peer:
        asked = subprocess.run([options.peer, "-c", PEER_VERSIONS], check=True, stdout=subprocess.PIPE, text=True)
        record["peer"] = asked.stdout.strip()
    for name in options.cases:
        record["cases"][name] = measured(name, options)
        for variant, found in record["cases"][name].items():
            print(line(name, variant, found), flush=True)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(options.output, json.dumps(record, indent=1).encode())


if __name__ == "__main__":
    main()
