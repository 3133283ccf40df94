"""The guide of frame auto-encoders: each frame independently."""

from typing import Any, Protocol

import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule
from torch import Tensor, nn

from guides.encoders import FrameEncoder
from guides.guide_of import GuideOf, VideoModel
from pyro_models.recurrent_codes.code_predictors import CodePredictor
from videos.typed import typed


class FrameCodesModel(VideoModel, Protocol):
    """What this guide needs from its model."""

    code_dim: int
    predictor: CodePredictor


class FrameGaussianGuide(GuideOf[Any], PyroModule):
    """Codes recognised frame by frame, q(a | x) = prod_t N(a_t; mu(x_t), diag v(x_t)), or point masses at mu(x_t).

    For models with one site `a`, event (time, code), such as `RecurrentCodes`. With `point=True` it is an
    auto-encoder's encoder: it has no density, and the objective is not a bound on the evidence; any remaining variance
    of the encoder (`FrameEncoder.noise`) is noise added to the point. A missing frame's code has no density and its
    value in the trace means nothing; `complete` infers it.

    Args:
        model: the model served; it has `frame_shape`, `code_dim`, `control_dim` and a `predictor` of codes.
        point: point masses instead of Gaussians.
        encoder: frames (sequences, time, channels, height, width) -> mean and variance of the codes; by default a
            convolutional `FrameEncoder`, without a variance if `point`.

    Raises:
        ValueError: if frames, observed or controls have the wrong shape.
        TypeError: if the model is of another kind.
    """

    serves = FrameCodesModel

    @typed(left=("model",))
    def __init__(self, model: PyroModule, *, point: bool = False, encoder: nn.Module | None = None) -> None:
        super().__init__(model)
        self.point = point
        self.encoder = encoder or FrameEncoder(model.frame_shape, model.code_dim, variance_limit=0.0 if point else None)

    @property
    def completion_methods(self) -> tuple[str, ...]:
        """Methods to infer missing codes, as offered by the model's predictor of codes."""
        return self.model.predictor.completion_methods

    def forward(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> Tensor:
        """Draw codes.

        Args:
            frames: (sequences, time, channels, height, width) in [0, 1]; missing ones are never read.
            observed: bool (sequences, time), None = all.
            controls: (sequences, time, control) or None; not used.

        Returns:
            The codes, as drawn inside the plates.
        """
        frames, _ = self.check_video(frames, observed, controls)
        mean, variance = self.encoder(frames)
        if self.point:
            law = dist.Delta(mean + variance.sqrt() * torch.randn_like(mean), event_dim=2)
        else:
            law = dist.Normal(mean, variance.sqrt()).to_event(1)
            law = (law if observed is None else law.mask(observed)).to_event(1)
        with pyro.plate("sequences", frames.shape[0], dim=-1):
            return pyro.sample("a", law)

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
        """Codes of every step: encodings where frames are seen, predictions by the model's recurrent network elsewhere.

        "filtering", for a forward network: each step is fed the encoding if the frame is seen, else the network's last
        output, which is also the imputed code (Fraccaro et al. 2017, section 5.1). "smoothing", for a bidirectional
        network: an imputed code is its output at that step.

        Args:
            frames: (sequences, time, channels, height, width).
            observed: bool (sequences, time), None = all.
            controls: (sequences, time, control) or None.
            method: one of `completion_methods`, None = the first.
            num_samples: None for means throughout, else the number of draws, of the codes seen and of those imputed.

        Returns:
            `{"a": (sequences, time, code)}`; with draws (num_samples, 1, sequences, time, code).

        Raises:
            ValueError: if the method is not one of `completion_methods`.
        """
        if method is not None:
            self.check_method(method)
        frames, seen = self.check_video(frames, observed, controls)
        codes, variance = self.encoder(frames)
        if num_samples is None:
            return {"a": self.model.predictor.complete(codes, seen, controls)}
        shape = (num_samples, 1, *codes.shape)
        drawn = codes + variance.sqrt() * torch.randn(shape, dtype=codes.dtype, device=codes.device)
        return {"a": self.model.predictor.complete(drawn, seen, controls, sample=True)}
