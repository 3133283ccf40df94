"""The guide of models without latents: nothing to infer."""

from pyro.nn import PyroModule
from torch import Tensor

from guides.guide_of import GuideOf, VideoModel


class NoLatentsGuide(GuideOf[VideoModel], PyroModule):
    """Draws nothing, for models whose frames are their only site, such as `EncoderDecoderLSTM`.

    The bound of such a pair is the log evidence itself, whatever the estimator, and one particle is enough.
    Reconstructions and forecasts are the model's expectation of each frame, given those before it.

    Args:
        model: the model served; it has `frame_shape` and `control_dim`.

    Raises:
        ValueError: if frames, observed or controls have the wrong shape.
        TypeError: if the model is of another kind.
    """

    serves = VideoModel
    completion_methods = ("autoregressive",)

    def forward(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
        """Check the arguments.

        Args:
            frames: (sequences, time, channels, height, width) in [0, 1].
            observed: bool (sequences, time), None = all.
            controls: (sequences, time, control) or None.
        """
        self.check_video(frames, observed, controls)

    def complete(
        self,
        frames: Tensor,
        observed: Tensor | None = None,
        controls: Tensor | None = None,
        *,
        method: str | None = None,
        num_samples: int | None = None,
    ) -> dict[str, Tensor]:
        """No latents: where frames are missing the model feeds on its own expectations, method "autoregressive".

        Args:
            frames: (sequences, time, channels, height, width).
            observed: bool (sequences, time), None = all.
            controls: (sequences, time, control) or None.
            method: one of `completion_methods`, None = the first.
            num_samples: not used; draws of no latents are all the same.

        Raises:
            ValueError: if the method is not one of `completion_methods`.
        """
        if method is not None:
            self.check_method(method)
        self(frames, observed, controls)
        return {}
