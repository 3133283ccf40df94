"""Iterative amortized inference for any model with Gaussian latents: from a start, by learned steps, to a guide."""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, NamedTuple, get_args

import torch
from pyro import plate
from pyro.nn import PyroModule
from torch import Tensor, nn

from guides.describe import describe_sites
from guides.gradient_modes import GradientMode, gradient_mode
from guides.guide_of import GuideOf, VideoModel
from guides.incomplete_models import need_of_guide
from guides.iterative_refinement.completion import CompletionDraws
from guides.iterative_refinement.inner_bound import Inner, latent_values, look
from guides.iterative_refinement.noise import InnerNoise
from guides.iterative_refinement.site_parameters import RefinedSites, ShiftedSites, Shifts
from guides.iterative_refinement.starts import BaseStart, LearnedStart, PriorStart, Read, Start, StartName
from guides.iterative_refinement.taps import Taps, tap_sizes
from guides.iterative_refinement.updates import LearnedUpdate
from guides.iterative_refinement.walk import RefinementWalk
from guides.program import Arguments
from guides.refining import RefiningGuide
from guides.site_table import Site, SiteTable
from videos.typed import Count, CountOrZero, typed


class Refined(NamedTuple):
    """The variational parameters after a step, for `draw`: the batch as the start read it, and shifts by site."""

    read: Read
    shifts: Shifts


