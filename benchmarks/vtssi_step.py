"""A training step of VTSSI: eager, traced, compiled; where its time goes; what frames, objects and parts cost.

    python benchmarks/vtssi_step.py --data FOLDER --output runs/vtssi_step.json

Steps take full videos and the bound of videos only, as most of a training does. Times are CPU time of the process, so
that other programs on the machine matter less; the first two steps, which trace and compile, are left out.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyro
import torch
from trackers import plan_of

from inference import SVI
from inference.recipes import RECIPES
from inference.runs.checkpoints import write_bytes
from inference.runs.provenance import provenance
from inference.runtime.host_memory import keep_freed_memory
from inference.training.options import FUSED_ADAM

SMALL = "vtssi-small"
MODES = ("off", "trace", "inductor")
FRAMES = (5, 10, 20, 40)
OBJECTS = (1, 2, 4, 8)
PAPER_FRAMES = (6, 20)
UNMATCHED = {"matched": False, "finder_start": "nowhere"}  # all permutations of eight objects would be tried
KINDS = {
    "convolutions": ("conv",),
    "pooling": ("max_pool",),
    "matrix products": ("aten::mm", "aten::bmm", "addmm"),
    "LSTM": ("lstm", "_thnn"),
    "optimizer": ("Optimizer", "_fused_adam"),
}


def cases() -> dict[str, tuple[str, int, str, dict[str, Any]]]:
    """Recipe, frames, compile mode and other options of each row."""
    return {
        **{f"small, compile={mode}": (SMALL, 10, mode, {}) for mode in MODES},
        **{f"small, {frames} frames": (SMALL, frames, "off", {}) for frames in FRAMES},
        **{f"small, objects: {num}": (SMALL, 10, "off", {"num_objects": num, **UNMATCHED}) for num in OBJECTS},
        **{f"the paper's size, {frames} frames": ("vtssi", frames, "off", {}) for frames in PAPER_FRAMES},
    }


def prepared(name: str, frames: int, compile: str, options: argparse.Namespace, **changes: Any) -> Callable[[], Any]:
    """A step that can be called repeatedly on one batch."""
    recipe = RECIPES[name].with_options(data=options.data, num_frames=frames, num_validation=1, num_test=1, **changes)
    recipe = recipe.with_options(num_train=recipe.training.batch_size)
    model, guide = (module.to(options.device) for module in recipe.build())
    parameters = [*model.parameters(), *guide.parameters()]
    svi = SVI(
        model,
        guide,
        FUSED_ADAM(parameters, lr=1e-4),
        recipe.loss(),
        compile=compile,
        clip_norm=recipe.training.clip_norm,
    )
    batch = recipe.splits().train.to(options.device)
    return lambda: svi.step(*batch.arguments)


def milliseconds(step: Callable[[], Any], options: argparse.Namespace) -> dict[str, float]:
    """CPU time of a step on the CPU, wall time elsewhere."""
    clock = time.process_time if options.device == "cpu" else time.perf_counter
    times = []
    for _ in range(options.repetitions + 2):
        began = clock()
        step()
        if options.device == "cuda":
            torch.cuda.synchronize()
        times.append(1000 * (clock() - began))
    return {"median": statistics.median(times[2:]), "minimum": min(times[2:])}


def parts(step: Callable[[], Any]) -> dict[str, float]:
    """Milliseconds of CPU time of one step by kind of operation; the rest of the wall time is Python's."""
    for _ in range(3):
        step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        began = time.perf_counter()
        step()
        wall = 1000 * (time.perf_counter() - began)
    sums = dict.fromkeys([*KINDS, "other operations"], 0.0)
    for event in profile.key_averages():
        kind = next((kind for kind, words in KINDS.items() if any(word in event.key for word in words)), None)
        sums[kind or "other operations"] += event.self_cpu_time_total / 1000
    return sums | {"Python and the profiler": max(0.0, wall - sum(sums.values()))}


def main() -> None:
    """Time all, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/vtssi_step.json"))
    parser.add_argument("--repetitions", type=int, default=11)
    parser.add_argument("--data", type=Path, default=None, help="folder with MNIST's files")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    keep_freed_memory()
    pyro.enable_validation(False)
    rows = {}
    for name, (recipe, frames, mode, changes) in cases().items():
        rows[name] = milliseconds(prepared(recipe, frames, mode, options, **changes), options)
        print(f"{name:32} {rows[name]['median']:8.0f} ms, minimum {rows[name]['minimum']:.0f}", flush=True)
    exchanged = {}
    for name, setting in plan_of("parts", Path()).settings.items():
        exchanged[name] = milliseconds(prepared(setting.recipe, 10, "off", options, **setting.options), options)
        print(f"{name:32} {exchanged[name]['median']:8.0f} ms, minimum {exchanged[name]['minimum']:.0f}", flush=True)
    profile = parts(prepared(SMALL, 10, "off", options))
    for kind, value in profile.items():
        print(f"    {kind:28} {value:8.1f} ms")
    record = {
        "provenance": provenance(0),
        "milliseconds": rows,
        "milliseconds_of_parts": exchanged,
        "parts": profile,
    }
    write_bytes(options.output, json.dumps(record, indent=1).encode())


if __name__ == "__main__":
    main()
