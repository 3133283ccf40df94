"""These tests pin: the order, paired differences against numpy, warnings, and the three ways to print."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from inference import Annealing, compare, log_evidence
from inference.pictures import draw_comparison
from tests.oracles.closed_form_bounds import ToyGuide, ToyModel, ToyParameters, toy_data

X = toy_data(sequences=7, time=3)


def weigh(x=X, num_particles=50, **values):
    p = ToyParameters.make(**values)
    return log_evidence(ToyModel(p), ToyGuide(p), x, num_particles=num_particles)


EVIDENCES = {"bad": weigh(b=2.0), "good": weigh(), "fair": weigh(b=0.7)}


def test_numbers():
    table = compare(EVIDENCES)
    assert [model.name for model in table.models] == ["good", "fair", "bad"]
    assert table.num_sequences == 7
    best = EVIDENCES["good"].log_evidence.numpy()
    for model in table.models:
        evidence = EVIDENCES[model.name]
        values = evidence.log_evidence.numpy()
        assert model.log_evidence == pytest.approx(values.mean())
        assert model.standard_error == pytest.approx(values.std(ddof=1) / 7**0.5)
        assert model.difference == pytest.approx((values - best).mean())
        assert model.difference_error == pytest.approx((values - best).std(ddof=1) / 7**0.5)
        assert model.monte_carlo_error == pytest.approx(np.sqrt((evidence.standard_error.numpy() ** 2).sum()) / 7)
        assert model.unreliable == pytest.approx((evidence.pareto_k.numpy() > 0.7).mean())
        assert model.elbo == pytest.approx(evidence.elbo.mean().item())
        assert model.num_particles == 50
    fair = table.models[1]
    assert fair.difference_error < fair.standard_error


def reliable(evidence):
    return replace(evidence, pareto_k=torch.full_like(evidence.pareto_k, 0.2))


def test_a_clean_table_has_no_warnings():
    assert compare({name: reliable(evidence) for name, evidence in EVIDENCES.items()}).warnings == ()


def test_warnings():
    good = reliable(EVIDENCES["good"])
    heavy = replace(good, pareto_k=torch.tensor([0.9, *[0.1] * 6], dtype=torch.float64))
    few = weigh(num_particles=10)
    assert compare({"a": good, "b": heavy}).warnings == (
        "b: k-hat is above 0.7 for 14% of the sequences; there the estimate and its error cannot be relied upon (a "
        "better guide, or more particles)",
    )
    warnings = compare({"a": good, "c": few}).warnings
    assert "c: too few particles to compute k-hat; whether to believe them is not known" in warnings
    assert any("the numbers of particles differ (" in warning and "c 10" in warning for warning in warnings)


def test_other_videos_other_masks_and_other_methods_are_called_out():
    p = ToyParameters.make()
    model, guide = ToyModel(p), ToyGuide(p)
    seen = torch.ones(7, 3, dtype=torch.bool)
    hidden = seen.clone()
    hidden[2, 1] = False
    noisy = X.clone()
    noisy[2, 1] = torch.nan

    def warnings(**evidences):
        return compare({name: reliable(evidence) for name, evidence in evidences.items()}).warnings

    plain = log_evidence(model, guide, X, num_particles=50)
    masked = log_evidence(model, guide, noisy, hidden, num_particles=50)
    assert warnings(a=plain, b=log_evidence(model, guide, X, seen, num_particles=50, seed=1)) == ()
    assert warnings(a=masked, b=log_evidence(model, guide, X, hidden, num_particles=50)) == ()
    found = warnings(a=plain, b=masked)
    assert [warning.partition(";")[0] for warning in found] == [
        "the videos differ (a against b)",
        "the missing frames differ (a against b)",
    ]
    assert warnings(a=plain, b=log_evidence(model, guide, X + 0.1, num_particles=50))[0].startswith("the videos differ")
    annealed = log_evidence(model, guide, X, num_particles=50, annealing=Annealing(2, 1))
    (warning,) = warnings(a=plain, b=annealed)
    assert warning.startswith("the ways of estimation differ (a guide's draws, b annealed)")


def test_picture():
    few = replace(EVIDENCES["fair"], pareto_k=torch.full((7,), 0.9, dtype=torch.float64))
    table = compare({"good": reliable(EVIDENCES["good"]), "fair": few})
    figure = draw_comparison(table)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["good", "fair"]
    assert "k-hat" in axes.get_title(loc="left")
    dots = [line for line in axes.lines if line.get_marker() == "o" and line.get_markerfacecolor() != "none"]
    assert [dot.get_xdata()[0] for dot in dots] == pytest.approx([model.log_evidence for model in table.models])
    assert dots[0].get_color() != dots[1].get_color()


def test_text():
    lines = str(compare({name: reliable(evidence) for name, evidence in EVIDENCES.items()})).splitlines()
    assert lines[0].split()[:3] == ["model", "log", "evidence"]
    assert [line.split()[0] for line in lines[1:4]] == ["good", "fair", "bad"]
    assert "best" in lines[1]
    assert len({len(line) for line in lines[:4]}) == 1
    assert lines[-1] == "nats per sequence over 7 sequences; +- is one standard error"


def test_markdown_and_html():
    table = compare({"a|b": EVIDENCES["good"], "<c>": weigh(num_particles=10)})
    markdown = table.to_markdown().splitlines()
    assert markdown[0].startswith("| model | log evidence |")
    assert markdown[1].startswith("| --- | ---: |")
    assert any(line.startswith("| a\\|b |") for line in markdown)
    assert any(line.startswith("**Warning:** ") for line in markdown)
    page = table._repr_html_()
    assert "<td>&lt;c&gt;</td>" in page
    assert page.count("<tr>") == 3
    assert "<b>Warning:</b>" in page


def test_one_model_on_one_sequence_has_no_error_over_sequences():
    (model,) = compare({"a": weigh(X[:1])}).models
    assert math.isnan(model.standard_error)
    assert model.difference == 0


def test_refusals():
    with pytest.raises(ValueError, match="evidences: expected at least one model, got none"):
        compare({})
    with pytest.raises(ValueError, match="expected the same sequences for all models, 'a' has 7 and 'b' has 4"):
        compare({"a": EVIDENCES["good"], "b": weigh(X[:4])})
