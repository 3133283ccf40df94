"""These tests pin: entries of a draw that only one side scores are named, and the advised mask is the model's own: a
guide that follows the advice passes, whatever the model masks by and wherever its dims are."""

import re

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule
from torch import nn

from guides.check.guide import GuideMismatchError, check_guide
from pyro_models import AttendInferRepeat

SEQUENCES, TIME = 5, 4
FRAMES = torch.rand(SEQUENCES, TIME, 1, 8, 8)
OBSERVED = torch.ones(SEQUENCES, TIME, dtype=torch.bool)
OBSERVED[1, 2:] = False
OBSERVED[3, 0] = False


def mismatches(model, guide, observed=OBSERVED):
    with pytest.raises(GuideMismatchError) as caught:
        check_guide(model, guide, FRAMES, observed)
    return caught.value.mismatches


def advised(mismatch):
    """Turn the advice into a function of a distribution whose event dims are all in its batch, and of names."""
    found = re.fullmatch(r"mask the guide's distribution as in the model: (.*)", mismatch.mend)
    assert found, mismatch
    return found[1]


class AirGuide(PyroModule):
    """All of the sites of AIR; `statements` says what follows each distribution, as code."""

    def __init__(self, slots=2):
        super().__init__()
        self.slots = slots
        self.where = nn.Parameter(torch.zeros(3))
        self.what = nn.Parameter(torch.zeros(2))
        self.logit = nn.Parameter(torch.zeros(()))
        self.statements = {}

    def forward(self, frames, observed=None, controls=None):
        draws = {"observed": observed}
        with pyro.plate("sequences", SEQUENCES, dim=-1), pyro.plate("time", TIME, dim=-2):
            alive = 1.0
            for slot in range(1, self.slots + 1):
                name = f"z_pres_{slot}"
                draws[name] = pyro.sample(name, dist.Bernoulli(self.logit.sigmoid() * alive))
                alive = alive * draws[name]
                for name, mean in ((f"z_where_{slot}", self.where), (f"z_what_{slot}", self.what)):
                    law = dist.Normal(mean, 1.0).expand([TIME, SEQUENCES, *mean.shape]).to_event(1)
                    draws[name] = pyro.sample(name, eval("law" + self.statements.get(name, ""), {**draws, "law": law}))


def air():
    return AttendInferRepeat((1, 8, 8), num_slots=2, what_dim=2, glimpse_size=4, hidden=(5,), another=0.6)


@pytest.mark.parametrize("observed", [None, OBSERVED], ids=["all seen", "some missing"])
def test_a_mask_by_presence_is_advised_and_the_advice_fits(observed):
    pyro.set_rng_seed(0)
    model, guide = air(), AirGuide()
    found = {one.site: one for one in mismatches(model, guide, observed)}
    assert list(found) == ["z_where_1", "z_what_1", "z_where_2", "z_what_2"]
    assert all(re.fullmatch(r"\d+ of \d+ scored by the guide alone", one.got) for one in found.values())
    guide.statements = {name: advised(one) for name, one in found.items()}
    assert guide.statements["z_where_1"] == ".mask(z_pres_1 > 0)"
    assert guide.statements["z_what_2"] == ".mask((z_pres_1 * z_pres_2) > 0)"
    check_guide(model, guide, FRAMES, observed)


def test_a_mask_by_missing_frames_that_the_model_has_not_is_refused():
    pyro.set_rng_seed(0)
    model, guide = air(), AirGuide()
    right = {"1": "z_pres_1 > 0", "2": "z_pres_1 * z_pres_2 > 0"}
    guide.statements = {f"z_{what}_{slot}": f".mask({right[slot]})" for what in ("where", "what") for slot in "12"}
    guide.statements["z_where_1"] = ".mask((z_pres_1 > 0) & observed.T)"
    (found,) = mismatches(model, guide)
    assert found.site == "z_where_1"
    assert re.fullmatch(r"\d+ of 60 scored by the model alone", found.got)
    check_guide(model, guide, FRAMES, torch.ones_like(OBSERVED))


LAYOUTS = {
    "time plate, left": ("time", ".mask(observed.T)"),
    "time plate, right": ("right", ".mask(observed)"),
    "time and objects": ("objects", ".mask(observed.T[:, None, :])"),
    "event": ("event", ".to_event(1).mask(observed).to_event(1)"),
    "inner event": ("inner", ".to_event(1).mask(observed[:, None, :]).to_event(2)"),
    "step by step": ("steps", None),
}


def seen_or_all(observed):
    return torch.ones(SEQUENCES, TIME, dtype=torch.bool) if observed is None else observed


