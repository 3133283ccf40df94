"""These tests pin: a compiled step is kept and found again by another process, with the same numbers; what a compiled
step depends on tells one from another; a file that cannot be read is compiled anew."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch._inductor import config

from inference.svi import kept_steps
from inference.svi.graph import trace_step
from inference.svi.kept_steps import KeptStep

X = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
PROGRAM = """
import logging
import pyro, pyro.distributions as dist, torch
from pyro.infer import Trace_ELBO
from torch import nn
from inference import SVI

logging.basicConfig(level=logging.INFO)
COMMENT = "WORDS"

class Model(pyro.nn.PyroModule):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(3))

    def forward(self, x):
        grid = torch.linspace(0, 1, 3) * 2  # a constant
        scale = torch.tensor(0.5)
        scale += 0.25  # a literal that is written to
        with pyro.plate("sequences", len(x)):
            z = pyro.sample("z", dist.Normal(grid, 1).to_event(1))
            pyro.sample("x", dist.Normal(z @ self.weight, scale).to_event(1), obs=x)

class Guide(pyro.nn.PyroModule):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(3))
        self.unused = nn.Parameter(torch.zeros(2))

    def forward(self, x):
        with pyro.plate("sequences", len(x)):
            pyro.sample("z", dist.Normal(x @ self.weight, 1).to_event(1))

pyro.set_rng_seed(0)
model, guide = Model(), Guide()
parameters = [*model.parameters(), *guide.parameters()]
svi = SVI(model, guide, torch.optim.Adam(parameters, 1e-2), Trace_ELBO(), compile="MODE")
print(*(float(svi.step(torch.ones(4, 3))) for _ in range(3)), guide.unused.grad)
"""


def traced(function=lambda x, weight: (x @ weight).square().sum(), weight=None, x=X):
    """A step, and what it is called with."""
    weight = nn.Parameter(torch.eye(3)) if weight is None else weight

    def step(x):
        loss = function(x, weight)
        loss.backward()
        return loss.detach()

    graph = trace_step(step, [weight], [x])
    return graph.module, [*graph.captured, x]


def run(tmp_path, mode, words):
    program = PROGRAM.replace("MODE", mode).replace("WORDS", words)
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    return subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.ci
def test_another_process_finds_it_though_the_program_changed(tmp_path):
    first, second = run(tmp_path, "inductor", "one"), run(tmp_path, "inductor", "another")
    assert "compiled before" not in first.stderr
    assert "compiled before" in second.stderr
    assert second.stdout == first.stdout
    eager = run(tmp_path, "off", "eager").stdout.split()
    assert eager[-1] == second.stdout.split()[-1] == "None"
    expected, found = ([float(word) for word in words[:3]] for words in (eager, second.stdout.split()))
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_graph_holds_no_tensor_of_its_own():
    """A step read from disk gets its tensors from the caller alone."""

    def function(x, weight):
        scale = torch.tensor(0.5)
        scale += 0.25
        return (x * torch.linspace(0, 1, 3) @ weight * scale).sum()

    module, given = traced(function)
    assert not [*module.parameters(), *module.buffers()]
    assert not [node for node in module.graph.nodes if node.op == "get_attr"]
    assert len(given) == sum(node.op == "placeholder" for node in module.graph.nodes) == 2 + 2


def test_values_of_parameters_and_data_do_not_matter():
    path = KeptStep(*traced()).path
    assert KeptStep(*traced(weight=nn.Parameter(torch.ones(3, 3)), x=X + 1)).path == path


@pytest.mark.parametrize(
    "other",
    [
        lambda: traced(lambda x, weight: (x @ weight).abs().sum()),
        lambda: traced(lambda x, weight: (2 * x @ weight).square().sum()),
        lambda: traced(x=X[:3]),
        lambda: traced(x=X.double(), weight=nn.Parameter(torch.eye(3).double())),
        lambda: traced(x=X.t().contiguous().t()),
    ],
    ids=["other operation", "other number", "other size", "other type", "other layout"],
)
def test_what_is_computed_does(other):
    assert KeptStep(*other()).path != KeptStep(*traced()).path


def test_inputs_in_one_piece_of_memory_are_another_step():
    module, (weight, x) = traced(x=torch.ones(3, 3))
    memory = torch.zeros(4, 3, 3)
    paths = [KeptStep(module, given).path for given in ([weight, x], [memory[0], memory[1]], [memory[0], memory[2]])]
    overlapping = memory.ravel()[:18].as_strided((2, 3, 3), (3, 3, 1))
    paths.append(KeptStep(module, [overlapping[0], overlapping[1]]).path)
    assert len(set(paths)) == len(paths)


@pytest.mark.parametrize(
    "change",
    [
        lambda monkeypatch: monkeypatch.setattr(torch, "get_num_threads", lambda: 77),
        lambda monkeypatch: monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium"),
        lambda monkeypatch: monkeypatch.setattr(kept_steps, "_PASSES", ("graph",)),
    ],
    ids=["threads", "precision", "our passes"],
)
def test_so_do_settings(change, monkeypatch):
    step = traced()
    path = KeptStep(*step).path
    change(monkeypatch)
    assert KeptStep(*step).path != path


def test_so_do_settings_of_the_compiler():
    step = traced()
    path = KeptStep(*step).path
    with config.patch(max_fusion_size=3):  # pytest's monkeypatch would not restore it
        assert KeptStep(*step).path != path
    assert KeptStep(*step).path == path


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x80\x04."], ids=["empty", "garbage", "a pickle"])
def test_a_damaged_file_is_compiled_anew_and_says_so(content, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    kept = KeptStep(*traced())
    assert kept.path.is_relative_to(tmp_path)
    assert kept.load() is None
    assert not caplog.records
    kept.path.parent.mkdir()
    kept.path.write_bytes(content)
    assert kept.load() is None
    assert f"compiled anew, as {kept.path} cannot be read" in caplog.text


def test_without_caches_nothing_is_read(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    with config.patch(fx_graph_cache=False):
        kept = KeptStep(*traced())
        kept.path.parent.mkdir()
        kept.path.write_bytes(b"garbage")
        assert kept.load() is None
    assert not caplog.records
