"""Attend, infer, repeat on scenes of digits (Eslami et al. 2016) with its attention and baseline, in NumPyro.

The port of `pyro_models.AttendInferRepeat` and `guides.GlimpseAttentionGuide` as the recipe `air` builds them for
Pyro's `TraceGraph_ELBO`. Scenes are single frames, so the plate of time has one step.
"""

from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from numpyro_ports.baselines import TraceGraphWithBaselines
from numpyro_ports.layers import Parameters, Port, linear, lstm, mlp

NUM_SLOTS, WHAT_DIM, GLIMPSE_SIZE = 3, 50, 20
ANOTHER, FRAME_SCALE, DARKNESS = 0.001, 0.3, 2.0
WHERE_MEAN, WHERE_SCALE = np.array([-0.4, 0.0, 0.0], np.float32), np.array([0.3, 1.0, 1.0], np.float32)
WHERE_OFFSET, BASELINE_SCALE = -1.0, 100.0
SMALLEST_SCALE = SMALLEST_WINDOW = 0.01

Interpolation = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""Values of images (*batch, rows, columns) at given rows (*batch, points) and columns, 0 outside, bilinearly."""


def dense(images: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """By two matrix products."""

    def weights(places: jax.Array, size: int) -> jax.Array:
        return jax.nn.relu(1 - jnp.abs(places[..., None] - jnp.arange(size)))

    return weights(rows, images.shape[-2]) @ images @ weights(columns, images.shape[-1]).swapaxes(-1, -2)


def gathered(images: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """By reading two neighbours along each axis."""

    def along(values: jax.Array, places: jax.Array, axis: int) -> jax.Array:
        below = jnp.floor(places)
        total = jnp.zeros(())
        for neighbour in (below, below + 1):
            inside = (neighbour >= 0) & (neighbour < values.shape[axis])
            weight = jnp.where(inside, 1 - jnp.abs(places - neighbour), 0.0)
            index = jnp.where(inside, neighbour, 0).astype(int)
            other = -1 if axis == -2 else -2
            read = jnp.take_along_axis(values, jnp.expand_dims(index, other), axis)
            total += jnp.expand_dims(weight, other) * read
        return total

    return along(along(images, rows, -2), columns, -1)


def places(scale: jax.Array, shift: jax.Array, num_targets: int, num_sources: int) -> jax.Array:
    """Positions of target pixels on a line of source pixels, in pixels from the first."""
    targets = jnp.linspace(-1, 1, num_targets)
    return 0.5 * (scale[..., None] * targets + shift[..., None] + 1) * (num_sources - 1)


def windows(where: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Scale, and middles along x and y, of windows given as logits (*batch, 3)."""
    return jax.nn.sigmoid(where[..., 0]), jnp.tanh(where[..., 1]), jnp.tanh(where[..., 2])


def read(images: jax.Array, where: jax.Array, interpolate: Interpolation) -> jax.Array:
    """Glimpses of images (*batch, height, width) through windows."""
    scale, x, y = windows(where)
    rows, columns = (
        places(scale, shift, GLIMPSE_SIZE, size) for shift, size in zip((y, x), images.shape[-2:], strict=True)
    )
    return interpolate(images, rows, columns)


def paste(glimpses: jax.Array, where: jax.Array, size: tuple[int, int], interpolate: Interpolation) -> jax.Array:
    """Images that are black except for the glimpses (*batch, height, width) at their windows."""
    scale, x, y = windows(where)
    scale = jnp.maximum(scale, SMALLEST_WINDOW)
    rows, columns = (
        places(1 / scale, -shift / scale, target, GLIMPSE_SIZE) for shift, target in zip((y, x), size, strict=True)
    )
    return interpolate(glimpses, rows, columns)


