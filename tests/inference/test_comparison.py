"""Pinned here: order, paired differences, their Monte Carlo part, what cannot be compared, and three ways to print."""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule

from inference import Annealing, Evidence, Verdict, compare, log_evidence
from inference.evidence.comparison import IncomparableError, tabulate_evidence
from inference.pictures import draw_comparison
from tests.oracles.closed_form_bounds import ToyGuide, ToyModel, ToyParameters, toy_data

X = toy_data(sequences=7, time=3)
QUANTILE_6 = 3.287455  # of Student's t with 6 degrees of freedom at 1 - 0.05 / 6: two sides of three pairs
STUDENT_6 = 2.446912  # the same at 0.975


def weigh(x=X, num_particles=400, seed=0, chunks=None, **values):
    p = ToyParameters.make(**values)
    return log_evidence(ToyModel(p), ToyGuide(p), x, num_particles=num_particles, seed=seed, **(chunks or {}))


EVIDENCES = {"bad": weigh(b=2.0), "good": weigh(b=0.3), "fair": weigh(b=1.2)}  # exactly: -7.41, -6.67 and -6.87 nats


@dataclass(frozen=True, eq=False)
class Labelled(Evidence):
    """A record whose reference measure and verdict are what a test says."""

    reference: str = ""
    verdict: SimpleNamespace | None = None


def labelled(evidence, reference=None, kind=None):
    verdict = None if kind is None else SimpleNamespace(kind=kind)
    reference = getattr(evidence, "reference", "") if reference is None else reference
    return Labelled(**{**vars(evidence), "reference": reference, "verdict": verdict})


def reliable(evidence):
    """By k-hat, as there is no other verdict."""
    return labelled(replace(evidence, pareto_k=torch.full_like(evidence.pareto_k, 0.2)))


def with_values(evidence, values):
    return replace(reliable(evidence), log_evidence=torch.tensor(values, dtype=torch.float64))


def test_numbers():
    table = compare(EVIDENCES)
    assert [model.name for model in table.models] == ["good", "fair", "bad"]
    assert (table.num_sequences, table.level) == (7, 0.95)
    best = EVIDENCES["good"].log_evidence.numpy()
    for model in table.models:
        evidence = EVIDENCES[model.name]
        values = evidence.log_evidence.numpy()
        assert model.log_evidence == pytest.approx(values.mean())
        assert model.standard_error == pytest.approx(values.std(ddof=1) / 7**0.5)
        error = (values - best).std(ddof=1) / 7**0.5
        assert model.difference == pytest.approx((values - best).mean())
        assert model.difference_error == pytest.approx(error)  # Monte Carlo error is in it, and not added again
        half = QUANTILE_6 * error
        assert model.interval == pytest.approx((model.difference - half, model.difference + half), rel=1e-5)
        assert model.monte_carlo_error == pytest.approx(np.sqrt((evidence.standard_error.numpy() ** 2).sum()) / 7)
        assert model.unreliable == pytest.approx((evidence.pareto_k.numpy() > 0.7).mean())
        assert model.elbo == pytest.approx(evidence.elbo.mean().item())
        assert (model.num_particles, model.num_sequences) == (400, 7)
    good, fair, bad = table.models
    assert fair.difference_error < fair.standard_error
    assert (good.difference, good.difference_error, good.interval, good.difference_monte_carlo) == (0, 0, (0, 0), 0)
    assert math.isnan(good.p_value)
    assert not good.significant
    assert 0 < bad.p_value <= fair.p_value <= 1


def test_two_models_have_the_plain_interval_of_student():
    fair = compare({"good": EVIDENCES["good"], "fair": EVIDENCES["fair"]}).models[1]
    low, high = fair.interval
    assert (high - low) / 2 == pytest.approx(STUDENT_6 * fair.difference_error, rel=1e-5)
    wide = compare({"good": EVIDENCES["good"], "fair": EVIDENCES["fair"]}, level=0.999).models[1]
    assert wide.interval[1] > high
    assert wide.p_value == fair.p_value


