"""The guide of single frames: the encoder's proposals."""

from typing import NamedTuple

import pyro
import torch
from jaxtyping import Bool
from pyro.nn import PyroModule
from torch import Tensor

from guides.find_and_fuse.draws import CompletionDraws, Draws, PyroDraws, evaluating
from guides.find_and_fuse.encoder import AIREncoder, FrameProposals
from guides.find_and_fuse.first_frames import where_counted
from guides.find_and_fuse.parts import check_encoder
from guides.guide_of import GuideOf
from guides.missing_frames import where_seen
from pyro_models.components.layout import TIME_OF_OBJECTS
from pyro_models.vtssi.gaussians import Gaussian
from pyro_models.vtssi.per_frame import ContinuousAttendInferRepeat
from videos.typed import typed


class ProposedFrames(NamedTuple):
    """Proposals for all frames, and which of them are seen, (time, sequences); None = all."""

    proposals: FrameProposals
    seen: Bool[Tensor, "time sequences"] | None


class FrameProposalGuide(GuideOf[ContinuousAttendInferRepeat], PyroModule):
    """Every frame by itself: the variant AIR of Akhundov et al. (2019), algorithm 1, see `AIREncoder`.

    With the encoder of a `FindAndFuseGuide` it is a second guide of the same networks. Where a frame is missing, every
    distribution is the model's prior.

    Args:
        model: the model served.
        encoder: proposes from single frames.

    Raises:
        ValueError: if the encoder is of other scenes, or frames, observed or controls have the wrong shape.
        TypeError: if the model is of another kind.
    """

    serves = ContinuousAttendInferRepeat
    completion_methods = ("modes",)

    @typed(left=("model",))
    def __init__(self, model: ContinuousAttendInferRepeat, encoder: AIREncoder) -> None:
        super().__init__(model)
        check_encoder(encoder, model.scenes)
        self.encoder = encoder

    def forward(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
        """Draw the objects of all frames.

        Args:
            frames: (sequences, time, 1, height, width) in [0, 1]; missing ones are never read.
            observed: bool (sequences, time), None = all.
            controls: None.
        """
        context = self.prepare(frames, observed, controls)
        with pyro.plate("sequences", frames.shape[0], dim=-1), pyro.plate("time", frames.shape[1], dim=TIME_OF_OBJECTS):
            self._draw(context, PyroDraws(self.model.scenes))

    def prepare(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> ProposedFrames:
        """See `StepwiseGuide.prepare`."""
        frames, seen = self.check_video(frames, observed, controls)
        return ProposedFrames(self.encoder(frames[:, :, 0].transpose(0, 1)), None if observed is None else seen.T)

    def step(self, index: int, state: None, context: ProposedFrames) -> None:
        """Draw the objects of one frame."""
        images, *others = context.proposals
        frame = slice(index, index + 1)
        own = FrameProposals(images[frame], *(Gaussian(one.loc[frame], one.scale[frame]) for one in others))
        seen = None if context.seen is None else context.seen[frame]
        self._draw(ProposedFrames(own, seen), PyroDraws(self.model.scenes))

    @torch.no_grad()
    def complete(
        self,
        frames: Tensor,
        observed: Tensor | None = None,
        controls: Tensor | None = None,
        *,
        method: str = "modes",
        num_samples: int | None = None,
    ) -> dict[str, Tensor]:
        """Objects of all frames: a whole number of them, and means given the means before.

        Args:
            frames: (sequences, time, 1, height, width).
            observed: bool (sequences, time), None = all.
            controls: None.
            method: "modes".
            num_samples: number of draws; None = the above.

        Returns:
            A value (time, objects, sequences, ...) for each site of the model, (time, 1, sequences) for the count; with
            draws (num_samples, time, ...).

        Raises:
            ValueError: if the method is not "modes".
        """
        self.check_method(method)
        with evaluating(self):
            context = self.prepare(frames, observed, controls)
            draws = CompletionDraws(self.model.scenes, num_samples, frames.shape[0], frames.shape[1])
            self._draw(context, draws)
        return draws.values

    def _draw(self, context: ProposedFrames, draws: Draws) -> None:
        """Objects of frames, with either way of drawing."""
        scenes, proposals, seen = self.model.scenes, context.proposals, context.seen
        seen = None if seen is None else seen.unsqueeze(1)
        number = draws.draw("count", where_counted(seen, proposals.count, scenes.count_law()))
        with draws.objects(scenes.opacities(number)):
            size = draws.draw("z_scale", where_seen(seen, proposals.scale.distribution(), scenes.scale_law()))
            place = draws.draw("z_where", where_seen(seen, proposals.position.distribution(), scenes.standard_law(2)))
            look = self.encoder.look(proposals.images, size, place)
            draws.draw("z_what", where_seen(seen, look.distribution(), scenes.what_law()))
