"""Keyword settings: wrong ones are refused by name, and what a signature leaves out is in the docstring."""

import inspect
import re
from dataclasses import MISSING, fields
from typing import get_type_hints

import jaxtyping
import pytest
import torch

from inference import FIVO, IWAE, SMC, Annealing, Budget, Pilot, bracket, calibrate, log_evidence, predictive_scores
from inference.evidence.bracket import BracketSettings, _Gibbs
from inference.evidence.calibration import CalibrationSettings, _Chunks
from inference.evidence.estimate import FORMER
from inference.evidence.settings import DrawSettings, EvidenceSettings
from inference.experiments.evaluate import EvaluationSettings, evaluate
from inference.predictive.settings import PredictiveSettings, ScoreSettings
from inference.queries.ask import forecast, impute, reconstruct
from inference.queries.imputation import QuerySettings
from tests.inference.linear_video import LinearGuide, LinearVideo, videos

RECORDS = {
    log_evidence: (DrawSettings, EvidenceSettings),
    bracket: (_Gibbs, BracketSettings),
    calibrate: (_Chunks, CalibrationSettings),
    predictive_scores: (ScoreSettings, PredictiveSettings),
    reconstruct: (QuerySettings, None),
    impute: (QuerySettings, None),
    forecast: (QuerySettings, None),
    evaluate: (EvaluationSettings, None),
}
LISTED = r"\(particles_per_chunk, sequences_per_chunk, pilot, seed, progress, processes\)"


