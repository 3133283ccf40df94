"""The recurrent networks on codes: noise on the codes at first, none when the networks are trained."""

import pytest
import torch

from inference import TrainingOptions, train
from inference.recipes import RECIPES, OptionError
from inference.runs.folder import RunFolder
from inference.svi.schedules import value_at

SMALL = RECIPES["ae-rnn-box-cpu"].with_options(
    channels=2,
    num_train=8,
    num_validation=2,
    num_test=2,
    batch_size=4,
    epochs=6,
    pretraining_epochs=4,
)


def test_noise_falls_to_nothing_in_half_of_the_pretraining():
    frames, codes = SMALL.stages()
    noise = frames.buffers["guide.encoder.noise"]
    assert [value_at(noise, step) for step in range(9)] == pytest.approx([2, 1.5, 1, 0.5, 0, 0, 0, 0, 0])
    assert codes.buffers == {}
    assert value_at(RECIPES["vae-rnn-box-cpu"].stages()[0].buffers["guide.encoder.noise"], 0) == 0
    with pytest.raises(OptionError, match="--code-noise: expected a standard deviation of at least 0, got -1"):
        SMALL.with_options(code_noise=-1.0).stages()


def test_the_prior_gains_its_weight_in_a_quarter_of_the_pretraining():
    weights = SMALL.with_options(prior_weight=0.04).stages()[0].site_weights
    assert [value_at(weights["a"], step) for step in range(4)] == pytest.approx([0.04, 0.2, 1, 1])
    assert value_at(SMALL.stages()[0].site_weights["a"], 0) == 1
    with pytest.raises(OptionError, match=r"--prior-weight: expected more than 0 and at most 1, got 1\.5"):
        SMALL.with_options(prior_weight=1.5).stages()


def test_a_run_ends_without_noise(tmp_path):
    model, guide = SMALL.build()
    splits = SMALL.splits()
    train(
        model,
        guide,
        SMALL.training_source(splits.train),
        SMALL.stages(),
        loss=SMALL.loss(),
        run=RunFolder.start(tmp_path / "run", {}, seed=0),
        options=TrainingOptions(learning_rate=SMALL.schedule(), progress=False),
    )
    assert guide.encoder.noise == 0
    assert torch.equal(guide(splits.test.frames), guide(splits.test.frames))
