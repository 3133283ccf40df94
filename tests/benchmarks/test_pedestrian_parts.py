"""People without a part of their model: what is switched off is off, before learning and after it."""

import importlib

import pytest
import torch

from inference.experiments.people_tracker import PeopleTracker
from pyro_models.walking_people.motion import Walkers
from tests.benchmarks.programs import PROGRAMS
from tests.inference.test_people_tracker import SMALL, clip_of_two


@pytest.fixture(scope="module")
def masks():
    clip, _ = clip_of_two()
    return PeopleTracker(**SMALL).masks(clip)[0]


@pytest.fixture
def parts(monkeypatch):
    monkeypatch.syspath_prepend(PROGRAMS)
    return importlib.import_module("pedestrian_parts")


def models(parts, part, masks):
    whole = PeopleTracker(**SMALL, rounds=0).start(masks)[0]
    return whole, parts.Without(**SMALL, rounds=0, part=part).fit(masks)[0]


def test_without_perspective_everybody_is_as_tall_in_all_rows(parts, masks):
    whole, flat = models(parts, "perspective", masks)
    rows = torch.tensor([10.0, 40.0])
    assert whole.silhouette.mean_height(rows).diff().abs() > 1
    assert flat.silhouette.mean_height(rows).diff() == 0
    spread = flat.motion.log_spread.exp()[0]
    assert 0.05 < spread < 0.3  # blobs of 15 and 18 pixels, and some cut by the edge


def test_without_velocities_people_do_not_go_on(parts, masks):
    whole, walk = models(parts, "velocity", masks)
    there = torch.ones(1, 1)
    before = Walkers(there, there, torch.tensor([[[20.0, 40.0, 0.0, 0.0]]]), torch.tensor([[[3.0, 0.0]]]))
    place = torch.tensor([[[24.0, 40.0, 0.0, 0.0]]])
    one, other = (model.motion.velocity_distribution(before, place).stddev for model in (whole, walk))
    assert other.max() < 0.01 < one.min()
    assert walk.motion.steps(before.place).sway > 3 * whole.motion.steps(before.place).sway


def test_without_hiding_nobody_is_there_unseen(parts, masks):
    _, plain = models(parts, "hiding", masks)
    assert plain.motion.hide_logit.sigmoid() < 2e-4
    assert plain.motion.appear_logit.sigmoid() > 1 - 2e-4


def test_without_places_all_pixels_have_one_error_rate(parts, masks):
    _, even = models(parts, "places", masks)
    assert even.pixels.miss_logit.unique().numel() == even.pixels.false_logit.unique().numel() == 1
