"""What a refinement starts from: a program that draws the latents, before any refinement."""

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import pyro.distributions as dist
import torch
from pyro import plate, poutine
from pyro.nn import PyroModule
from pyro.poutine.messenger import Messenger
from torch import nn

from guides.iterative_refinement.site_parameters import family_of
from guides.program import Arguments
from guides.site_table import Site
from guides.stepwise import StepwiseGuide
from pyro_models.components.stepwise import StepwiseModel

StartName = Literal["base", "prior", "learned"]


class Read(NamedTuple):
    """A batch as a start takes it: the arguments, and what the program's `prepare` made of them if it has steps."""

    arguments: Arguments
    context: Any


class Start(PyroModule):
    """Draws the latents of a model; reads the frames once for any number of runs.

    Programs in steps are run step by step: a guide reads its frames once, and a model decodes no frame.
    """

    @property
    def program(self) -> Any:
        """The guide or the model that is run."""
        raise NotImplementedError

    def read(self, arguments: Arguments) -> Read:
        """What does not depend on draws; without sites.

        Args:
            arguments: frames, observed, controls.
        """
        return Read(arguments, self.program.prepare(*arguments) if self._has_steps else None)

    def forward(self, read: Read) -> None:
        """Draw all latents.

        Args:
            read: result of `read`.
        """
        if not self._has_steps:
            self.program(*read.arguments)
            return
        frames, state = read.arguments[0], None
        with plate("sequences", frames.shape[0], dim=-1):
            for index in range(frames.shape[1]):
                state = self.program.step(index, state, read.context)

    @property
    def _has_steps(self) -> bool:
        return type(self.program).forward in (StepwiseModel.forward, StepwiseGuide.forward)


class BaseStart(Start):
    """An amortized guide.

    Args:
        base: the guide; its parameters are those of the refining guide as well.
    """

    def __init__(self, base: PyroModule) -> None:
        super().__init__()
        self.base = base

    @property
    def program(self) -> PyroModule:
        """The guide."""
        return self.base


class PriorStart(Start):
    """The model's own latents, drawn by its prior, each given those before it (Marino, Cvitkovic and Yue 2018).

    Args:
        model: not owned.
    """

    def __init__(self, model: PyroModule) -> None:
        super().__init__()
        self._model = [model]

    @property
    def program(self) -> PyroModule:
        """The model."""
        return self._model[0]

    def forward(self, read: Read) -> None:
        """Draw all latents; observed sites are hidden from what runs around.

        Args:
            read: result of `read`.
        """
        with poutine.block(hide_types=["observe"]):
            super().forward(read)


class LearnedStart(PriorStart):
    """Learned constants, N(m, diag s^2), one pair for each family of real latents; other latents as in the prior.

    A constant is scored where its prior is: where masks of the distribution say so, and, for a whole path, at the steps
    that an attribute `observed` of the distribution marks. `check_guide` reports models that leave out others.

    Args:
        model: not owned.
        latent: its latent sites.
    """

    def __init__(self, model: PyroModule, latent: Iterable[Site]) -> None:
        super().__init__(model)
        zeros = {
            family_of(site.name): torch.zeros(site.event_shape[-1:] or 1, dtype=site.dtype, device=site.device)
            for site in latent
            if site.support == "real" and not site.discrete
        }
        self.loc = nn.ParameterDict({family: nn.Parameter(zero.clone()) for family, zero in zeros.items()})
        self.log_scale = nn.ParameterDict({family: nn.Parameter(zero) for family, zero in zeros.items()})

    def forward(self, read: Read) -> None:
        """Draw all latents; observed sites are hidden from what runs around.

        Args:
            read: result of `read`.
        """
        with _Constants(dict(self.loc), dict(self.log_scale)):
            super().forward(read)


class _Constants(Messenger):
    """Real latents are Gaussians with given parameters, masked as in the model."""

    def __init__(self, loc: dict[str, nn.Parameter], log_scale: dict[str, nn.Parameter]) -> None:
        super().__init__()
        self._loc, self._log_scale = loc, log_scale

    def _pyro_sample(self, msg: Any) -> None:
        family = family_of(msg["name"])
        if family in self._loc and not msg["is_observed"]:
            msg["fn"] = _constant(msg["fn"], self._loc[family], self._log_scale[family].exp())


def _constant(prior: Any, loc: nn.Parameter, scale: torch.Tensor) -> Any:
    """The Gaussian in the place of a prior, with its shapes and its masks.

    A distribution of a whole path scores the steps that its attribute `observed` marks, as those of this library do.
    """
    event = len(prior.event_shape)
    shape = prior.batch_shape + prior.event_shape
    if event == 0:
        loc, scale = loc.squeeze(-1), scale.squeeze(-1)  # pyright: ignore[reportAssignmentType] - a tensor is enough
    gaussian: Any = dist.Normal(loc.expand(shape), scale.expand(shape))
    inner, masks = prior, []
    while type(inner).__name__ in ("Independent", "MaskedDistribution"):
        if type(inner).__name__ == "MaskedDistribution":
            masks.append((inner._mask, inner.event_dim))
        inner = inner.base_dist
    if event > 1 and getattr(inner, "observed", None) is not None:
        masks.append((inner.observed, event - 1))
    declared = 0
    for mask, dims in sorted(masks, key=lambda one: one[1]):
        gaussian = gaussian.to_event(dims - declared).mask(mask)
        declared = dims
    return gaussian.to_event(event - declared)
