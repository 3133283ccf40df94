"""log p(a) of a linear-Gaussian state-space model and its gradients: ours, Pyro's GaussianHMM, dynamax.

    python benchmarks/gaussian_marginal.py [--rounds 30] [--seconds 20] [--threads 2]

Prints a Markdown table of milliseconds, the ratio of the better peer's minimum to ours, and errors in nats against our
float64 reference. Times are minimum and median over rounds in which the three take turns, a few calls each, so that
other load on the machine affects all equally. All run in float32, without argument validation; times include
constructing the distribution. dynamax is measured if it is installed. It and GaussianHMM do not support missing steps
and are not used with offsets or mixtures: in those rows they solve the plain problem of the same size.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_models.distributions import LinearGaussianSSM, MixtureLinearGaussianSSM
from pyro_models.distributions.gaussian_steps import marginal_log_prob

Run = Callable[[], Tensor]


@dataclass(frozen=True)
class Case:
    """One row of the table. `per_step`: transition and emission matrices per sequence and step, covariances fixed."""

    name: str
    batch: int
    steps: int
    state: int = 4
    obs: int = 2
    per_step: bool = False
    missing: bool = False
    offsets: bool = False
    components: int = 0
    tensors: dict[str, Tensor] = field(default_factory=dict, compare=False)

    def build(self) -> "Case":
        """Draw parameters of a constant-velocity model, perturbed where they vary, and observations."""
        generator = torch.Generator().manual_seed(0)
        randn = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
        n, p, b, t = self.state, self.obs, self.batch, self.steps
        eye = torch.eye(n)
        matrix, emission = (eye + 0.1 * torch.diag(torch.ones(n - p), p))[None], eye[None, :p]
        if self.per_step:
            matrix = 0.98 * matrix + 0.02 * randn(b, t - 1, n, n)
            emission = emission + 0.02 * randn(b, t, p, n)
        given = {
            "a": randn(b, t, p),
            "initial_mean": torch.zeros(n),
            "initial_covariance": eye.clone(),
            "transition_matrix": matrix,
            "transition_covariance": 0.08 * eye[None],
            "emission_matrix": emission,
            "emission_covariance": 0.03 * torch.eye(p)[None],
        }
        if self.offsets:
            given |= {"transition_offset": 0.1 * randn(b, t - 1, n), "emission_offset": 0.1 * randn(b, t, p)}
        if self.components:
            given["initial_mean"] = randn(self.components, n)
            given["log_weights"] = torch.zeros(self.components)
        fixed = ("initial_mean", "initial_covariance", "transition_covariance", "emission_covariance")
        for name, value in given.items():
            value.requires_grad_(not (self.per_step and name in fixed))
        if self.missing:
            given["observed"] = torch.rand(b, t, generator=generator) > 0.3
            given["observed"][:, :2] = True
        self.tensors.update(given)
        return self

    @property
    def leaves(self) -> list[Tensor]:
        """Tensors that are differentiated."""
        return [value for value in self.tensors.values() if value.requires_grad]


def ours(case: Case) -> Run:
    """The library, as a guide would call it."""
    given = dict(case.tensors)
    a, log_weights = given.pop("a"), given.pop("log_weights", None)

    def run() -> Tensor:
        ssm = LinearGaussianSSM(**given, num_steps=case.steps)
        law = ssm if log_weights is None else MixtureLinearGaussianSSM(log_weights, ssm)
        log_prob = law.log_prob(a)
        torch.autograd.grad(log_prob.sum(), case.leaves)
        return log_prob.detach()

    return run


def exact(case: Case) -> Tensor:
    """Our torch reference in float64."""
    given = {name: value.detach() for name, value in case.tensors.items()}
    a, log_weights = given.pop("a"), given.pop("log_weights", None)
    model = LinearGaussianSSM(**given, num_steps=case.steps)._model.double()
    if log_weights is None:
        return marginal_log_prob(model, a.double())
    each = marginal_log_prob(model, a[:, None].double())
    return (log_weights.double().log_softmax(-1) + each).logsumexp(-1)


def gaussian_hmm(case: Case) -> Run | None:
    """Pyro's parallel scan in information form; its transition before the first emission is the identity here."""
    if case.offsets or case.components:
        return None
    t = case.tensors
    state, steps = case.state, case.steps

    def run() -> Tensor:
        first = torch.eye(state).expand(*t["transition_matrix"].shape[:-3], 1, state, state)
        matrix = t["transition_matrix"]
        matrix = torch.cat([first, matrix.expand(*matrix.shape[:-3], steps - 1, state, state)], -3)
        # the first transition adds noise, so it is subtracted from the prior
        prior = t["initial_covariance"] - t["transition_covariance"][0]
        hmm = dist.GaussianHMM(
            dist.MultivariateNormal(t["initial_mean"], prior),
            matrix.mT,
            dist.MultivariateNormal(torch.zeros(state), t["transition_covariance"][0]).expand([steps]),
            t["emission_matrix"].mT,
            dist.MultivariateNormal(torch.zeros(case.obs), t["emission_covariance"][0]).expand([steps]),
            duration=steps,
        )
        log_prob = hmm.log_prob(t["a"])
        torch.autograd.grad(log_prob.sum(), case.leaves)
        return log_prob.detach()

    return run


