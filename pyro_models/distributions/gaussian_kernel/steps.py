"""One step of the fused kernel as vector code: the filter forwards, its hand-derived adjoint backwards.

Forward, at each step (Joseph's update):
    P^- = A P A' + Q, U = C P^-, S = U C' + R, G = U' S^-1, J = I - G C, P = J P^- J' + G R G'
    m^- = A m + b, e = a - d - C m^-, v = S^-1 e, m = m^- + G e, log p -= (e'v + log|S| + obs log 2 pi) / 2
Backward, with adjoints m*, P* of the updated moments and g of log p (sums over sequences that share parameters;
derived by differentiating P = (P^-^-1 + C'R^-1 C)^-1, so the form of the forward update does not matter):
    a* = G'm* - g v, m^-* = m* - C'a*, d* = -a*
    H = P*G, R* = G'H - sym(v (a* + g v / 2)') - g S^-1 / 2, E = m* v' - 2 H
    P^-* = P* + sym((C'R* + E) C), C* = -a* m' + E'P - g G'
    b* = m^-*, A* = m^-* m' + 2 P^-* A P, Q* = P^-*, and m*, P* of the step before: A'm^-*, A'P^-* A
"""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from pyro_models.distributions.gaussian_kernel.vectors import Recorder, vector_code


class WorkLayout:
    """First slots of the matrices in the work array, for one pair of sizes.

    `work` matrices exist once. Each repeat (sequences of one lane group that share covariances) keeps `repeat`, each
    step `step`, and each repeat at each step `path`.
    """

    def __init__(self, state: int, obs: int) -> None:
        n, p = state, obs
        work = {
            "identity": n * n,
            "one": 1,
            "two": 1,
            "seen": 1,
            "unseen": 1,
            "count": 1,
            "determinant": 2,
            "weight": 1,
            "half": 1,
        }
        work |= {"matrix": n * n, "noise": n * n, "emission": p * n, "emission_noise": p * p}
        work |= {"given_emission": p * n, "given_noise": p * p}
        work |= {"predicted": n * n, "moved": n * n, "cross": p * n, "innovation": p * p, "keep": n * n, "kept": n * n}
        work |= {"scaled": n * p, "mean": n, "residual": p}
        work |= {"d_updated": n * n, "d_predicted": n * n, "d_matrix": n * n, "d_emission": p * n, "d_noise": p * p}
        work |= {"outer": n * p, "inner": p * p, "projected": n * p, "pulled": n * p, "back": n * n}
        work |= {"d_value": p, "shifted": p, "d_mean": n}
        work |= {"sum_matrix": n * n, "sum_noise": n * n, "sum_emission": p * n, "sum_emission_noise": p * p}
        self.work, self.work_size = _places(work)
        repeat = {"adjoint": n, "weight": 1, "half": 1, "quadratic": 1, "sum_transition": n, "sum_emission": p}
        self.repeat, self.repeat_size = _places(repeat)
        step = {"gain": n * p, "inverse": p * p, "updated": n * n}
        self.step, self.step_size = _places(step)
        self.path_size = n + p  # the updated mean, then S^-1 e


def _places(sizes: dict[str, int]) -> tuple[Any, int]:
    ends = [0]
    for size in sizes.values():
        ends.append(ends[-1] + size)
    return SimpleNamespace(**dict(zip(sizes, ends, strict=False))), ends[-1]


@vector_code
def symmetrize_state(x: Recorder, n: int, p: int, places: Sequence[Any]) -> None:
    """The symmetric part of a covariance of states as it was loaded: the policy of `gaussian_numerics`.

    Gradients need nothing in return, as those of covariances are symmetric here.
    """
    (covariance,) = places
    x.symmetrize(covariance, n)


@vector_code
def symmetrize_obs(x: Recorder, n: int, p: int, places: Sequence[Any]) -> None:
    """The same for a covariance of observations."""
    (covariance,) = places
    x.symmetrize(covariance, p)


@vector_code
def predict_covariance(x: Recorder, n: int, p: int, places: Sequence[Any]) -> None:
    """P^- = A P A' + Q."""
    at, (earlier,) = WorkLayout(n, p).work, places
    x.product("ab", at.moved, None, at.matrix, earlier, (n, n, n))
    x.product("sym(c + ab')", at.predicted, at.noise, at.moved, at.matrix, (n, n, n))


