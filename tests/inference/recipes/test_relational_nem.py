"""R-NEM as parts of a recipe: the paper's sizes and loss, options, and a training that resumes from its weights."""

from dataclasses import dataclass

import pytest
import torch

from inference import TrainingOptions, train
from inference.recipes import OptionError, Recipe
from inference.recipes.relational_nem import RelationalNEMPair, RelationalNEMTraining
from inference.recipes.simulated_videos import SimulatedVideos
from inference.svi.schedules import value_at


@dataclass(frozen=True, kw_only=True)
class BoxVideos(SimulatedVideos):
    """One ball, 32 x 32."""

    frame_size: int = 32

    @property
    def frame_shape(self):
        return (1, self.frame_size, self.frame_size)


PAPER = Recipe(
    name="relational-nem",
    paper="Zablotskaia et al. 2020, table 1, R-NEM",
    videos=BoxVideos(num_train=8, num_validation=4, num_test=4),
    pair=RelationalNEMPair(),
    training=RelationalNEMTraining(),
)
SMALL = PAPER.named(
    "relational-nem-small",
    num_slots=4,
    state_dim=100,
    hidden=256,
    channels=(8, 16, 32),
    attention_dim=50,
    batch_size=4,
    epochs=1,
)


def test_sizes_and_loss_of_the_paper():
    recipe = PAPER.with_options(frame_size=64)
    model, guide = recipe.build()
    assert sum(parameter.numel() for parameter in model.parameters()) == 4_951_978
    assert not list(guide.parameters())
    assert (recipe.label, model.num_slots, model.flip_probability) == ("R-NEM", 5, 0.2)
    (stage,) = recipe.stages()
    assert (stage.steps, stage.loss.method) == (recipe.num_steps, "expectation_loss")
    assert value_at(recipe.schedule(), 0) == value_at(recipe.schedule(), recipe.num_steps - 1) == 0.001
    assert (recipe.training.batch_size, recipe.training.epochs, recipe.training.clip_norm) == (64, 500, None)


def test_the_small_one_trains_every_parameter():
    model, guide = SMALL.build()
    assert sum(parameter.numel() for parameter in model.parameters()) == 403_794
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    splits = SMALL.splits()
    short = splits.train.select(slice(0, 8))
    options = TrainingOptions(
        learning_rate=SMALL.schedule(), batch_size=4, optimizer=SMALL.optimizer(), validate_every=2, progress=False
    )
    stages, bound = SMALL.stages(), SMALL.loss()
    result = train(model, guide, short, stages, loss=bound, validation=splits.validation, options=options)
    assert result.steps == SMALL.num_steps == 2
    assert result.best_bound is not None
    assert result.best_bound == pytest.approx(-bound.loss(model.eval(), guide, splits.validation.frames) / 4)
    assert all(not torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())


def test_other_numbers_of_slots_read_the_same_weights():
    model, _ = SMALL.build()
    more, _ = SMALL.with_options(num_slots=9).build()
    more.load_state_dict(model.state_dict())
    assert more.num_slots == 9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"frame_size": 36},
            "--frame-size: expected a multiple of 8, 2 to the number of --channels, .* got 36",
        ),
        ({"channels": ()}, "--frame-size: expected a multiple of 1, .* at least one, got 32"),
        ({"num_slots": 0}, "--num-slots: expected at least 1, got 0; give one more than objects"),
        ({"flip_probability": 1.0}, "--flip-probability: expected from 0 to below 1, got 1.0; 0 flips"),
        ({"overlay": "sum"}, "--overlay: expected one of union, mixture, got 'sum'"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(OptionError, match=message):
        SMALL.with_options(**options).build()
