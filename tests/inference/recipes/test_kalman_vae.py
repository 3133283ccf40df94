"""These tests pin: noise on the codes of a Kalman VAE begins a run and is gone when the mixture starts to learn."""

import pytest

from inference.recipes import RECIPES, OptionError
from inference.svi.schedules import value_at

NOISY = RECIPES["kvae-box-cpu"].with_options(code_noise=1.5, epochs=20, num_train=320)


def test_noise_falls_to_nothing_in_half_of_the_frozen_epochs():
    first, second = NOISY.stages()
    assert first.steps == 100
    assert second.buffers == {}
    ((name, noise),) = first.buffers.items()
    assert [value_at(noise, step) for step in (0, 25, 50, 99)] == [1.5, 0.75, 0.0, 0.0]
    model, guide = NOISY.build()
    assert name in {f"guide.{key}" for key, _ in guide.named_buffers()}


def test_without_noise_nothing_is_set():
    assert all(stage.buffers == {} for stage in NOISY.with_options(code_noise=0.0).stages())


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"code_noise": -1.0}, "at least 0, got -1"), ({"frozen_epochs": 0}, "--frozen-epochs above 0, .*, got 0")],
)
def test_what_it_refuses(changes, words):
    with pytest.raises(OptionError, match=words):
        NOISY.with_options(**changes).stages()
