"""NumPyro ports of four of our SVI steps, for `svi_step.py --peer`; an environment of its own: `requirements.txt`."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from numpyro_ports.layers import Port, native

UNROLLED: dict[str, dict[str, Any]] = {"numpyro": {}, "numpyro-unrolled": {"unrolled": True}}
PORTS: dict[str, dict[str, dict[str, Any]]] = {
    "deep_markov": UNROLLED,
    "air": {"numpyro": {}, "numpyro-gathered": {"by_gathering": True}},
    "vrnn": UNROLLED,
    "kalman_vae": {"numpyro": {}},
}
"""Options of each port by module and variant."""


@dataclass(frozen=True)
class Case:
    """One of our steps, as `svi_cases.export` writes it.

    Attributes:
        name: module of the port.
        parameters: of model and guide, in JAX's layouts.
        gradients: of our step.
        batch: frames, controls.
        draws: standard normal noise of Gaussian sites, values of other sites.
        loss: of our step, nats per sequence.
    """

    name: str
    parameters: dict[str, dict[str, jax.Array]]
    gradients: dict[str, dict[str, jax.Array]]
    batch: dict[str, np.ndarray]
    draws: dict[str, np.ndarray]
    loss: float

    @classmethod
    def read(cls, path: Path) -> "Case":
        """Read a file."""
        with np.load(path) as file:
            entries = {name: file[name] for name in file.files}

        def under(folder: str) -> dict[str, np.ndarray]:
            return {key.removeprefix(folder): value for key, value in entries.items() if key.startswith(folder)}

        parameters, gradients = (
            {part: native(under(f"{kind}/{part}/")) for part in ("model", "guide")}
            for kind in ("parameter", "gradient")
        )
        return cls(str(entries["case"]), parameters, gradients, under("batch/"), under("draw/"), float(entries["loss"]))

    def port(self, **options: Any) -> Port:
        """The port for this batch, starting from these parameters."""
        return importlib.import_module(f"numpyro_ports.{self.name}").port(self.parameters, self.batch, **options)
