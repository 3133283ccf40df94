"""Layers of the ports: functions of a dict of arrays, which have the names of our parameters."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.contrib.control_flow import scan

Parameters = Mapping[str, jax.Array]


class Port(NamedTuple):
    """What `numpyro.infer.SVI` needs, and the arguments of model and guide."""

    model: Callable[..., None]
    guide: Callable[..., None]
    loss: Any
    arguments: tuple[jax.Array | None, ...]


def native(values: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """Arrays of PyTorch in JAX's layouts: weights are (inputs, outputs), kernels (height, width, inputs, outputs)."""
    axes = {2: (1, 0), 4: (2, 3, 1, 0)}

    def converted(name: str, value: np.ndarray) -> jax.Array:
        is_weight = name.rsplit(".", 1)[-1].startswith("weight")
        return jnp.array(value.transpose(axes[value.ndim]) if is_weight else value)

    return {name: converted(name, value) for name, value in values.items()}


def linear(parameters: Parameters, name: str, inputs: jax.Array) -> jax.Array:
    """A fully connected layer."""
    return inputs @ parameters[f"{name}.weight"] + parameters[f"{name}.bias"]


def mlp(
    parameters: Parameters,
    name: str,
    inputs: jax.Array,
    depth: int,
    activation: Callable[[jax.Array], jax.Array] = jax.nn.relu,
    last: Callable[[jax.Array], jax.Array] = lambda outputs: outputs,
) -> jax.Array:
    """Fully connected layers `name.0`, `name.2`, ...

    Args:
        parameters: their weights and biases.
        name: name of the network.
        inputs: (*batch, inputs).
        depth: number of layers.
        activation: between layers.
        last: after the last layer.
    """
    for layer in range(depth):
        outputs = linear(parameters, f"{name}.{2 * layer}", inputs)
        inputs = activation(outputs) if layer + 1 < depth else last(outputs)
    return inputs


def lstm(
    parameters: Parameters, name: str, inputs: jax.Array, output: jax.Array, memory: jax.Array, suffix: str = ""
) -> tuple[jax.Array, jax.Array]:
    """One step of an LSTM with PyTorch's gates and both of its biases; returns output and memory."""
    return lstm_gates(parameters, name, input_gates(parameters, name, inputs, suffix), output, memory, suffix)


def input_gates(parameters: Parameters, name: str, inputs: jax.Array, suffix: str = "") -> jax.Array:
    """What the inputs add to the gates of a recurrent layer; for all steps at once where they are known."""
    return inputs @ parameters[f"{name}.weight_ih{suffix}"] + parameters[f"{name}.bias_ih{suffix}"]


def lstm_gates(
    parameters: Parameters, name: str, gates: jax.Array, output: jax.Array, memory: jax.Array, suffix: str = ""
) -> tuple[jax.Array, jax.Array]:
    """One step of an LSTM given `input_gates`."""
    gates = gates + output @ parameters[f"{name}.weight_hh{suffix}"] + parameters[f"{name}.bias_hh{suffix}"]
    enter, keep, new, leave = jnp.split(gates, 4, -1)
    memory = jax.nn.sigmoid(keep) * memory + jax.nn.sigmoid(enter) * jnp.tanh(new)
    return jax.nn.sigmoid(leave) * jnp.tanh(memory), memory


def over_time(
    step: Callable[[str, Any, Any], tuple[Any, Any]], carry: Any, inputs: Any, length: int, *, unrolled: bool
) -> Any:
    """Outputs of a step with a site, repeated over time.

    Args:
        step: maps the name of the site, the carried state and the step's inputs to the next state and an output.
        carry: state before the first step.
        inputs: arrays with time as their first dim.
        length: number of steps.
        unrolled: a Python loop with sites `z_1`, `z_2`, ... instead of NumPyro's scan with one site `z`: it takes
            longer to compile, and XLA sees that model and guide compute the same.
    """
    if not unrolled:
        return scan(lambda carry, inputs: step("z", carry, inputs), carry, inputs, length=length)[1]
    outputs = []
    for index in range(length):
        carry, output = step(f"z_{index + 1}", carry, jax.tree.map(lambda values, i=index: values[i], inputs))
        outputs.append(output)
    return jax.tree.map(lambda *values: jnp.stack(values), *outputs)
