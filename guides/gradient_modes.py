"""What training differentiates of the inner steps: four estimates of the gradient of one objective."""

from typing import Literal, NamedTuple

GradientMode = Literal["first_order", "second_order", "truncated", "implicit"]


class Differentiated(NamedTuple):
    """What an inner step leaves to training.

    Attributes:
        slopes: whether the gradients of the inner bound are differentiated, which takes second derivatives.
        inputs: whether parameters and the inputs of an update are; if not, credit passes through its state alone.
        earlier_steps: whether steps before the last one are.
    """

    slopes: bool
    inputs: bool
    earlier_steps: bool


GRADIENT_MODES: dict[str, Differentiated] = {
    # slopes are constants: credit passes through what is added, states and other inputs (Greff et al. 2019)
    "first_order": Differentiated(slopes=False, inputs=True, earlier_steps=True),
    # the exact gradient of the whole unrolled inference; two to three times the time
    "second_order": Differentiated(slopes=True, inputs=True, earlier_steps=True),
    # every step restarts from constants
    "truncated": Differentiated(slopes=False, inputs=False, earlier_steps=True),
    # the last step alone, in memory that does not grow with the steps (Chang, Griffiths and Levine 2022)
    "implicit": Differentiated(slopes=False, inputs=True, earlier_steps=False),
}


def gradient_mode(name: str) -> Differentiated:
    """The mode of a name.

    Raises:
        ValueError: if it is none.
    """
    if name not in GRADIENT_MODES:
        known = ", ".join(map(repr, GRADIENT_MODES))
        raise ValueError(f"gradients: expected one of {known}, got {name!r}; 'first_order' is the usual choice")
    return GRADIENT_MODES[name]
