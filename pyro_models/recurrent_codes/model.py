"""A frame auto-encoder whose codes are predicted by a recurrent network: the AE-RNN and VAE-RNN baselines."""

from typing import Literal, get_args

import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule
from torch import Tensor, nn

from pyro_models.components.arguments import check_video
from pyro_models.components.frame_networks import frame_decoder
from pyro_models.components.layout import merge_particles, to_time_plate
from pyro_models.components.likelihoods import frame_likelihood
from pyro_models.recurrent_codes.code_predictors import CODE_PREDICTORS, CodePredictor
from videos.typed import Count, CountOrZero, FrameShape, typed

RecurrentCodesStage = Literal["frames", "codes", "whole"]


class RecurrentCodes(PyroModule):
    """Frames from codes, codes from a recurrent network::

        a_1 ~ N(m, diag(v));   a_t ~ N(f(a_1, ..., a_{t-1}, u_t), s^2 I)        f an LSTM with a linear head
        x_t ~ Bernoulli(decoder(a_t)) or N(decoder(a_t), diag(s_x))

    (the baselines of Fraccaro et al. 2017, section 5.1, after Srivastava et al. 2015 and Chung et al. 2015). With
    `FrameGaussianGuide(model)` this is the VAE-RNN, with `FrameGaussianGuide(model, point=True)` the AE-RNN. Sites, in
    the plate `sequences`: `a`, event (time, code); and, in the plate `time` as well, the observed `frames`.

    It is trained in two stages, determined by what is frozen (`requires_grad_(False)`, or a schedule's
    `frozen(stage)`); there is no other state to set, save or restore:

    - `"frames"`, only the predictor is frozen: the auto-encoder alone, a_t ~ N(0, I) at each step. For the AE-RNN this
      is a penalty |a_t|^2 / 2; a site weight of 0 on `a` removes it.
    - `"codes"`, the decoder is frozen, not the predictor, and the encoder should be: the distribution of the guide's
      codes, without `frames` site or decoding. Maximum likelihood of f is then least squares. Losses that draw
      particles as a plate need `max_plate_nesting=2` if this is the first stage that they see.
    - `"whole"`, otherwise: the model above, and always in evaluation mode.

    Where a frame is missing, its terms are left out and f is fed its own last output.

    Args:
        frame_shape: (channels, height, width) of a frame.
        code_dim: size of a_t.
        control_dim: size of u_t, 0 = none.
        predictor: "forward" (the LSTM above), "bidirectional" (an imputer that sees the codes on both sides; see
            `BidirectionalPredictor`. Its distribution of codes is a pseudo-likelihood that leaves some codes out, so it
            has no evidence, and a guide that is not a point must be frozen), or a `CodePredictor`.
        decoder: "conv", "mlp", or a module (*batch, code) -> (*batch, channels, height, width).
        likelihood: "bernoulli" or "gaussian" (one learned variance per pixel).

    Raises:
        ValueError: if a name is unknown, or frames, observed or controls have the wrong shape.
    """

    @typed
    def __init__(
        self,
        frame_shape: FrameShape = (1, 32, 32),
        *,
        code_dim: Count = 2,
        control_dim: CountOrZero = 0,
        predictor: str | CodePredictor = "forward",
        decoder: str | nn.Module = "conv",
        likelihood: str = "bernoulli",
    ) -> None:
        super().__init__()
        if isinstance(predictor, str):
            if predictor not in CODE_PREDICTORS:
                raise ValueError(f"predictor: expected one of {', '.join(CODE_PREDICTORS)}, got {predictor!r}")
            predictor = CODE_PREDICTORS[predictor](code_dim, control_dim=control_dim)
        self.frame_shape = frame_shape
        self.code_dim = code_dim
        self.control_dim = control_dim
        self.predictor = predictor
        self.decoder = frame_decoder(decoder, code_dim, frame_shape) if isinstance(decoder, str) else decoder
        self.likelihood = frame_likelihood(likelihood, frame_shape)

    @property
    def stage(self) -> RecurrentCodesStage:
        """What a call scores: "frames", "codes" or "whole"."""
        learning = {name.partition(".")[0] for name, parameter in self.named_parameters() if parameter.requires_grad}
        stages: dict[tuple[bool, bool], RecurrentCodesStage] = {(False, True): "frames", (True, False): "codes"}
        return stages.get(("predictor" in learning, "decoder" in learning), "whole") if self.training else "whole"

    def frozen(self, stage: str) -> tuple[str, ...]:
        """Parameters frozen in a training stage: patterns over `model.<parameter>` and `guide.<parameter>`.

        Raises:
            ValueError: if the stage is unknown.
        """
        if stage not in get_args(RecurrentCodesStage):
            raise ValueError(f"stage: expected one of {', '.join(get_args(RecurrentCodesStage))}, got {stage!r}")
        if stage == "whole":
            return ()
        if stage == "frames":
            return ("model.predictor.*",)
        law = ("model.likelihood.*",) if any(True for _ in self.likelihood.parameters()) else ()
        return ("model.decoder.*", *law, "guide.encoder.*")

    def forward(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> Tensor:
        """Draw or score one batch.

        Args:
            frames: (sequences, time, channels, height, width) in [0, 1]; missing ones are never read.
            observed: bool (sequences, time), None = all.
            controls: (sequences, time, control) or None; `controls[:, t]` acts between frames t - 1 and t.

        Returns:
            The codes, as drawn inside the plates.
        """
        frames, seen = check_video(frames, observed, controls, self.frame_shape, self.control_dim, self)
        num_sequences, num_frames = frames.shape[:2]
        stage = self.stage
        with pyro.plate("sequences", num_sequences, dim=-1):
            if stage == "frames":
                zeros = frames.new_zeros(num_sequences, num_frames, self.code_dim)
                law = dist.Normal(zeros, torch.ones_like(zeros)).to_event(1).mask(seen).to_event(1)
            else:
                law = self.predictor.law(num_sequences, num_frames, observed, controls)
            codes = pyro.sample("a", law)
            if stage == "codes":
                return codes
            frame_law = self.likelihood(to_time_plate(self.decoder(merge_particles(codes, 2)), 3))
            with pyro.plate("time", num_frames, dim=-2):
                pyro.sample("frames", frame_law.mask(seen.T), obs=to_time_plate(frames, 3))
        return codes
