"""These tests pin: where the evidence is known, every method's estimates satisfy the requirements on estimators.

The cases and the checks are those of `tests/oracles/conformance/`, which are independent of this library; the last
tests here show that they reject wrong estimators.
"""

from functools import partial

import pytest
import torch
from pyro import poutine

from inference import FIVO, SMC, Annealing, Budget, Pilot, log_evidence
from inference.evidence.automatic import RUNGS
from tests.oracles.conformance import reference_estimators as reference
from tests.oracles.conformance.all_cases import all_cases
from tests.oracles.conformance.checks import (
    Claim,
    check_missing,
    check_monotone,
    check_never_above,
    check_own_noise,
    check_standard_errors,
    check_unbiased,
    check_verdicts,
)
from tests.oracles.conformance.simulated_videos import simulated_videos
from tests.oracles.conformance.stepwise_pairs import STEPWISE

CASES = all_cases()
METHODS = {
    "importance sampling": {"num_particles": 8},
    "importance sampling in chunks": {"num_particles": 8, "particles_per_chunk": 5, "sequences_per_chunk": 1000},
    "annealing": {"num_particles": 4, "method": Annealing(4, 2, 4)},
    "populations": {"num_particles": 1, "method": SMC(8, 3, num_leapfrog=2, threshold=0.8, num_tuning=8)},
    "filters": {"num_particles": 1, "method": FIVO(8, threshold=0.8)},
    "filters that always resample": {"num_particles": 2, "method": FIVO(4, "multinomial", 1.1)},
    "filters with pilots": {
        "num_particles": 1,
        "method": FIVO(8),
        "pilot": Pilot(16, 2),
        "sequences_per_chunk": 1000,
    },
    "auto": {"method": "auto"},
}
FEW_AND_MANY = {
    "importance sampling": [{"num_particles": number} for number in (1, 16)],
    "importance sampling in chunks": [
        {"num_particles": number, "particles_per_chunk": 5, "sequences_per_chunk": 1000} for number in (1, 16)
    ],
    "annealing": [{"num_particles": 1, "method": Annealing(number, 2, 4)} for number in (1, 8)],
    "populations": [{"num_particles": 1, "method": SMC(number, 3, num_leapfrog=2, num_tuning=8)} for number in (2, 16)],
    "filters": [{"num_particles": 1, "method": FIVO(number)} for number in (1, 4, 32)],
    "filters that always resample": [
        {"num_particles": 1, "method": FIVO(number, "multinomial", 1.1)} for number in (2, 32)
    ],
    "filters with pilots": [{"num_particles": 1, "method": FIVO(number), "pilot": Pilot(16, 1)} for number in (2, 32)],
}
QUICK = ["importance sampling", "filters"]
REPEATS = {"annealing": 300, "populations": 300}


def suits(method, case):
    if method in ("annealing", "populations"):
        return case.latents in ("continuous", "bits")
    return case.name in STEPWISE or not method.startswith("filters")


def pairs(*methods, demands=("all", "equality"), names=tuple(CASES)):
    chosen = [(method, CASES[name]) for name in names for method in methods if suits(method, CASES[name])]
    return [
        pytest.param(method, case, id=f"{method}, {case.name}") for method, case in chosen if case.demand in demands
    ]


def programs(case, steps):
    return tuple(make() for make in STEPWISE[case.name]) if steps else (case.model, case.guide)


def record(options, repeats, case, seed):
    batch = case.tiled(repeats)
    steps = case.name in STEPWISE and isinstance(options.get("method"), FIVO | Budget | str)
    return log_evidence(*programs(case, steps), *batch.arguments, **options, seed=seed)


def estimator(options, repeats):
    def estimate(case, seed):
        return record(options, repeats, case, seed).log_evidence.unflatten(0, (repeats, -1))

    return estimate


def claims(options, repeats=1):
    def claim(case, seed):
        result = record(options, repeats, case, seed)
        numbers = (result.log_evidence, result.standard_error, result.pareto_k)
        stated = (number.unflatten(0, (repeats, -1)) for number in numbers)
        return Claim(*stated, result.verdict.kind, result.verdict.width)

    return claim


DRAWS = [method for method in METHODS if method != "auto"]


@pytest.mark.parametrize(("method", "case"), pairs(*DRAWS))
def test_estimates_are_unbiased_and_their_logarithms_below_the_truth(method, case):
    draws = estimator(METHODS[method], REPEATS.get(method, 600))(case, 0)
    check_unbiased(lambda case, seed: draws, case)
    check_never_above(lambda case, seed: draws, case)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "case"), pairs(*DRAWS, demands=("all",)))
