"""Steps that `svi_step.py` times: model, guide and estimator of recipes at their usual size, and their ports."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyro
import torch
from pyro.infer import SVI as PyroSVI
from pyro.infer import RenyiELBO, Trace_ELBO, TraceGraph_ELBO
from pyro.nn import PyroModule
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from inference import SVI
from inference.recipes import RECIPES
from inference.recipes.recipe import Recipe
from inference.training.options import FUSED_ADAM


@dataclass(frozen=True)
class Case:
    """A step to time.

    Attributes:
        recipe: name of the recipe that gives model, guide and batch.
        options: changed fields of the recipe.
        loss: builds the loss of Pyro's variant.
        same: whether our variants use that loss as well; otherwise they use the recipe's own.
        port: module of `numpyro_ports` with the same step; None = no port.
        peers: variants of the port that are timed.
    """

    recipe: str
    options: dict[str, Any]
    loss: Any
    same: bool = True
    port: str | None = None
    peers: tuple[str, ...] = ("numpyro",)


UNROLLED = ("numpyro", "numpyro-unrolled")  # in time: by a scan, and by a loop in Python
CASES = {
    "KVAE, Trace_ELBO": Case("kvae-box-cpu", {}, Trace_ELBO, port="kalman_vae"),
    "AIR, TraceGraph_ELBO": Case("air", {"estimator": "graph"}, TraceGraph_ELBO, port="air"),
    "AIR, Trace_ELBO": Case("air", {}, Trace_ELBO),
    "AIR, K = 5": Case(
        "air", {}, lambda: RenyiELBO(alpha=0, num_particles=5, vectorize_particles=True, max_plate_nesting=2), False
    ),
    "DMM, Trace_ELBO": Case("dmm-pendulum", {}, Trace_ELBO, port="deep_markov", peers=UNROLLED),
    "VRNN, Trace_ELBO": Case("vrnn-small", {}, Trace_ELBO, port="vrnn", peers=UNROLLED),
}


class Built(NamedTuple):
    """Model, guide and the arguments of both: frames, observed, controls."""

    recipe: Recipe
    model: PyroModule
    guide: PyroModule
    batch: tuple[Tensor | None, ...]


def built(case: Case, data: Path | None, device: str) -> Built:
    """A case's model and guide, freshly initialised, and the batch of the last step, when videos no longer grow."""
    recipe: Recipe = RECIPES[case.recipe].with_options(**case.options, num_validation=1, num_test=1)
    if "digit_scale" in recipe.options:
        recipe = recipe.with_options(data=data)
    else:
        recipe = recipe.with_options(num_train=recipe.training.batch_size)
    model, guide = (module.to(device) for module in recipe.build())
    batch = recipe.training_source(recipe.splits().train).batch(recipe.num_steps - 1).to(device).arguments
    return Built(recipe, model, guide, batch)


def prepared(
    case: Case, variant: str, data: Path | None, device: str, *, sequences: int = 1, frames: int = 1
) -> Callable[[], Any]:
    """A step that can be called repeatedly on one batch.

    Args:
        case: what to time.
        variant: "pyro", how our step is compiled, or "bfloat16": compiled, networks in that precision.
        data: folder with MNIST's files.
        device: where it runs.
        sequences: how often the case's batch is put beside itself.
        frames: how often each of its videos is put behind itself.
    """
    recipe, model, guide, batch = built(case, data, device)
    batch = tuple(
        None if value is None else torch.cat([torch.cat([value] * frames, dim=1)] * sequences, dim=0) for value in batch
    )
    if variant == "pyro":
        reference = PyroSVI(model, guide, pyro.optim.Adam({"lr": 1e-4}), case.loss())
        return lambda: reference.step(*batch)
    parameters = [*model.parameters(), *guide.parameters()]
    loss = case.loss() if case.same else recipe.loss()
    mode, precision = ("inductor", variant) if variant == "bfloat16" else (variant, "float32")
    ours = SVI(model, guide, FUSED_ADAM(parameters, lr=1e-4), loss, compile=mode, precision=precision)
    return lambda: ours.step(*batch)


class Draws(Messenger):
    """Records what a guide draws in a step: the standard normal noise of Gaussians, the values of other sites."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, Tensor] = {}

    def _pyro_post_sample(self, message: Any) -> None:
        # the guide runs before the model, which repeats its values at the same names
        if message["is_observed"] or message["name"] in self.values or site_is_subsample(message):
            return
        law, value = message["fn"], message["value"].detach()
        if getattr(law, "has_rsample", False):
            value = (value - law.mean.detach()) / law.stddev.detach()
        self.values[message["name"]] = value


def export(name: str, path: Path, data: Path | None, *, steps: int = 0) -> None:
    """Write what a port needs to repeat one of our steps: an .npz file.

    Its entries are `batch/...`, `parameter/model/...`, `parameter/guide/...`, and, of one step on this batch,
    `draw/...` (see `Draws`), `gradient/...` by parameter, and `loss`, the last two in nats per sequence.

    Args:
        name: name of the case.
        path: file to write.
        data: folder with MNIST's files.
        steps: training steps before, so that nothing is at its initial value.
    """
    case = CASES[name]
    _, model, guide, batch = built(case, data, "cpu")
    modules = {"model": model, "guide": guide}
    named = {f"{part}/{key}": value for part, module in modules.items() for key, value in module.named_parameters()}
    training = SVI(model, guide, FUSED_ADAM(named.values(), lr=1e-3), case.loss())
    for _ in range(steps):
        training.step(*batch)
    still = SVI(model, guide, torch.optim.SGD(named.values(), lr=0.0), case.loss())
    still.step(*batch)  # the first step runs model and guide to find out about their plates
    with Draws() as draws:
        loss = still.step(*batch)
    entries = {f"parameter/{key}": value for key, value in named.items()}
    entries |= {f"gradient/{key}": torch.zeros_like(p) if p.grad is None else p.grad for key, p in named.items()}
    entries |= {f"batch/{key}": value for key, value in zip(("frames", "observed", "controls"), batch, strict=True)}
    entries |= {f"draw/{key}": value for key, value in draws.values.items()} | {"loss": loss}
    arrays = {key: value.detach().numpy() for key, value in entries.items() if value is not None}
    np.savez(path, case=np.array(case.port), **arrays)


def main() -> None:
    """Export a case, for `numpyro_agreement.py`."""
    import argparse

    parser = argparse.ArgumentParser(description=export.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=[name for name, case in CASES.items() if case.port])
    parser.add_argument("path", type=Path)
    parser.add_argument("--data", type=Path, default=None, help="folder with MNIST's files")
    parser.add_argument("--steps", type=int, default=0)
    options = parser.parse_args()
    export(options.case, options.path, options.data, steps=options.steps)


if __name__ == "__main__":
    main()