@vector_code
def update_covariance(x: Recorder, n: int, p: int, places: Sequence[Any]) -> None:
    """S = C P^- C' + R, G = P^- C' S^-1, J = I - G C, P = J P^- J' + G R G'."""
    at, (gain, inverse, updated) = WorkLayout(n, p).work, places
    x.add(at.count, at.seen, 1)
    x.product("ab", at.cross, None, at.emission, at.predicted, (p, n, n))
    x.product("sym(c + ab')", at.innovation, at.emission_noise, at.cross, at.emission, (p, n, p))
    x.factor(inverse, at.innovation, at.determinant, p)
    x.product("a'b", gain, None, at.cross, inverse, (n, p, p))
    x.product("c - ab", at.keep, at.identity, gain, at.emission, (n, p, n))
    x.product("ab", at.kept, None, at.keep, at.predicted, (n, n, n))
    x.product("ab", at.scaled, None, gain, at.emission_noise, (n, p, p))
    x.product("sym(ab')", updated, None, at.kept, at.keep, (n, n, n))
    x.product("sym(c + ab')", updated, updated, at.scaled, gain, (n, p, n))


@vector_code
def skip_missing(x: Recorder, n: int, p: int, places: Sequence[Any]) -> None:
    """Where the step is missing, C = 0 and R = I, so that G = 0, P = P^- and log|S| = 0."""
    at = WorkLayout(n, p).work
    x.product("a*b", at.emission, None, at.given_emission, at.seen, (p, 1, n))
    x.product("a*b", at.emission_noise, None, at.given_noise, at.seen, (p, 1, p))
    x.add(at.emission_noise, at.unseen, p, step=p + 1)


@vector_code
def predict_mean(x: Recorder, n: int, p: int, places: Sequence[Any]) -> None:
    """m^- = A m."""
    at, (earlier,) = WorkLayout(n, p).work, places
    x.product("ab", at.mean, None, at.matrix, earlier, (n, n, 1))


@vector_code
def predict_moved_mean(x: Recorder, n: int, p: int, places: Sequence[Any]) -> None:
    """m^- = A m + b; b is there already."""
    at, (earlier,) = WorkLayout(n, p).work, places
    x.product("c + ab", at.mean, at.mean, at.matrix, earlier, (n, n, 1))


@vector_code
def shift_residual(x: Recorder, n: int, p: int, places: Sequence[Any]) -> None:
    """Subtract the emission offset, which lies in place of the adjoint of a, from a."""
    at = WorkLayout(n, p).work
    x.product("c - a*b", at.residual, at.residual, at.d_value, at.one, (p, 1, 1))


@vector_code
def skip_residual(x: Recorder, n: int, p: int, places: Sequence[Any]) -> None:
    """Innovation 0 where the step is missing."""
    at = WorkLayout(n, p).work
    x.product("a*b", at.residual, None, at.residual, at.seen, (p, 1, 1))


@vector_code
def update_mean(x: Recorder, n: int, p: int, places: Sequence[Any]) -> None:
    """E = a - d - C m^-, v = S^-1 e, m = m^- + G e, quadratic += e'v; a - d is there already."""
    at, (gain, inverse, mean, whitened, quadratic) = WorkLayout(n, p).work, places
    x.product("c - ab", at.residual, at.residual, at.emission, at.mean, (p, n, 1))
    x.product("ab", whitened, None, inverse, at.residual, (p, p, 1))
    x.product("c + ab", mean, at.mean, gain, at.residual, (n, p, 1))
    x.product("c + a'b", quadratic, quadratic, at.residual, whitened, (1, p, 1))


@vector_code
def tilt_mean(x: Recorder, n: int, p: int, places: Sequence[Any]) -> None:
    """Mean of N(m, P) tilted by exp(s'z): m + P s; s lies in place of the adjoint of the mean."""
    at, (updated, mean) = WorkLayout(n, p).work, places
    x.product("c + ab", mean, mean, updated, at.d_mean, (n, n, 1))


@vector_code
def smooth_mean(x: Recorder, n: int, p: int, places: Sequence[Any]) -> None:
    """Smoothed mean m + P r with the adjoint r of the filtered state."""
    at, (updated, mean, adjoint) = WorkLayout(n, p).work, places
    x.product("c + ab", at.mean, mean, updated, adjoint, (n, n, 1))


@vector_code
def tilt_adjoint(x: Recorder, n: int, p: int, places: Sequence[Any]) -> None:
    """Add the tilt s'z to the adjoint of the later observations: r + s."""
    at, (adjoint,) = WorkLayout(n, p).work, places
    x.add(adjoint, at.d_mean, n)


@vector_code
def clear_adjoints(x: Recorder, n: int, p: int, places: Sequence[Any]) -> None:
    """Start the sums over the sequences that share covariances at one step."""
    at = WorkLayout(n, p).work
    x.fill(at.d_matrix, n * n, 0.0)
    x.fill(at.d_emission, p * n, 0.0)
    x.fill(at.outer, n * p, 0.0)
    x.fill(at.inner, p * p, 0.0)


