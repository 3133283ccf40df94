"""The purpose of the Kalman VAE, in two minutes of training: codes are positions, and the future helps to fill gaps."""

import pytest

from inference.experiments.evaluate import evaluate, evaluated_run
from inference.experiments.runs import load_run, train_recipe
from inference.recipes import RECIPES
from inference.scores.imputation_curves import imputation_curve


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The recipe of the demo, unchanged."""
    path = tmp_path_factory.mktemp("science") / "run"
    train_recipe(RECIPES["kvae-demo"], path, progress=False)
    return load_run(path)


@pytest.mark.slow
@pytest.mark.ci
def test_science_smoothing_beats_filtering_beats_copying(trained):
    """Figure 3 of Fraccaro et al. (2017) at a few levels; the margins are a tenth of what was measured."""
    for pattern, levels in (("random", (0.3, 0.7)), ("gap", (5, 11))):
        smoothing, filtering, copied = (
            imputation_curve(evaluated_run(trained), pattern, method, levels=levels, num_masks=1)
            for method in ("smoothing", "filtering", "last frame")
        )
        for smoothed, filtered, copy in zip(smoothing.errors, filtering.errors, copied.errors, strict=True):
            assert smoothed < 0.97 * filtered
            assert filtered < 0.9 * copy
        assert smoothing.errors[0] < smoothing.errors[1]


@pytest.mark.slow
@pytest.mark.ci
def test_science_codes_are_positions(trained):
    """A quadratic map of the codes explains the position of the ball; evidence exceeds the bound."""
    evaluation = evaluate(trained, num_particles=20, num_evidence_sequences=16, num_masks=1)
    assert evaluation.scores.get("position_r2")["quadratic"] > 0.95
    assert evaluation.bounds.log_evidence > evaluation.bounds.elbo
