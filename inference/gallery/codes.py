"""Codes in the plane, and the mixture weights of the dynamics: figures 3c and 4 of Fraccaro et al. (2017)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from inference.gallery.imputations import shown_answers
from inference.gallery.picture import Picture, save
from inference.pictures import code_grid, draw_code_trajectories, draw_weight_maps, draw_weights_at_codes
from inference.scores.score import Evaluated
from pyro_models.kalman_vae.dynamics_mixture import WindowDynamicsMixture
from pyro_models.kalman_vae.mixed_linear_dynamics import MixedLinearDynamics


@dataclass(frozen=True, kw_only=True)
class CodePictures(Picture):
    """Paths of the codes and mixture weights of the dynamics, if codes are two-dimensional.

    Attributes:
        site: name of the latent with codes, (sequences, time, code).
    """

    captions: ClassVar[Mapping[str, str]] = {
        "codes.png": "Paths of the two-dimensional codes of test videos: encoded from all frames, and inferred with "
        "frames missing (rings). As figure 4 of Fraccaro et al. (2017).",
        "mixture.png": "Weight of each linear-Gaussian component of the dynamics, by the code it is used at. As "
        "figure 3c of Fraccaro et al. (2017): components should divide the plane by where the ball bounces.",
    }

    site: str = "a"

    def draw(self, evaluated: Evaluated, folder: Path) -> list[Path]:
        """See `Picture.draw`."""
        codes = evaluated.reconstruction.latents.get(self.site)
        if codes is None or codes.shape[-1] != 2:
            return []
        videos, answers = evaluated.once(shown_answers)
        paths = {"encoded": codes[: videos.num_sequences]}
        paths |= {name: answer.latents[self.site] for name, answer in answers.items()}
        seen = {name: answer.observed for name, answer in answers.items()}
        written = [save(draw_code_trajectories(paths, seen), folder / "codes.png")]
        dynamics = getattr(evaluated.model, "dynamics", None)
        if isinstance(dynamics, MixedLinearDynamics):
            corner = 1.1 * codes.abs().amax().item()
            extent = (-corner, corner, -corner, corner)
            with torch.no_grad():
                if isinstance(dynamics.mixture, WindowDynamicsMixture) and dynamics.mixture.window == 1:
                    weights = dynamics.mixture(code_grid(extent).to(codes))
                    figure = draw_weight_maps(weights, extent, codes)
                else:
                    weights = dynamics.weights(codes)
                    figure = draw_weights_at_codes(weights[:, 1:], codes[:, :-1])
            written.append(save(figure, folder / "mixture.png"))
        return written
