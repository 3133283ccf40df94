"""A training step of slots: eager, traced, compiled; by gradients, refinements and frames; beside the authors' code.

    git clone https://github.com/BorealisAI/PROVIDE
    python benchmarks/slots_step.py --official PROVIDE --output runs/slots_step-all.json

Videos of the paper's size (64 x 64 pixels in colour, K = 5, clips of 4 frames, R = 6) and of the small recipe. Each
case runs in fresh processes on one thread, cases in turn, round by round; times are CPU time of the process, so that
other programs on the machine matter less. The first step, which traces and compiles, is apart. Memory is the largest
resident set, Python and torch included. A decode is one of all slots of a frame.

The authors' step (Zablotskaia et al. 2020; the licence of their code forbids commercial use) is made of their classes
and weights of losses, on the same videos. 16 blank channels stand for the features of a pretrained network, which ours
does without; it keeps freed memory, as ours does; and checks for NaN are left out. So it is faster here than published.
"""

import argparse
import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pyro
import torch
from torch import Tensor, nn
from vtssi_step import parts

from inference import SVI
from inference.recipes import RECIPES
from inference.recipes.recipe import Recipe
from inference.runs.checkpoints import write_bytes
from inference.runs.provenance import provenance
from inference.runtime.host_memory import keep_freed_memory
from inference.training.options import FUSED_ADAM

Step = Callable[[], Any]
NOT_NEEDED = ("ipdb", "moviepy", "moviepy.editor", "visdom")  # imported by the authors' modules, not by a step
OFFICIAL = "the authors' code"
PROFILED = ("paper's networks", "ours, eager", "small, eager")
MODES = {"eager": "off", "traced": "trace", "compiled": "inductor"}
CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "paper's networks": ("spatio-temporal-balls-paper", {"colour": True}, "off"),
    "ours, full-size reading": ("spatio-temporal-balls-colour", {"strided": False}, "off"),
    **{f"ours, {word}": ("spatio-temporal-balls-colour", {}, mode) for word, mode in MODES.items()},
    **{
        f"ours, {mode}": ("spatio-temporal-balls-colour", {"gradients": mode}, "off")
        for mode in ("truncated", "implicit")
    },
    **{
        f"ours, R = 12{words}": ("spatio-temporal-balls-colour", {"refinements": 12} | change, "off")
        for words, change in (("", {}), (", implicit", {"gradients": "implicit"}))
    },
    "ours, 8 frames": ("spatio-temporal-balls-colour", {"num_frames": 8}, "off"),
    **{f"small, {word}": ("spatio-temporal-balls-small", {}, mode) for word, mode in MODES.items()},
    **{
        f"small, {mode}": ("spatio-temporal-balls-small", {"gradients": mode}, "off")
        for mode in ("truncated", "implicit")
    },
    **{
        f"small, R = {number}{words}": ("spatio-temporal-balls-small", {"refinements": number} | change, "off")
        for number in (8, 16)
        for words, change in (("", {}), (", implicit", {"gradients": "implicit"}))
    },
    **{f"small, {number} frames": ("spatio-temporal-balls-small", {"num_frames": number}, "off") for number in (8, 16)},
}
"""By name: a recipe, its changed options, and the mode of `SVI(compile=...)`; clips of 4 frames unless it says more."""


def recipe_of(name: str, options: argparse.Namespace) -> Recipe:
    """The recipe of a case, with as many videos as a batch has."""
    recipe, changes, _ = CASES[name]
    size = options.small_batch if recipe.endswith("-small") else options.batch
    changes = {"num_frames": 4, "batch_size": size, "num_train": size, "num_validation": 1, "num_test": 1} | changes
    return RECIPES[recipe].with_options(**changes, first_frames=changes["num_frames"])


def our_step(name: str, options: argparse.Namespace) -> tuple[Step, int, int]:
    """Our step, the number of frames, and that of decodes."""
    recipe = recipe_of(name, options)
    torch.manual_seed(0)
    model, guide = recipe.build()
    frames = recipe.splits().train.frames
    loss = recipe.training.stages(recipe)[0].loss
    calls: list[Any] = []
    counter = model.decoder.register_forward_hook(lambda *_: calls.append(0))
    with torch.no_grad():
        loss.differentiable_loss(model, guide, frames[:1])
    counter.remove()
    parameters = [*model.parameters(), *guide.parameters()]
    clip = recipe.training.clip_norm
    svi = SVI(model, guide, FUSED_ADAM(parameters, lr=1e-4), loss, compile=CASES[name][2], clip_norm=clip)
    return lambda: svi.step(frames), frames.shape[1], len(calls)


class NoFeatures(nn.Module):
    """Blank channels instead of features of a pretrained network."""

    def forward(self, frames: Tensor) -> Tensor:
        """16 channels of 64 x 64."""
        return frames.new_zeros(len(frames), 16, 64, 64)


