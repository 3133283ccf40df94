"""Milliseconds per training step of SQAIR: ours and that of a public PyTorch port, in alternation.

    git clone https://github.com/zhixuan-lin/SQAIR-pytorch
    python benchmarks/sqair_step.py --data FOLDER --port SQAIR-pytorch --output runs/sqair_step.json

Videos, particles and slots are those of the paper (recipe `sqair-mlp`: 32 videos of 10 frames of 50 x 50 pixels, K = 5,
N = 3). The port uses its own networks, estimator and optimizer, as at the start of its training; it needs `attrdict`
(whose last release requires Python < 3.10; a module `attrdict` in the clone that defines an `AttrDict` will do) and
`tensorboardX`. Validation of distributions is off for all. Variants take turns in one process, step by step, so that
other load on the machine affects all equally; CPU time excludes what other processes took.
"""

import argparse
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyro
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from inference import SVI
from inference.recipes import RECIPES
from inference.runs.checkpoints import write_bytes
from inference.runs.provenance import provenance
from inference.runtime.host_memory import keep_freed_memory

VARIANTS = ("off", "trace", "inductor", "cudagraph")


def our_step(compile: str, options: argparse.Namespace) -> tuple[Callable[[], object], Tensor]:
    """Our step on one batch, and the frames of that batch."""
    recipe = RECIPES["sqair-mlp"].with_options(
        data=options.data,
        num_frames=options.frames,
        first_frames=options.frames,
        num_validation=1,
        num_test=1,
    )
    model, guide = (module.to(options.device) for module in recipe.build())
    batch = recipe.training_source(recipe.splits().train).batch(0).to(options.device)
    parameters = [*model.parameters(), *guide.parameters()]
    svi = SVI(model, guide, recipe.optimizer()(parameters, lr=1e-5), recipe.loss(), compile=compile)
    return lambda: svi.step(*batch.arguments), batch.frames


def port_step(folder: Path, frames: Tensor) -> Callable[[], object]:
    """The port's step on the same videos."""
    sys.path.insert(0, str(folder.resolve()))
    try:
        settings = importlib.import_module("lib.config").cfg
        settings.device = str(frames.device)  # read when the next module is imported
        vimco = importlib.import_module("lib.vimco")
    except ImportError as error:
        raise SystemExit(f"--port: expected a clone of SQAIR-pytorch that can be imported, got: {error}") from error
    videos = frames.transpose(0, 1).contiguous()
    network = vimco.SQAIRVIMCO(k=RECIPES["sqair-mlp"].loss().num_particles, arch_update={"T": len(videos)})
    network.to(frames.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.train.model_lr)

    def step() -> None:
        loss = network(videos)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def measure(steps: dict[str, Callable[[], object]], options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Milliseconds of steps that take turns, and the GFLOP of each step's matrix products."""
    walls, cpus = ({name: [] for name in steps} for _ in range(2))
    flops = {}
    for name, step in steps.items():
        step()  # traces and compiles
        with FlopCounterMode(display=False) as counter:
            step()
        flops[name] = counter.get_total_flops() / 1e9
    for _ in range(options.repetitions):
        for name, step in steps.items():
            began, cpu = time.perf_counter(), time.process_time()
            step()
            if options.device == "cuda":
                torch.cuda.synchronize()
            walls[name].append(1000 * (time.perf_counter() - began))
            cpus[name].append(1000 * (time.process_time() - cpu))
    return {
        name: {
            "median": statistics.median(walls[name]),
            "minimum": min(walls[name]),
            "cpu_median": statistics.median(cpus[name]),
            "cpu_minimum": min(cpus[name]),
            "gigaflops": flops[name],
        }
        for name in steps
    }


def main() -> None:
    """Time all, print and write a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/sqair_step.json"))
    parser.add_argument("--variants", nargs="+", default=["off", "trace"], choices=VARIANTS)
    parser.add_argument("--port", type=Path, default=None, help="folder of a clone of SQAIR-pytorch")
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", type=Path, default=None, help="folder with MNIST's files")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    pyro.enable_validation(False)
    steps: dict[str, Callable[[], object]] = {}
    for variant in options.variants:
        steps[variant], frames = our_step(variant, options)
    if options.port is None:
        print("the port is left out: --port expects a clone of https://github.com/zhixuan-lin/SQAIR-pytorch")
    else:
        steps["port"] = port_step(options.port, frames)
    rows = measure(steps, options)
    for name, found in rows.items():
        print(
            f"{name:9} {found['median']:8.1f} ms, at least {found['minimum']:8.1f}; CPU "
            f"{found['cpu_median']:8.1f} ms, at least {found['cpu_minimum']:8.1f}; {found['gigaflops']:6.1f} GFLOP"
        )
    record = {"provenance": provenance(), "frames": options.frames, "variants": rows}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(options.output, json.dumps(record, indent=1).encode())


if __name__ == "__main__":
    main()
