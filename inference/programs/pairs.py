"""First mistakes with a model and its guide, refused by name before anything runs."""

from types import MethodType
from typing import Any

from torch import nn

from guides.guide_of import GuideOf


def check_pair(model: Any, guide: Any) -> None:
    """Refuse what is no model with its guide.

    Args:
        model: what was given as the model.
        guide: what was given as the guide.

    Raises:
        TypeError: if one of them is a class, a method of a module, or what a call of it returned.
        ValueError: if the guide holds another model, with which it shares no parameter.
    """
    for argument, program in (("model", model), ("guide", guide)):
        _check_program(argument, program)
    if not (isinstance(guide, GuideOf) and isinstance(model, nn.Module)) or guide.model is model:
        return
    served = guide.model
    ours = {id(parameter) for parameter in model.parameters()}
    theirs = {id(parameter) for parameter in served.parameters()} if isinstance(served, nn.Module) else set()
    if ours and theirs and not ours & theirs:
        raise ValueError(
            f"guide: expected a guide of this model, got {type(guide).__name__} of another {type(served).__name__}, "
            f"whose parameters are not this model's; write guide = {type(guide).__name__}(model), or pass guide.model "
            "as the model"
        )


def _check_program(argument: str, program: Any) -> None:
    expected = f"{argument}: expected a module that is called with (frames, observed, controls), got"
    if isinstance(program, type):
        raise TypeError(f"{expected} the class {program.__name__}; create an instance first: {program.__name__}(...)")
    if isinstance(program, MethodType) and isinstance(program.__self__, nn.Module):
        owner = type(program.__self__).__name__
        raise TypeError(
            f"{expected} the method {program.__name__} of {owner}; pass the {owner} itself, whose parameters and mode "
            "are needed too"
        )
    if not callable(program):
        raise TypeError(
            f"{expected} {type(program).__name__}, as a call returns it; pass the {argument} itself without calling "
            "it: it is called with the frames later"
        )
