"""What a window of an image says of the object in it."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from pyro_models.components.glimpses import Windows, read_glimpses
from pyro_models.components.initial_weights import glorot
from pyro_models.components.scales import scale_of


class GlimpseReader(nn.Module):
    """Mean and standard deviation of an appearance from a glimpse, softplus(raw) + 0.01.

    Args:
        encoder: (*batch, height, width) -> (*batch, units), of glimpses.
        units: of the encoder.
        what_dim: size of an appearance.
        glimpse_size: height and width of a glimpse, pixels.
    """

    def __init__(
        self, encoder: Callable[[Tensor], Tensor], units: int, what_dim: int, glimpse_size: tuple[int, int]
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(units, 2 * what_dim).apply(glorot)
        self.glimpse_size = glimpse_size

    def forward(
        self,
        images: Float[Tensor, "*#batch height width"],
        where: Float[Tensor, "*#batch where"],
        mask: Tensor | None = None,
    ) -> tuple[Float[Tensor, "*batch what"], Float[Tensor, "*batch what"]]:
        """Read images, which are broadcast, at windows.

        Args:
            images: to look at.
            where: windows, as logits.
            mask: (*batch, glimpse height, glimpse width), what the glimpse is multiplied by; None = all ones.
        """
        glimpses = read_glimpses(images, Windows.from_logits(where), self.glimpse_size)
        glimpses = glimpses if mask is None else glimpses * mask
        mean, raw = self.head(self.encoder(glimpses)).chunk(2, -1)
        return mean, scale_of(raw)