@pytest.fixture
def unchecked(monkeypatch):
    """Without the checks of annotations, which only the tests have."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def evidence(**options):
    model = LinearVideo()
    return log_evidence(model, LinearGuide(model), videos(2), **options)


@pytest.mark.parametrize("function", RECORDS, ids=lambda one: one.__name__)
def test_every_setting_is_documented_with_its_default(function):
    record, _ = RECORDS[function]
    _, section = inspect.getdoc(function).split("Keyword Args:")
    documented = dict(re.findall(r"^    (\w+): (.*?)(?=^    \w+: |^\S|\Z)", section.strip("\n") + "\n", re.S | re.M))
    for field in fields(record):
        assert field.name in documented
        assert field.default is not MISSING
        text = " ".join(documented[field.name].split())
        if field.name == "processes":
            assert "(default: this one alone)" in text
        else:
            assert re.search(rf"\(default {field.default}[):]", text), (field.name, text)


@pytest.mark.parametrize(
    "function", [one for one, (_, keywords) in RECORDS.items() if keywords], ids=lambda one: one.__name__
)
def test_keywords_are_the_fields_of_the_record(function):
    record, keywords = RECORDS[function]
    assert get_type_hints(keywords) == get_type_hints(record)
    assert list(get_type_hints(keywords)) == [field.name for field in fields(record)]
    assert not keywords.__required_keys__
    (settings,) = (one for one in inspect.signature(function).parameters.values() if one.kind is one.VAR_KEYWORD)
    assert settings.annotation.__args__ == (keywords,)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["particle_per_chunk"], "got what it does not have; did you mean particles_per_chunk"),
        (["num_particle"], r"got what it does not have; did you mean num_particles\?"),
        (["sed", "qqq"], "got what it does not have; did you mean seed"),
        (["qqq"], "got what it does not have; leave it out"),
        (["filtering"], r"got what it no longer has; write method=FIVO\(64\)"),
        (["sampler"], r"got what it no longer has; write method=SMC\(32\)"),
        (["annealing", "filtering"], r"got what it no longer has; write method=Annealing\(\) or method=FIVO\(64\)"),
        (["budget"], r"got what it no longer has; write method=Budget\(particles=512\)"),
    ],
)
def test_unknown_and_former_settings_of_the_evidence_are_refused(given, message):
    with pytest.raises(TypeError, match=rf"^{', '.join(given)}: expected settings of log_evidence {LISTED}, {message}"):
        evidence(num_particles=3, **dict.fromkeys(given))


def test_what_is_to_be_written_instead_of_former_settings_is_a_method():
    names = {"FIVO": FIVO, "SMC": SMC, "Annealing": Annealing, "Budget": Budget}
    kinds = {former: type(eval(f"dict({words})", names)["method"]) for former, words in FORMER.items()}
    assert kinds == {"filtering": FIVO, "sampler": SMC, "annealing": Annealing, "budget": Budget}


EXPECTED = (
    r"^method: expected 'auto', Budget\(...\), FIVO\(...\), SMC\(...\), Annealing\(...\), or None for draws of the "
    "guide, got "
)


@pytest.mark.parametrize(
    ("method", "error", "message"),
    [
        ("auot", ValueError, "'auot'; give one of those"),
        (FIVO, TypeError, r"the class FIVO; call it: FIVO\(...\)"),
        (IWAE(4), TypeError, "IWAE; give one of those"),
        (64, TypeError, "int; give one of those"),
        (Pilot(), TypeError, r"a Pilot, which goes before filters; write method=FIVO\(64\), pilot=Pilot\(...\)"),
    ],
    ids=["misspelt", "class", "another bound", "number", "pilot"],
)
def test_what_is_no_method_is_refused(unchecked, method, error, message):
    with pytest.raises(error, match=EXPECTED + message):
        evidence(method=method, num_particles=3)


@pytest.mark.parametrize("method", ["auto", Budget(particles=32)], ids=["auto", "budget"])
@pytest.mark.parametrize(
    "options",
    [
        {"num_particles": 5},
        {"particles_per_chunk": 5},
        {"sequences_per_chunk": 5},
        {"num_particles": 5, "pilot": Pilot()},
    ],
    ids=lambda options: " and ".join(options),
)
def test_what_auto_chooses_is_not_taken(method, options):
    got = re.escape(", ".join(f"{name}={value}" for name, value in options.items()))
    message = f"^{', '.join(options)}: expected None with method='auto' or a Budget, which chooses it, got {got}; leave"
    with pytest.raises(ValueError, match=message):
        evidence(method=method, **options)


def test_the_number_of_draws_is_needed_otherwise():
    for method in (None, FIVO(4), SMC(4), Annealing(2, 1)):
        with pytest.raises(ValueError, match="num_particles: expected a number of draws, got None; or method='auto'"):
            evidence(method=method)


@pytest.mark.parametrize(
    ("method", "words"),
    [(None, "None"), (SMC(8), "SMC"), (Annealing(2, 1), "Annealing")],
    ids=["guide", "population", "annealing"],
)
def test_pilots_are_only_taken_before_filters(method, words):
    message = rf"^pilot: expected None without method=FIVO\(...\), .* got Pilot\(.*\) with method {words}; give method="
    with pytest.raises(ValueError, match=message):
        evidence(method=method, num_particles=2, pilot=Pilot())
    assert evidence(method=FIVO(4), num_particles=2, pilot=Pilot(8, 1)).pilot == Pilot(8, 1)


def test_auto_is_a_budget_of_the_usual_size():
    assert torch.equal(evidence(method="auto").log_weights, evidence(method=Budget()).log_weights)


@pytest.mark.parametrize(
    ("function", "given", "message"),
    [
        (
            bracket,
            "sweep",
            r"sweep: expected settings of bracket \(repeats, sweeps, seed\), got .* did you mean sweeps",
        ),
        (bracket, "filterin", "got what it does not have; did you mean filtering"),
        (calibrate, "draw_per_chunk", "expected settings of calibrate .* did you mean draws_per_chunk"),
        (calibrate, "num_draw", "did you mean num_draws"),
        (predictive_scores, "num_sample", "expected settings of predictive_scores .* did you mean num_samples"),
        (predictive_scores, "heldout", "did you mean held_out"),
        (
            reconstruct,
            "coverge",
            r"coverge: expected settings of the query \(coverage, seed, frames_per_chunk\) or options of "
            r"LinearGuide.complete \(none\), got what neither has; did you mean coverage",
        ),
        (impute, "num_sample", "got what neither has; did you mean num_samples"),
        (impute, "rounds", "got what neither has; leave it out"),
    ],
)
def test_unknown_settings_of_other_functions_are_refused(function, given, message):
    model, frames = LinearVideo(), videos(2)
    seen = torch.ones(frames.shape[:2], dtype=torch.bool)
    with pytest.raises(TypeError, match=message):
        function(model, LinearGuide(model), frames, seen, **{given: 1})


def test_forecasts_hand_settings_on():
    model, frames = LinearVideo(), videos(2)
    with pytest.raises(TypeError, match="coverge: expected settings of the query"):
        forecast(model, LinearGuide(model), frames[:, :4], num_frames=1, coverge=0.5)
    answer = forecast(model, LinearGuide(model), frames[:, :4], num_frames=1, num_samples=3, method="exact")
    assert answer.samples.shape[:3] == (3, 2, 5)