def test_estimates_are_unbiased_to_a_few_per_cent(method, case):
    options = METHODS[method] | ({"method": Annealing(8, 4, 8)} if method == "annealing" else {})
    check_unbiased(estimator(options, 600), case, range(20), resolution=0.05)


@pytest.mark.parametrize(("method", "case"), pairs("importance sampling", "annealing", demands=("bounds",)))
def test_a_guide_that_leaves_out_a_mode_gives_a_bound(method, case):
    check_never_above(estimator(METHODS[method], REPEATS.get(method, 600)), case)


def check_more_draws(method, case):
    check_monotone([estimator(options, 900) for options in FEW_AND_MANY[method]], case)


@pytest.mark.parametrize(
    ("method", "case"),
    [*pairs(*QUICK, demands=("all",)), *pairs("annealing", names=["two modes"])],
)
def test_more_draws_lie_higher(method, case):
    check_more_draws(method, case)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "case"), pairs(*sorted(set(DRAWS) - set(QUICK)), demands=("all",)))
def test_more_draws_lie_higher_by_every_method(method, case):
    check_more_draws(method, case)


SLOWER = ["annealing", "populations"]
FASTER = [method for method in DRAWS if method not in SLOWER]


@pytest.mark.parametrize(
    ("method", "case"), [*pairs(*FASTER), *pairs(*SLOWER, names=["vague level", "presence", "conjugate shares"])]
)
def test_what_stands_in_missing_frames_changes_nothing(method, case):
    check_missing(estimator(METHODS[method], 2), case)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "case"), pairs(*SLOWER, "auto"))
def test_what_stands_in_missing_frames_changes_nothing_by_every_method(method, case):
    check_missing(estimator(METHODS[method], 2), case)


def test_what_stands_in_missing_frames_changes_nothing_automatically():
    check_missing(estimator({"method": Budget(particles=64)}, 1), CASES["vague level"].first(2))


def check_errors(method, case):
    check_standard_errors(claims(METHODS[method] | {"num_particles": 64}, 100), case)


@pytest.mark.parametrize(
    ("method", "case"),
    [*pairs(*QUICK, demands=("all",)), *pairs("annealing", names=["conjugate counts"])],
)
def test_stated_standard_errors_cover_the_truth(method, case):
    check_errors(method, case)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "case"), pairs(*sorted(set(DRAWS) - set(QUICK)), demands=("all",)))
def test_stated_standard_errors_cover_the_truth_by_every_method(method, case):
    check_errors(method, case)


JUDGED = [case for case in CASES.values() if case.demand != "bounds"]


def test_verdicts_hold():
    check_verdicts(claims({"num_particles": 200}), JUDGED, range(3))
    check_verdicts(claims(METHODS["auto"]), [case for case in JUDGED if case.name not in STEPWISE], range(3))


@pytest.mark.slow
@pytest.mark.parametrize("options", [METHODS["auto"], {"num_particles": 200}], ids=["auto", "importance sampling"])
def test_verdicts_hold_in_nine_of_ten(options):
    check_verdicts(claims(options), JUDGED, range(50), 300)


@pytest.mark.slow
@pytest.mark.parametrize(
    "budget",
    [
        pytest.param(
            Budget(particles=RUNGS[0]),
            id="one rung",
            marks=pytest.mark.xfail(
                raises=AssertionError, reason="the method is chosen by the draws that count: 0.034 nats too high"
            ),
        ),
        pytest.param(Budget(), id="all rungs"),
    ],
)
def test_automatic_estimates_of_one_video_lie_below_the_truth(budget):
    """The better one of two methods is chosen: were it by the draws that count, the estimate would be too high."""
    case = CASES["hidden Markov"].first(1)
    check_never_above(estimator({"method": budget}, 1), case, range(150))


def check_seeds(method):
    check_own_noise(estimator(METHODS[method], 2), simulated_videos, range(3))


@pytest.mark.parametrize("method", QUICK)
def test_the_seed_of_the_simulation_may_be_given_to_the_estimator(method):
    check_seeds(method)


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted(set(METHODS) - set(QUICK)))
def test_the_seed_of_the_simulation_may_be_given_to_every_estimator(method):
    check_seeds(method)


@pytest.mark.parametrize("name", sorted(set(STEPWISE) & set(CASES)))
def test_the_steps_have_the_densities_of_the_case(name):
    case = CASES[name]
    traces = {}
    for steps in (True, False):
        model, guide = programs(case, steps)
        guide = poutine.replay(guide, trace=traces[True][0]) if traces else guide
        drawn = poutine.trace(guide).get_trace(*case.arguments)
        scored = poutine.trace(poutine.replay(model, trace=drawn)).get_trace(*case.arguments)
        traces[steps] = drawn, scored
    for ours, plain in zip(traces[True], traces[False], strict=True):
        torch.testing.assert_close(ours.log_prob_sum(), plain.log_prob_sum(), rtol=1e-12, atol=1e-10)


