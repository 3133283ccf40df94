"""The videos of every recipe: test sets of any two sizes agree, and each split equals one call of the simulator."""

import pytest
import torch

from inference.recipes import RECIPES
from inference.recipes.ball_videos import BallVideos
from inference.recipes.recipe import OTHER_TEST_PIECE, TEST_PIECES
from inference.recipes.simulated_videos import SimulatedVideos
from videos import SIMULATORS

SEEDS = {"train": 1_000_000, "validation": 2_000_000, "test": 3_000_000}
OTHER_TESTS = {"kvae-demo", "cannonballs", "cannonballs-structured", "ed-lstm"}
IN_PIECES = {
    name for name, recipe in RECIPES.items() if recipe.videos.world in ("sprites", "tabletop")
}  # from the first result on
# one of each world, the last, a small one
WORLDS = sorted({recipe.videos.world: name for name, recipe in RECIPES.items() if name not in OTHER_TESTS}.values())


def simulated(recipe, split, count):
    """Frames from one call of the simulator."""
    videos = recipe.videos
    if isinstance(videos, SimulatedVideos):
        simulator = SIMULATORS[videos.world]()
    else:
        simulator = videos.simulator() if isinstance(videos, BallVideos) else videos.simulator(split)
    return simulator.simulate(count, torch.Generator().manual_seed(SEEDS[split])).frames


def sized(recipe, num_test):
    return recipe.with_options(num_train=4, num_validation=3, batch_size=4, num_test=num_test)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("name", WORLDS)
def test_a_smaller_test_set_is_the_beginning_of_a_larger(name):
    """Runs with different numbers of test videos can thus be compared on those that they share."""
    recipe = RECIPES[name]
    piece = TEST_PIECES.get(recipe.videos.world, OTHER_TEST_PIECE)
    most = sized(recipe, piece + 5).splits().test
    assert most.num_sequences == piece + 5
    for count in (3, piece, piece + 2):
        fewer = sized(recipe, count).splits().test
        assert torch.equal(fewer.frames, most.frames[:count])
    assert not torch.equal(most.frames[piece:], most.frames[:5])


def test_a_smaller_test_set_of_single_frames_is_the_beginning_of_a_larger():
    recipe = RECIPES["air-per-frame-small"]
    fewer, more = (sized(recipe, count).splits().test.frames for count in (3, 20))
    assert (len(fewer), len(more)) == (15, 100)
    assert torch.equal(fewer, more[:15])


@pytest.mark.parametrize("name", WORLDS)
def test_training_and_validation_are_what_they_were(name):
    """A resumed run must get the videos with which it started."""
    recipe = RECIPES[name]
    splits = sized(recipe, 2).splits()
    assert torch.equal(splits.train.frames, simulated(recipe, "train", 4))
    assert torch.equal(splits.validation.frames, simulated(recipe, "validation", 3))


@pytest.mark.parametrize("name", sorted({*WORLDS} - IN_PIECES))
def test_tests_are_what_they_were_when_results_were_made(name):
    recipe = RECIPES[name]
    count = recipe.videos.num_test
    assert torch.equal(sized(recipe, count).splits().test.frames, simulated(recipe, "test", count))


def test_recipes_whose_tests_changed_are_known():
    pieces = {name: TEST_PIECES.get(recipe.videos.world, OTHER_TEST_PIECE) for name, recipe in RECIPES.items()}
    assert {
        name for name, recipe in RECIPES.items() if recipe.videos.num_test != pieces[name]
    } == OTHER_TESTS | IN_PIECES
