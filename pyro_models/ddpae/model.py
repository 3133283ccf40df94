"""DDPAE: objects of constant content whose poses are sums of small changes (Hsieh et al. 2018)."""

from collections.abc import Mapping
from math import prod

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Float
from pyro.nn import PyroModule
from torch import Tensor

from pyro_models.components.arguments import check_video
from pyro_models.components.glimpses import paste_and_add
from pyro_models.components.isotropic_gaussian import IsotropicGaussian
from pyro_models.components.scene import Scene
from pyro_models.ddpae.networks import StridedDecoder, check_side, dcgan_weights
from pyro_models.ddpae.poses import MARGIN, POSE_DIM, SCALE_RANGE, bound_poses, middles, sum_changes, windows_of
from videos.typed import Count, FrameShape, Positive, typed

SMALLEST_FRAME = 8


class DDPAE(PyroModule):
    """The decompositional disentangled predictive auto-encoder: every object has one content and a path of poses::

        initial_pose_i ~ N((S, 0, 0), (0.2, 1, 1)^2)             scale, x, y; S = object_scale
        beta_ti ~ N(0, 0.1^2 I),   content_i ~ N(0, I)
        pose_ti = bound(initial_pose_i + sum_{u <= t} beta_ui)
        x_t ~ N(min(sum_i render(decoder(content_i), pose_ti), 1), 0.3^2 I)

    (Hsieh et al. 2018, section 3, with the constants of the authors' code). The scale is clamped to S - 1 to S + 1, and
    x and y are tanh(.) * (scale - 0.5); see `poses` for the geometry. The number of objects is fixed: one too many has
    to decode to black.

    Sites: `input_beta` in the plates `sequences`, `objects` and `input_time`, the first `num_input` frames; `pred_beta`
    in `sequences`, `objects` and `output_time`, the others; `initial_pose` and `content` in `sequences` and `objects`;
    `frames` in `sequences` and `time`. The dims of plates are -1 for sequences, -2 for objects, -3 for time. Clips may
    have any length above `num_input`. Guide: `PosePredictionGuide`.

    A priori the poses are a random walk, so a future drawn from this model is noise. Predictions come from the guide,
    which infers `pred_beta` from the first `num_input` frames: `queries.forecast`, `impute` and `reconstruct` use it.

    Frames that are missing have no likelihood. With `score_input=False` neither have the first `num_input` frames: the
    bound is then one on the evidence of the frames to predict, not comparable with that of whole clips. The authors'
    code scores all frames by default, and has an option for the other.

    The decoder is in the mode that the module is in: in training, batch normalisation uses the statistics of the batch,
    for each particle its own.

    Args:
        frame_shape: (1, side, side) of a frame; the side is 4 * 2^n pixels.
        num_objects: number of objects.
        num_input: number of frames that the guide infers from.
        what_dim: size of a content.
        object_scale: S, at least 1.5; an object has 1 / S of the frame's side.
        glimpse_size: side of an object's own image, 4 * 2^n pixels; None = half of the frame's.
        channels: filters of the decoder before its last convolution.
        score_input: whether the first `num_input` frames have a likelihood.
        beta_scale: prior standard deviation of a change.
        initial_scale: those of an initial pose.
        frame_scale: standard deviation of a pixel.
        released_weights: start from the weights of the authors' code as they are; by default the decoder's last filters
            start with clear signs, see `StridedDecoder.start_with_contrast`.

    Raises:
        ValueError: if a size is not as above, frames, observed or controls have the wrong shape, or a clip is shorter
            than `num_input + 1` frames.
    """

    initial_mean: Tensor
    initial_scale: Tensor

    @typed
    def __init__(
        self,
        frame_shape: FrameShape = (1, 64, 64),
        *,
        num_objects: Count = 2,
        num_input: Count = 10,
        what_dim: Count = 128,
        object_scale: float = 2.0,
        glimpse_size: Count | None = None,
        channels: Count = 8,
        score_input: bool = True,
        beta_scale: Positive = 0.1,
        initial_scale: tuple[Positive, Positive, Positive] = (0.2, 1.0, 1.0),
        frame_scale: Positive = 0.3,
        released_weights: bool = False,
    ) -> None:
        super().__init__()
        _check_frame_shape(frame_shape)
        smallest = SCALE_RANGE + MARGIN
        if object_scale < smallest:
            raise ValueError(
                f"object_scale: expected at least {smallest}, so that positions of the smallest scale, "
                f"object_scale - {SCALE_RANGE}, stay in the frame, got {object_scale}; 2 is half the frame's side"
            )
        self.frame_shape = frame_shape
        self.control_dim = 0
        self.num_objects = num_objects
        self.num_input = num_input
        self.what_dim = what_dim
        self.object_scale = object_scale
        self.glimpse_size = frame_shape[1] // 2 if glimpse_size is None else glimpse_size
        check_side("glimpse_size", self.glimpse_size)
        self.channels = channels
        self.score_input = score_input
        self.beta_scale = beta_scale
        self.frame_scale = frame_scale
        self.register_buffer("initial_mean", torch.tensor([object_scale, 0.0, 0.0]))
        self.register_buffer("initial_scale", torch.tensor(initial_scale))
        self.decoder = StridedDecoder(self.glimpse_size, what_dim, channels).apply(dcgan_weights)
        if not released_weights:
            self.decoder.start_with_contrast()

    def check_clip(self, frames: Tensor, observed: Tensor | None, controls: Tensor | None) -> tuple[Tensor, Tensor]:
        """The frames, zero where missing, and which are seen; refuses clips that leave no frame to predict.

        Args:
            frames: (sequences, time, 1, side, side).
            observed: bool (sequences, time), None = all.
            controls: None.
        """
        frames, seen = check_video(frames, observed, controls, self.frame_shape, self.control_dim, self)
        if frames.shape[1] <= self.num_input:
            raise ValueError(
                f"frames: expected clips of at least num_input + 1 = {self.num_input + 1} frames, got "
                f"{frames.shape[1]}; give longer clips, or a model with a smaller num_input"
            )
        return frames, seen

    def forward(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> Tensor:
        """Draw or score one batch.

        Args:
            frames: (sequences, time, 1, side, side) in [0, 1]; missing ones are never read.
            observed: bool (sequences, time), None = all.
            controls: None.

        Returns:
            The means of the frames, (*particles, time, sequences, side, side).
        """
        frames, seen = self.check_clip(frames, observed, controls)
        num_sequences, num_frames = seen.shape
        with pyro.plate("sequences", num_sequences, dim=-1):
            with pyro.plate("objects", self.num_objects, dim=-2):
                with pyro.plate("input_time", self.num_input, dim=-3):
                    input_beta = pyro.sample("input_beta", self.beta_prior(frames))
                with pyro.plate("output_time", num_frames - self.num_input, dim=-3):
                    pred_beta = pyro.sample("pred_beta", self.beta_prior(frames))
                initial = pyro.sample("initial_pose", self.initial_prior())
                content = pyro.sample("content", self.content_prior(frames))
            canvas = self.canvas(self.poses(initial, torch.cat([input_beta, pred_beta], -4)), content)
            likelihood = IsotropicGaussian(dist.Normal(canvas[..., :, None, :, None, :, :], self.frame_scale), 3)
            counted = seen.T
            if not self.score_input:
                counted = counted & (torch.arange(num_frames, device=seen.device) >= self.num_input)[:, None]
            with pyro.plate("time", num_frames, dim=-3):
                pyro.sample("frames", likelihood.mask(counted[:, None]), obs=frames.transpose(0, 1).unsqueeze(1))
        return canvas

    def initial_prior(self) -> dist.Independent:
        """Prior of an initial pose."""
        return dist.Normal(self.initial_mean, self.initial_scale).to_event(1)

    def beta_prior(self, like: Tensor) -> dist.Independent:
        """Prior of a change of pose."""
        zeros = like.new_zeros(POSE_DIM)
        return dist.Normal(zeros, zeros + self.beta_scale).to_event(1)

    def content_prior(self, like: Tensor) -> dist.Independent:
        """Prior of a content."""
        zeros = like.new_zeros(self.what_dim)
        return dist.Normal(zeros, torch.ones_like(zeros)).to_event(1)

    def poses(
        self,
        initial: Float[Tensor, "*start objects sequences 3"],
        betas: Float[Tensor, "*batch time objects sequences 3"],
    ) -> Float[Tensor, "*batch time objects sequences 3"]:
        """Scales and positions of all frames, from the initial pose and the changes."""
        return bound_poses(sum_changes(initial, betas), self.object_scale)

    def canvas(
        self,
        poses: Float[Tensor, "*batch time objects sequences 3"],
        content: Float[Tensor, "*start objects sequences what"],
    ) -> Float[Tensor, "*batch time sequences side side"]:
        """Means of the frames: the sum of the rendered objects, at most 1. Contents are decoded once for all frames."""
        num_particles = prod(content.shape[:-3])
        images = self.decoder(content.flatten(0, -2), num_particles)
        images = images.reshape(*content.shape[:-1], *images.shape[-2:]).transpose(-4, -3)
        windows = windows_of(poses.transpose(-3, -2), self.frame_shape[-1], self.glimpse_size)
        return paste_and_add(images, windows, self.frame_shape[1:]).clamp(max=1.0)

    def scene(self, latents: Mapping[str, Tensor]) -> Scene:
        """The objects for given values of the latent sites; all are present, and each keeps its identity.

        Positions and boxes are those of an object's whole image, which the object neither fills nor has to be in the
        middle of.

        Args:
            latents: values of all latent sites, (*particles, time, objects, sequences, ...) or, for `initial_pose` and
                `content`, (*particles, 1, objects, sequences, ...); without particles there may be no dim of size 1.
        """
        betas = torch.cat([latents["input_beta"], latents["pred_beta"]], -4)
        poses = self.poses(latents["initial_pose"], betas).movedim(-2, -4)  # (*particles, sequences, time, objects, 3)
        content = latents["content"]
        content = (content if content.dim() > 3 else content.unsqueeze(0)).movedim(-2, -4)
        side = self.frame_shape[-1]
        return Scene(
            presence=torch.ones_like(poses[..., 0]),
            positions=middles(poses, side),
            box_sizes=(side / poses[..., :1]).expand(*poses.shape[:-1], 2),
            appearance=content.expand(*poses.shape[:-1], -1),
            identities=torch.arange(self.num_objects, device=poses.device).expand(poses.shape[:-1]),
        )


def _check_frame_shape(frame_shape: tuple[int, int, int]) -> None:
    channels, height, width = frame_shape
    if channels != 1 or height != width:
        raise ValueError(f"frame_shape: expected square grey frames, (1, side, side), got {tuple(frame_shape)}")
    check_side("frame_shape", height)
    if height < SMALLEST_FRAME:
        raise ValueError(f"frame_shape: expected a side of at least {SMALLEST_FRAME} pixels, got {height}")
