"""The guide of VTSSI: propose objects once, find them in every frame, fuse what is found with what is predicted."""

from typing import Any, NamedTuple

import pyro.distributions as dist
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from guides.find_and_fuse.draws import CompletionDraws, Draws, PyroDraws, draw_aside, evaluating
from guides.find_and_fuse.encoder import AIREncoder, FrameProposals
from guides.find_and_fuse.first_frames import first_seen, spread_seen, where_counted
from guides.find_and_fuse.motion import MotionFuser
from guides.find_and_fuse.parts import check_parts
from guides.find_and_fuse.rectifier import Rectifier
from guides.find_and_fuse.slot_matching import Looks
from guides.find_and_fuse.two_way import TwoWayMotionFuser
from guides.guide_of import GuideOf
from guides.missing_frames import where_seen
from guides.stepwise import StepwiseGuide
from pyro_models.vtssi.gaussians import Gaussian
from pyro_models.vtssi.model import DisentangledStateSpaceModel
from videos.typed import typed

FINDER_INPUTS = ("found", "fused", "predicted")
FINDER_STARTS = ("nowhere", "proposed")


class VideoReadings(NamedTuple):
    """A checked batch of videos, and what is read of its first frames, once for all particles.

    Attributes:
        images: frames, zero where missing.
        seen: (sequences, time); None = all.
        first: proposals of the first frames that are seen.
        valid: (frames, sequences), False where there is no such frame.
        looks: the consensus; None without a rectifier.
        start: positions from which the finder starts, None = from nowhere.
        finder: the guide's.
        fuser: the guide's.
    """

    images: Float[Tensor, "time sequences height width"]
    seen: Bool[Tensor, "sequences time"] | None
    first: FrameProposals
    valid: Bool[Tensor, "frames sequences"]
    looks: Looks | None
    start: Float[Tensor, "objects sequences 2"] | None
    finder: Any  # got once: PyroModule walks every parameter on each attribute access
    fuser: MotionFuser | None


class FollowedObjects(NamedTuple):
    """The state after a frame, dims (*plates, objects, sequences, ...).

    Attributes:
        opacity: of each object.
        scale: sizes.
        what: appearances.
        features: of each object in the frames that follow, as many as are known, (..., time, feature).
        found: positions by the finder; where the object is drawn from the model, that draw.
        before: the same one frame earlier; None in the first.
        position: positions drawn.
        motion: motions drawn, None before the first.
        memory: of the fuser, None without one.
    """

    opacity: Tensor
    scale: Tensor
    what: Tensor
    features: Tensor
    found: Tensor
    before: Tensor | None
    position: Tensor
    motion: Tensor | None
    memory: Any


