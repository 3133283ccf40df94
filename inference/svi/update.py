"""What a step does with its gradients: clip, watch for what is not finite, let the optimizer change parameters."""

import warnings
from typing import Any

import torch
from pyro.optim import PyroOptim
from torch import Tensor

from inference.svi.captured import CapturedUpdate
from inference.svi.compiled import CACHED_SIGNATURES, CompileWarning
from inference.svi.schedules import Number


class ParameterUpdate:
    """The end of a step, for gradients that lie in the parameters of an optimizer.

    Where gradients lie at the same addresses in each step, as those of a recorded step do, the update is recorded as
    well, from its second time on: see `CapturedUpdate`.

    Args:
        optimizer: of the parameters that change.
        clip_norm: largest norm of the gradient of all parameters together; None does not clip.

    Attributes:
        gradient_norm: norm of the last gradient before clipping, a tensor on the device; None before any.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, clip_norm: Number | None) -> None:
        self.optimizer = optimizer
        self.clip_norm = clip_norm
        self.gradient_norm: Tensor | None = None
        self._norm: Tensor | None = None
        self._recordings: dict[tuple[int, ...], CapturedUpdate] = {}
        self._recordable = True
        optimizer.register_load_state_dict_post_hook(lambda _: self._recordings.clear())  # its tensors are other ones

    def gradients(self) -> list[Tensor]:
        """Those that there are."""
        return [parameter.grad for parameter in self.parameters() if parameter.grad is not None]

    def take(self, loss: Tensor, step: int, fixed_gradients: bool = False) -> None:
        """Update the parameters.

        Args:
            loss: watched for what is not finite.
            step: by which the first such loss or gradient is known.
            fixed_gradients: whether gradients lie where those of earlier steps did, to be overwritten by later ones.
        """
        if self._norm is None:
            self._norm = torch.zeros((), dtype=torch.promote_types(loss.dtype, torch.float32), device=loss.device)
            self._loss, self._step = loss.clone(), torch.zeros((), dtype=torch.int64, device=loss.device)
            self._first_nonfinite = torch.full_like(self._step, -1)
        self._loss.copy_(loss)
        self._step.fill_(step)
        recording = self._recording() if fixed_gradients and self._recordable else None
        if recording is None:
            self._apply()
        else:
            recording()
        self.gradient_norm = self._norm.clone()

    def first_nonfinite(self) -> int | None:
        """The first step whose loss or gradient norm was not finite, if there was one; waits for the device."""
        step = -1 if self._norm is None else int(self._first_nonfinite)
        return None if step < 0 else step

    def forget_nonfinite(self) -> None:
        """Forget it and watch again, after parameters were put back to an earlier state."""
        if self._norm is not None:
            self._first_nonfinite.fill_(-1)

    def parameters(self) -> list[torch.nn.Parameter]:
        """Those of the optimizer."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def _apply(self) -> None:
        """The update by operations that read and write the same tensors each time, and never wait for the device."""
        assert self._norm is not None
        norm = torch.nn.utils.get_total_norm(self.gradients())
        if self.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.parameters(), float(self.clip_norm), norm)
        self._norm.copy_(norm)
        fine = torch.isfinite(self._loss) & torch.isfinite(self._norm)
        self._first_nonfinite.copy_(torch.where(fine | (self._first_nonfinite >= 0), self._first_nonfinite, self._step))
        self.optimizer.step()

    def _recording(self) -> CapturedUpdate | None:
        """The recorded update of the gradients that there are now; None if it is not there yet, or cannot be."""
        addresses = tuple([gradient.data_ptr() for gradient in self.gradients()])
        recording = self._recordings.get(addresses)
        stateless = any(p.grad is not None and p not in self.optimizer.state for p in self.parameters())
        if recording is not None or stateless:  # the first step makes the optimizer's state
            return recording
        self._recordable = CapturedUpdate.fits(self.optimizer)
        if not self._recordable:
            return None
        try:
            recording = CapturedUpdate(self._apply, self.optimizer)
        except RuntimeError as error:
            self._recordable = False
            problem = (str(error).splitlines() or [""])[0]
            warnings.warn(f"the update after a recorded step runs eagerly: {problem}", CompileWarning, stacklevel=4)
            return None
        while len(self._recordings) >= CACHED_SIGNATURES:
            self._recordings.pop(next(iter(self._recordings)))
        self._recordings[addresses] = recording
        return recording


def check_optimizer(optimizer: Any) -> None:
    """Refuse what is no torch optimizer of given parameters.

    Args:
        optimizer: what `SVI` was given.

    Raises:
        TypeError: says what to write instead.
    """
    if isinstance(optimizer, torch.optim.Optimizer):
        return
    name = _torch_name(optimizer)
    raise TypeError(
        f"optimizer: expected a torch optimizer of the parameters that are to change, got {_kind(optimizer)}; write "
        f"torch.optim.{name}([*model.parameters(), *guide.parameters()], lr=0.001)"
    )


def check_optimizer_class(optimizer: Any) -> None:
    """Refuse what does not make a torch optimizer when it is called with parameters.

    Args:
        optimizer: what `TrainingOptions` was given.

    Raises:
        TypeError: says what to write instead.
    """
    if callable(optimizer) and not isinstance(optimizer, PyroOptim) and not _makes_pyro(optimizer):
        return
    name = _torch_name(optimizer)
    raise TypeError(
        f"optimizer: expected a class of torch.optim, or a partial of one, got {_kind(optimizer)}; write "
        f"TrainingOptions(optimizer=torch.optim.{name}, learning_rate=0.001)"
    )


def _makes_pyro(optimizer: Any) -> bool:
    """Whether it is one of the functions of `pyro.optim` that take a dictionary of options."""
    return getattr(optimizer, "__module__", "").startswith("pyro.optim")


def _torch_name(optimizer: Any) -> str:
    """The class of torch.optim that is meant; Adam if there is no telling."""
    made = getattr(optimizer, "pt_optim_constructor", optimizer)
    name = getattr(made, "__name__", type(made).__name__)
    return name if isinstance(getattr(torch.optim, name, None), type) else "Adam"


def _kind(optimizer: Any) -> str:
    """What came, in words."""
    if isinstance(optimizer, PyroOptim) or _makes_pyro(optimizer):
        return f"pyro.optim.{_torch_name(optimizer)}, which keeps parameters in Pyro's global store"
    if isinstance(optimizer, torch.optim.Optimizer):
        return f"an instance of {type(optimizer).__name__}, which has parameters already"
    return f"the class {optimizer.__name__}" if isinstance(optimizer, type) else type(optimizer).__name__