def test_significant_means_after_correction():
    """By a test of its own the worst of three models has a p-value below 0.05; not where three pairs are looked at."""
    spread = [0.0, 2.0, -2.0, 1.0, -1.0, 0.5, -0.5]
    worse = [-1.23 + value for value in spread]
    base, zeros = EVIDENCES["good"], [0.0] * 7
    (_, alone) = compare({"a": with_values(base, zeros), "b": with_values(base, worse)}).models
    assert 0.04 < alone.p_value < 0.05
    assert alone.significant
    half = [value / 2 for value in worse]
    models = compare(
        {"a": with_values(base, zeros), "b": with_values(base, worse), "c": with_values(base, half)}
    ).models
    assert [model.name for model in models] == ["a", "c", "b"]
    assert models[2].p_value == pytest.approx(3 * alone.p_value)
    assert not models[2].significant
    assert (
        "*"
        not in str(compare({"a": with_values(base, zeros), "b": with_values(base, worse)}, level=0.96)).split("\n")[2]
    )


@pytest.mark.parametrize("seeds", ["shared", "own"])
def test_monte_carlo_error_of_a_difference_is_its_spread_over_draws(seeds):
    """One video a thousand times: all that varies is draws. With one seed, those of two models go together."""
    copies = 1000
    x = X[:1].expand(copies, -1)
    seed, chunks = 0 if seeds == "shared" else 1, {"particles_per_chunk": 50, "sequences_per_chunk": copies}
    table = compare({"a": weigh(x, chunks=chunks, b=0.3), "b": weigh(x, seed=seed, chunks=chunks, b=-0.1)})
    second = table.models[1]
    margin = 4 / math.sqrt(2 * copies)  # four standard errors of a standard deviation, relative
    assert second.difference_monte_carlo == pytest.approx(second.difference_error, rel=margin)
    apart = math.hypot(*(model.monte_carlo_error for model in table.models))  # as if draws were independent
    if seeds == "shared":
        assert abs(apart / second.difference_error - 1) > 2 * margin
        assert apart > 1.15 * second.difference_monte_carlo  # which varies less: 1.157 to 1.159 with ten seeds
    else:
        assert second.difference_monte_carlo == pytest.approx(apart, rel=0.02)


def test_a_model_beside_itself_differs_by_nothing():
    table = compare({"a": EVIDENCES["good"], "b": EVIDENCES["good"]})
    second = table.models[1]
    assert (second.difference, second.interval, second.p_value, second.significant) == (0.0, (0.0, 0.0), 1.0, False)
    assert second.difference_monte_carlo == pytest.approx(0, abs=1e-12)


def test_differences_that_are_draws_are_called_out():
    """One model under two seeds: all that differs is Monte Carlo error. More draws are of no use to the other pair."""
    (warning,) = compare({"a": reliable(weigh(seed=1)), "b": reliable(weigh(seed=2))}).warnings
    assert "of the variance of its difference to" in warning
    assert warning.endswith("is Monte Carlo error; telling them apart needs more draws rather than more sequences")
    many = {"a": reliable(weigh()), "b": reliable(weigh(b=2.0))}
    assert compare(many).warnings == ()


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
    assert "c: 10 draws are too few for k-hat" in warnings
    unspoken = compare({"a": good, "c": replace(few, verdict=None)}).warnings
    assert "c: too few particles to compute k-hat, so the reliability of the estimate is unknown" in unspoken
    converged = replace(few, verdict=Verdict("converged", "eight repeats agree", 0.01))
    assert not [warning for warning in compare({"a": good, "c": converged}).warnings if warning.startswith("c:")]
    assert any("the numbers of particles differ (" in warning and "c 10" in warning for warning in warnings)


def test_an_estimate_that_may_be_far_off_is_called_a_lower_bound():
    good = reliable(EVIDENCES["good"])
    heavy = replace(good, pareto_k=torch.tensor([0.71, *[0.1] * 6], dtype=torch.float64))
    exact = replace(good, pareto_k=torch.full((7,), -torch.inf, dtype=torch.float64))
    records = {"good": good, "heavy": heavy, "few": labelled(weigh(b=0.3, num_particles=10)), "exact": exact}
    models = {model.name: model for model in compare(records).models}
    assert {name: model.verdict for name, model in models.items()} == {
        "good": "k-hat below 0.7",
        "heavy": "lower bound",
        "few": "lower bound",
        "exact": "k-hat below 0.7",
    }
    assert {name for name, model in models.items() if model.is_lower_bound} == {"heavy", "few"}
    printed = str(compare(records))
    assert "lower bound" in next(line for line in printed.splitlines() if line.startswith("heavy"))
    assert "lower bound: the log evidence may lie well above the estimate" in printed
    assert "may lie well above" not in str(compare({"good": good, "exact": exact}))
    assert "lower bound" in tabulate_evidence({"heavy": heavy})


