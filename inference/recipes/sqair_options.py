"""Options of SQAIR, and the model and guide that they make, whatever the videos are."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from pyro.infer import ELBO
from pyro.nn import PyroModule
from torch import Tensor

from guides.discovery_propagation.guide import DiscoveryPropagationGuide
from inference.estimators import FIVO, VIMCO, OwnWeightVIMCO, WakeSleep
from pyro_models.components.glimpse_networks import GlimpseNetworks
from pyro_models.sqair.model import SequentialAttendInferRepeat

LOSSES: dict[str, Callable[[int], ELBO]] = {
    "vimco": VIMCO,
    "vimco-steps": partial(VIMCO, credit="steps"),
    "own-weight": OwnWeightVIMCO,
    "wake-sleep": WakeSleep,
    "fivo": FIVO,
}


@dataclass(frozen=True, kw_only=True)
class DiscoveryOptions:
    """What SQAIR shares with its part that looks at single frames.

    Attributes:
        estimator: of the gradient: vimco; vimco-steps (credit by time step); own-weight (what the authors' code does);
            wake-sleep; fivo (particles are resampled between frames).
        num_slots: largest number of objects.
        what_dim: size of an object's appearance.
        network: "mlp" or "conv".
        units: of all networks.
        where_scale_mean: prior mean of the logit of a new window's scale.
        chained: let new windows depend on one another.
        mean_image: whether there is one.
        order: whether presence is drawn "first" or "last".
        discovery_bias: of the guide's logit of a new object, at the start.
    """

    estimator: str = "vimco"
    num_slots: int = 3
    what_dim: int = 50
    network: str = "mlp"
    units: int = 256
    where_scale_mean: float = -2.0
    chained: bool = True
    mean_image: bool = True
    order: str = "last"
    discovery_bias: float = 1.0


@dataclass(frozen=True, kw_only=True)
class SQAIROptions(DiscoveryOptions):
    """How objects are found and followed.

    Attributes:
        residual: propagated means are changes.
        masked: let propagation mask its glimpses.
        correlated: let the numbers of a followed window be correlated.
        propagation_bias: of the guide's logit of going on, at the start.
        propagation_offset: of the prior logit of going on.
        later_offset: of the prior logit of no discovery after the first frame.
    """

    @property
    def label(self) -> str:
        """Name of the model in the paper's figures and tables."""
        return {"mlp": "MLP-SQAIR", "conv": "CONV-SQAIR"}[self.network]

    residual: bool = False
    masked: bool = True
    correlated: bool = True
    propagation_bias: float = 5.0
    propagation_offset: float = 10.0
    later_offset: float = 10.0

    def pair(
        self, frames: Tensor, glimpse_size: tuple[int, int], networks: GlimpseNetworks
    ) -> tuple[PyroModule, PyroModule]:
        """Model and guide.

        Args:
            frames: some of those that they are made for, (..., 1, height, width); their mean is that of the model.
            glimpse_size: height and width of a glimpse, pixels.
            networks: that look at pixels.
        """
        _, height, width = frames.shape[-3:]
        model = SequentialAttendInferRepeat(
            (1, height, width),
            num_slots=self.num_slots,
            what_dim=self.what_dim,
            glimpse_size=glimpse_size,
            networks=networks,
            units=self.units,
            where_mean=(self.where_scale_mean, self.where_scale_mean, 0.0, 0.0),
            chained=self.chained,
            residual=self.residual,
            mean_image=self.mean_image,
            propagation_offset=self.propagation_offset,
            later_offset=self.later_offset,
        )
        model.start_from(frames)
        guide = DiscoveryPropagationGuide(
            model,
            order=self.order,
            masked=self.masked,
            correlated=self.correlated,
            propagation_bias=self.propagation_bias,
            discovery_bias=self.discovery_bias,
        )
        return model, guide
