"""The Kalman variational autoencoder of a ball in a box (Fraccaro et al. 2017), in NumPyro.

The port of `pyro_models.KalmanVAE`, states integrated out, and `guides.KalmanGuide` as the recipe `kvae-box-cpu` builds
them.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import Trace_ELBO

from numpyro_ports.layers import Parameters, Port, input_gates, linear, lstm_gates

TRANSITION_VARIANCE, EMISSION_VARIANCE, INITIAL_VARIANCE = 0.08, 0.03, 20.0
STAGES = 3


def filtered_log_density(codes: jax.Array, transitions: jax.Array, emissions: jax.Array) -> jax.Array:
    """Log density of codes with their states integrated out by the Kalman filter, (sequences,), nats.

    Noise is diagonal, so the entries of a code are conditioned on one after the other, which takes divisions where a
    whole code takes a matrix inverse. Sequences are the last dim, over which XLA vectorises products of small matrices.

    Args:
        codes: (time, code, sequences).
        transitions: from each step to the next, (time, state, state, sequences); the last is not used.
        emissions: (time, code, state, sequences).
    """
    _, code_dim, state_dim, num_sequences = emissions.shape
    identity = jnp.eye(state_dim)[..., None]

    def step(carry: Any, inputs: Any) -> tuple[Any, None]:
        mean, covariance, log_density = carry
        code, transition, emission = inputs
        for entry in range(code_dim):
            cross = (covariance * emission[entry]).sum(1)
            variance = (cross * emission[entry]).sum(0) + EMISSION_VARIANCE
            error = code[entry] - (emission[entry] * mean).sum(0)
            mean = mean + cross * (error / variance)
            covariance = covariance - cross[:, None] * (cross / variance)
            log_density -= 0.5 * (error**2 / variance + jnp.log(2 * math.pi * variance))
        mean = (transition * mean).sum(1)
        moved = (transition[:, :, None] * covariance).sum(1)
        covariance = (moved[:, None] * transition).sum(2) + TRANSITION_VARIANCE * identity
        return (mean, covariance, log_density), None

    mean = jnp.zeros((state_dim, num_sequences))
    covariance = jnp.broadcast_to(INITIAL_VARIANCE * identity, (state_dim, state_dim, num_sequences))
    inputs = (codes, transitions, emissions)
    (_, _, log_density), _ = jax.lax.scan(step, (mean, covariance, jnp.zeros(num_sequences)), inputs)
    return log_density


class CodePrior(dist.Distribution):
    """Codes emitted by a linear-Gaussian state whose dynamics an LSTM mixes, given earlier codes.

    Args:
        parameters: of the model.
        num_sequences: batch.
        num_frames: steps.
    """

    support = dist.constraints.independent(dist.constraints.real, 2)

    def __init__(self, parameters: Parameters, num_sequences: int, num_frames: int) -> None:
        self.parameters = parameters
        code_dim = parameters["dynamics.initial_code"].size
        super().__init__((num_sequences,), (num_frames, code_dim))

    def log_prob(self, value: jax.Array) -> jax.Array:
        """Log density of codes (sequences, time, code)."""
        codes = value.swapaxes(0, 1)
        weights = self._weights(codes)

        def mixed(weights: jax.Array, name: str) -> jax.Array:
            matrices = self.parameters[f"dynamics.{name}"]
            flat = weights @ matrices.reshape(matrices.shape[0], -1)
            return flat.swapaxes(1, 2).reshape(len(flat), *matrices.shape[1:], -1)

        # the transition of step t leads to step t + 1; the last one is not used
        transitions = mixed(jnp.roll(weights, -1, 0), "transition_matrices")
        return filtered_log_density(codes.swapaxes(1, 2), transitions, mixed(weights, "emission_matrices"))

    def _weights(self, codes: jax.Array) -> jax.Array:
        """Weights of the dynamics, (time, sequences, component); those of a step depend on earlier codes alone."""
        name, parameters = "dynamics.mixture.lstm", self.parameters
        first = jnp.broadcast_to(parameters["dynamics.initial_code"], codes[:1].shape)
        gates = input_gates(parameters, name, jnp.concatenate([first, codes[:-1]]), "_l0")

        def step(state: Any, gates: jax.Array) -> tuple[Any, jax.Array]:
            state = lstm_gates(parameters, name, gates, *state, "_l0")
            return state, state[0]

        zeros = jnp.zeros((codes.shape[1], parameters[f"{name}.weight_hh_l0"].shape[0]))
        _, outputs = jax.lax.scan(step, (zeros, zeros), gates)
        return jax.nn.softmax(linear(parameters, "dynamics.mixture.head", outputs))


def plain_convolution(images: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """A 3 x 3 convolution of images (batch, height, width, channels), padded by 1."""
    dimensions = ("NHWC", "HWIO", "NHWC")
    padding = ((1, 1), (1, 1))
    return jax.lax.conv_general_dilated(images, kernel, (stride, stride), padding, dimension_numbers=dimensions)


convolution = jax.custom_vjp(plain_convolution, nondiff_argnums=(2,))


def convolution_forward(images: jax.Array, kernel: jax.Array, stride: int) -> tuple[jax.Array, Any]:
    """The convolution, and what its gradient needs."""
    return plain_convolution(images, kernel, stride), (images, kernel)


def convolution_backward(stride: int, saved: Any, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Gradients by images and kernel; the latter by nine matrix products, which XLA's own takes twice the time of."""
    images, kernel = saved
    by_images = jax.linear_transpose(lambda images: plain_convolution(images, kernel, stride), images)
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    _, height, width, channels = gradient.shape
    rows, columns = stride * height, stride * width
    products = [
        padded[:, row : row + rows : stride, column : column + columns : stride].reshape(-1, images.shape[-1]).T
        @ gradient.reshape(-1, channels)
        for row in range(3)
        for column in range(3)
    ]
    return by_images(gradient)[0], jnp.stack(products).reshape(kernel.shape)


