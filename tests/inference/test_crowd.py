"""Who is followed, with a filter that sees: windows follow people, are opened for new ones and closed."""

import cv2
import numpy as np
import pytest
import torch

from inference.experiments.crowd import Crowd
from tests.inference.seeing_filter import SeeingFilter
from videos.background_subtraction import ForegroundFrame

WIDTH, HEIGHT = 150, 60


def frame_of(number, boxes):
    """A foreground of bright rectangles, given by left, top, width, height."""
    light = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    for left, top, wide, tall in boxes:
        light[max(0, top) : max(0, top + tall), max(0, left) : max(0, left + wide)] = 255
    _, components = cv2.connectedComponents((light > 0).astype(np.uint8))
    return ForegroundFrame(
        torch.from_numpy(light), torch.from_numpy(components.astype(np.int16)), number, (WIDTH, HEIGHT)
    )


def crowd_of(**settings):
    chosen = {
        "least_area": 10,
        "level": 0.5,
        "max_misses": 2,
        "max_overlap": 0.3,
        "max_jump": 0.3,
        "max_return": 0.3,
    } | settings
    return Crowd(SeeingFilter.of_pair(), **chosen)


def test_one_person_is_followed_across_the_frame():
    """By one window, which is a quarter as wide; the box is where the person is, with the share of particles."""
    crowd, sizes = crowd_of(), set()
    for time in range(40):
        found = crowd.after(frame_of(time, [(2 * time + 5, 20, 8, 20)]))
        assert list(found) == [1]
        chance, box = found[1]
        assert chance == pytest.approx(0.75)
        torch.testing.assert_close(box, torch.tensor([2.0 * time + 5, 20, 2 * time + 13, 40]), atol=2.0, rtol=0)
        sizes.add(crowd.num_numbers)
    assert len(sizes) == 1  # memory does not grow


def test_people_who_pass_keep_their_names():
    """They meet in one window; each is followed once."""
    crowd, rows = crowd_of(), []
    for time in range(40):
        boxes = [(2 * time + 5, 5, 8, 20), (110 - 2 * time, 32, 8, 20)]
        found = crowd.after(frame_of(time, boxes))
        rows.append({name: float(box[1]) for name, (_, box) in found.items()})
    assert all(list(row) == list(rows[0]) for row in rows)
    assert len(rows[0]) == 2
    for name, top in rows[0].items():
        assert all(abs(row[name] - top) < 2 for row in rows)


def test_windows_are_opened_for_those_who_come_and_closed_behind_those_who_go():
    crowd, rows = crowd_of(), []
    for time in range(30):
        boxes = [(20, 20, 8, 20)] if time < 10 else []
        boxes += [(100, 20, 8, 20)] if time >= 5 else []
        rows.append(set(crowd.after(frame_of(time, boxes))))
    assert rows[:5] == [{1}] * 5
    assert rows[5:10] == [{1, 2}] * 5
    assert rows[10:] == [{2}] * 20
    assert len(crowd) == 1


@pytest.mark.parametrize(("hidden", "name"), [(2, 1), (3, 2)])
def test_who_comes_back_in_time_has_the_same_name(hidden, name):
    """Where the person is expected by then: a walk of two pixels per frame goes on while nobody is seen."""
    crowd = crowd_of(max_misses=3)
    seen = [time for time in range(24) if not 10 <= time < 10 + hidden]
    rows = [list(crowd.after(frame_of(time, [(2 * time, 20, 8, 20)] if time in seen else []))) for time in range(24)]
    assert rows == [[1]] * 10 + [[]] * hidden + [[name]] * (14 - hidden)
    assert len(crowd) == 1


def test_who_comes_back_elsewhere_has_another_name():
    crowd = crowd_of(max_misses=3)
    rows = [list(crowd.after(frame_of(0, [(left, 20, 8, 20)] if left else []))) for left in (40, 40, 0, 60, 60)]
    assert rows == [[1], [1], [], [2], [2]]


def test_a_window_that_jumps_is_closed():
    """By nine pixels of 20; the filter that sees takes it for another object if it jumps by more than eight."""
    for jump, names in ((0.2, [1, 1, 2]), (0.5, [1, 1, 1])):
        crowd = crowd_of(max_jump=jump, max_return=0.1)
        rows = [list(crowd.after(frame_of(0, [(left, 20, 8, 20)]))) for left in (40, 40, 47)]
        assert [row[0] for row in rows] == names


def test_specks_open_no_window():
    crowd = crowd_of(least_area=200)
    assert crowd.after(frame_of(0, [(60, 20, 8, 20)])) == {}
    assert len(crowd) == 0
