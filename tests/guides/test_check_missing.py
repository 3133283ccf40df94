"""These tests pin: a guide or model that reads missing frames is named by site, whether a number changes or an error is
raised, whatever the given frames contain; data outside a likelihood's support are named."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule
from torch import nn

from guides.check.guide import GuideMismatchError, check_guide

FRAMES = torch.rand(5, 7, 1, 3, 2)
OBSERVED = torch.ones(5, 7, dtype=torch.bool)
OBSERVED[1, 3:5] = False
HOLES = torch.where(OBSERVED[:, :, None, None, None], FRAMES, float("nan"))
BLANK = "start with frames = torch.where(observed[:, :, None, None, None], frames, 0)"


def blanked(frames, observed):
    return frames if observed is None else torch.where(observed[:, :, None, None, None], frames, 0)


class Model(PyroModule):
    """One bit per sequence and one number per frame; tests break what it reads and masks."""

    blanks = masks = True
    likelihood = staticmethod(lambda mean: dist.Normal(mean, 1.0))

    def number_law(self, frames):
        return dist.Normal(0.0, 1.0)

    def forward(self, frames, observed=None, controls=None):
        if self.blanks:
            frames = blanked(frames, observed)
        with pyro.plate("sequences", 5, dim=-1):
            bit = pyro.sample("bit", dist.Bernoulli(torch.tensor(0.5)))
            with pyro.plate("time", 7, dim=-2):
                number = pyro.sample("number", self.number_law(frames))
                mean = (number + bit).sigmoid()[..., None, None, None]
                law = self.likelihood(mean.expand(*mean.shape[:-3], 1, 3, 2)).to_event(3)
                if observed is not None and self.masks:
                    law = law.mask(observed.T)
                pyro.sample("frames", law, obs=frames.transpose(0, 1))


class Guide(PyroModule):
    blanks = True

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.ones(()))

    def forward(self, frames, observed=None, controls=None):
        if self.blanks:
            frames = blanked(frames, observed)
        level = self.slope * frames.mean((2, 3, 4))
        with pyro.plate("sequences", 5, dim=-1):
            pyro.sample("bit", dist.Bernoulli(level.mean(1).sigmoid()))
            with pyro.plate("time", 7, dim=-2):
                pyro.sample("number", dist.Normal(level.T, 1.0))


def mismatches(model, guide, frames=FRAMES, observed=OBSERVED):
    with pytest.raises(GuideMismatchError) as caught:
        check_guide(model, guide, frames, observed)
    return {one.site: one for one in caught.value.mismatches}


@pytest.mark.parametrize("frames", [FRAMES, HOLES], ids=["numbers", "NaN"])
def test_a_guide_that_stops_at_missing_frames_is_a_mismatch_with_its_remedy(frames):
    check_guide(Model(), Guide(), frames, OBSERVED)
    guide = Guide()
    guide.blanks = False  # probs of NaN cannot be drawn from
    check_guide(Model(), guide, FRAMES)
    (found,) = mismatches(Model(), guide, frames).values()
    assert found.site == "bit"
    assert found.expected == "draws that do not depend on missing frames"
    assert found.got.startswith("RuntimeError: ")
    assert found.got.endswith("when those are NaN: the guide reads them")
    assert found.mend == BLANK


def test_a_model_that_ignores_what_is_missing_is_a_mismatch_of_the_site_that_scores_it():
    model = Model()
    model.blanks = model.masks = False
    check_guide(model, Guide(), FRAMES)
    (found,) = mismatches(model, Guide()).values()
    assert str(found) == (
        "frames: expected a density that does not depend on missing frames, got another when those are 0.7; "
        f"{BLANK}, and mask what it scores: .mask(observed), laid out as the plates are"
    )
    model.blanks = True  # half of the advice: zeros are scored, whatever lies in the frames, and the density ignores it
    model.masks = True
    check_guide(model, Guide(), FRAMES, OBSERVED)


def test_a_model_may_mask_without_blanking():
    model = Model()
    model.blanks = False
    check_guide(model, Guide(), FRAMES, OBSERVED)


def test_a_prior_that_looks_at_missing_frames_is_named_by_its_own_site():
    model = Model()
    model.blanks = False
    model.number_law = lambda frames: dist.Normal(frames.mean((2, 3, 4)).T, 1.0)
    assert list(mismatches(model, Guide())) == ["number"]


def test_a_model_that_stops_at_missing_frames():
    class Stops(Model):
        def number_law(self, frames):
            torch.linalg.cholesky(torch.eye(2) + frames.sum())
            return dist.Normal(0.0, 1.0)

    model = Stops()
    check_guide(model, Guide(), FRAMES, OBSERVED)
    model.blanks = False
    (found,) = mismatches(model, Guide()).values()
    assert found.site == "number"
    assert found.got.endswith("when those are nan: the model reads them")


def bernoulli_model():
    model = Model()
    model.likelihood = dist.Bernoulli
    return model


def test_shades_of_grey_are_outside_the_support_of_a_bernoulli():
    model = bernoulli_model()
    binary = FRAMES.round()
    check_guide(model, Guide(), binary, OBSERVED)
    grey = binary.clone()
    grey[0, 0] = 0.25
    grey[1, 3] = 0.5  # missing, hence no fault
    (found,) = mismatches(model, Guide(), grey).values()
    assert str(found) == (
        "frames: expected values in the support of Bernoulli.to_event(3).mask(): 0 or 1, got 6 of 198 outside: 0.25; "
        "observe it under a distribution whose support holds these values (for shades of grey dist.Normal, say)"
    )


def test_a_likelihood_of_shades_takes_them():
    model = Model()
    model.likelihood = dist.ContinuousBernoulli
    check_guide(model, Guide(), FRAMES, OBSERVED)


def test_frames_outside_the_unit_interval_are_named_once_seen():
    bytes_ = FRAMES.clone()
    bytes_[0, 0] = 255.0
    bytes_[2, 1] = -0.5
    (found,) = mismatches(Model(), Guide(), bytes_, None).values()
    assert found.expected == "values in [0, 1]"
    assert found.got == "12 of 210 outside: -0.5 to 255"
    hidden = FRAMES.clone()
    hidden[1, 3] = 255.0
    check_guide(Model(), Guide(), hidden, OBSERVED)
    broken = FRAMES.clone()
    broken[0, 0, 0, 0, 0] = float("nan")
    assert mismatches(Model(), Guide(), broken)["frames"].got == "1 of 198 outside: 1 of 1 not finite"


@pytest.mark.parametrize(
    ("frames", "observed", "message"),
    [
        (FRAMES[0], None, r"frames: expected \(sequences, .* width\) = .*, got \(7, 1, 3, 2\); a single video needs"),
        (FRAMES, OBSERVED.T, r"observed: expected bool \(sequences, time\) = \(5, 7\), got torch.bool \(7, 5\)"),
        (FRAMES, OBSERVED.float(), r"observed: expected bool \(sequences, time\) = \(5, 7\), got torch.float32"),
    ],
)
def test_wrong_shapes_are_refused_by_name(frames, observed, message):
    with pytest.raises(ValueError, match=message):
        check_guide(Model(), Guide(), frames, observed)
