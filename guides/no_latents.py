"""The guide of models without latents: nothing to infer."""

from pyro.nn import PyroModule
from torch import Tensor

from pyro_models.components.arguments import check_video


class NoLatentsGuide(PyroModule):
    """Draws nothing, for models whose frames are their only site, such as `EncoderDecoderLSTM`.

    The bound of such a pair is the log evidence itself, whatever the estimator, and one particle is as good as many.
    Reconstructions and forecasts are what the model expects of each frame, given those before it.

    Args:
        model: the model served; it has `frame_shape` and `control_dim`.

    Raises:
        ValueError: if frames, observed or controls have the wrong shape.
    """

    completion_methods = ("autoregressive",)

    def __init__(self, model: PyroModule) -> None:
        super().__init__()
        # In a list the model is no submodule: its parameters are trained, saved and counted once, as the model's.
        self._served = [model]

    @property
    def model(self) -> PyroModule:
        """The model served."""
        return self._served[0]

    def forward(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
        """Check the arguments.

        Args:
            frames: (sequences, time, channels, height, width) in [0, 1].
            observed: bool (sequences, time), None = all.
            controls: (sequences, time, control) or None.
        """
        check_video(frames, observed, controls, self.model.frame_shape, self.model.control_dim)

    def complete(
        self,
        frames: Tensor,
        observed: Tensor | None = None,
        controls: Tensor | None = None,
        *,
        method: str | None = None,
        num_samples: int | None = None,
    ) -> dict[str, Tensor]:
        """No latents: the model itself feeds on what it expects where frames are missing, which is "autoregressive".

        Args:
            frames: (sequences, time, channels, height, width).
            observed: bool (sequences, time), None = all.
            controls: (sequences, time, control) or None.
            method: one of `completion_methods`, None = the first.
            num_samples: not used; draws of no latents are all the same.

        Raises:
            ValueError: if the method is not one of `completion_methods`.
        """
        if method is not None and method not in self.completion_methods:
            raise ValueError(f"method: expected one of {self.completion_methods}, got {method!r}")
        self(frames, observed, controls)
        return {}
