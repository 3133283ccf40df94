"""Does this guide fit this model? All mismatches at once, each with its remedy."""

from dataclasses import dataclass

import torch
from pyro import poutine
from torch import Tensor

from guides.check.auxiliary import compare_auxiliary
from guides.check.densities import compare_data, compare_scores, compare_values
from guides.check.masks import compare_masks
from guides.check.mismatches import Mismatch, trace_until_error
from guides.check.missing import compare_guide_at_missing, compare_model_at_missing
from guides.check.particles import compare_particles
from guides.check.sites import compare_sites
from guides.describe import undisturbed
from guides.program import Program
from guides.site_table import SiteTable, html_table, tabulate_trace, text_table
from pyro_models.components.arguments import check_batch, check_video


class GuideMismatchError(ValueError):
    """A guide that does not fit its model; `mismatches` lists every reason."""

    def __init__(self, mismatches: tuple[Mismatch, ...]) -> None:
        self.mismatches = mismatches
        count = "1 mismatch" if len(mismatches) == 1 else f"{len(mismatches)} mismatches"
        super().__init__(
            f"the guide does not fit the model, {count}:\n" + "\n".join(f"  - {one}" for one in mismatches)
        )


@dataclass(frozen=True)
class GuideCheck:
    """The sites of a model and of a guide that fits it.

    Attributes:
        model: sites of the model.
        guide: sites of the guide; those that `pyro.infer.TraceEnum_ELBO` enumerates in the model may be missing.
    """

    model: SiteTable
    guide: SiteTable

    def _rows(self) -> list[tuple[str, ...]]:
        rows = []
        for site in self.model:
            drawn = self.guide[site.name] if site.name in self.guide else None
            without = "(observed)" if site.observed else "(left out: enumerated)"
            law = drawn.distribution if drawn else without
            gradients = "-" if drawn is None else "yes" if drawn.reparameterised else "no"
            plates = " ".join(map(str, site.plates)) or "-"
            rows.append((site.name, site.distribution, law, str(site.event_shape), site.support, plates, gradients))
        return rows

    def __str__(self) -> str:
        return text_table(_HEADER, self._rows())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_table(_HEADER, self._rows())


_HEADER = ("site", "model", "guide", "event", "support", "plates", "guide reparameterised")


def check_guide(
    model: Program, guide: Program, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None
) -> GuideCheck:
    """Compare a guide with its model, site by site, and name every mismatch at once.

    Checked: missing sites (those enumerated in parallel in the model may be left out), extra sites (auxiliary ones are
    allowed only as a change of variables, as in `pyro.infer.autoguide`) and sites that the model observes; event shape,
    plates, support, dtype and device of each draw; draws outside the model's support, frames outside [0, 1] and data
    outside the support of their distributions; non-finite log densities; entries of a draw that only one side scores;
    draws and densities that depend on missing frames; parameters of the guide that receive no gradient; and whether
    particles, in a plate to the left of all others, get the same score as each alone. The checks hold for these
    arguments: pass `observed` and `controls` if the guide is to use them.

    The random state, the parameters and the buffers are left as they were.

    Args:
        model: called as `model(frames, observed, controls)`.
        guide: called with the same arguments.
        frames: (sequences, time, channels, height, width) in [0, 1].
        observed: bool (sequences, time), False = missing, or None.
        controls: (sequences, time, control) or None.

    Returns:
        The table of `describe_sites`, both sides.

    Raises:
        GuideMismatchError: a `ValueError` that lists every mismatch: site, what was expected, what came, how to fix it.
        TypeError: if an argument is no tensor.
        ValueError: if frames, observed or controls have the wrong shape or dtype.

    Example:
        A guide for the codes of a Kalman VAE, in ten lines. The model does not score a missing frame's code, so neither
        must the guide: that is what the mask is for.

        >>> import pyro, torch, pyro.distributions as dist
        >>> from pyro.nn import PyroModule
        >>> from pyro_models import KalmanVAE
        >>> class LinearGuide(PyroModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.network = torch.nn.Linear(8 * 8, 2 * 2)
        ...     def forward(self, frames, observed, controls=None):
        ...         frames = torch.where(observed[:, :, None, None, None], frames, 0)
        ...         mean, log_scale = self.network(frames.flatten(2)).chunk(2, dim=-1)
        ...         distribution = dist.Normal(mean, log_scale.exp()).to_event(1).mask(observed).to_event(1)
        ...         with pyro.plate("sequences", frames.shape[0], dim=-1):
        ...             pyro.sample("a", distribution)
        >>> model = KalmanVAE(frame_shape=(1, 8, 8), code_dim=2, decoder="mlp")
        >>> frames, observed = torch.rand(5, 7, 1, 8, 8).round(), torch.rand(5, 7) > 0.3
        >>> check = check_guide(model, LinearGuide(), frames, observed)
        >>> check.guide["a"].distribution, check.guide["a"].event_shape
        ('Normal.to_event(2).mask()', (7, 2))

        The error for a guide that misnames the site:

        >>> def misnamed(frames, observed=None, controls=None):
        ...     with pyro.plate("sequences", frames.shape[0], dim=-1):
        ...         pyro.sample("aa", dist.Normal(torch.zeros(7, 2), 1).to_event(2))
        >>> check_guide(model, misnamed, frames, observed)
        Traceback (most recent call last):
            ...
        guides.check.guide.GuideMismatchError: the guide does not fit the model, 2 mismatches:
          - a: expected a draw of CodePrior with event shape (7, 2), got no such site; add it to the guide
          - aa: expected no such site, got Normal.to_event(2); rename it to "a", or remove it, or let the model ...
    """
    check_batch(frames, observed, controls)
    channels, height, width = getattr(poutine.unwrap(model), "frame_shape", (*frames.shape[2:], 1, 1, 1)[:3])
    with undisturbed(model, guide, device=frames.device):  # values are mismatches like others: validation is off
        frames, _ = check_video(frames, observed, None, (channels, height, width), 0)
        arguments = (frames, observed, controls)
        with torch.no_grad():
            prior = poutine.trace(model).get_trace(*arguments)
        wanted = tabulate_trace(prior)
        posterior, stopped = trace_until_error(guide, arguments)
        offered = tabulate_trace(posterior)
        found = list(compare_sites(wanted, offered, posterior, complete=not stopped))
        if stopped:
            found.append(Mismatch("guide", "a guide that runs", stopped, "fix this first: it hides later mismatches"))
        else:
            found += compare_auxiliary(guide, arguments, wanted, prior, posterior)
        found += compare_values(wanted, offered, prior, posterior)
        found += compare_data(arguments, prior)
        if not found:
            found += compare_scores(model, guide, arguments, posterior)
            found += compare_masks(model, arguments, wanted, posterior)
            found += compare_guide_at_missing(guide, arguments)
            found += compare_model_at_missing(model, arguments, posterior)
            nesting = max(wanted.plate_nesting, offered.plate_nesting)
            found += compare_particles(model, guide, arguments, posterior, nesting)
    if found:
        raise GuideMismatchError(tuple(found))
    return GuideCheck(wanted, offered)