def test_the_verdict_of_a_record_goes_before_k_hat():
    heavy = replace(EVIDENCES["good"], pareto_k=torch.full((7,), 0.9, dtype=torch.float64))
    kinds = ("exact", "certified", "converged", "lower bound")
    models = compare({kind: labelled(heavy, kind=kind) for kind in kinds}).models
    assert {model.name: model.verdict for model in models} == {kind: kind for kind in kinds}
    assert [model.name for model in models if model.is_lower_bound] == ["lower bound"]


def test_brackets_say_how_far_a_difference_may_move():
    good = labelled(replace(EVIDENCES["good"], bracket_width=0.25), kind="certified")
    fair = labelled(replace(EVIDENCES["fair"], bracket_width=2.0), kind="lower bound")
    bad = labelled(replace(EVIDENCES["bad"], bracket_width=-0.1), kind="converged")  # of noise: no less than nothing
    found = compare({"good": good, "fair": fair, "bad": bad})
    models = {model.name: model for model in found.models}
    assert models["good"].bracketed is None
    difference = models["fair"].difference
    assert models["fair"].bracketed == pytest.approx((difference - 0.25, difference + 2.0))
    assert models["bad"].bracketed == pytest.approx((models["bad"].difference - 0.25, models["bad"].difference))
    assert "by brackets" in str(found)
    assert f"{difference - 0.25:.2f} to {difference + 2:.2f}" in str(found)
    without = compare({"good": good, "fair": labelled(EVIDENCES["fair"], kind="converged")})
    assert without.models[1].bracketed is None
    assert "by brackets" not in str(without)
    exact = compare({"good": good, "fair": labelled(EVIDENCES["fair"], kind="exact")}).models[1]
    assert exact.bracketed == pytest.approx((exact.difference - 0.25, exact.difference))


def test_other_videos_and_other_masks_are_refused_and_other_methods_called_out():
    p = ToyParameters.make()
    model, guide = ToyModel(p), ToyGuide(p)
    seen = torch.ones(7, 3, dtype=torch.bool)
    hidden = seen.clone()
    hidden[2, 1] = False
    noisy = X.clone()
    noisy[2, 1] = torch.nan

    def refusal(**evidences):
        with pytest.raises(IncomparableError) as caught:
            compare(evidences)
        assert isinstance(caught.value, ValueError)
        return str(caught.value)

    def ways(verdict="lower bound", **evidences):
        records = {name: replace(labelled(e), verdict=Verdict(verdict, "said")) for name, e in evidences.items()}
        return [text for text in compare(records).warnings if "estimation methods" in text]

    plain = log_evidence(model, guide, X, num_particles=50)
    masked = log_evidence(model, guide, noisy, hidden, num_particles=50)
    assert ways(a=plain, b=log_evidence(model, guide, X, seen, num_particles=50, seed=1)) == []
    assert ways(a=masked, b=log_evidence(model, guide, X, hidden, num_particles=50)) == []
    assert refusal(a=plain, b=masked, c=plain) == (
        "evidences: expected the same videos, missing frames and kind of probability for all models, but the videos "
        "differ ('a', 'c' against 'b') and the missing frames differ ('a', 'c' against 'b'); evaluate all models on "
        "the same videos in the same order (kinema compare RUN RUN --test FILE); evaluate all models with the same mask"
    )
    assert "but the videos differ ('a' against 'b'); evaluate" in refusal(
        a=plain, b=log_evidence(model, guide, X + 0.1, num_particles=50)
    )
    assert "the videos differ" in refusal(a=plain, b=log_evidence(model, guide, X.flip(0), num_particles=50))
    other = hidden.flip(0)
    blank = torch.where(hidden & other, X, 0.0)
    pair = (log_evidence(model, guide, blank, mask, num_particles=50) for mask in (hidden, other))
    assert "but the missing frames differ ('a' against 'b'); evaluate" in refusal(**dict(zip("ab", pair, strict=True)))
    annealed = log_evidence(model, guide, X, num_particles=50, method=Annealing(2, 1))
    (warning,) = ways(a=plain, b=annealed)
    assert warning.startswith("the estimation methods differ (a guide's draws, b annealed)")
    assert ways("converged", a=plain, b=annealed) == []