class IterativeRefinementGuide(GuideOf[Any], RefiningGuide):
    """Starts from a guide, from the prior or from constants, and refines its Gaussians by learned steps::

        lambda_0 = 0;   g_n = grad L(lambda_n);   lambda_{n+1} = lambda_n + f(LN(g_n), lambda_n, state)
        L(lambda) = log p(x, z) - log q(z; lambda) at a draw z of q(z; lambda)
        q(z | x) = the start with N(m + s lambda_loc, diag(s exp(lambda_log_scale))^2) in the place of N(m, diag s^2)

    (Marino, Yue and Mandt 2018; start="prior" is the prediction of Marino, Cvitkovic and Yue 2018, start="learned" is
    Greff et al. 2019). m and s may depend on draws made before, so the structure of a base guide stays: discrete sites
    and other distributions are drawn as it does, given refined Gaussians. An untrained guide is its start. g is the
    gradient of each sequence's own bound in nats: inference does not depend on the batch, and `.grad` is not touched.

    One network refines all sites of a family (`z_1` ... `z_T`), applied to each entry of their plates, so that frames
    and objects share it. Latents of missing frames are not refined: they follow the start, given refined ones.

    The draws at which L is evaluated are aside in training (`guides.aside`): bounds stay valid, and particles share
    them. In evaluation they are fixed, so that the guide has a density. `inference.IntermediateBounds` trains every
    step.

    Args:
        model: the model served.
        base: an amortized guide for it, with at least one diagonal Gaussian (`dist.Normal`); owned and trained.
        start: "base", "prior" (latents as the model draws them) or "learned" (constants for each family of real
            latents, other latents from the prior); None = "base" if there is one, else "learned".
        steps: number of refinements; 0 = the start.
        gradients: what training differentiates; the objective is the same. "first_order": slopes are constants;
            "second_order": the exact gradient; "truncated": credit passes through the state of updates alone;
            "implicit": the last step alone.
        sites: families to refine; None = all that are Gaussian at the start.
        taps: further inputs of updates, see `Taps`.
        hidden_dim: units of each `LearnedUpdate`.
        update: builds the update of a family from its size and its number of taps; None = `LearnedUpdate`.
        inner_draws: number of draws that L is averaged over.
        example_frames: number of frames of the blank video on which sites are looked up.

    Raises:
        ValueError: for a base without its start or a start without its base, a base of another model, a model that
            needs a guide's values and gets no base, steps below 0, sites that cannot be refined, batch norm in
            training mode (at a call), or arguments of a wrong shape.
        TypeError: if the model is no video model, or the base no module.

    Example:
        >>> import torch
        >>> from guides import IterativeRefinementGuide, RecurrentGuide
        >>> from pyro_models import DeepMarkovModel
        >>> model = DeepMarkovModel((1, 8, 8), hidden_dim=10)
        >>> guide = IterativeRefinementGuide(model, RecurrentGuide(model, hidden_dim=10), steps=2)
        >>> len(guide.refine(torch.rand(4, 3, 1, 8, 8)))
        2
    """

    serves = VideoModel

    @typed
    def __init__(
        self,
        model: Any,
        base: Any = None,
        *,
        start: StartName | None = None,
        steps: CountOrZero = 5,
        gradients: GradientMode = "first_order",
        sites: Collection[str] | None = None,
        taps: Taps | None = None,
        hidden_dim: Count = 64,
        update: Callable[[int, int], nn.Module] | None = None,
        inner_draws: Count = 1,
        example_frames: Count = 3,
    ) -> None:
        super().__init__(model)
        self.steps, self.inner_draws = steps, inner_draws
        self.differentiated = gradient_mode(gradients)
        self.noise = InnerNoise()
        arguments = _blank_video(model, example_frames)
        table = _table(model, arguments)
        self.start: Start = _start(model, base, start, table.latent)
        read = self.start.read(arguments)
        drawn = describe_sites(lambda *_: self.start(read), *arguments)
        self.sites = RefinedSites(drawn, table, sites)
        self._paths = [site.name for site in drawn.latent if site.name in self.sites and len(site.event_shape) > 1]
        self.nesting = table.plate_nesting
        self.taps = taps
        sizes: Mapping[str, int] = {}
        if taps is not None:
            with torch.no_grad():
                nodes = look(self._inner, read)
                frames, seen = self.check_video(*arguments)
                sizes = tap_sizes(taps(frames, seen, latent_values(nodes)))
        build = update or partial(LearnedUpdate, hidden_dim=hidden_dim)
        self.updates = nn.ModuleDict({one: build(size, sizes.get(one, 0)) for one, size in self.sites.sizes.items()})

    def refine(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> list[Refined]:
        """The parameters after each step; with no steps, those of the start.

        Args:
            frames: (sequences, time, channels, height, width) in [0, 1]; missing ones are never read.
            observed: bool (sequences, time), None = all.
            controls: (sequences, time, control) or None.

        Raises:
            ValueError: if a shape is wrong, or the model has batch norm in training mode.
        """
        frames, _ = self.check_video(frames, observed, controls)
        _check_batch_norm(self.model)
        read = self.start.read((frames, observed, controls))
        if self.steps == 0:
            return [Refined(read, {})]
        self.noise.restart()
        walk = RefinementWalk(self._inner, read, self.updates, self.taps, self.differentiated)
        recording, refined = torch.is_grad_enabled(), []
        for number in range(1, self.steps + 1):
            last = number == self.steps
            with torch.set_grad_enabled(recording and (last or self.differentiated.earlier_steps)):
                refined.append(Refined(read, walk.step()))
        return refined

    def draw(
        self, parameters: Refined, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None
    ) -> None:
        """Draw every latent: refined Gaussians with their parameters, other sites as the start does.

        Args:
            parameters: an element of what `refine` returned.
            frames: as in `refine`, which has read them.
            observed: as in `refine`.
            controls: as in `refine`.
        """
        with ShiftedSites(parameters.shifts):
            self.start(parameters.read)

    @property
    def completion_methods(self) -> tuple[str, ...]:
        """Methods of the base, if it completes; else "means"."""
        return tuple(getattr(self._base, "completion_methods", ("means",)))

    @torch.no_grad()
    def complete(
        self,
        frames: Tensor,
        observed: Tensor | None = None,
        controls: Tensor | None = None,
        *,
        method: str | None = None,
        num_samples: int | None = None,
    ) -> dict[str, Tensor]:
        """Latents of every step: refined Gaussians, each at its mean given those before, the rest from the base.

        The rest are discrete sites, other distributions, and entries that no density scores, such as codes of missing
        frames. The base infers them from its own parameters, without refinement. Without a base, sites that are not
        refined are at their mode or mean.

        Args:
            frames: (sequences, time, channels, height, width).
            observed: bool (sequences, time), None = all.
            controls: (sequences, time, control) or None.
            method: one of `completion_methods`, None = the first.
            num_samples: None for means, else the number of draws.

        Returns:
            A value for each latent, laid out as in the model; draws to the left of the plates.

        Raises:
            ValueError: if the method is not one of `completion_methods`, or a frame is missing whose latent is part of
                a path and there is no base to infer it.
        """
        self.check_method(method or self.completion_methods[0])
        base, others = self._base, {}
        if hasattr(base, "complete"):
            others = base.complete(
                frames, observed, controls, method=method or self.completion_methods[0], num_samples=num_samples
            )
        elif observed is not None and self._paths:
            raise ValueError(
                f"observed: expected None, as site {self._paths[0]!r} is a whole path whose missing steps nothing "
                "infers, got missing frames; give a base guide that completes them"
            )
        draws = CompletionDraws(self.sites, others, drawn=num_samples is not None)
        parameters = self.refine(frames, observed, controls)[-1]
        run = partial(self.draw, parameters, frames, observed, controls)
        with draws:
            (run if num_samples is None else plate("_draws", num_samples, dim=-self.nesting - 1)(run))()
        return draws.values

    @property
    def _base(self) -> Any:
        return self.start.base if isinstance(self.start, BaseStart) else None

    @property
    def _inner(self) -> Inner:
        return Inner(self.model, self.start, self.sites, self.noise, self.inner_draws, self.nesting)


def _start(model: Any, base: Any, name: StartName | None, latent: Collection[Site]) -> Start:
    """The start of a name, once the arguments fit together."""
    name = name or ("learned" if base is None else "base")
    if name not in get_args(StartName):
        raise ValueError(f"start: expected one of {', '.join(map(repr, get_args(StartName)))}, got {name!r}")
    if name == "base" and base is None:
        raise ValueError("base: expected a guide with start='base', got None; give the guide to start from")
    if name == "base":
        if not isinstance(base, PyroModule):
            got = f"the class {base.__name__}" if isinstance(base, type) else type(base).__name__
            raise TypeError(f"base: expected a guide that is a PyroModule, got {got}; create an instance of one")
        served = getattr(base, "model", model)
        if served is not model:
            raise ValueError(
                f"base: expected a guide of the model that is refined, got {type(base).__name__} of another "
                f"{type(served).__name__}; build both with the same model"
            )
        return BaseStart(base)
    if base is not None:
        raise ValueError(
            f"base: expected None with start={name!r}, got {type(base).__name__}; leave it out, or start='base'"
        )
    if need := need_of_guide(model):
        raise ValueError(
            f"start: expected 'base' with a guide, as {type(model).__name__} draws no latents without one, got "
            f"{name!r}: it {need}"
        )
    return PriorStart(model) if name == "prior" else LearnedStart(model, latent)


def _blank_video(model: Any, num_frames: int) -> Arguments:
    """One black video, like those that the model is given."""
    like = next(iter(model.parameters()), torch.zeros(()))
    frames = torch.zeros(1, num_frames, *model.frame_shape, dtype=like.dtype, device=like.device)
    return frames, None, frames.new_zeros(1, num_frames, model.control_dim) if model.control_dim else None


def _table(model: Any, arguments: Arguments) -> SiteTable:
    """The sites of the model in the blank video."""
    try:
        return describe_sites(model, *arguments)
    except ValueError as error:
        raise ValueError(
            f"example_frames: expected a number of frames that the model takes, got {arguments[0].shape[1]} "
            f"({str(error).splitlines()[0]}); give a larger one"
        ) from error


def _check_batch_norm(model: nn.Module) -> None:
    """Refuse a model in which a sequence's slopes would depend on the others of its batch."""
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
            raise ValueError(
                f"model: expected no batch norm in training mode, got {type(module).__name__} at {name!r}, by which "
                "the refinement of a sequence would depend on the rest of its batch; call model.eval()"
            )
