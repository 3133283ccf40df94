"""The variational recurrent network on moving digits and its guide (Chung et al. 2015), in NumPyro.

The port of `pyro_models.VariationalRecurrentNetwork` and `guides.PriorCorrectionGuide` as the recipe `vrnn-small`
builds them, with fully connected networks. Time is the first dim of all arrays.
"""

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.nn import elu, softplus
from numpyro.infer import Trace_ELBO

from numpyro_ports.layers import Parameters, Port, input_gates, lstm_gates, mlp, over_time

FRAME_SCALE = 0.3
SMALLEST_SCALE = 0.01
SCALE_OFFSET = 0.25

State = tuple[jax.Array, jax.Array, jax.Array]
"""Output and memory of the cell, and the code of the latent."""


def read(parameters: Parameters, frames: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Features of each frame, and what those of the previous frame add to the gates of the cell."""
    features = mlp(parameters, "frame_encoder.1", frames, 2, elu, elu)
    previous = jnp.concatenate([jnp.zeros_like(features[:1]), features[:-1]])
    feature_dim = features.shape[-1]
    weights = {
        "recurrence.weight_ih": parameters["recurrence.weight_ih"][:feature_dim],
        "recurrence.bias_ih": parameters["recurrence.bias_ih"],
    }
    return features, input_gates(weights, "recurrence", previous)


def recur(parameters: Parameters, state: State, gates: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Output and memory of the cell, before the step's latent is drawn."""
    output, memory, code = state
    gates = gates + code @ parameters["recurrence.weight_ih"][-code.shape[-1] :]
    return lstm_gates(parameters, "recurrence", gates, output, memory)


def prior_moments(parameters: Parameters, output: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation of a latent given the cell's output."""
    mean, raw = jnp.split(mlp(parameters, "prior", output, 3, elu), 2, -1)
    return mean, softplus(raw) + SMALLEST_SCALE


def encode(parameters: Parameters, latent: jax.Array) -> jax.Array:
    """The code of a latent."""
    return mlp(parameters, "latent_encoder", latent, 2, elu, elu)


def blank(parameters: Parameters, num_sequences: int) -> State:
    """The state before the first frame."""
    units = parameters["recurrence.weight_hh"].shape[0]
    zeros = jnp.zeros((num_sequences, units))
    return zeros, zeros, jnp.zeros((num_sequences, parameters["latent_encoder.2.bias"].size))


def model(initial: Mapping[str, Parameters], unrolled: bool, frames: jax.Array) -> None:
    """Latents given earlier frames and latents, all frames decoded at once.

    Args:
        initial: parameters before training.
        unrolled: see `over_time`.
        frames: (time, sequences, pixels).
    """
    parameters = numpyro.param("model", initial["model"])
    num_frames, num_sequences, _ = frames.shape
    _, gates = read(parameters, frames)

    def step(site: str, state: State, gates: jax.Array) -> tuple[State, tuple[jax.Array, jax.Array]]:
        output, memory = recur(parameters, state, gates)
        with numpyro.plate("sequences", num_sequences, dim=-1):
            latent = numpyro.sample(site, dist.Normal(*prior_moments(parameters, output)).to_event(1))
        code = encode(parameters, latent)
        return (output, memory, code), (code, output)

    states = over_time(step, blank(parameters, num_sequences), gates, num_frames, unrolled=unrolled)
    means = mlp(parameters, "decoder.0", jnp.concatenate(states, -1), 3, elu)
    with numpyro.plate("time", num_frames, dim=-2), numpyro.plate("sequences", num_sequences, dim=-1):
        numpyro.sample("frames", dist.Normal(means, FRAME_SCALE).to_event(1), obs=frames)


def guide(initial: Mapping[str, Parameters], unrolled: bool, frames: jax.Array) -> None:
    """Latents given the present frame as well, by correcting the model's mean; arguments as in `model`."""
    shared, own = numpyro.param("model", initial["model"]), numpyro.param("guide", initial["guide"])
    num_frames, num_sequences, _ = frames.shape
    features, gates = read(shared, frames)

    def step(site: str, state: State, inputs: tuple[jax.Array, jax.Array]) -> tuple[State, None]:
        feature, gates = inputs
        output, memory = recur(shared, state, gates)
        known = jnp.concatenate([output, feature], -1)
        mean = prior_moments(shared, output)[0] + mlp(own, "correction", known, 3, elu)
        scale = softplus(mlp(own, "scale", known, 3, elu) + SCALE_OFFSET) + SMALLEST_SCALE
        with numpyro.plate("sequences", num_sequences, dim=-1):
            latent = numpyro.sample(site, dist.Normal(mean, scale).to_event(1))
        return (output, memory, encode(shared, latent)), None

    over_time(step, blank(shared, num_sequences), (features, gates), num_frames, unrolled=unrolled)


def port(initial: Mapping[str, Parameters], batch: Mapping[str, np.ndarray], *, unrolled: bool = False) -> Port:
    """The port for a batch of our videos, (sequences, time, ...).

    Args:
        initial: parameters of model and guide, see `native`.
        batch: `frames`.
        unrolled: see `over_time`.
    """
    frames = np.swapaxes(batch["frames"], 0, 1)
    arguments = (jnp.asarray(frames.reshape(*frames.shape[:2], -1)),)
    return Port(partial(model, initial, unrolled), partial(guide, initial, unrolled), Trace_ELBO(), arguments)