def test_densities_beside_probabilities_are_refused():
    """Binary frames under a Normal and under Bernoulli: thousands of nats apart, which mean nothing."""
    gauss = labelled(with_values(EVIDENCES["good"], [2979.0 + n for n in range(7)]), "density")
    bern = labelled(with_values(EVIDENCES["good"], [-119.0 - n for n in range(7)]), "probability")
    with pytest.raises(IncomparableError) as caught:
        compare({"gauss": gauss, "bern": bern})
    assert str(caught.value).endswith(
        "but the kinds of probability differ (density: 'gauss' against probability: 'bern'); give all models the same "
        "kind of distribution of frames, as densities and probabilities have no common scale"
    )
    assert len(compare({"a": bern, "b": bern}).models) == 2
    alone = tabulate_evidence({"gauss": gauss, "bern": bern})
    assert ("2982.00" in alone, "-122.00" in alone, "difference" in alone, "best" in alone) == (
        True,
        True,
        False,
        False,
    )


class Brightness(PyroModule):
    """Frames whose pixels are independent given one number, which without a distribution of frames is its guide."""

    def __init__(self, pixels=None):
        super().__init__()
        self.pixels = pixels

    def forward(self, frames, observed=None, controls=None):
        with pyro.plate("sequences", len(frames)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(frames)), 1.0))
            if self.pixels is not None:
                pixels = self.pixels(z[..., None]).expand((*z.shape, *frames.shape[1:])).to_event(1)
                pyro.sample("frames", pixels, obs=frames)


def test_the_same_binary_frames_under_a_density_and_under_probabilities():
    frames = (X > 0).float()
    models = {
        "bern": Brightness(lambda z: dist.Bernoulli(logits=z)),
        "gauss": Brightness(lambda z: dist.Normal(torch.sigmoid(z), 0.1)),
        "wide": Brightness(lambda z: dist.Normal(torch.sigmoid(z), 1.0)),
    }
    found = {name: log_evidence(model, Brightness(), frames, num_particles=30) for name, model in models.items()}
    with pytest.raises(IncomparableError, match="kinds of probability differ .*'bern' against .*'gauss', 'wide'"):
        compare(found)
    assert len(compare({name: found[name] for name in ("gauss", "wide")}).models) == 2


@pytest.mark.parametrize("value", [math.nan, -math.inf, math.inf])
def test_evidence_that_is_not_finite_is_refused(value):
    values = [0.0, 1.0, value, 2.0, value, 0.0, 0.0]
    with pytest.raises(IncomparableError) as caught:
        compare({"a": EVIDENCES["good"], "b": with_values(EVIDENCES["good"], values)})
    assert str(caught.value).startswith(
        f"evidences['b']: expected finite log evidence, got {value} for sequence 2, and for 2 of 7 in all; "
    )
    assert str(value) in tabulate_evidence({"b": with_values(EVIDENCES["good"], values)})


def test_picture():
    few = labelled(replace(EVIDENCES["fair"], pareto_k=torch.full((7,), 0.9, dtype=torch.float64)))
    table = compare({"good": reliable(EVIDENCES["good"]), "fair": few})
    figure = draw_comparison(table)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["good", "fair"]
    assert "k-hat" in axes.get_title(loc="left")
    assert "95 %" in axes.get_title(loc="left")
    dots = [line for line in axes.lines if line.get_marker() == "o" and line.get_markerfacecolor() != "none"]
    assert [dot.get_xdata()[0] for dot in dots] == pytest.approx([model.log_evidence for model in table.models])
    assert dots[0].get_color() != dots[1].get_color()
    fair = table.models[1]
    bar = axes.collections[-1].get_segments()[0][:, 0]  # the triangle's was drawn last
    assert bar == pytest.approx([table.models[0].log_evidence + end for end in fair.interval])
    triangle = next(line for line in axes.lines if line.get_marker() == "^")
    assert (triangle.get_markerfacecolor() == "none") == (not fair.significant)
    values = [float(number) for number in range(7)]
    worse = with_values(EVIDENCES["good"], [value - 3 for value in values])
    (axes,) = draw_comparison(compare({"a": with_values(EVIDENCES["good"], values), "b": worse})).axes
    assert next(line for line in axes.lines if line.get_marker() == "^").get_markerfacecolor() != "none"
    (axes,) = draw_comparison(compare({"a": weigh(X[:1]), "b": weigh(X[:1], b=2.0)})).axes
    assert len(axes.get_yticklabels()) == 2
    (axes,) = draw_comparison(compare({"a": reliable(EVIDENCES["good"])})).axes
    assert axes.get_title(loc="left") == "dot: log evidence   ring: ELBO"


