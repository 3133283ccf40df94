"""The bound that validation reports, whatever a stage minimises."""

import copy

from pyro.infer import ELBO, Trace_ELBO

from inference.estimators.objective import Loss, check_loss


def reported_bound(loss: Loss, validation_loss: ELBO | None) -> ELBO:
    """The ELBO whose negative loss is the validation bound of model and guide.

    Args:
        loss: of the run.
        validation_loss: the choice of the caller.

    Returns:
        `validation_loss`; without it the loss of the run, if that is an ELBO, and `pyro.infer.Trace_ELBO()` otherwise.
        A copy: what it finds out about the model stays here.

    Raises:
        TypeError: if `validation_loss` is no ELBO.
    """
    if validation_loss is None:
        return copy.copy(loss) if isinstance(loss, ELBO) else Trace_ELBO()
    check_loss(validation_loss, "validation_loss")
    if not isinstance(validation_loss, ELBO):
        raise TypeError(
            "validation_loss: expected a pyro.infer.ELBO, since validation reports a bound of model and guide, got "
            f"{type(validation_loss).__name__}; give one, such as IWAE(10), or None"
        )
    return copy.copy(validation_loss)
