"""Base class of guides built for a model: holds the model, checks its type, and checks videos against its sizes."""

import inspect
from typing import Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor, nn

from pyro_models.components.arguments import check_video


@runtime_checkable
class VideoModel(Protocol):
    """What every guide needs from its model."""

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        ...

    @property
    def control_dim(self) -> int:
        """Size of a control, 0 = none."""
        ...


Model = TypeVar("Model", bound=VideoModel)


class GuideOf(Generic[Model]):
    """A guide that holds the model it serves. Inherit from it before `PyroModule` or `StepwiseGuide`::

        class MyGuide(GuideOf[KalmanVAE], PyroModule):
            serves = KalmanVAE

            def __init__(self, model: KalmanVAE) -> None:
                super().__init__(model)

    The model is not a submodule of its guide: its parameters are trained, saved and counted once, as the model's.

    Attributes:
        serves: the class of models that the guide is for, or a protocol whose members the model must have.

    Args:
        model: the model served.

    Raises:
        TypeError: if the model is of another kind.
    """

    serves: ClassVar[type]

    def __init__(self, model: Model) -> None:
        _check_model(type(self), model)
        super().__init__()
        self._served = [model]  # PyTorch does not register modules inside lists

    @property
    def model(self) -> Model:
        """The model served."""
        return self._served[0]

    def check_video(
        self, frames: Tensor, observed: Tensor | None, controls: Tensor | None
    ) -> tuple[Float[Tensor, "sequences time channels height width"], Bool[Tensor, "sequences time"]]:
        """The frames, zero where they are missing, and which are seen; see `components.arguments.check_video`."""
        module = self.model if isinstance(self.model, nn.Module) else None
        return check_video(frames, observed, controls, self.model.frame_shape, self.model.control_dim, module)

    def check_method(self, method: str) -> None:
        """Refuse a completion method that the guide does not have.

        Raises:
            ValueError: if `completion_methods` does not list it.
        """
        known = getattr(self, "completion_methods", ())
        if method not in known:
            raise ValueError(f"method: expected one of {known}, got {method!r}")


def _check_model(guide: type[GuideOf[Any]], model: object) -> None:
    """Refuse a model that the guide is not for.

    Members of a protocol are looked up one by one: from Python 3.12 on, isinstance does not find submodules.
    """
    wanted = guide.serves
    protocol = getattr(wanted, "_is_protocol", False)
    missing = [name for name in _members(wanted) if not hasattr(model, name)] if protocol else []
    if not isinstance(model, type) and (not missing if protocol else isinstance(model, wanted)):
        return
    expected = f"a model with {', '.join(_members(wanted))}" if protocol else f"an instance of {wanted.__name__}"
    if isinstance(model, type):
        got, advice = f"the class {model.__name__}", "create an instance first"
    else:
        got = type(model).__name__ + (f", which has no {', '.join(missing)}" if missing else "")
        advice = "choose a guide for this model, or another model for this guide"
    raise TypeError(f"model: {guide.__name__} expected {expected}, got {got}; {advice}")


def _members(protocol: type) -> list[str]:
    """Names of the attributes and methods that a protocol requires."""
    names = {name for base in protocol.__mro__ for name in (*inspect.get_annotations(base), *vars(base))}
    return sorted(name for name in names if not name.startswith("_"))