REFERENCES = [pytest.param(case, id=case.name) for case in CASES.values() if case.demand != "bounds"]


@pytest.mark.parametrize("case", REFERENCES)
def test_an_estimator_that_is_not_ours_passes(case):
    estimate = reference.importance_sampling(8, 600)
    check_unbiased(estimate, case)
    check_never_above(estimate, case)
    check_missing(estimate, case)
    if case.demand == "all":
        check_monotone([reference.importance_sampling(number, 900) for number in (1, 16)], case)
        check_standard_errors(reference.importance_claims(64, 100), case)


def test_the_others_that_are_not_ours_pass():
    case = CASES["hidden Markov"]
    check_unbiased(reference.bootstrap_filter(16, 600), case)
    check_never_above(reference.bootstrap_filter(16, 600), case)
    check_own_noise(reference.importance_sampling(100, 2), simulated_videos, range(3))
    check_verdicts(reference.importance_claims(64, 1), JUDGED, range(10))


UNBIASED = partial(check_unbiased, case=CASES["hidden Markov"]), "standard errors, .* allowed"
NEVER_ABOVE = (
    partial(check_never_above, case=CASES["hidden Markov"]),
    "expected a mean of log estimates below the truth",
)
TOO_FEW = UNBIASED[0], "run more repeats"
MISSING = partial(check_missing, case=CASES["hidden Markov"]), "in missing frames than with nan"
OWN_NOISE = (
    partial(check_own_noise, simulated=simulated_videos, seeds=range(3)),
    "below the truth on videos of the same seed",
)
WRONG = {
    "weights not divided by K": (reference.not_divided(8, 600), [UNBIASED, NEVER_ABOVE]),
    "the entropy of a site of the guide alone": (
        reference.with_entropy_of_another_site(8, 600),
        [UNBIASED, NEVER_ABOVE],
    ),
    "weights that live on after resampling": (reference.bootstrap_filter(16, 600, resets=False), [UNBIASED]),
    "the better one of two estimates": (reference.best_of_two(8, 600), [UNBIASED, NEVER_ABOVE]),
    "the mean of the logarithms": (reference.mean_of_logs(64, 600), [UNBIASED]),
    "a mask that is forgotten": (reference.all_frames_seen(8, 600), [UNBIASED, MISSING]),
    "one standard deviation too high": (reference.one_standard_deviation_up(16, 600), [UNBIASED, NEVER_ABOVE]),
    "the noise of the simulation": (reference.importance_sampling(100, 2, stream=0), [OWN_NOISE]),
    "too few repeats to tell": (reference.importance_sampling(1, 20), [TOO_FEW]),
}


@pytest.mark.parametrize(
    ("estimate", "check", "message"),
    [
        pytest.param(estimate, check, message, id=f"{name}, {check.func.__name__}")
        for name, (estimate, checks) in WRONG.items()
        for check, message in checks
    ],
)
def test_a_wrong_estimator_fails(estimate, check, message):
    with pytest.raises(AssertionError, match=message):
        check(estimate)


def test_markov_tells_rare_estimates_that_are_far_too_high():
    """Too few to lift the mean of the logarithms above the truth."""

    def sometimes(case, seed):
        draws = torch.full((1000, len(case.exact)), -3.0, dtype=torch.float64)
        draws[:40] = 5.0
        return case.exact + draws

    with pytest.raises(AssertionError, match="of 4000 estimates more than 4.0 nats above the truth"):
        check_never_above(sometimes, CASES["hidden Markov"])


def test_draws_that_do_not_help_are_not_monotone():
    with pytest.raises(AssertionError, match="expected more draws to lie higher"):
        check_monotone([reference.mean_of_logs(number, 900) for number in (1, 16)], CASES["presence"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shrunk": 2.0}, "within the stated width"),
        ({"verdict": "exact"}, "called exact, and off by"),
        ({"verdict": "lower bound"}, "expected 20 verdicts to judge, got 0"),
    ],
)
def test_wrong_verdicts_fail(options, message):
    with pytest.raises(AssertionError, match=message):
        check_verdicts(reference.importance_claims(64, 1, **options), [CASES["presence"]], range(60))


def test_errors_that_are_stated_too_small_fail():
    claim = reference.importance_claims(64, 100, shrunk=2.0)
    with pytest.raises(AssertionError, match="within two stated standard errors"):
        check_standard_errors(claim, CASES["presence"])


def test_a_case_that_asks_for_bounds_is_not_asked_for_more():
    with pytest.raises(ValueError, match="one of two modes: expected a case whose guide covers"):
        check_unbiased(reference.importance_sampling(8, 600), CASES["one of two modes"])
