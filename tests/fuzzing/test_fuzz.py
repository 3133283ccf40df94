"""These tests pin: whatever a public function is given, it answers with numbers or says what is wrong with an argument.

Calls are drawn by hypothesis: sensible arguments, of which up to two are changed (`values.py`). Every export is called,
or `targets.NOT_CALLED` says why not. `python -m tests.fuzzing.count 10000` counts how calls end.
"""

import jaxtyping
import numpy as np
import pytest
import torch

from tests.fuzzing.cases import Case, outcome_of
from tests.fuzzing.constructors import KINDS, constructor_targets
from tests.fuzzing.count import every, warm_up
from tests.fuzzing.outcomes import CLEAR, GENERATORS, GOOD, HANG, NAN, OBSCURE, SILENT, run
from tests.fuzzing.targets import NOT_CALLED, exported, first_guides, pair_targets, plain_targets
from tests.fuzzing.values import changes_of

CHEAP = ("describe_sites", "simulate", "reconstruct", "impute", "forecast", "generate", "model", "guide", "step")
PLAIN, PAIRS, CONSTRUCTORS = plain_targets(), pair_targets(), constructor_targets()
TARGETS = PLAIN | PAIRS | CONSTRUCTORS
QUICK = (
    PLAIN | CONSTRUCTORS | {f"{name}, {guide}": PAIRS[f"{name}, {guide}"] for name in CHEAP for guide in first_guides()}
)


@pytest.fixture(autouse=True)
def without_annotations():
    """Annotations are checked in tests alone; users meet the checks of the functions themselves."""
    jaxtyping.config.update("jaxtyping_disable", True)
    warm_up()
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def judge(case: Case) -> None:
    outcome = outcome_of(case, TARGETS)
    assert outcome.kind in GOOD, f"{outcome}; {case}"


def test_every_export_is_called_or_it_is_said_why_not():
    called = {target.name for target in TARGETS.values()}
    assert {name for name in exported() if name not in called} == set(NOT_CALLED)
    assert {kind.__name__ for kind in KINDS} == set(CONSTRUCTORS)


def test_drawn_calls_end_well():
    every(QUICK, 60, judge)


@pytest.mark.slow
def test_ten_thousand_drawn_calls_end_well():
    every(TARGETS, 10_000, judge)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("name", sorted(CONSTRUCTORS))
def test_each_change_of_each_argument_of_a_constructor_ends_well(name):
    for argument, value in CONSTRUCTORS[name].build().items():
        for change in changes_of(value):
            judge(Case(name, ((argument, change.name),)))


