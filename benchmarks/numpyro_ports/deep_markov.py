"""The deep Markov model of a pendulum and its recurrent guide (Krishnan, Shalit & Sontag 2017), in NumPyro.

The port of `pyro_models.DeepMarkovModel` and `guides.RecurrentGuide` as the recipe `dmm-pendulum` builds them. Time is
the first dim of all arrays.
"""

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import Trace_ELBO

from numpyro_ports.layers import Parameters, Port, input_gates, linear, mlp, over_time

SMALLEST_SCALE = 1e-4
SMALLEST_VARIANCE = 1e-4
STRIDE = 5.0  # of the stored logarithm of a variance


def transition(parameters: Parameters, state: jax.Array, control: jax.Array) -> dist.Distribution:
    """The gated transition, p(z_t | z_{t-1}, u_t)."""
    inputs = jnp.concatenate([state, control], -1)
    gate = mlp(parameters, "transition.gate", inputs, 2, last=jax.nn.sigmoid)
    proposal = mlp(parameters, "transition.proposal", inputs, 2)
    mean = (1 - gate) * linear(parameters, "transition.carry", state) + gate * proposal
    scale = jax.nn.softplus(linear(parameters, "transition.scale", jax.nn.relu(proposal))) + SMALLEST_SCALE
    return dist.Normal(mean, scale).to_event(1)


def model(initial: Mapping[str, Parameters], unrolled: bool, frames: jax.Array, controls: jax.Array) -> None:
    """States by the transition, all frames decoded at once.

    Args:
        initial: parameters before training.
        unrolled: see `over_time`.
        frames: (time, sequences, pixels).
        controls: (time, sequences, control), zero at the first step.
    """
    parameters = numpyro.param("model", initial["model"])
    num_frames, num_sequences, _ = frames.shape

    def step(site: str, state: jax.Array, control: jax.Array) -> tuple[jax.Array, jax.Array]:
        with numpyro.plate("sequences", num_sequences, dim=-1):
            state = numpyro.sample(site, transition(parameters, state, control))
        return state, state

    start = jnp.broadcast_to(parameters["transition.start"], (num_sequences, parameters["transition.start"].size))
    states = over_time(step, start, controls, num_frames, unrolled=unrolled)
    means = mlp(parameters, "decoder.network", states, 3)
    variance = SMALLEST_VARIANCE + jnp.exp(STRIDE * parameters["likelihood.scaled_log_excess"].ravel())
    with numpyro.plate("time", num_frames, dim=-2), numpyro.plate("sequences", num_sequences, dim=-1):
        numpyro.sample("frames", dist.Normal(means, jnp.sqrt(variance)).to_event(1), obs=frames)


def guide(initial: Mapping[str, Parameters], unrolled: bool, frames: jax.Array, controls: jax.Array) -> None:
    """States given the previous one and a recurrent network that reads later frames; arguments as in `model`."""
    parameters = numpyro.param("guide", initial["guide"])
    num_frames, num_sequences, _ = frames.shape
    features = mlp(parameters, "network.network", frames, 1, last=jax.nn.relu)
    inputs = jnp.concatenate([features, jnp.ones_like(frames[..., :1]), controls], -1)
    gates = input_gates(parameters, "backward_network", inputs, "_l0")

    def read(state: jax.Array, gates: jax.Array) -> tuple[jax.Array, jax.Array]:
        recurrent = state @ parameters["backward_network.weight_hh_l0"] + parameters["backward_network.bias_hh_l0"]
        state = jax.nn.relu(gates + recurrent)
        return state, state

    end = jnp.broadcast_to(parameters["end"], (num_sequences, parameters["end"].size))
    _, contexts = jax.lax.scan(read, end, gates, reverse=True, unroll=unrolled)

    def step(site: str, state: jax.Array, context: jax.Array) -> tuple[jax.Array, None]:
        combined = 0.5 * (jnp.tanh(linear(parameters, "from_state", state)) + context)
        scale = jax.nn.softplus(linear(parameters, "scale", combined)) + SMALLEST_SCALE
        law = dist.Normal(linear(parameters, "mean", combined), scale).to_event(1)
        with numpyro.plate("sequences", num_sequences, dim=-1):
            return numpyro.sample(site, law), None

    start = jnp.broadcast_to(parameters["start"], (num_sequences, parameters["start"].size))
    over_time(step, start, contexts, num_frames, unrolled=unrolled)


def port(initial: Mapping[str, Parameters], batch: Mapping[str, np.ndarray], *, unrolled: bool = False) -> Port:
    """The port for a batch of our videos, (sequences, time, ...).

    Args:
        initial: parameters of model and guide, see `native`.
        batch: `frames` and `controls`.
        unrolled: see `over_time`.
    """
    frames, controls = (np.swapaxes(batch[name], 0, 1) for name in ("frames", "controls"))
    controls = np.concatenate([np.zeros_like(controls[:1]), controls[1:]])
    arguments = (jnp.asarray(frames.reshape(*frames.shape[:2], -1)), jnp.asarray(controls))
    return Port(partial(model, initial, unrolled), partial(guide, initial, unrolled), Trace_ELBO(), arguments)