def test_text():
    table = compare({name: reliable(evidence) for name, evidence in EVIDENCES.items()})
    lines = str(table).splitlines()
    assert lines[0].split("  ")[0] == "model"
    headings = (
        "model, log evidence, verdict, difference [95 %], p (corrected), ELBO, draws, ESS, k-hat, MC error".split(", ")
    )
    places = [lines[0].index(heading) for heading in headings]
    assert all(one < other for one, other in pairwise(places))
    assert [line.split()[0] for line in lines[1:4]] == ["good", "fair", "bad"]
    assert "best" in lines[1]
    fair = table.models[1]
    assert f"{fair.difference:.2f} [{fair.interval[0]:.2f}, {fair.interval[1]:.2f}]" in lines[2]
    assert len({len(line) for line in lines[:4]}) == 1
    assert lines[5:] == [
        "nats per sequence over 7 sequences; +- is one standard error over sequences",
        "difference: to the best model, with 95 % confidence intervals by Student's t with 6 degrees of freedom on "
        "paired differences, Bonferroni over all 3 pairs",
        "p: paired t tests; * at most 0.05; corrected by Holm over all 3 pairs, as the best was chosen on these "
        "sequences",
    ]
    two = str(compare({name: reliable(EVIDENCES[name]) for name in ("good", "bad")}, level=0.9))
    assert "difference [90 %]" in two
    assert two.splitlines()[-1] == "p: paired t tests; * at most 0.1"


def test_significant_differences_have_a_star():
    values = [float(number) for number in range(7)]
    records = {"a": values, "b": [value - 3 - 0.01 * value for value in values], "c": [5.5 - value for value in values]}
    lines = str(compare({name: with_values(EVIDENCES["good"], v) for name, v in records.items()})).splitlines()
    stars = {line.split()[0]: "*" in line for line in lines[1:4]}
    assert stars == {"a": False, "b": True, "c": False}
    assert "< 0.0001 *" in next(line for line in lines if line.startswith("b"))


def test_markdown_and_html():
    table = compare({"a|b": EVIDENCES["good"], "<c>": weigh(num_particles=10)})
    markdown = table.to_markdown().splitlines()
    assert markdown[0].startswith("| model | log evidence | verdict | difference [95 %] | p (corrected) |")
    assert markdown[1].startswith("| --- | ---: |")
    assert any(line.startswith("| a\\|b |") for line in markdown)
    assert any(line.startswith("**Warning:** ") for line in markdown)
    assert any("Student's t" in line for line in markdown)
    page = table._repr_html_()
    assert "<td>&lt;c&gt;</td>" in page
    assert page.count("<tr>") == 3
    assert "<th>p (corrected)</th>" in page
    assert "<b>Warning:</b>" in page


def test_one_sequence_has_no_error_over_sequences():
    models = compare({"a": weigh(X[:1]), "b": weigh(X[:1], b=2.0)})
    first, second = models.models
    for value in (first.standard_error, second.difference_error, *second.interval, second.p_value):
        assert math.isnan(value)
    assert not second.significant
    assert second.difference < 0
    assert second.difference_monte_carlo > 0  # that much is known
    assert models.warnings[-1] == "one sequence: this says nothing about other sequences (compare on several)"
    assert "[?, ?]" in str(models)
    assert "Student" not in str(models)


def test_one_model_is_a_table_without_differences():
    table = compare({"a": reliable(EVIDENCES["good"])})
    (model,) = table.models
    assert (model.difference, model.significant, table.warnings) == (0, False, ())
    for text in (str(table), table.to_markdown(), table._repr_html_()):
        assert "difference" not in text
        assert "best" not in text
        assert "corrected" not in text


def test_refusals():
    with pytest.raises(ValueError, match="evidences: expected at least one model, got none"):
        compare({})
    with pytest.raises(IncomparableError, match="expected the same sequences for all models, 'a' has 7 and 'b' has 4"):
        compare({"a": EVIDENCES["good"], "c": EVIDENCES["bad"], "b": weigh(X[:4])})
    with pytest.raises(ValueError, match="level: expected a probability between 0 and 1, got 95.0; write 95 % as 0.95"):
        compare(EVIDENCES, level=95.0)


def test_other_things_than_records_are_refused():
    """What a user may hand over in their place; annotations are not checked outside of these tests."""
    unchecked = compare.__wrapped__ if hasattr(compare, "__wrapped__") else compare
    with pytest.raises(TypeError, match="evidences: expected a mapping of names to evidences, got list; write {'name'"):
        unchecked(list(EVIDENCES.values()))
    values = {name: evidence.log_evidence for name, evidence in EVIDENCES.items()}
    with pytest.raises(TypeError, match=r"evidences\['bad'\]: expected the whole record .* got Tensor"):
        unchecked(values)
