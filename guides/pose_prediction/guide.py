"""The guide of DDPAE: infer from the first frames, predict the others."""

from collections.abc import Callable

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Bool, Float
from pyro.nn import PyroModule
from torch import Tensor

from guides.guide_of import GuideOf
from guides.pose_prediction.content_network import ContentNetwork
from guides.pose_prediction.pose_network import PoseNetwork
from pyro_models.components.glimpses import read_glimpses
from pyro_models.ddpae.model import DDPAE
from pyro_models.ddpae.poses import windows_of
from videos.typed import Count, typed

TIME_PLATES = {"input_beta": "input_time", "pred_beta": "output_time"}


class PosePredictionGuide(GuideOf[DDPAE], PyroModule):
    """Everything is inferred from the first K = `model.num_input` frames (Hsieh et al. 2018, section 3)::

        q(z | x) = q(initial_pose, input_beta, pred_beta | x_1, ..., x_K) prod_i q(content_i | crops of x_1, ..., x_K)

    Poses and their changes are independent Gaussians, see `PoseNetwork`; contents are Gaussians given crops, cut out by
    the poses that were drawn, see `ContentNetwork`. Later frames do not change q, and there may be any number of them:
    `pred_beta` is the predictor's output, frame after frame. So `queries.forecast` has no longest horizon.

    Missing input frames are never read. The predictor stands in for them in the paths of poses, and contents come from
    the crops of the others. Batch statistics count the last frame seen before in their place.

    Frames are encoded once for all particles. Crops depend on the draw: in training each particle is normalised by its
    own batch statistics, as it would be alone. In training q of one sequence therefore depends on the others of its
    batch, a little; in evaluation mode the running statistics are used and it does not.

    Args:
        model: the model served.
        units: units of each LSTM; the authors use 64 for digits and 128 for balls.
        image_dim: size of the code of a frame.
        released_weights: start from the weights of the authors' code as they are, with scales of 0 +- 0.7 and changes
            of +- 0.7, which training first has to bring to the prior. By default poses start close to the prior, so
            that objects are in sight from the first step.

    Raises:
        ValueError: if frames, observed or controls have the wrong shape, or a clip has no frame to predict.
        TypeError: if the model is of another kind.
    """

    serves = DDPAE
    completion_methods = ("means",)

    @typed(left=("model",))
    def __init__(
        self, model: DDPAE, *, units: Count = 64, image_dim: Count = 256, released_weights: bool = False
    ) -> None:
        super().__init__(model)
        self.poses = PoseNetwork(model.frame_shape[-1], image_dim, units, model.num_objects, model.channels)
        self.contents = ContentNetwork(model.glimpse_size, model.what_dim, units, model.channels)
        if not released_weights:
            zeros = torch.zeros_like(model.initial_mean)
            self.poses.beta_head.start_at(zeros, zeros + model.beta_scale)
            self.poses.initial_head.start_at(model.initial_mean, model.initial_scale)

    def forward(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
        """Draw poses and contents.

        Args:
            frames: (sequences, time, 1, side, side) in [0, 1]; missing ones are never read, nor are those after the
                first `model.num_input`.
            observed: bool (sequences, time), None = all.
            controls: None.
        """

        def sample(name: str, distribution: dist.Independent) -> Tensor:
            if name not in TIME_PLATES:
                return pyro.sample(name, distribution)
            with pyro.plate(TIME_PLATES[name], distribution.batch_shape[0], dim=-3):
                return pyro.sample(name, distribution)

        self.check_video(frames, observed, controls)  # before plates take sizes from it
        with pyro.plate("sequences", frames.shape[0], dim=-1), pyro.plate("objects", self.model.num_objects, dim=-2):
            self._infer(frames, observed, controls, sample)

    @torch.no_grad()
    def complete(
        self,
        frames: Tensor,
        observed: Tensor | None = None,
        controls: Tensor | None = None,
        *,
        method: str = "means",
        num_samples: int | None = None,
    ) -> dict[str, Tensor]:
        """Poses of all frames and contents: means, each given the means before it, or draws.

        Args:
            frames: (sequences, time, 1, side, side).
            observed: bool (sequences, time), None = all.
            controls: None.
            method: "means".
            num_samples: number of draws, or None for means.

        Returns:
            A value for each site of the model, in its layout; with draws (num_samples, time or 1, objects, sequences,
            ...).

        Raises:
            ValueError: if the method is not "means".
        """
        self.check_method(method)

        def sample(name: str, distribution: dist.Independent) -> Tensor:
            if num_samples is None:
                return distribution.mean
            plates = distribution.batch_shape[-3:]
            return distribution.expand((num_samples, *(1,) * (3 - len(plates)), *plates)).sample()

        return self._infer(frames, observed, controls, sample)

    def _infer(
        self,
        frames: Tensor,
        observed: Tensor | None,
        controls: Tensor | None,
        sample: Callable[[str, dist.Independent], Tensor],
    ) -> dict[str, Tensor]:
        """Values of all sites; `sample` turns a name and a distribution into a value."""
        model = self.model
        frames, seen = model.check_clip(frames, observed, controls)
        images = frames[:, : model.num_input, 0].transpose(0, 1)
        real = None if observed is None else seen[:, : model.num_input].T
        if real is not None:
            images = _hold_last_seen(images, real)
        distributions = self.poses(images, real, frames.shape[1] - model.num_input)
        values = {name: sample(name, distribution) for name, distribution in distributions._asdict().items()}
        poses = model.poses(values["initial_pose"], values["input_beta"]).transpose(-4, -3)
        windows = windows_of(poses, model.frame_shape[-1], model.glimpse_size)
        distribution = self.contents(read_glimpses(images, windows, (model.glimpse_size, model.glimpse_size)), real)
        if len(distribution.batch_shape) > 2:  # particles: a dim of size 1 for time
            *particles, objects, sequences = distribution.batch_shape
            distribution = dist.Normal(
                *(
                    value.reshape(*particles, 1, objects, sequences, -1)
                    for value in (distribution.mean, distribution.stddev)
                )
            ).to_event(1)
        values["content"] = sample("content", distribution)
        return values


def _hold_last_seen(
    images: Float[Tensor, "time sequences height width"], seen: Bool[Tensor, "time sequences"]
) -> Float[Tensor, "time sequences height width"]:
    """Each missing image replaced by the last one seen before it; black if there is none."""
    steps = torch.arange(len(images), device=images.device)[:, None]
    last = torch.where(seen, steps, 0).cummax(0).values
    return images.gather(0, last[..., None, None].expand_as(images))