def model(initial: Mapping[str, Parameters], interpolate: Interpolation, frames: jax.Array) -> None:
    """A sum of patches, up to three.

    Args:
        initial: parameters before training.
        interpolate: `dense` or `gathered`.
        frames: (time, sequences, height, width).
    """
    parameters = numpyro.param("model", initial["model"])
    *batch, height, width = frames.shape
    with numpyro.plate("time", batch[0], dim=-2), numpyro.plate("sequences", batch[1], dim=-1):
        alive = jnp.ones(batch)
        slots = []
        for index in range(1, NUM_SLOTS + 1):
            alive = alive * numpyro.sample(f"z_pres_{index}", bernoulli(ANOTHER * alive))
            with numpyro.handlers.mask(mask=alive > 0):
                where = numpyro.sample(f"z_where_{index}", dist.Normal(WHERE_MEAN, WHERE_SCALE).to_event(1))
                what = numpyro.sample(f"z_what_{index}", dist.Normal(jnp.zeros(WHAT_DIM), 1.0).to_event(1))
            slots.append((alive, where, what))
        presence, where, what = (jnp.stack(values) for values in zip(*slots, strict=True))
        glimpses = jax.nn.sigmoid(mlp(parameters, "decoder", what, 2) - DARKNESS)
        glimpses = presence[..., None, None] * glimpses.reshape(*presence.shape, GLIMPSE_SIZE, GLIMPSE_SIZE)
        canvas = paste(glimpses, where, (height, width), interpolate).sum(0)
        numpyro.sample("frames", dist.Normal(canvas, FRAME_SCALE).to_event(2), obs=frames)


def guide(initial: Mapping[str, Parameters], interpolate: Interpolation, frames: jax.Array) -> None:
    """Objects one after the other, each through the window that was drawn; arguments as in `model`."""
    parameters = numpyro.param("guide", initial["guide"])
    batch = frames.shape[:2]
    features = mlp(parameters, "features", frames.reshape(*batch, -1), 1, last=jax.nn.relu)
    alive = jnp.ones(batch)
    where, what = jnp.zeros((*batch, WHERE_MEAN.size)), jnp.zeros((*batch, WHAT_DIM))
    blank = jnp.zeros((*batch, parameters["recurrence.weight_hh"].shape[0]))
    state = baseline_state = (blank, blank)
    with numpyro.plate("time", batch[0], dim=-2), numpyro.plate("sequences", batch[1], dim=-1):
        for index in range(1, NUM_SLOTS + 1):
            present = alive[..., None]
            inputs = jnp.concatenate([features, present, present * where, present * what], -1)
            state = lstm(parameters, "recurrence", inputs, *state)
            baseline_state = lstm(parameters, "baseline_recurrence", jax.lax.stop_gradient(inputs), *baseline_state)
            baseline = BASELINE_SCALE * linear(parameters, "baseline_value", baseline_state[0])[..., 0] * alive
            chance = jax.nn.sigmoid(linear(parameters, "presence", state[0])[..., 0])
            law = bernoulli(chance * alive)
            alive = alive * numpyro.sample(f"z_pres_{index}", law, infer={"baseline_value": baseline})
            with numpyro.handlers.mask(mask=alive > 0):
                mean, scale = jnp.split(mlp(parameters, "where", state[0], 2), 2, -1)
                where = numpyro.sample(f"z_where_{index}", gaussian(WHERE_MEAN + mean, scale + WHERE_OFFSET))
                glimpses = read(frames, where, interpolate).reshape(*batch, -1)
                mean, scale = jnp.split(mlp(parameters, "what", glimpses, 2), 2, -1)
                what = numpyro.sample(f"z_what_{index}", gaussian(mean, scale))


def bernoulli(chance: jax.Array) -> dist.Distribution:
    """A presence; at a chance of 0, NumPyro's log probability times a cost would have the gradient 0 times infinity."""
    return dist.Bernoulli(jnp.maximum(chance, jnp.finfo(chance.dtype).eps))


def gaussian(mean: jax.Array, raw: jax.Array) -> dist.Distribution:
    """A diagonal Gaussian from means and raw scales."""
    return dist.Normal(mean, jax.nn.softplus(raw) + SMALLEST_SCALE).to_event(1)


def port(initial: Mapping[str, Parameters], batch: Mapping[str, np.ndarray], *, by_gathering: bool = False) -> Port:
    """The port for a batch of our videos, (sequences, time, 1, height, width).

    Args:
        initial: parameters of model and guide, see `native`.
        batch: `frames`.
        by_gathering: whether glimpses are read and pasted by `gathered` instead of `dense`.
    """
    arguments = (jnp.asarray(np.swapaxes(batch["frames"][:, :, 0], 0, 1)),)
    interpolate = gathered if by_gathering else dense
    programs = (partial(program, initial, interpolate) for program in (model, guide))
    return Port(*programs, TraceGraphWithBaselines(), arguments)