FOUND = [
    Case("guide, DiscoveryPropagationGuide", (("frames", "no first"),)),
    Case("guide, PosePredictionGuide", (("frames", "no first"),)),
    Case("guide, GlimpseAttentionGuide", (("frames", "a number"),)),
    Case("guide, KalmanGuide, joint", (("frames", "NaN"), ("observed", "NaN"))),
    Case("simulate, KalmanGuide, collapsed", (("frames", "no second"),)),
    Case("simulate, KalmanGuide, collapsed", (("frames", "other device"),)),
    Case("impute, DiscoveryPropagationGuide", (("frames", "bytes"),)),
    Case("forecast, DiscoveryPropagationGuide", (("frames", "infinite"),)),
    Case("model, KalmanGuide, collapsed", (("frames", "float64"),)),
    Case("step, DiscoveryPropagationGuide", (("frames", "bytes"),)),
    Case("log_evidence, KalmanGuide, collapsed", (("num_particles", "10^10"),)),
    Case("generate, KalmanGuide, collapsed", (("num_frames", "10^10"),)),
    Case("Pendulum", (("time_step", "inf"),)),
    Case("BoxWorld", (("time_step", "None"),)),
    Case("GrowingVideos", (("source", "{}"),)),
    Case("SiteWeights", (("weights", "None"),)),
    Case("StatePathPosterior", (("ssm", "3"),)),
    Case("crps", (("samples", "infinite"),)),
    Case("brier_score", (("probabilities", "numpy"),)),
    Case("counting_confusion", (("presence", "first two swapped"),)),
    Case("find_discs", (("pictures", "no second"), ("radius", "-1"))),
    Case("hold_last", (("positions", "a number"),)),
    Case("side_accuracy", (("components", "other device"),)),
    Case("side_accuracy", (("labels", "negative"),)),
    Case("score_clip", (("truth", "None"),)),
    Case("tail", (("num_frames", "0.5"),)),
    Case("SequentialAttendInferRepeat", (("patch_gain", "2"),)),
    Case("DiscoveryPropagationGuide", (("where_offset", "-1"),)),
    Case("MotionTransition", (("hidden", "()"),)),
    Case("MotionTransition", (("motion_scale", "1e+30"),)),
    Case("AttendInferRepeat", (("another", "2.5"),)),
    Case("KalmanVAE", (("code_dim", "10^10"),)),
    Case("KalmanVAE", (("frame_shape", "first 0"),)),
    Case("Finder", (("model", "None"),)),
    Case("split_videos", (("fractions", "first '2'"),)),
    Case("MassiveBalls", (("size", "10^10"),)),
    Case("Tracks", (("frames", "other device"),)),
    Case("bracket, GlimpseAttentionGuide", (("sweeps", "10^10"),)),
    Case("EndlessVideos", (("device", "''"),)),
    Case("EndlessVideos", (("device", "'nonsense'"),)),
    Case("mean_best_overlap", (("predicted", "no second"), ("truth", "no second"))),
    Case("object_order", (("positions", "bool"),)),
    Case("fit_position_map", (("codes", "NaN"),)),
    Case("PixelMixture", (("means", "list"), ("scale", "0"))),
    Case("PixelMixture", (("means", "integers"), ("logits", "bool"))),
    Case("energy_score", (("samples", "other device"), ("truth", "other device"))),
    Case("StillDigits", (("jitter", "2.5"), ("digit_scale", "inf"))),
    Case("bracket, PriorCorrectionGuide, convolutions", (("repeats", "10^10"),)),
    Case("PongWorld", (("paddle_half_length", "1e-30"),)),
    Case("Tracks", (("frames", "text"), ("boxes", "other device"))),
    Case("PixelMixture", (("means", "no first"), ("per_channel", "'nonsense'"))),
    Case("train, PosePredictionGuide, large glimpses", (("stages", "'nonsense'"),)),
    Case("calibrate, IterativeRefinementGuide of the prior", (("num_draws", "None"),)),
]
"""Calls that once ended otherwise: answered nonsense, NaN, or failed somewhere below."""


@pytest.mark.parametrize("case", FOUND, ids=lambda case: " ".join((case.target, *map(" ".join, case.changes))))
def test_what_was_found_stays_mended(case):
    judge(case)


# the wrong program: each way in which a call must not end is noticed


def _spin() -> None:
    while True:
        pass


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda: [][1], OBSCURE),
        (lambda: torch.zeros(2) @ torch.zeros(3), OBSCURE),
        (lambda: 1.0, SILENT),
        (lambda: {"score": torch.tensor([1.0, torch.nan])}, NAN),
        (lambda: torch.rand(1), GENERATORS),
        (lambda: np.random.rand(), GENERATORS),
        (_spin, HANG),
    ],
    ids=["IndexError", "RuntimeError of torch", "answer", "NaN", "generator of torch", "generator of numpy", "loop"],
)
def test_a_bad_end_is_noticed(call, kind):
    assert run(call, refused=kind == SILENT, draws=False, seconds=0.2).kind == kind


def test_an_error_of_ours_is_clear():
    assert (
        run(lambda: PLAIN["tail"].call(num_sequences=2, num_frames=3, num_seen=4), refused=True, draws=False).kind
        == CLEAR
    )
