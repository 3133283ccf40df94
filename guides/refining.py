"""Guides that refine their variational parameters step by step; the ordinary guide is made of the last step."""

from collections.abc import Sequence
from typing import Any

from pyro.nn import PyroModule
from torch import Tensor


class RefiningGuide(PyroModule):
    """Iterative amortized inference (Marino, Yue and Mandt 2018), written as two methods.

        lambda_0, lambda_1 = f(lambda_0, x), ..., lambda_N;      q(z | x) = q(z; lambda_N)

    `refine` computes the variational parameters and draws no site, `draw` draws the latents from some of them. The
    guide is the last of its refinements; a loss may use all of them, see `inference.IntermediateBounds`. Gradients of
    the model's density, which a refinement may follow, are those of `log_joint` and `inner_gradients`.
    """

    def refine(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> Sequence[Any]:
        """Check the arguments and compute the variational parameters of every step, once for all particles.

        Args:
            frames: (sequences, time, channels, height, width).
            observed: bool (sequences, time), None = all.
            controls: (sequences, time, control) or None.

        Returns:
            lambda_1, ..., lambda_N, each what `draw` is given.

        Raises:
            ValueError: if a shape is wrong.
        """
        raise NotImplementedError

    def draw(
        self, parameters: Any, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None
    ) -> None:
        """Draw every latent site from the variational distribution with these parameters.

        Args:
            parameters: one element of what `refine` returned.
            frames: as in `refine`.
            observed: as in `refine`.
            controls: as in `refine`.
        """
        raise NotImplementedError

    def forward(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
        """Draw the latents from the last refinement.

        Args:
            frames: (sequences, time, channels, height, width) in [0, 1]; missing ones are never read.
            observed: bool (sequences, time), None = all.
            controls: (sequences, time, control) or None.
        """
        self.draw(self.refine(frames, observed, controls)[-1], frames, observed, controls)
