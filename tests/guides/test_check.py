"""These tests pin: each way in which a guide can fail its model is named, all at once, and a guide that fits passes."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.nn import PyroModule
from torch import nn

from guides.check.auxiliary import EXTRA_SITE
from guides.check.guide import GuideMismatchError, check_guide

FRAMES = torch.rand(5, 7, 1, 3, 2)
OBSERVED = torch.ones(5, 7, dtype=torch.bool)
OBSERVED[1, 3:5] = False


def model(frames, observed=None, controls=None):
    sequences, time = frames.shape[:2]
    seen = torch.ones(sequences, time, dtype=torch.bool) if observed is None else observed
    frames = torch.where(seen[:, :, None, None, None], frames, 0)
    with pyro.plate("sequences", sequences, dim=-1):
        path = pyro.sample("path", dist.Normal(torch.zeros(time, 4), 1.0).to_event(2))
        scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
        mean = path.mean(-1) * scale[..., None]
        mean = mean.squeeze(-3) if mean.dim() > 2 else mean
        mean = mean.transpose(-1, -2)[..., None, None, None]
        with pyro.plate("time", time, dim=-2):
            law = dist.Normal(mean.expand(mean.shape[:-3] + (1, 3, 2)), 1.0).to_event(3)
            pyro.sample("frames", law.mask(seen.T), obs=frames.transpose(0, 1))


class Guide(PyroModule):
    """Fits the model; each test overrides the one thing that it breaks."""

    plate_name = "sequences"
    scale_site = "scale"
    reads_missing = False

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(6, 4)

    def path_law(self, mean):
        return dist.Normal(mean, 0.5).to_event(2)

    def scale_law(self, mean):
        return dist.LogNormal(mean.mean((-1, -2)), 1.0)

    def forward(self, frames, observed=None, controls=None):
        if observed is not None and not self.reads_missing:
            frames = torch.where(observed[:, :, None, None, None], frames, 0)
        mean = self.net(frames.flatten(2))
        with pyro.plate(self.plate_name, frames.shape[0], dim=-1):
            pyro.sample("path", self.path_law(mean))
            if self.scale_site:
                pyro.sample(self.scale_site, self.scale_law(mean))
            self.more()

    def more(self):
        """What a test adds inside the plate."""


def mismatches(guide, observed=None):
    with pytest.raises(GuideMismatchError) as caught:
        check_guide(model, guide, FRAMES, observed)
    assert all(str(one) in str(caught.value) for one in caught.value.mismatches)
    return caught.value.mismatches


def only(guide, observed=None):
    found = mismatches(guide, observed)
    assert len(found) == 1, found
    return str(found[0])


def test_a_guide_that_fits_comes_back_as_a_table_of_both_sides():
    check = check_guide(model, Guide(), FRAMES, OBSERVED)
    assert check.guide["path"].distribution == "Normal.to_event(2)"
    lines = str(check).splitlines()
    assert lines[0].split() == ["site", "model", "guide", "event", "support", "plates", "guide", "reparameterised"]
    assert [line.split()[0] for line in lines[2:]] == ["path", "scale", "frames"]
    assert "(observed)" in lines[-1]
    assert check._repr_html_().count("<tr>") == 4


def test_a_plain_function_with_parameters_in_the_store_is_checked_too():
    def guide(frames, observed=None, controls=None):
        mean = pyro.param("mean", torch.zeros(7, 4))
        width = pyro.param("width", torch.ones(()), constraint=dist.constraints.positive)
        with pyro.plate("sequences", 5, dim=-1):
            pyro.sample("path", dist.Normal(mean, width).to_event(2))
            pyro.sample("scale", dist.LogNormal(pyro.param("idle", torch.zeros(())).detach(), 1.0))

    assert only(guide).startswith("idle: expected a gradient of the bound, got none")
    assert len(pyro.get_param_store()) == 0


def test_missing_and_extra_sites_are_named_with_the_likely_typing_error():
    guide = Guide()
    guide.scale_site = "scales"
    found = [str(one) for one in mismatches(guide)]
    assert found == [
        "scale: expected a draw of LogNormal with event shape (), got no such site; add it to the guide",
        f'scales: expected no such site, got LogNormal; rename it to "scale", or {EXTRA_SITE}',
    ]


def test_a_site_that_the_model_observes():
    class Observes(Guide):
        def more(self):
            with pyro.plate("time", 7, dim=-2):
                pyro.sample("frames", dist.Normal(torch.zeros(1, 3, 2), 1.0).to_event(3))

    assert "frames: expected no such site, the model observes it, got Normal.to_event(3); remove it" in only(Observes())


def test_a_value_observed_by_the_guide():
    guide = poutine.condition(Guide(), {"scale": torch.ones(5)})
    assert "scale: expected a draw, got an observed value" in [str(one) for one in mismatches(guide)][0]


def test_event_shape():
    guide = Guide()
    guide.path_law = lambda mean: dist.Normal(mean[..., :3], 1.0).to_event(2)
    assert "path: expected event shape (7, 4), got (7, 3)" in only(guide)


def test_event_dims_left_in_the_batch():
    class Flat(Guide):
        def forward(self, frames, observed=None, controls=None):
            mean = self.net(frames.flatten(2))
            with pyro.plate("sequences", 5, dim=-1):
                pyro.sample("scale", self.scale_law(mean))
            pyro.sample("path", dist.Normal(mean, 1.0))

    found = [str(one) for one in mismatches(Flat())]
    assert any("path: expected event shape (7, 4), got (); call .to_event(2)" in one for one in found)
    assert any("path: expected plate sequences[5]@-1, got no such plate" in one for one in found)


def test_a_dimension_in_no_plate():
    guide = Guide()
    guide.scale_law = lambda mean: dist.LogNormal(torch.zeros(2, 5), 1.0)
    (found,) = (str(one) for one in mismatches(guide))
    assert "scale: expected batch shape (5,), got batch shape (2, 5), where dim -2 is in no plate" in found


def test_a_plate_of_another_name():
    guide = Guide()
    guide.plate_name = "batch"
    found = [str(one) for one in mismatches(guide)]
    assert len(found) == 4
    assert found[0].startswith("path: expected plate sequences[5]@-1, got no such plate; draw it in `with pyro.plate(")
    assert found[1].startswith("path: expected no such plate, got plate batch[5]@-1")


def test_a_plate_in_another_place():
    class Elsewhere(Guide):
        def forward(self, frames, observed=None, controls=None):
            mean = self.net(frames.flatten(2))
            with pyro.plate("sequences", 5, dim=-2):
                pyro.sample("path", dist.Normal(mean[:, None], 1.0).to_event(2))
                pyro.sample("scale", dist.LogNormal(torch.zeros(5, 1), 1.0))

    assert "path: expected plate sequences[5]@-1, got sequences[5]@-2" in str(mismatches(Elsewhere())[0])


def test_support_and_the_values_outside_it():
    guide = Guide()
    guide.scale_law = lambda mean: dist.Normal(mean.mean((-1, -2)) - 100.0, 1.0)
    found = [str(one) for one in mismatches(guide)]
    assert found[0].startswith("scale: expected support positive, got real; use a distribution with this support")
    assert found[1].startswith("scale: expected values in the support positive, got 5 of 5 of its draws outside")


def test_a_point_mass_has_no_support_of_its_own():
    guide = Guide()
    guide.scale_law = lambda mean: dist.Delta(mean.mean((-1, -2)).exp())
    check_guide(model, guide, FRAMES)


def test_dtype():
    guide = Guide()
    guide.scale_law = lambda mean: dist.LogNormal(mean.mean((-1, -2)).double(), torch.ones((), dtype=torch.float64))
    assert "scale: expected dtype torch.float32, got torch.float64" in only(guide)


def test_non_finite_density_under_the_guide():
    guide = Guide()
    guide.scale_law = lambda mean: dist.LogNormal(mean.mean((-1, -2)), float("nan") * mean.sum().exp())
    found = [str(one) for one in mismatches(guide)]
    assert any(
        "scale: expected finite log densities under the guide, got 5 of 5 of them not finite" in one for one in found
    )


def test_non_finite_density_under_the_model():
    guide = Guide()
    guide.path_law = lambda mean: dist.Normal(mean + 1e30, 1.0).to_event(2)
    found = [str(one) for one in mismatches(guide)]
    assert "path: expected finite log densities under the model at the guide's draws" in found[0]


def test_a_parameter_without_gradient():
    guide = Guide()
    guide.idle = nn.Parameter(torch.ones(3))
    assert only(guide).startswith("idle: expected a gradient of the bound, got none; use it (detach() cuts the path)")
    guide.idle.requires_grad_(False)
    check_guide(model, guide, FRAMES)


def test_entries_that_the_guide_alone_scores():
    def model(frames, observed=None, controls=None):
        with pyro.plate("sequences", 5, dim=-1):
            law = dist.Normal(torch.zeros(7), 1.0)
            pyro.sample("path", (law if observed is None else law.mask(observed)).to_event(1))

    def guide(frames, observed=None, controls=None):
        with pyro.plate("sequences", 5, dim=-1):
            pyro.sample("path", dist.Normal(torch.ones(7), 2.0).to_event(1))

    check_guide(model, guide, FRAMES)
    with pytest.raises(GuideMismatchError, match="1 mismatch") as caught:
        check_guide(model, guide, FRAMES, OBSERVED)
    expected = "path: expected the entries of a draw that the model scores, got 2 of 35 scored by the guide alone; mask"
    assert str(caught.value.mismatches[0]).startswith(expected)
    check_guide(model, model, FRAMES, OBSERVED)


def test_missing_frames_that_are_read():
    guide = Guide()
    guide.reads_missing = True
    check_guide(model, guide, FRAMES)
    found = [str(one) for one in mismatches(guide, OBSERVED)]
    assert "path: expected draws that do not depend on missing frames, got other draws when those are NaN" in found[0]


def test_a_guide_that_cannot_be_drawn_in_a_plate_of_particles():
    class Loops(Guide):
        def scale_law(self, mean):
            return dist.LogNormal(self.drawn.reshape(5, 28).mean(-1), 1.0)

        def forward(self, frames, observed=None, controls=None):
            mean = self.net(frames.flatten(2))
            with pyro.plate("sequences", 5, dim=-1):
                self.drawn = pyro.sample("path", self.path_law(mean))
                pyro.sample("scale", self.scale_law(mean))

    assert only(Loops()).startswith(
        "guide: expected draws in a plate of 3 particles, got RuntimeError: shape '[5, 28]'"
    )


def test_a_guide_that_stops_is_one_mismatch_and_what_came_before_is_still_checked():
    class Stops(Guide):
        def path_law(self, mean):
            return dist.Normal(mean[..., :3], 1.0).to_event(2)

        def scale_law(self, mean):
            return dist.LogNormal(torch.zeros(4), 1.0)

    found = [str(one) for one in mismatches(Stops())]
    assert len(found) == 2
    assert "path: expected event shape (7, 4), got (7, 3)" in found[0]
    assert "guide: expected a guide that runs, got ValueError: Shape mismatch inside plate('sequences')" in found[1]


def test_every_mismatch_comes_in_one_message():
    guide = Guide()
    guide.plate_name = "batch"
    guide.scale_site = "scales"
    guide.path_law = lambda mean: dist.LogNormal(mean[..., :3], 1.0).to_event(2)
    with pytest.raises(
        GuideMismatchError, match="the guide does not fit the model, 6 mismatches:\n  - path: "
    ) as caught:
        check_guide(model, guide, FRAMES)
    assert isinstance(caught.value, ValueError)
    assert str(caught.value).count("\n") == 6


def test_checking_disturbs_nothing():
    guide = Guide()
    before = {name: value.clone() for name, value in guide.state_dict().items()}
    pyro.set_rng_seed(3)
    expected = torch.rand(4)
    pyro.set_rng_seed(3)
    check_guide(model, guide, FRAMES, OBSERVED)
    assert torch.equal(torch.rand(4), expected)
    assert all(torch.equal(value, before[name]) for name, value in guide.state_dict().items())
    assert all(parameter.grad is None for parameter in guide.parameters())