def official_step(folder: Path, options: argparse.Namespace) -> tuple[Step, int, int]:
    """The step of the authors' code on the videos of the first case."""
    recipe = recipe_of("paper's networks", options)
    frames, pair = recipe.splits().train.frames, recipe.pair
    sys.path.insert(0, str(folder.resolve()))
    sys.modules.update({name: MagicMock() for name in NOT_NEEDED})
    try:
        modules = [importlib.import_module(f"src.{name}") for name in ("model", "networks.refine_net", "networks.sbd")]
    except ImportError as error:
        raise SystemExit(f"--official: expected a clone of PROVIDE that can be imported, got: {error}") from error
    settings = SimpleNamespace(save_path="", model_name="", predict_frames=0, isTrain=True, no_scores=True)
    vars(settings).update(cond_prior=True, use_entropy=True, additional_input=False)
    torch.manual_seed(0)
    decoder = modules[2].SBD(pair.latent_dim, tuple(frames.shape[-2:]), out_channels=4, cond=True)
    network = modules[0].Model(
        settings,
        modules[1].RefineNetLSTM(pair.latent_dim, 32),
        decoder,
        pair.refinements,
        pair.num_slots,
        pair.latent_dim,
        feature_extractor=nn.Sequential(),
    )
    sys.excepthook = sys.__excepthook__
    network.feature_extractor = NoFeatures()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    calls: list[Any] = []
    decoder.register_forward_hook(lambda *_: calls.append(0))
    network(frames[:1], frames[:1])
    decodes = len(calls)

    def step() -> None:
        loss = network(frames, frames)[0].mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()

    return step, frames.shape[1], decodes


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Time one case in this process."""
    torch.set_num_threads(1)
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    keep_freed_memory()
    pyro.enable_validation(False)
    step, frames, decodes = official_step(options.official, options) if name == OFFICIAL else our_step(name, options)
    times = []
    for _ in range(options.repetitions + 1):
        began = time.process_time()
        step()
        times.append(1000 * (time.process_time() - began))
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {"first": times[0], "times": times[1:], "megabytes": megabytes, "frames": frames, "decodes": decodes}
    return found | ({"parts": parts(step)} if options.profile else {})


def in_a_process(name: str, options: argparse.Namespace, *, profile: bool) -> dict[str, Any]:
    """`measure` in a fresh process with an empty compilation cache."""
    words = [sys.executable, __file__, "--one", name, *(["--profile"] if profile else [])]
    for option in ("repetitions", "batch", "small_batch", "core", "official"):
        if (value := getattr(options, option)) is not None:
            words += [f"--{option.replace('_', '-')}", str(value)]
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": cache, "OMP_NUM_THREADS": "1"}
        printed = subprocess.run(words, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(printed.splitlines()[-1])


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """A case's row: the median of all steps, and the largest memory."""
    times = [time for one in found for time in one["times"]]
    row = {"median": statistics.median(times), "minimum": min(times), "steps": len(times)}
    row |= {"first": min(one["first"] for one in found), "megabytes": max(one["megabytes"] for one in found)}
    return row | {name: found[0][name] for name in ("frames", "decodes", "parts") if name in found[0]}


def main() -> None:
    """Time all, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/slots_step-all.json"))
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES), metavar="NAME")
    parser.add_argument("--official", type=Path, default=None, help="folder of a clone of BorealisAI/PROVIDE")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each case")
    parser.add_argument("--repetitions", type=int, default=3, help="steps of each process after the first")
    parser.add_argument("--batch", type=int, default=4, help="videos of the paper's size")
    parser.add_argument("--small-batch", type=int, default=16, help="small videos")
    parser.add_argument("--core", type=int, default=None, help="CPU core to stay on")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--profile", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in ("rounds", "repetitions", "batch", "small_batch"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')}: expected at least 1, got {getattr(options, name)}")
    if options.official is not None and not (options.official / "src" / "model.py").is_file():
        parser.error(f"--official: expected a clone of BorealisAI/PROVIDE, with src/model.py, got {options.official}")
    if options.one:
        print(json.dumps(measure(options.one, options)))
        return
    if options.official is None:
        print("the authors' code is left out: --official expects a clone of https://github.com/BorealisAI/PROVIDE")
    cases = [*options.cases, *([OFFICIAL] if options.official else [])]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in cases}
    for number in range(options.rounds):
        for name in cases:
            last = number == options.rounds - 1
            found[name].insert(0, in_a_process(name, options, profile=last and name in PROFILED))
            row = summary(found[name])
            print(
                f"{name:28} {row['median']:8.0f} ms, minimum {row['minimum']:8.0f}, {row['megabytes']:6.0f} MB",
                flush=True,
            )
    rows = {name: summary(one) for name, one in found.items()}
    sizes = {"batch": options.batch, "small_batch": options.small_batch}
    record = {"provenance": provenance(0), **sizes, "rows": rows}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(options.output, json.dumps(record, indent=1).encode())


if __name__ == "__main__":
    main()