def dynamax_filter(case: Case) -> Run | None:
    """The filter of dynamax, vmapped over sequences, differentiated and jitted."""
    try:
        import jax
        import jax.numpy as jnp
        from dynamax.linear_gaussian_ssm.inference import lgssm_filter, make_lgssm_params
    except ImportError:
        return None
    if case.offsets or case.components:
        return None
    order = ("initial_mean", "initial_covariance", "transition_matrix", "transition_covariance")
    order += ("emission_matrix", "emission_covariance")
    arrays = {name: jnp.asarray(case.tensors[name].detach().numpy()) for name in ("a", *order)}
    if case.per_step:  # dynamax enters step t with the matrix of step t and does not use the first
        matrix = arrays["transition_matrix"]
        arrays["transition_matrix"] = jnp.concatenate([matrix[:, :1], matrix], 1)
    wanted = tuple(name for name in ("a", *order) if case.tensors[name].requires_grad)

    def single(arrays: dict, a: "jnp.ndarray", matrix: "jnp.ndarray", emission: "jnp.ndarray") -> "jnp.ndarray":
        params = make_lgssm_params(
            arrays["initial_mean"],
            arrays["initial_covariance"],
            matrix,
            arrays["transition_covariance"][0],
            emission,
            arrays["emission_covariance"][0],
        )
        return lgssm_filter(params, a).marginal_loglik

    def total(chosen: dict, rest: dict) -> tuple:
        arrays = rest | chosen
        axis = 0 if case.per_step else None
        matrix, emission = arrays["transition_matrix"], arrays["emission_matrix"]
        if not case.per_step:
            matrix, emission = matrix[0], emission[0]
        each = jax.vmap(single, (None, 0, axis, axis))(arrays, arrays["a"], matrix, emission)
        return each.sum(), each

    function = jax.jit(jax.value_and_grad(total, has_aux=True))
    chosen = {name: arrays[name] for name in wanted}
    rest = {name: value for name, value in arrays.items() if name not in wanted}

    def run() -> Tensor:
        (_, each), grads = function(chosen, rest)
        jax.block_until_ready(grads)
        return torch.tensor(each.tolist())

    return run


CASES = [
    *(Case("shared parameters", b, t) for b, t in [(32, 20), (32, 100), (640, 20), (32, 1000)]),
    *(Case("A, C per sequence and step", b, t, per_step=True) for b, t in [(32, 20), (32, 100), (640, 20), (32, 1000)]),
    Case("30 % missing", 32, 100, missing=True),
    Case("30 % missing, A, C per sequence and step", 32, 100, per_step=True, missing=True),
    Case("offsets", 32, 100, offsets=True),
    Case("mixture of 2", 32, 100, components=2),
    Case("shared parameters", 32, 100, state=8, obs=4),
    Case("A, C per sequence and step", 32, 100, state=8, obs=4, per_step=True),
    Case("shared parameters", 32, 100, state=16, obs=8),
    Case("A, C per sequence and step", 32, 100, state=16, obs=8, per_step=True),
]


def measure(case: Case, rounds: int, seconds: float) -> str:
    """One row."""
    case.build()
    complete = Case(**{**case.__dict__, "missing": False, "tensors": dict(case.tensors)})
    complete.tensors.pop("observed", None)
    runs = {"ours": ours(case), "pyro": gaussian_hmm(complete), "dynamax": dynamax_filter(complete)}
    if case.offsets or case.components:  # peers solve the plain problem of the same size
        plain = Case(case.name, case.batch, case.steps, case.state, case.obs).build()
        runs |= {"pyro": gaussian_hmm(plain), "dynamax": dynamax_filter(plain)}
    runs = {name: run for name, run in runs.items() if run is not None}
    errors = {}
    for name, run in runs.items():
        result = run()
        if name == "ours" or not (case.missing or case.offsets or case.components):
            errors[name] = (result.double() - exact(case)).abs().max().item()
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    start = time.perf_counter()
    for done in range(rounds):
        if done >= 3 and time.perf_counter() - start > seconds:
            break
        for name, run in runs.items():
            run()  # warms caches and threads that the previous implementation left cold
            for _ in range(3):
                before = time.perf_counter()
                run()
                times[name].append(1e3 * (time.perf_counter() - before))
    cells = [case.name, f"{case.batch} x {case.steps}", f"{case.state}, {case.obs}"]
    best = {name: min(values) for name, values in times.items()}
    for name in ("ours", "pyro", "dynamax"):
        if name not in times:
            cells += ["-", "-"]
            continue
        median = sorted(times[name])[len(times[name]) // 2]
        error = f"{errors[name]:.0e}" if name in errors else "-"
        cells += [f"{best[name]:.3g} ({median:.3g})", error]
    ratio = min((value for name, value in best.items() if name != "ours"), default=float("nan")) / best["ours"]
    return "| " + " | ".join([*cells, f"{ratio:.0f}"]) + " |"


def provenance() -> str:
    """Command, commit, machine and versions."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    cpu = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as lines:
            cpu = next((line.split(": ")[1].strip() for line in lines if line.startswith("model name")), cpu)
    return (
        f"`python {' '.join(sys.argv)}`, commit {commit.stdout.strip() or 'unknown'}, {cpu}, {os.cpu_count()} cores, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, load {os.getloadavg()[0]:.1f} at the start"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=20.0, help="seconds after which a row ends early")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.distributions.Distribution.set_default_validate_args(False)
    dist.enable_validation(False)
    print(provenance(), "\n")
    print("Milliseconds: minimum (median) of a forward and backward pass; error: largest over sequences, nats.\n")
    print("| case | batch x time | state, obs | ours | error | GaussianHMM | error | dynamax | error | ratio |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for case in CASES:
        print(measure(case, arguments.rounds, arguments.seconds), flush=True)


if __name__ == "__main__":
    main()
