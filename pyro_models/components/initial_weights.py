"""The initial weights that networks share."""

from torch import nn


def glorot(layer: nn.Module) -> None:
    """Uniform weights of variance 2 / (fan in + fan out) and zero biases, in place (Glorot & Bengio 2010, eq. 16).

    For `module.apply(glorot)`: linear and convolutional layers and the input-to-hidden and hidden-to-hidden matrices of
    recurrent ones are set (the gates of an LSTM as one matrix, its forget gates biased by 1 in total); other layers are
    left as they are.

    Args:
        layer: one layer.
    """
    if isinstance(layer, (nn.Linear, nn.Conv2d)):
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