def program(layout, statement=None):
    """A model and a guide in one: without `statement` it masks by missing frames, in its own way."""

    def sample(name, shape, seen, events, observed):
        # all dims of a draw in the batch; those to the right of the mask become event dims before it, the others after
        law = dist.Normal(torch.zeros(shape), 1.0)
        if statement is not None:
            text = statement if statement.startswith(".to_event") else f".to_event({events}){statement}"
            return pyro.sample(name, eval("law" + text, {"law": law, "observed": seen_or_all(observed)}))
        kept = seen.reshape(*seen.shape, *[1] * (len(shape) - seen.dim())).expand(shape)
        return pyro.sample(name, law.mask(kept).to_event(events))

    def run(frames, observed=None, controls=None):
        seen = seen_or_all(observed)
        if layout == "right":
            with pyro.plate("sequences", SEQUENCES, dim=-2), pyro.plate("time", TIME, dim=-1):
                sample("z", (SEQUENCES, TIME, 3), seen, 1, observed)
            return
        with pyro.plate("sequences", SEQUENCES, dim=-1):
            if layout == "time":
                with pyro.plate("time", TIME, dim=-2):
                    sample("z", (TIME, SEQUENCES, 3), seen.T, 1, observed)
            elif layout == "objects":
                with pyro.plate("objects", 2, dim=-2), pyro.plate("time", TIME, dim=-3):
                    sample("z", (TIME, 2, SEQUENCES, 3), seen.T[:, None], 1, observed)
            elif layout == "event":
                sample("z", (SEQUENCES, TIME, 3), seen, 2, observed)
            elif layout == "inner":
                sample("z", (SEQUENCES, 2, TIME, 3), seen[:, None].expand(-1, 2, -1), 3, observed)
            else:
                for step in range(TIME):
                    mask = eval(f"seen[:, {step}]", {"seen": seen})
                    sample(f"z_{step}", (SEQUENCES, 3), mask, 1, observed)

    return run


@pytest.mark.parametrize(("layout", "statement"), LAYOUTS.values(), ids=LAYOUTS.keys())
def test_a_mask_by_missing_frames_is_advised_in_the_layout_of_the_draw(layout, statement):
    pyro.set_rng_seed(0)
    model = program(layout)
    found = {one.site: one for one in mismatches(model, program(layout, ""))}
    if layout == "steps":  # steps 1 has no missing frame; 2 and 3 miss the same one here, and not in the trials
        assert {name: advised(one) for name, one in found.items()} == {
            f"z_{step}": f".mask(observed[:, {step}])" for step in (0, 2, 3)
        }
        return
    assert advised(found["z"]) == statement
    check_guide(model, program(layout, statement), FRAMES, OBSERVED)


def both_masks(statement=None, marks=False):
    """Presence and missing frames both mask z."""

    def run(frames, observed=None, controls=None):
        seen = seen_or_all(observed)
        with pyro.plate("sequences", SEQUENCES, dim=-1), pyro.plate("time", TIME, dim=-2):
            here = pyro.sample("here", dist.Bernoulli(torch.tensor(0.6)))
            law = dist.Normal(torch.zeros(TIME, SEQUENCES, 2), 1.0).to_event(1)
            if statement is None:
                law = law.mask(seen.T & (here == 1))
            else:
                law = eval("law" + statement, {"law": law, "observed": seen, "here": here})
            pyro.sample("z", law)

    return run


def test_a_mask_by_both_is_advised():
    pyro.set_rng_seed(0)
    (found,) = mismatches(both_masks(), both_masks(""))
    assert advised(found) == ".mask(observed.T & (here > 0))"
    check_guide(both_masks(), both_masks(advised(found)), FRAMES, OBSERVED)


def kinds(masked):
    """Sites masked by a choice of three, or by a threshold on a number: no expression is known for these."""

    def run(frames, observed=None, controls=None):
        with pyro.plate("sequences", SEQUENCES, dim=-1), pyro.plate("time", TIME, dim=-2):
            kind = pyro.sample("kind", dist.Categorical(torch.full((3,), 1 / 3)))
            depth = pyro.sample("depth", dist.Normal(0.0, 1.0))
            by_kind = dist.Normal(torch.zeros(TIME, SEQUENCES), 1.0)
            pyro.sample("z", by_kind.mask(kind == 2) if masked else by_kind)
            pyro.sample("w", by_kind.mask(depth > -0.3) if masked else by_kind)

    return run


def test_what_else_a_mask_depends_on_is_named():
    pyro.set_rng_seed(0)
    by_kind, by_depth = mismatches(kinds(True), kinds(False))
    same = "mask the guide's distribution as in the model; that mask depends on the draw of"
    assert (by_kind.site, by_kind.mend) == ("z", f"{same} kind")
    assert (by_depth.site, by_depth.mend) == ("w", f"{same} depth")


def test_a_draw_that_the_model_never_scores():
    def model(frames, observed=None, controls=None):
        with pyro.plate("sequences", SEQUENCES, dim=-1):
            pyro.sample("z", dist.Normal(0.0, 1.0).mask(False))

    def guide(frames, observed=None, controls=None):
        with pyro.plate("sequences", SEQUENCES, dim=-1):
            pyro.sample("z", dist.Normal(0.0, 1.0))

    (found,) = mismatches(model, guide)
    assert found.mend.endswith("the model scored these entries for none of the values tried")


def test_discrete_and_positive_draws_have_masks_too():
    def program(masked):
        def run(frames, observed=None, controls=None):
            with pyro.plate("sequences", SEQUENCES, dim=-1), pyro.plate("time", TIME, dim=-2):
                seen = seen_or_all(observed).T
                for name, law in (("bit", dist.Bernoulli(torch.tensor(0.3))), ("scale", dist.LogNormal(0.0, 1.0))):
                    pyro.sample(name, law.mask(seen) if masked else law)

        return run

    found = mismatches(program(True), program(False))
    assert [(one.site, one.got, advised(one)) for one in found] == [
        (name, "3 of 20 scored by the guide alone", ".mask(observed.T)") for name in ("bit", "scale")
    ]
    found = mismatches(program(False), program(True))
    assert [(one.site, one.got) for one in found] == [
        (name, "3 of 20 scored by the model alone") for name in ("bit", "scale")
    ]
