"""The step of a NumPyro port in a process of its own, for `svi_step.py --peer`; see `measured_process.py`."""

import argparse
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
from measured_process import serve
from numpyro.infer import SVI
from numpyro.optim import Adam
from numpyro_ports import PORTS, Case
from numpyro_ports.layers import Port


def compiled_step(port: Port) -> Callable[[], None]:
    """A step that can be called repeatedly on one batch: `svi.update`, compiled, its state donated."""
    svi = SVI(port.model, port.guide, Adam(1e-4), port.loss)
    # copies: the initial parameters stay where they are when the state is donated
    state = jax.tree.map(jnp.copy, svi.init(jax.random.key(0), *port.arguments))
    update = jax.jit(svi.update, donate_argnums=0)

    def step() -> None:
        nonlocal state
        state, loss = update(state, *port.arguments)
        loss.block_until_ready()

    return step


def main() -> None:
    """Serve the step of one variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="file written by svi_cases.py")
    parser.add_argument("variant")
    options = parser.parse_args()
    case = Case.read(options.path)
    serve(compiled_step(case.port(**PORTS[case.name][options.variant])))


if __name__ == "__main__":
    main()
