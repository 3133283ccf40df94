"""Dynamics from pixels at the paper's size: an iteration along diagonals or by the double loop; the Kalman part.

    python benchmarks/object_guides.py --output runs/object_guides.json

Three objects, 30 frames of 48 x 48 pixels, 20 videos, states of 1024. The double loop computes one cell (frame, object)
after another, each from all of its inputs, as the paper writes it. The Kalman part is log p(a) and its gradients alone:
with the filter at one draw, and in expectation with the whitened distribution.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from guides.objects.time_recurrence import ObjectTimeRecurrence
from inference import SVI
from inference.recipes import RECIPES
from inference.runs.checkpoints import write_bytes
from inference.runs.provenance import provenance
from inference.runtime.host_memory import keep_freed_memory


class DoubleLoop(ObjectTimeRecurrence):
    """The same states, cell by cell."""

    def forward(self, frames: Tensor, presence: Tensor, memory: Tensor | None = None) -> Tensor:
        """As in `ObjectTimeRecurrence`, forwards in time."""
        states = list(self.first_states(presence) if memory is None else memory)
        found: list[list[Tensor]] = [[] for _ in states]
        for frame in frames.unbind(0):
            before = torch.zeros_like(states[0])
            for index, state in enumerate(states):
                inputs = torch.cat([state, before, frame], -1)
                gate, candidate = self.gate(inputs).sigmoid(), self.candidate(inputs).tanh()
                new = torch.lerp(before, candidate, gate)
                before = states[index] = torch.where(presence[index].unsqueeze(-1), new, before)
                found[index].append(before)
        return torch.stack([torch.stack(one) for one in found])


def milliseconds(run: Callable[[], Any], repetitions: int) -> float:
    """Median time of a call, after one warm-up call."""
    times = []
    for _ in range(repetitions + 1):
        began = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times[1:])


def measure(recipe: Any, repetitions: int) -> dict[str, float]:
    """Milliseconds of iterations and of the Kalman part."""
    videos = recipe.splits().train
    found = {}
    for name, compile in (("double loop", "off"), ("diagonals", "off"), ("diagonals, traced", "trace")):
        model, guide = recipe.build()
        if name == "double loop":
            for network in guide.networks:
                network.__class__ = DoubleLoop
        parameters = [*model.parameters(), *guide.parameters()]
        svi = SVI(model, guide, torch.optim.Adam(parameters, 1e-3, fused=True), recipe.loss(), compile=compile)
        found[name] = milliseconds(lambda svi=svi: svi.step(*videos.arguments), repetitions)
        print(f"{name:32} {found[name]:8.1f} ms", flush=True)
    model, _ = recipe.build()
    shape = (recipe.videos.max_balls, recipe.training.batch_size, recipe.videos.num_frames, 2)
    mean, variance = torch.randn(shape, requires_grad=True), torch.rand(shape, requires_grad=True)
    inputs = [mean, *model.prior.parameters()]

    def filtered() -> None:
        torch.autograd.grad(model.prior.law(recipe.videos.num_frames).log_prob(mean).sum(), inputs)

    def expected() -> None:
        law = model.prior.law(recipe.videos.num_frames)
        torch.autograd.grad(law.expected_log_prob(mean, variance).sum(), [*inputs, variance])

    for name, run in (("log p(a), filter", filtered), ("expected log p(a), whitened", expected)):
        found[name] = milliseconds(run, 5 * repetitions)
        print(f"{name:32} {found[name]:8.1f} ms", flush=True)
    return found


def main() -> None:
    """Time, print and write a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/object_guides.json"))
    parser.add_argument("--recipes", nargs="+", default=["cannonballs", "cannonballs-structured", "cannonballs-small"])
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    keep_freed_memory()
    rows = {}
    for name in options.recipes:
        print(name)
        rows[name] = measure(RECIPES[name].with_options(num_validation=1, num_test=1), options.repetitions)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(options.output, json.dumps({"provenance": provenance(), "milliseconds": rows}, indent=1).encode())


if __name__ == "__main__":
    main()
