"""These tests pin: runs started by version 0.1.0 resume with the same bits; streams of new runs are separate."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from inference import Stage
from inference.training.streams import TrainingStreams
from tests.inference.toy_training import VIDEOS, go
from videos import VideoBatch

OLD_RUN = Path(__file__).with_name("run_of_version_one")  # six steps; the file beside it has the metrics of twelve


def test_a_run_that_an_older_version_started_ends_as_it_would_have_there(tmp_path):
    shutil.copytree(OLD_RUN, tmp_path / "run")
    go(tmp_path / "run", stages=[Stage(12)], validation=VideoBatch(VIDEOS), progress=False)
    lines = OLD_RUN.with_name("run_of_version_one_metrics.jsonl").read_text().splitlines()
    metrics = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(metrics) == len(lines)
    assert any("validation_bound" in record for record in metrics[3:])
    for record, line in zip(metrics[3:], lines[3:], strict=True):
        assert record == pytest.approx(json.loads(line), rel=1e-10)  # another machine may round in another way


def first_draw(start):
    start()
    return torch.rand(()).item()


def test_streams_of_a_new_run_are_apart_and_those_of_an_old_one_are_not():
    for version, distinct in ((1, 3), (2, 4)):
        streams = TrainingStreams(5, version)
        draws = {first_draw(streams.start_training)}
        draws |= {first_draw(lambda rank=rank: streams.start_step(0, rank)) for rank in (0, 1)}  # noqa: B023
        with streams.validation(0):
            draws.add(torch.rand(()).item())
        assert len(draws) == distinct
