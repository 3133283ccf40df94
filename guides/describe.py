"""The table of a model's sample sites: what a guide must draw."""

from collections.abc import Iterator
from contextlib import contextmanager

import pyro
import torch
from pyro import poutine
from pyro.util import get_rng_state, set_rng_state
from torch import Tensor, nn

from guides.program import Program
from guides.site_table import SiteTable, tabulate_trace
from pyro_models.components.arguments import check_batch


def describe_sites(
    model: Program, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None
) -> SiteTable:
    """The sample sites of a model or guide, in the order in which a call with these arguments reaches them.

    The call draws from the prior; the random state, the parameters and the buffers are left as they were.

    Args:
        model: called as `model(frames, observed, controls)`.
        frames: (sequences, time, channels, height, width) in [0, 1].
        observed: bool (sequences, time), False = missing, or None.
        controls: (sequences, time, control) or None.

    Returns:
        One row per site: distribution, event and batch shape, support, plates, and whether it is discrete, observed or
        reparameterised. Prints as text, and as HTML in a notebook.

    Raises:
        TypeError: if an argument is no tensor.
        ValueError: if frames, observed or controls have the wrong shape or dtype.

    Example:
        >>> import pyro, torch, pyro.distributions as dist
        >>> def model(frames, observed=None, controls=None):
        ...     with pyro.plate("sequences", frames.shape[0], dim=-1):
        ...         position = pyro.sample("position", dist.Normal(torch.zeros(2), 1).to_event(1))
        ...         speed = pyro.sample("speed", dist.LogNormal(0.0, 1.0))
        >>> table = describe_sites(model, torch.zeros(5, 7, 1, 8, 8))
        >>> table.names
        ('position', 'speed')
        >>> table["speed"].support, table["speed"].batch_shape, str(table["speed"].plates[0])
        ('positive', (5,), 'sequences[5]@-1')
    """
    check_batch(frames, observed, controls)
    with undisturbed(model, device=frames.device), torch.no_grad():
        return tabulate_trace(poutine.trace(model).get_trace(frames, observed, controls))


@contextmanager
def undisturbed(*programs: Program, device: torch.device) -> Iterator[None]:
    """Run models and guides without side effects: generators, parameter store and buffers are restored.

    Validation is off inside, so that a faulty program runs past its first fault and can be inspected.
    """
    buffers = [buffer for program in programs if isinstance(program, nn.Module) for buffer in program.buffers()]
    copies = [buffer.clone() for buffer in buffers]
    store = pyro.get_param_store()
    state = get_rng_state()
    accelerators = [device] if device.type != "cpu" else []
    try:
        with (
            torch.random.fork_rng(devices=accelerators, device_type=device.type if accelerators else "cuda"),
            store.scope(store.get_state()),
            pyro.validation_enabled(False),
        ):
            yield
    finally:
        set_rng_state(state)
        for buffer, copy in zip(buffers, copies, strict=True):
            if not torch.equal(buffer, copy):
                buffer.copy_(copy)