class FindAndFuseGuide(GuideOf[DisentangledStateSpaceModel], StepwiseGuide):
    """Modular inference of Akhundov et al. (2019), appendix A and algorithms 1 to 6::

        q(z | x) = q(c, s, d | x_1 ... x_K) prod_{t <= M} q_find(p_t | d, p_{t-1}, x_t) q_mot(m_M | s, d, p_1 ... p_M)
                   prod_{t > M} q_fused(p_t, m_t | p_{t-1}, m_{t-1}, s, d, p^_1 ... p^_t),    p^ by the finder

    Its parts decide which variant it is:

    ===========  =====================  =================  ==================  =============
    variant      sizes and appearances  first position     later positions     model
    ===========  =====================  =================  ==================  =============
    FIND         encoder, frame 1       encoder            finder              no motion
    RECT/FIND    rectifier              finder, p_0 = 0    finder              no motion
    FIND/MOT     encoder, frame 1       encoder            finder, then fuser  motion from M
    VTSSI        rectifier              finder, p_0 = 0    finder, then fuser  motion from M
    ===========  =====================  =================  ==================  =============

    A step sees its own frame, and at first the K frames of the rectifier. What is drawn and is no site - positions that
    the finder passes on after frame M, windows through which the rectifier's appearances are read, the fuser's weight,
    dropout - is drawn in training only. In evaluation mode it is a mean, and the guide has a density.

    With finder_input="fused" the finder proposes from where a particle is, and with "predicted" from where the dynamics
    take it, as a particle filter does, on a straight line before there are motions; with "found", the paper's, it goes
    its own way and particles differ in what they fuse. Without a rectifier `z_where_1` is drawn before
    `z_what_1`, unlike in the model: pyro.infer.TraceMeanField_ELBO warns of the order, and is right all the same.

    With finder_start="proposed" the finder starts, under a rectifier, from the encoder's positions in the first frame;
    "nowhere" is the paper's. Two objects of like appearance are then found apart. The rectifier has to match slots, so
    that their order is that of the first frame.

    Where a frame is missing, positions and motions have the model's distributions, and the finder goes on from the
    position drawn; the encoder reads the first K frames that are seen. Without any, the guide is the model.

    Args:
        model: the model served.
        encoder: proposes from single frames.
        finder: finds objects of known appearance: a `Finder`, or a module with its methods.
        rectifier: makes a consensus of several frames; None = the encoder reads one.
        fuser: infers and fuses motion; for models with a motion, and only those.
        finder_input: what the finder gets as the previous position after frame M: the one that was "found", the one
            that was "fused", or the one "predicted" for this frame, see above.
        finder_start: "nowhere" or "proposed", see above.

    Raises:
        ValueError: if the parts do not go with the model, or frames, observed or controls have the wrong shape.
        TypeError: if the model is of another kind.
    """

    serves = DisentangledStateSpaceModel
    completion_methods = ("modes", "finder")

    @typed(left=("model",))
    def __init__(
        self,
        model: DisentangledStateSpaceModel,
        encoder: AIREncoder,
        finder: nn.Module,
        *,
        rectifier: Rectifier | None = None,
        fuser: MotionFuser | None = None,
        finder_input: str = "found",
        finder_start: str = "nowhere",
    ) -> None:
        super().__init__(model)
        check_parts(model, encoder, finder, rectifier, fuser)
        if finder_input not in FINDER_INPUTS:
            raise ValueError(
                f"finder_input: expected found, fused or predicted, got {finder_input!r}; the paper's is 'found'"
            )
        if finder_input != "found" and isinstance(fuser, TwoWayMotionFuser):
            raise ValueError(
                "finder_input: expected 'found' for a TwoWayMotionFuser, whose finder goes ahead of what is fused, got "
                f"{finder_input!r}; give it a MotionFuser"
            )
        if finder_start not in FINDER_STARTS:
            raise ValueError(
                f"finder_start: expected {' or '.join(FINDER_STARTS)}, got {finder_start!r}; the paper's is 'nowhere'"
            )
        if finder_start == "proposed" and rectifier is None:
            raise ValueError(
                "finder_start: expected 'nowhere' without a rectifier, whose first positions are the encoder's anyway, "
                "got 'proposed'"
            )
        if finder_start == "proposed" and rectifier is not None and not rectifier.matched:
            raise ValueError(
                "finder_start: expected 'nowhere' with a rectifier that leaves the slots of frames in any order, got "
                "'proposed', which is the order of the first frame; give it a Rectifier(..., matched=True)"
            )
        self.encoder = encoder
        self.finder: Any = finder
        self.rectifier = rectifier
        self.fuser = fuser
        self.finder_input = finder_input
        self.finder_start = finder_start

    def prepare(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> VideoReadings:
        """See `StepwiseGuide.prepare`."""
        frames, mask = self.check_video(frames, observed, controls)
        images, seen = frames[:, :, 0], None if observed is None else mask
        rectifier, encoder = self.rectifier, self.encoder
        some = spread_seen if rectifier is not None and rectifier.spread else first_seen
        firsts, valid = some(images, seen, 1 if rectifier is None else rectifier.frames)
        first, looks, start = encoder(firsts), None, None
        if rectifier is not None:
            scale, position = draw_aside(self, first.scale), draw_aside(self, first.position)
            looks = rectifier(Looks(first.count, first.scale, encoder.look(firsts, scale, position)), valid)
            start = position[0] if self.finder_start == "proposed" else None
        return VideoReadings(images.transpose(0, 1), seen, first, valid, looks, start, self.finder, self.fuser)

    def step(self, index: int, state: FollowedObjects | None, context: VideoReadings) -> FollowedObjects:
        """See `StepwiseGuide.step`."""
        return self._advance(index, state, context, PyroDraws(self.model.scenes))

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
        """Objects of all frames: a whole number of them, and means given the means before; w = 0.5.

        After the last frame that is seen, objects move by the dynamics' means, or stay where there are none.

        Args:
            frames: (sequences, time, 1, height, width).
            observed: bool (sequences, time), None = all.
            controls: None.
            method: "modes"; or "finder", with positions as the finder finds them, before they are fused.
            num_samples: number of draws; None = the above.

        Returns:
            A value (objects, sequences, ...) for each site of the model, (sequences,) for the count; with draws
            (num_samples, 1, objects, sequences, ...).

        Raises:
            ValueError: if the method is neither.
        """
        self.check_method(method)
        with evaluating(self):
            context = self.prepare(frames, observed, controls)
            draws, state = CompletionDraws(self.model.scenes, num_samples, frames.shape[0]), None
            for index in range(frames.shape[1]):
                state = self._advance(index, state, context, draws)
                if method == "finder":
                    draws.values[f"z_where_{index + 1}"] = state.found
        return draws.values

    def _advance(
        self, index: int, state: FollowedObjects | None, context: VideoReadings, draws: Draws
    ) -> FollowedObjects:
        """One step, with either way of drawing."""
        if state is None:
            return self._begin(context, draws)
        model, number = self.model, index + 1
        seen = None if context.seen is None else context.seen[:, index]
        laws = model.next_laws(index, (state.position, state.motion))
        known = state.features if state.features.shape[-2] else self._look(context, state.what, index)
        features, state = known[..., 0, :], state._replace(features=known[..., 1:, :])
        with draws.objects(state.opacity):
            if model.first_motion is not None and number > model.first_motion:
                return self._fuse(number, state, features, context, laws, draws)
            previous = state.found
            if self.finder_input == "predicted" and state.before is not None:
                previous = 2 * state.found - state.before
            found = find(context.finder, features, previous)
            position = draws.draw(f"z_where_{number}", where_seen(seen, found.distribution(), laws[0]))
            state = state._replace(found=position, before=state.found, position=position)
            return self._move(number, state, context, laws[1], draws)

    def _begin(self, context: VideoReadings, draws: Draws) -> FollowedObjects:
        """The first step: count, sizes, appearances and first positions."""
        model, finder, first, looks = self.model, context.finder, context.first, context.looks
        scenes = model.scenes
        seen, anything = (None, None) if context.seen is None else (context.seen[:, 0], context.valid[0])
        count, scale, place = (looks.count, looks.scale, None) if looks else (one.at(0) for one in first[1:])
        number = draws.draw("count_1", where_counted(anything, count.at(0), scenes.count_law()))
        opacity = scenes.opacities(number)
        where_law, motion_law = model.next_laws(0, None)
        with draws.objects(opacity):
            size = draws.draw("z_scale_1", where_seen(anything, scale.distribution(), scenes.scale_law()))
            if looks is None:
                assert place is not None
                position = draws.draw("z_where_1", where_seen(seen, place.distribution(), where_law))
                window = position if seen is None else torch.where(seen[:, None], position, draw_aside(self, place))
                look = self.encoder.look(first.images, size, window)
                what = draws.draw("z_what_1", where_seen(anything, look.distribution(), scenes.what_law()))
                features = self._look(context, what, 0)
            else:
                what = draws.draw("z_what_1", where_seen(anything, looks.what.distribution(), scenes.what_law()))
                features = self._look(context, what, 0)
                found = find(finder, features[..., 0, :], context.start)
                position = draws.draw("z_where_1", where_seen(seen, found.distribution(), where_law))
            memory = None if context.fuser is None else context.fuser.start(position)
            state = FollowedObjects(opacity, size, what, features[..., 1:, :], position, None, position, None, memory)
            return self._move(1, state, context, motion_law, draws)

    def _look(self, context: VideoReadings, what: Tensor, index: int) -> Tensor:
        """Features of objects in the frames from here on.

        Without gradients those of one frame: particles that are resampled would carry all of them along.
        """
        ahead = context.images[index:] if torch.is_grad_enabled() else context.images[index : index + 1]
        return context.finder.look(ahead, what)

    def _move(
        self,
        number: int,
        state: FollowedObjects,
        context: VideoReadings,
        motion_law: dist.Independent | None,
        draws: Draws,
    ) -> FollowedObjects:
        """Let the fuser see where objects were found up to frame M, and draw the first motions there."""
        fuser = context.fuser
        if fuser is None or state.memory is None:
            return state
        memory = fuser.follow(state.scale, state.what, state.found, state.memory)
        if motion_law is None:
            return state._replace(memory=memory)
        if isinstance(fuser, TwoWayMotionFuser):
            memory = fuser.look_ahead(state.scale, state.what, self._find_ahead(number, state, context), memory)
        seen = None if context.seen is None else context.seen[:, :number].any(1)
        law = where_seen(seen, fuser.motion(number, memory).distribution(), motion_law)
        return state._replace(motion=draws.draw(f"z_motion_{number}", law), memory=memory)

    def _fuse(
        self,
        number: int,
        state: FollowedObjects,
        features: Tensor,
        context: VideoReadings,
        laws: tuple[dist.Independent, dist.Independent | None],
        draws: Draws,
    ) -> FollowedObjects:
        """A step after frame M: what was found and inferred, fused with what the dynamics predict."""
        fuser, (where_law, motion_law) = context.fuser, laws
        seen = None if context.seen is None else context.seen[:, number - 1]
        assert fuser is not None
        assert motion_law is not None
        assert state.memory is not None
        previous = {"found": state.found, "fused": state.position, "predicted": where_law.mean}[self.finder_input]
        found = find(context.finder, features, previous)
        weight = fuser.draw_weight(found.loc)
        law = fuser.fuse(weight, Gaussian.of(where_law), found).distribution()
        position = draws.draw(f"z_where_{number}", where_seen(seen, law, where_law))
        if isinstance(fuser, TwoWayMotionFuser):
            here = fuser.position(number, state.memory)
        else:
            here = draw_aside(self, found)
            here = here if seen is None else torch.where(seen[:, None], here, position)
        memory = fuser.follow(state.scale, state.what, here, state.memory)
        law = fuser.fuse(weight, Gaussian.of(motion_law), fuser.motion(number, memory)).distribution()
        motion = draws.draw(f"z_motion_{number}", where_seen(seen, law, motion_law))
        return state._replace(found=here, position=position, motion=motion, memory=memory)

    def _find_ahead(self, number: int, state: FollowedObjects, context: VideoReadings) -> list[Tensor]:
        """Positions that the finder goes through after a frame, whatever is drawn there."""
        here, path = state.found, []
        images = context.images[number:]
        known = state.features if state.features.shape[-2] == len(images) else context.finder.look(images, state.what)
        for index, features in enumerate(known.unbind(-2), start=number):
            found = draw_aside(self, find(context.finder, features, here))
            here = found if context.seen is None else torch.where(context.seen[:, index, None], found, here)
            path.append(here)
        return path


def find(finder: Any, features: Tensor, previous: Tensor | None) -> Gaussian:
    """Positions by a finder, whose shapes are checked: what broadcasts would go unnoticed.

    Args:
        finder: a `Finder`, or a module with its methods.
        features: of one frame.
        previous: positions in the frame before it; None at first.

    Raises:
        ValueError: if it returns other shapes.
    """
    found = finder(features, previous)
    batch = features.shape[:-1]
    expected = (*(batch if previous is None else torch.broadcast_shapes(batch, previous.shape[:-1])), 2)
    shapes = [tuple(values.shape) for values in found]
    if shapes != [expected] * 2:
        raise ValueError(
            f"finder: expected means and standard deviations (*plates, objects, sequences, 2) = {expected}, got "
            f"{', '.join(map(str, shapes))}; {type(finder).__name__}.forward has to return a Gaussian of these"
        )
    return found
