"""Our step and a port's take turns and share a table; without a port ours is timed alone."""

import json

import pytest

from tests.benchmarks.programs import results, run

CONFIG = """
class Settings(dict):
    __getattr__, __setattr__ = dict.__getitem__, dict.__setitem__

cfg = Settings(device="cuda:3", train=Settings(model_lr=0.1))
"""
VIMCO = """
import torch
from lib.config import cfg

scale = torch.ones((), device=cfg.device)

class SQAIRVIMCO(torch.nn.Linear):
    def __init__(self, k, arch_update):
        assert k == 5
        super().__init__(2500, arch_update["T"])

    def forward(self, videos):
        assert videos.shape == (2, 32, 1, 50, 50)
        return super().forward(videos.flatten(2)).sum() * scale
"""


@pytest.mark.slow
def test_ours_and_a_port_take_turns(tmp_path, data_folder):
    (tmp_path / "port" / "lib").mkdir(parents=True)
    (tmp_path / "port" / "lib" / "config.py").write_text(CONFIG)
    (tmp_path / "port" / "lib" / "vimco.py").write_text(VIMCO)
    record = tmp_path / "sqair_step.json"
    options = ["--data", data_folder / "mnist", "--frames", 2, "--repetitions", 1, "--threads", 1, "--variants", "off"]
    run("sqair_step.py", *options, "--port", tmp_path / "port", "--output", record)
    found = json.loads(record.read_text())["variants"]
    assert list(found) == ["off", "port"]
    assert found["port"]["gigaflops"] == pytest.approx(2 * 2 * 64 * 2500 * 2 / 1e9)
    assert found["off"]["gigaflops"] > 5
    assert all(one["minimum"] <= one["median"] for one in found.values())
    assert "| PyTorch port |" in results(tmp_path / "results", record)
    assert "the port is left out: --port expects a clone" in run("sqair_step.py", *options, "--output", record)