convolution.defvjp(convolution_forward, convolution_backward)


def convolve(parameters: Parameters, name: str, images: jax.Array, stride: int = 1) -> jax.Array:
    """A convolution with ReLU."""
    return jax.nn.relu(convolution(images, parameters[f"{name}.weight"], stride) + parameters[f"{name}.bias"])


def shuffle(images: jax.Array) -> jax.Array:
    """Four channels become a square of four pixels: (batch, height, width, 4 c) -> (batch, 2 height, 2 width, c)."""
    batch, height, width, channels = images.shape
    squares = images.reshape(batch, height, width, channels // 4, 2, 2)
    return squares.transpose(0, 1, 4, 2, 5, 3).reshape(batch, 2 * height, 2 * width, channels // 4)


def decode(parameters: Parameters, codes: jax.Array) -> jax.Array:
    """Logits of pixels, (batch, height, width), of codes (batch, code)."""
    seeds = linear(parameters, "decoder.seed", codes)
    channels = parameters["decoder.head.weight"].shape[0]
    side = math.isqrt(seeds.shape[-1] // channels)
    images = seeds.reshape(-1, channels, side, side).transpose(0, 2, 3, 1)
    for stage in range(STAGES):
        images = convolve(parameters, f"decoder.convolutions.{stage}", shuffle(images) if stage else images)
    # the head sees one pixel at a time: it precedes the last shuffle, which then moves one channel
    head = jnp.kron(parameters["decoder.head.weight"], jnp.eye(4))
    return shuffle(images @ head + parameters["decoder.head.bias"])[..., 0]


def model(initial: Mapping[str, Parameters], frames: jax.Array) -> None:
    """Codes with their states integrated out, and frames.

    Args:
        initial: parameters before training.
        frames: (time, sequences, height, width).
    """
    parameters = numpyro.param("model", initial["model"])
    num_frames, num_sequences, *size = frames.shape
    with numpyro.plate("sequences", num_sequences, dim=-1):
        codes = numpyro.sample("a", CodePrior(parameters, num_sequences, num_frames))
        logits = decode(parameters, codes.swapaxes(0, 1).reshape(num_frames * num_sequences, -1))
        with numpyro.plate("time", num_frames, dim=-2):
            numpyro.sample("frames", dist.Bernoulli(logits=logits.reshape(frames.shape)).to_event(2), obs=frames)


def guide(initial: Mapping[str, Parameters], frames: jax.Array) -> None:
    """Codes frame by frame; arguments as in `model`."""
    parameters = numpyro.param("guide", initial["guide"])
    num_frames, num_sequences, *size = frames.shape
    images = frames.reshape(-1, *size, 1)
    for stage in range(STAGES):
        images = convolve(parameters, f"encoder.network.convolutions.{2 * stage}", images, stride=2)
    features = images.transpose(0, 3, 1, 2).reshape(num_frames, num_sequences, -1).swapaxes(0, 1)
    mean = linear(parameters, "encoder.mean", features)
    variance = EMISSION_VARIANCE * jax.nn.sigmoid(linear(parameters, "encoder.variance", features))
    with numpyro.plate("sequences", num_sequences, dim=-1):
        numpyro.sample("a", dist.Normal(mean, jnp.sqrt(variance)).to_event(2))


def port(initial: Mapping[str, Parameters], batch: Mapping[str, np.ndarray]) -> Port:
    """The port for a batch of our videos, (sequences, time, ...).

    Args:
        initial: parameters of model and guide, see `native`.
        batch: `frames`.
    """
    arguments = (jnp.asarray(np.swapaxes(batch["frames"][:, :, 0], 0, 1)),)
    return Port(partial(model, initial), partial(guide, initial), Trace_ELBO(), arguments)