@vector_code
def pull_mean(x: Recorder, n: int, p: int, places: Sequence[Any]) -> None:
    """Adjoints a* = G'm* - g v, m^-* = m* - C'a*, and what the covariances and the fixed offset need of them."""
    at, (gain, mean, whitened, adjoint, weight, half, offsets) = WorkLayout(n, p).work, places
    x.product("a'b", at.d_value, None, gain, adjoint, (p, n, 1))
    x.product("c - ab", at.d_value, at.d_value, whitened, weight, (p, 1, 1))
    x.product("c - a'b", at.d_mean, adjoint, at.emission, at.d_value, (n, p, 1))
    x.product("c + ab", at.shifted, at.d_value, whitened, half, (p, 1, 1))
    x.product("c - part(ab')", at.inner, at.inner, whitened, at.shifted, (p, 1, p))
    x.product("c + ab'", at.outer, at.outer, adjoint, whitened, (n, 1, p))
    x.product("c - ab'", at.d_emission, at.d_emission, at.d_value, mean, (p, 1, n))
    x.product("c - a*b", offsets, offsets, at.d_value, at.one, (p, 1, 1))


@vector_code
def pull_covariance(x: Recorder, n: int, p: int, places: Sequence[Any]) -> None:
    """H = P*G, R* = G'H + inner - g S^-1 / 2, E = outer - 2 H, P^-* = P* + sym((C'R* + E)C), C* += E'P - g G'."""
    at, (gain, inverse, updated) = WorkLayout(n, p).work, places
    x.product("ab", at.projected, None, at.d_updated, gain, (n, n, p))
    x.product("sym(c + a'b)", at.d_noise, at.inner, gain, at.projected, (p, n, p))
    x.product("c - a*b", at.d_noise, at.d_noise, inverse, at.half, (p, 1, p))
    x.product("c - a*b", at.outer, at.outer, at.projected, at.two, (n, 1, p))
    x.product("c + a'b", at.pulled, at.outer, at.emission, at.d_noise, (n, p, p))
    x.product("c + part(ab)", at.d_predicted, at.d_updated, at.pulled, at.emission, (n, p, n))
    x.product("c + a'b", at.d_emission, at.d_emission, at.outer, updated, (p, n, n))
    x.product("c - a'*b", at.d_emission, at.d_emission, gain, at.weight, (p, 1, n))
    x.product("a*b", at.d_noise, None, at.d_noise, at.seen, (p, 1, p))  # R of a missing step was put there by us


@vector_code
def pull_prediction_mean(x: Recorder, n: int, p: int, places: Sequence[Any]) -> None:
    """A* = m^-* m', m* = A'm^-*, and what a fixed offset needs of them."""
    at, (earlier, adjoint, offsets) = WorkLayout(n, p).work, places
    x.add(offsets, at.d_mean, n)
    x.product("c + ab'", at.d_matrix, at.d_matrix, at.d_mean, earlier, (n, 1, n))
    x.product("a'b", adjoint, None, at.matrix, at.d_mean, (n, n, 1))


@vector_code
def pull_prediction_covariance(x: Recorder, n: int, p: int, places: Sequence[Any]) -> None:
    """A* += 2 P^-* A P, P* = A'P^-* A."""
    at, (earlier,) = WorkLayout(n, p).work, places
    x.product("ab", at.back, None, at.d_predicted, at.matrix, (n, n, n))
    x.product("sym(a'b)", at.d_updated, None, at.matrix, at.back, (n, n, n))
    x.product("a*b", at.back, None, at.back, at.two, (n, 1, n))
    x.product("c + ab", at.d_matrix, at.d_matrix, at.back, earlier, (n, n, n))


@vector_code
def negate_value(x: Recorder, n: int, p: int, places: Sequence[Any]) -> None:
    """Adjoint of the emission offset, d* = -a*, in place of the residual."""
    at = WorkLayout(n, p).work
    x.fill(at.residual, p, 0.0)
    x.product("c - a*b", at.residual, at.residual, at.d_value, at.one, (p, 1, 1))


@vector_code
def sum_emission(x: Recorder, n: int, p: int, places: Sequence[Any]) -> None:
    """C* of a matrix that holds for every step."""
    at = WorkLayout(n, p).work
    x.add(at.sum_emission, at.d_emission, p * n)


@vector_code
def sum_emission_noise(x: Recorder, n: int, p: int, places: Sequence[Any]) -> None:
    """R* of a covariance that holds for every step."""
    at = WorkLayout(n, p).work
    x.add(at.sum_emission_noise, at.d_noise, p * p)


@vector_code
def sum_matrix(x: Recorder, n: int, p: int, places: Sequence[Any]) -> None:
    """A* of a matrix that holds for every step."""
    at = WorkLayout(n, p).work
    x.add(at.sum_matrix, at.d_matrix, n * n)


@vector_code
def sum_noise(x: Recorder, n: int, p: int, places: Sequence[Any]) -> None:
    """Q* of a covariance that holds for every step."""
    at = WorkLayout(n, p).work
    x.add(at.sum_noise, at.d_predicted, n * n)
