"""Weight initialisations shared by networks."""

from torch import nn


def glorot(layer: nn.Module) -> None:
    """Uniform weights of variance 2 / (fan in + fan out) and zero biases, in place (Glorot & Bengio 2010, eq. 16).

    For `module.apply(glorot)`: sets linear and convolutional layers and the input-to-hidden and hidden-to-hidden
    matrices of recurrent ones (the gates of an LSTM as one matrix, its forget gates biased by 1 in total); other layers
    are unchanged.

    Args:
        layer: one layer.
    """
    if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    elif isinstance(layer, nn.RNNBase):
        for name, parameter in layer.named_parameters():
            if name.startswith("weight"):
                nn.init.xavier_uniform_(parameter)
            else:
                nn.init.zeros_(parameter)
                if isinstance(layer, nn.LSTM) and name.startswith("bias_ih"):
                    nn.init.ones_(parameter.data[layer.hidden_size : 2 * layer.hidden_size])


def normal_by_size(layer: nn.Module) -> None:
    """Weights from N(0, 1 / sqrt(d)), d the number of elements of a matrix, and zero biases, in place.

    (Chiappa & Paquet 2019; 1 / sqrt(d) is read as the variance, so the standard deviation is d^(-1/4): Glorot's, with
    the geometric mean of fan in and fan out. Read as the standard deviation it would leave hardly any signal.)

    For `module.apply(normal_by_size)`: linear layers, and the input-to-hidden and hidden-to-hidden matrices of
    recurrent ones, where d counts one gate's matrix although those of all gates are stored as one; other layers are
    unchanged.

    Args:
        layer: one layer.
    """
    if isinstance(layer, nn.Linear):
        gates = 1
    elif isinstance(layer, (nn.RNNBase, nn.RNNCellBase)):
        gates = {"LSTM": 4, "GRU": 3}.get(type(layer).__name__.removesuffix("Cell"), 1)
    else:
        return
    for name, parameter in layer.named_parameters(recurse=False):
        if name.startswith("weight"):
            nn.init.normal_(parameter, std=(parameter.numel() / gates) ** -0.25)
        else:
            nn.init.zeros_(parameter)
