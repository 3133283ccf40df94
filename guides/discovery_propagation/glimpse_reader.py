"""Reads the appearance of an object from a window of an image."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from pyro_models.components.glimpses import Windows, read_glimpses
from pyro_models.components.initial_weights import glorot
from pyro_models.components.scales import scale_of


class GlimpseReader(nn.Module):
    """Mean and standard deviation of an appearance from a glimpse, softplus(raw) + 0.01.

    Args:
        encoder: network for glimpses, (*batch, height, width) -> (*batch, units); in colour, channels come before the
            height.
        units: output size of the encoder.
        what_dim: size of an appearance.
        glimpse_size: height and width of a glimpse, pixels.
        in_colour: whether images have channels.
    """

    def __init__(
        self,
        encoder: Callable[[Tensor], Tensor],
        units: int,
        what_dim: int,
        glimpse_size: tuple[int, int],
        in_colour: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(units, 2 * what_dim).apply(glorot)
        self.glimpse_size = glimpse_size
        self.in_colour = in_colour

    def forward(
        self,
        images: Float[Tensor, "..."],
        where: Float[Tensor, "*#batch where"],
        mask: Tensor | None = None,
    ) -> tuple[Float[Tensor, "*batch what"], Float[Tensor, "*batch what"]]:
        """Read images at windows, broadcasting the images.

        Args:
            images: images to read, (*#batch, height, width); in colour, channels come before the height.
            where: windows, as logits.
            mask: (*batch, glimpse height, glimpse width), multiplies the glimpse; None = all ones.
        """
        glimpses = read_glimpses(images, Windows.from_logits(where), self.glimpse_size, channels=self.in_colour)
        if mask is not None:
            glimpses = glimpses * (mask.unsqueeze(-3) if self.in_colour else mask)
        mean, raw = self.head(self.encoder(glimpses)).chunk(2, -1)
        return mean, scale_of(raw)
