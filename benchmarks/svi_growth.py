"""What a step costs as frames, sequences, slots and particles double, traced and compiled.

    python benchmarks/svi_growth.py --data FOLDER --output runs/svi_growth.json

Each size has a process for each variant; they take their steps in turn, on one core. The first step includes tracing
and compiling, from empty caches. Exponents are those of `milliseconds ~ size^exponent`, from the first size to the
last.
"""

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyro
import torch
from measured_process import MeasuredProcess, keep_to_cores, serve, thread_environment
from svi_cases import CASES, prepared

from inference.recipes import RECIPES
from inference.runs.checkpoints import write_bytes
from inference.runs.provenance import provenance
from inference.runtime.host_memory import keep_freed_memory

VARIANTS = ("trace", "inductor")
TIMES = (1, 2, 4)
WARMING = 2  # steps that only bring a process back into the caches of its core


@dataclass(frozen=True)
class Growth:
    """Something that doubles.

    Attributes:
        case: name of the case.
        what: "sequences", "frames", or in words what `option` sets.
        usual: its size in the case.
        option: of the recipe, other than the size of the batch.
    """

    case: str
    what: str
    usual: int
    option: str | None = None

    def step(self, times: int, variant: str, data: Path | None) -> Callable[[], Any]:
        """A step of several times the usual size."""
        case = CASES[self.case]
        if self.option is None:
            return prepared(case, variant, data, "cpu", **{self.what: times})
        options = {**case.options, self.option: times * self.usual}
        return prepared(replace(case, options=options), variant, data, "cpu")


DMM, AIR = "DMM, Trace_ELBO", "AIR, K = 5"
GROWTHS = (
    Growth(DMM, "frames", 15),
    Growth(DMM, "sequences", RECIPES["dmm-pendulum"].options["batch_size"]),
    Growth(AIR, "sequences", RECIPES["air"].options["batch_size"]),
    Growth(AIR, "slots", RECIPES["air"].options["num_slots"], "num_slots"),
    Growth(AIR, "particles", RECIPES["air"].options["num_particles"], "num_particles"),
)


def measured(number: int, times: int, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """By variant: the median of a step in milliseconds, and seconds of the first one."""
    with ExitStack() as stack:
        processes = {}
        for variant in VARIANTS:
            words = [sys.executable, __file__, "--one", str(number), str(times), variant]
            words += ["--data", options.data] if options.data else []
            processes[variant] = MeasuredProcess(words, thread_environment(1))
            stack.callback(processes[variant].kill)
        found: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
        for _ in range(options.rounds):
            for variant, process in processes.items():
                found[variant] += process.milliseconds(WARMING + options.repetitions)[WARMING:]
        return {
            variant: {"median": statistics.median(found[variant]), "first": process.first}
            for variant, process in processes.items()
        }


def exponent(values: list[float]) -> float:
    """Of a power of the size, from the first to the last."""
    return math.log(values[-1] / values[0]) / math.log(TIMES[-1] / TIMES[0])


def main() -> None:
    """Time all, print and write a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/svi_growth.json"))
    parser.add_argument("--only", nargs="+", default=[DMM, AIR], choices=[DMM, AIR], help="cases")
    parser.add_argument("--repetitions", type=int, default=10, help="steps of each variant in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, default=None, help="folder with MNIST's files")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        number, times, variant = options.one
        keep_freed_memory()
        pyro.enable_validation(False)
        serve(GROWTHS[int(number)].step(int(times), variant, options.data))
        return
    keep_to_cores(1)
    torch.set_num_threads(1)  # of this process: for the record
    rows: list[dict[str, Any]] = []
    usual: dict[str, dict[str, dict[str, float]]] = {}  # the first size is the same for all growths of a case
    for number, growth in enumerate(GROWTHS):
        if growth.case not in options.only:
            continue
        sizes = []
        for times in TIMES:
            if times == 1 and growth.case in usual:
                found = usual[growth.case]
            else:
                found = measured(number, times, options)
            if times == 1:
                usual[growth.case] = found
            sizes.append(found)
        row: dict[str, Any] = {"case": growth.case, "what": growth.what, "sizes": [n * growth.usual for n in TIMES]}
        for variant in VARIANTS:
            for kind in ("median", "first"):
                row[f"{variant} {kind}"] = [found[variant][kind] for found in sizes]
            steps = row[f"{variant} median"]
            row[f"{variant} exponent"] = exponent(steps)
            shown = ", ".join(f"{value:.1f}" for value in steps)
            print(
                f"{growth.case}, {growth.what} {row['sizes']}, {variant}: {shown} ms, {exponent(steps):.2f}", flush=True
            )
        rows.append(row)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(options.output, json.dumps({"provenance": provenance(), "rows": rows}, indent=1).encode())


if __name__ == "__main__":
    main()
