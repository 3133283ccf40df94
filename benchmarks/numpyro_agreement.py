"""Whether a NumPyro port computes our loss and our gradients, from the same parameters, batch and draws.

    python benchmarks/svi_cases.py "DMM, Trace_ELBO" dmm.npz             (in our environment)
    python benchmarks/numpyro_agreement.py dmm.npz                       (in that of the ports)

Prints a line of JSON for each way to run the port: our loss and the port's, nats per sequence; the largest deviation of
a gradient, relative to the norm of that parameter's gradient; and the relative deviation of the gradient of all
parameters together. Exits with status 1 if the loss deviates by more than 1e-5 of itself, or that gradient by more
than 1e-4.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.handlers import substitute
from numpyro_ports import PORTS, Case
from numpyro_ports.layers import Port

LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-4


def given(draws: Mapping[str, np.ndarray]) -> Callable[[Any], jax.Array | None]:
    """Values of a guide's sites from recorded draws; Gaussians depend on their parameters as if they were drawn."""
    steps = [draws[f"z_{index + 1}"] for index in range(len(draws)) if f"z_{index + 1}" in draws]
    draws = dict(draws) | ({"z": np.stack(steps)} if len(steps) == len(draws) else {})

    def value(site: Any) -> jax.Array | None:
        if site["type"] != "sample" or site["name"] not in draws:
            return None
        site["kwargs"]["rng_key"] = jax.random.key(0)  # the analysis of dependencies in TraceGraph_ELBO draws as well
        draw, law = jnp.asarray(draws[site["name"]]), site["fn"]
        return law.mean + jnp.sqrt(law.variance) * draw if law.has_rsample else draw

    return value


def compare(case: Case, port: Port) -> dict[str, float]:
    """Deviations of a port's loss and gradients."""
    guide = substitute(port.guide, substitute_fn=given(case.draws))
    num_sequences = case.batch["frames"].shape[0]

    def loss(parameters: Any) -> jax.Array:
        return port.loss.loss(jax.random.key(0), parameters, port.model, guide, *port.arguments) / num_sequences

    value, gradients = jax.jit(jax.value_and_grad(loss))(case.parameters)
    deviations, squares = {}, np.zeros(2)
    for part, expected in case.gradients.items():
        for name, own in expected.items():
            difference = np.linalg.norm(np.asarray(gradients[part][name] - own, dtype=np.float64))
            size = np.linalg.norm(np.asarray(own, dtype=np.float64))
            deviations[f"{part}.{name}"] = difference / size if size else difference
            squares += difference**2, size**2
    worst = max(deviations, key=deviations.__getitem__)
    return {
        "ours": case.loss,
        "port": float(value),
        "loss": abs(float(value) / case.loss - 1),
        "gradient": float(np.sqrt(squares[0] / squares[1])),
        "worst": float(deviations[worst]),
        "worst_parameter": worst,
    }


def main() -> None:
    """Compare every way to run the ports of the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", type=Path, nargs="+", help="files written by svi_cases.py")
    agree = True
    for path in parser.parse_args().paths:
        case = Case.read(path)
        for variant, options in PORTS[case.name].items():
            found = compare(case, case.port(**options))
            agree &= found["loss"] <= LOSS_TOLERANCE and found["gradient"] <= GRADIENT_TOLERANCE
            print(json.dumps({"case": case.name, "variant": variant} | found))
    sys.exit(0 if agree else 1)


if __name__ == "__main__":
    main()
