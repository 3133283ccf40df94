"""Structured guides: recognise a code in each frame, then infer the states by the exact Gaussian posterior."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Bool, Float
from pyro.nn import PyroModule
from torch import Tensor, nn

from guides.encoders import FrameEncoder
from guides.guide_of import GuideOf, VideoModel
from pyro_models.components.markov_video import VideoContext
from pyro_models.distributions import LinearGaussianSSM
from pyro_models.distributions.gaussian_steps import product_of_gaussians
from pyro_models.kalman_vae.mixed_linear_dynamics import CodePrediction, MixedLinearDynamics
from videos.typed import Positive, typed

POSTERIORS = ("collapsed", "joint", "marginals")
FILTER_INFLATION = 2.0  # of the encoder's variance in the product with the prediction, which it partly contains


class ReadVideo(NamedTuple):
    """Encodings of each frame, (sequences, time, code), and the video in the form the model takes."""

    mean: Tensor
    variance: Tensor
    video: VideoContext


@runtime_checkable
class MixedDynamicsModel(VideoModel, Protocol):
    """What a guide of this family needs from the model it serves."""

    dynamics: MixedLinearDynamics
    marginalize_state: bool

    def prepare(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> VideoContext:
        """See `pyro_models.KalmanVAE`."""
        ...

    def prediction(self, state: Any, context: VideoContext) -> CodePrediction:
        """See `pyro_models.KalmanVAE`."""
        ...


class KalmanGuide(GuideOf[MixedDynamicsModel], PyroModule):
    """Codes frame by frame, states by the exact smoother::

        q(a, z | x, u) = prod_t N(a_t; mu(x_t), diag v(x_t)) * q(z | a, u)              (Fraccaro et al. 2017, eq. 5)

    with three ways to treat the states:

    - `"collapsed"`: z is integrated out of the model as well (no site). Same bound as "joint", no variance from z, no
      smoother in training.
    - `"joint"`: q(z | a, u) = p(z | a, u), one draw of the whole path. log p(a, z) - log p(z | a) = log p(a) for every
      draw (eq. 7).
    - `"marginals"`: each z_t drawn from p(z_t | a, u), as in the reference code. Looser by KL(prod_t p(z_t | a)
      || p(z | a)), which grows from 7 nats per sequence with every frame seen to hundreds with a gap of twelve.

    The recognition variance lies in (0, `variance_limit`), by default the emission noise R, which keeps q from widening
    to the prior early in training. A missing frame's code has no density and its value in the trace means nothing;
    `complete` infers it.

    Args:
        model: the model served; its `dynamics` mix the linear dynamics and its `marginalize_state` must fit
            `posterior`.
        posterior: "collapsed", "joint" or "marginals".
        encoder: frames (sequences, time, channels, height, width) -> mean and variance of the codes; by default a
            convolutional one.
        variance_limit: upper limit of the recognition variance of the default encoder.

    Raises:
        ValueError: if `posterior` is unknown or does not fit the model, or an argument has the wrong shape.
        TypeError: if the model is of another kind.
    """

    serves = MixedDynamicsModel
    completion_methods = ("smoothing", "filtering")
    follows_model_state = True

    @typed(left=("model",))
    def __init__(
        self,
        model: MixedDynamicsModel,
        posterior: str = "collapsed",
        *,
        encoder: nn.Module | None = None,
        variance_limit: Positive = 0.03,
    ) -> None:
        super().__init__(model)
        if posterior not in POSTERIORS:
            raise ValueError(f"posterior: expected 'collapsed', 'joint' or 'marginals', got {posterior!r}")
        if model.marginalize_state != (posterior == "collapsed"):
            raise ValueError(
                f"posterior: {posterior!r} needs a model with marginalize_state={posterior == 'collapsed'}, "
                f"got marginalize_state={model.marginalize_state}"
            )
        self.posterior = posterior
        self.encoder = encoder or FrameEncoder(
            model.frame_shape, model.dynamics.code_dim, variance_limit=variance_limit
        )

    def forward(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> Tensor:
        """Draw codes, and states unless they are collapsed.

        Args:
            frames: (sequences, time, channels, height, width) in [0, 1]; missing ones are never read.
            observed: bool (sequences, time), None = all.
            controls: (sequences, time, control) or None.

        Returns:
            The codes, as drawn inside the plates.
        """
        frames, _ = self.check_video(frames, observed, controls)
        mean, variance = self.encoder(frames)
        law = dist.Normal(mean, variance.sqrt()).to_event(1)
        if observed is not None:
            law = law.mask(observed)
        with pyro.plate("sequences", frames.shape[0], dim=-1):
            codes = pyro.sample("a", law.to_event(1))
            if self.posterior != "collapsed":
                chain = self.model.dynamics.condition(codes, observed, controls)
                pyro.sample(
                    "z", chain.posterior(codes) if self.posterior == "joint" else chain.smoothed_marginals(codes)
                )
        return codes

    def prepare(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> ReadVideo:
        """See `StepwiseGuide.prepare`."""
        frames, _ = self.check_video(frames, observed, controls)
        mean, variance = self.encoder(frames)
        return ReadVideo(mean, variance, self.model.prepare(frames, observed, controls))

    def step(self, index: int, state: Any, context: ReadVideo) -> None:
        """Draw a code given its frame and the codes before it.

        Args:
            index: index of the frame, from 0.
            state: the model's state after the previous step; None at the first.
            context: result of `prepare`.
        """
        predicted = self.model.dynamics.code_moments(self.model.prediction(state, context.video))
        joint = product_of_gaussians(predicted, context.mean[:, index], FILTER_INFLATION * context.variance[:, index])
        distribution = dist.MultivariateNormal(*joint, validate_args=False)
        pyro.sample(f"a_{index + 1}", distribution.mask(context.video.seen[:, index]))

    @torch.no_grad()
    def complete(
        self,
        frames: Tensor,
        observed: Tensor | None = None,
        controls: Tensor | None = None,
        *,
        method: str = "smoothing",
        num_samples: int | None = None,
        rounds: int = 1,
        sample_missing: bool = False,
    ) -> dict[str, Tensor]:
        """Codes (and states) of every step, those of missing frames inferred from the others.

        Fraccaro et al. 2017, section 4. The filter runs forward, feeding its own predictions to the dynamics where
        frames are missing. "filtering" takes the code C_t m_{t|t} at a missing step; "smoothing" runs the smoother back
        and takes C_t m_{t|T}. The mixture weights come from the forward pass, so a wrong bounce stays wrong; with
        `rounds` > 1 the weights are computed again from the smoothed codes and the smoother runs again.

        Args:
            frames: (sequences, time, channels, height, width).
            observed: bool (sequences, time), None = all.
            controls: (sequences, time, control) or None.
            method: "smoothing" or "filtering".
            num_samples: None for posterior means, else the number of joint draws (states and codes together;
                "smoothing" only).
            rounds: number of times that the mixture weights are computed; 1 = the paper's single forward pass.
            sample_missing: feed draws of the missing codes to the dynamics instead of their means.

        Returns:
            `{"a": (sequences, time, code)}`, and `"z"` if the model has it; with draws (num_samples, 1, sequences,
            time, ...).

        Raises:
            ValueError: if the method is unknown, or draws or several rounds are requested with "filtering".
        """
        self.check_method(method)
        if method == "filtering" and (num_samples is not None or rounds > 1):
            raise ValueError("method: 'filtering' gives means of one pass; draws and several rounds need 'smoothing'")
        frames, seen = self.check_video(frames, observed, controls)
        codes, variance = self.encoder(frames)
        if num_samples is not None:
            shape = (num_samples, 1, *codes.shape)
            codes = codes + variance.sqrt() * torch.randn(shape, dtype=codes.dtype, device=codes.device)
        dynamics = self.model.dynamics
        chain = dynamics.condition(codes, observed, controls, sample_missing=sample_missing)
        states, completed = self._infer(chain, codes, seen, method, num_samples)
        for _ in range(rounds - 1):
            chain = dynamics.given_weights(dynamics.weights(completed), seen, controls)
            states, completed = self._infer(chain, codes, seen, method, num_samples)
        return {"a": completed} if self.model.marginalize_state else {"a": completed, "z": states}

    def _infer(
        self,
        chain: LinearGaussianSSM,
        codes: Float[Tensor, "*batch time code"],
        seen: Bool[Tensor, "sequences time"],
        method: str,
        num_samples: int | None,
    ) -> tuple[Float[Tensor, "*batch time state"], Float[Tensor, "*batch time code"]]:
        """States given the seen codes, and all codes: kept where seen, emitted by the states where missing."""
        if num_samples is not None:
            states = chain.posterior(codes).rsample()
        else:
            states = (chain.smooth(codes) if method == "smoothing" else chain.filter(codes)).mean
        emitted = (chain.emission_matrix @ states.unsqueeze(-1)).squeeze(-1)
        if num_samples is not None:
            noise = torch.linalg.cholesky(chain.emission_covariance) @ torch.randn_like(emitted).unsqueeze(-1)
            emitted = emitted + noise.squeeze(-1)
        return states, torch.where(seen.unsqueeze(-1), codes, emitted)
