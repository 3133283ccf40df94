"""How an object moves, inferred from where it was found; and what inference and dynamics make of it together."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from guides.aside import uniform_aside
from pyro_models.components.layout import concatenate
from pyro_models.components.recurrent_cells import step_lstm
from pyro_models.vtssi.gaussians import Gaussian, GaussianHeads
from pyro_models.vtssi.model import DisentangledStateSpaceModel
from videos.typed import Count, typed

EVALUATION_WEIGHT = 0.5
UNIT = 10.0  # displacements of a tenth of half a frame are 1


class MotionFuser(nn.Module):
    """Infers motions, and fuses them and the positions found with the dynamics' predictions (Akhundov et al. 2019)::

        m^_t ~ N(heads(LSTM([s, d, p^_t])));   w ~ Uniform(weights) in training, 0.5 in evaluation
        (p, m)_t ~ N(w mu~ + (1 - w) mu^, w^2 sigma~^2 + (1 - w)^2 sigma^^2)

    (algorithm 5), with ~ for the prediction and ^ for inference. The result is the distribution of w X + (1 - w) Y for
    independent X of the prediction and Y of inference. For w near 1 a video is predicted, for w near 0 it is filtered.

    With `displacements` the LSTM reads p^_t - p^_{t-1} as well, in tenths, so that it need not learn to subtract what
    it has to remember.

    Args:
        model: the model; it has a motion.
        units: of the LSTM.
        head_units: hidden units of each head.
        weights: least and largest w in training.
        displacements: see above.

    Raises:
        ValueError: if the model has no motion, or weights are not in [0, 1] and in order.
    """

    @typed
    def __init__(
        self,
        model: DisentangledStateSpaceModel,
        *,
        units: Count = 64,
        head_units: Count = 32,
        weights: tuple[float, float] = (0.01, 0.99),
        displacements: bool = False,
    ) -> None:
        super().__init__()
        if model.transition is None:
            raise ValueError(
                "model: expected one with a motion to fuse with, got first_motion=None; give the model a first_motion, "
                "or leave the fuser out"
            )
        if not 0 <= weights[0] <= weights[1] <= 1:
            raise ValueError(
                f"weights: expected a least and a largest weight of the prediction in [0, 1], got {weights}; "
                "(0.5, 0.5) fixes it"
            )
        self.weights = weights
        self.displacements = displacements
        self.motion_dim = model.motion_dim
        self.what_dim = model.scenes.what_dim
        self.inputs = 4 + 2 * displacements + model.scenes.what_dim
        self.recurrence: Any = nn.LSTMCell(self.inputs, units)
        self.heads = GaussianHeads(units, head_units, model.motion_dim, nn.Tanh, initial_scale=0.5)

    def start(self, like: Float[Tensor, "*plates objects sequences 2"]) -> Any:
        """The memory before the first frame.

        Args:
            like: positions in the first frame.
        """
        memory = like.new_zeros(*like.shape[:-1], self.recurrence.hidden_size)
        return memory, memory, like

    def follow(self, scale: Tensor, what: Tensor, position: Tensor, memory: Any) -> Any:
        """The memory after a frame.

        Args:
            scale: sizes of the objects.
            what: their appearances.
            position: where they were found in the frame.
            memory: before the frame.
        """
        hidden, cell, before = memory
        moved = (UNIT * (position - before),) if self.displacements else ()
        return *step_lstm(self.recurrence, concatenate(scale, what, position, *moved), hidden, cell), position

    def motion(self, number: int, memory: Any) -> Gaussian:
        """Motions inferred in a frame.

        Args:
            number: of the frame, from 1.
            memory: after the frame.
        """
        return self.heads(memory[0])

    def draw_weight(
        self, like: Float[Tensor, "*plates objects sequences 2"]
    ) -> Float[Tensor, "*plates objects sequences 1"]:
        """A weight w for every object, sequence and particle: one for its position and its motion.

        Args:
            like: means of positions.
        """
        if not self.training:
            return torch.full_like(like[..., :1], EVALUATION_WEIGHT)
        least, largest = self.weights
        return least + (largest - least) * uniform_aside(like[..., :1])

    def fuse(self, weight: Tensor, prediction: Gaussian, inferred: Gaussian) -> Gaussian:
        """The distribution that is drawn from.

        Args:
            weight: w, from `draw_weight`.
            prediction: by the dynamics.
            inferred: from the frames.
        """
        return weighted_sum(weight, prediction, inferred)


def weighted_sum(weight: Tensor, prediction: Gaussian, inferred: Gaussian) -> Gaussian:
    """The distribution of w X + (1 - w) Y for independent X ~ prediction and Y ~ inferred.

    Args:
        weight: w; it broadcasts.
        prediction: distribution of X.
        inferred: distribution of Y.
    """
    loc = weight * prediction.loc + (1 - weight) * inferred.loc
    return Gaussian(loc, torch.hypot(weight * prediction.scale, (1 - weight) * inferred.scale))
