"""Which parameters a loss reaches, and whether somebody trains them."""

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from inference.programs.traces import Program, modules_of

REMEDY = (
    "make it part of model or guide (so that it learns and is saved with them), or freeze it by requires_grad_(False)"
)


def check_own_parameters(programs: Mapping[str, Program], learnable: Iterable[Tensor]) -> None:
    """Refuse parameters of a loss's own models and guides that nobody trains.

    Args:
        programs: of the loss, by name.
        learnable: what may learn, whether it does at the moment or not.

    Raises:
        ValueError: names the first few of them.
    """
    known = {id(parameter) for parameter in learnable}
    foreign = [
        name
        for name, parameter in _named_parameters(programs).items()
        if parameter.requires_grad and id(parameter) not in known
    ]
    if foreign:
        _refuse(foreign)


def check_reach(
    loss: Tensor, learnable: Iterable[Tensor], trained: Iterable[Tensor], programs: Mapping[str, Program]
) -> None:
    """Refuse a loss that reaches a parameter which nobody trains, or none that is trained.

    Args:
        loss: with its graph.
        learnable: what may learn: the parameters of the optimizer, and those of model and guide.
        trained: the parameters of the optimizer.
        programs: of the loss, by name, to name their parameters.

    Raises:
        ValueError: names the parameters.
    """
    if not loss.requires_grad:
        raise ValueError("optimizer: expected parameters that reach the loss, none of model and guide does")
    reached = reached_parameters(loss)
    known = {id(parameter) for parameter in learnable}
    foreign = [parameter for parameter in reached if id(parameter) not in known]
    if foreign:
        names = {id(parameter): name for name, parameter in _named_parameters(programs).items()}
        _refuse([names.get(id(one), f"a parameter of shape {tuple(one.shape)}") for one in foreign])
    optimized = {id(parameter) for parameter in trained}
    if not any(id(parameter) in optimized for parameter in reached):
        raise ValueError(
            "optimizer: expected parameters that reach the loss, none of its parameters does; give it those of model "
            "and guide, and look for .detach() in the loss"
        )


def reached_parameters(loss: Tensor) -> list[nn.Parameter]:
    """The parameters that a loss has a gradient for, each once."""
    if isinstance(loss, nn.Parameter):
        return [loss]
    seen, waiting, found = set(), [loss.grad_fn], []
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)  # of the nodes that accumulate gradients
        if isinstance(variable, nn.Parameter):
            found.append(variable)
        waiting.extend(following for following, _ in node.next_functions)
    return found


def _named_parameters(programs: Mapping[str, Program]) -> dict[str, nn.Parameter]:
    named: dict[str, nn.Parameter] = {}
    known: set[int] = set()
    for place, program in programs.items():
        for root in list(modules_of(program))[:1]:
            for name, parameter in root.named_parameters():
                if id(parameter) not in known:
                    known.add(id(parameter))
                    named[f"{place}.{name}"] = parameter
    return named


def _refuse(names: list[str]) -> None:
    listed = ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "")
    raise ValueError(
        f"loss: expected its learnable parameters among those of model and guide, got {listed}, which no optimizer "
        f"trains; {REMEDY}"
    )
