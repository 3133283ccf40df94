"""Models that cannot run without their guide, since some of their sites take its values."""

from typing import Any

from pyro import poutine

from guides.program import Program


def need_of_guide(model: Program) -> str | None:
    """`model.needs_guide`: what a model takes from its guide and what to do about it, in words; None = nothing.

    Such a model has latent sites without a density, which the guide draws as point masses: h_t = F(x_1 ... x_t, z_1 ...
    z_t), say, that later frames and latents depend on. Model and guide together are then a proper joint distribution,

        p(x, z) = prod_t p(z_t | h_{t-1}) p(x_t | z_t, h_{t-1})

    with bounds and evidence, which change with the guide. Without a guide nothing can be drawn from it.
    """
    return getattr(poutine.unwrap(model), "needs_guide", None)


def check_draws_videos(model: Program) -> None:
    """Refuse models whose videos cannot be drawn without their guide.

    Raises:
        ValueError: if the model needs its guide; says what to do.
    """
    if need := need_of_guide(model):
        raise ValueError(f"model: {_name(model)} cannot draw videos without its guide: it {need}")


def check_latents_move(model: Program) -> None:
    """Refuse models in which a latent cannot move alone, since values that come from the guide would have to follow.

    Raises:
        ValueError: if the model needs its guide; says what to do.
    """
    if need := need_of_guide(model):
        raise ValueError(
            f"model: latents of {_name(model)} cannot be annealed: it {need}; or estimate its evidence by particle "
            "filters, method=FIVO(64)"
        )


def _name(model: Any) -> str:
    return type(poutine.unwrap(model)).__name__
