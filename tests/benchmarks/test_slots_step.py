"""Steps of slots are timed in fresh processes, beside code of the form of the authors'; records become tables."""

import json

import pytest

from tests.benchmarks.programs import results, run

pytestmark = pytest.mark.slow
MODEL = """
import torch
import visdom

class Model(torch.nn.Module):
    def __init__(self, opt, refine_net, decoder, T, K, z_dim, feature_extractor):
        super().__init__()
        assert (opt.cond_prior, T, K, z_dim) == (True, 6, 5, 64)
        self.decoder = decoder
        self.feature_extractor = feature_extractor

    def forward(self, img, gt):
        assert img.shape[1:] == (4, 3, 64, 64)
        assert self.feature_extractor(img[:, 0]).shape == (len(img), 16, 64, 64)
        return sum(self.decoder(img[:, t]).square().mean() for t in range(4)), None
"""
NETWORKS = {
    "refine_net": """
class RefineNetLSTM:
    def __init__(self, z_dim, channels_in):
        assert channels_in == 32
""",
    "sbd": """
import torch

class SBD(torch.nn.Conv2d):
    def __init__(self, z_dim, img_dim, out_channels, cond):
        assert img_dim == (64, 64) and cond
        super().__init__(3, out_channels, 1)
""",
}


def test_cases_are_timed_beside_the_authors_code(tmp_path):
    source = tmp_path / "clone" / "src"
    (source / "networks").mkdir(parents=True)
    (source / "model.py").write_text(MODEL)
    for name, text in NETWORKS.items():
        (source / "networks" / f"{name}.py").write_text(text)
    record = tmp_path / "slots_step-test.json"
    words = ["--rounds", 1, "--repetitions", 1, "--batch", 1, "--small-batch", 2, "--output", record]
    cases = ["--cases", "small, eager", "small, implicit"]
    run("slots_step.py", *words, *cases, "--official", tmp_path / "clone")
    rows = json.loads(record.read_text())["rows"]
    assert [(row["frames"], row["decodes"]) for row in rows.values()] == [(4, 14), (4, 14), (4, 4)]
    assert sum(rows["small, eager"]["parts"].values()) > 0
    assert all(row["minimum"] <= row["median"] and row["megabytes"] > 100 for row in rows.values())
    text = results(tmp_path / "results", record)
    assert "## A step\n" in text
    assert "| the authors' code | 4 | 4 |" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--official", "/nowhere"],
            "--official: expected a clone of BorealisAI/PROVIDE, with src/model.py, got /nowhere",
        ),
        (["--batch", 0], "--batch: expected at least 1, got 0"),
        (["--cases", "large"], "invalid choice: 'large'"),
    ],
)
def test_wrong_options_are_named(words, message):
    assert message in run("slots_step.py", *words, status=2)
