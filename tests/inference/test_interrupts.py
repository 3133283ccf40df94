"""SIGTERM and Ctrl-C: a checkpoint is written, the status is the usual one, and the run goes on with the same bits."""

import signal

import pytest
import torch

import inference.experiments.runs
from inference import IWAE, TrainingOptions, train
from inference.cli import main
from inference.training.interrupts import Interrupts, Terminated
from tests.inference.toy_training import Sabotage, go, toys, values

TINY = "--network mlp --num-train 16 --num-validation 4 --num-test 4 --batch-size 8 --epochs 3 --frozen-epochs 1"


def after(signal_number):
    return lambda batch: signal.raise_signal(signal_number)


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_a_first_signal_is_noted_and_a_second_one_interrupts(number, kind):
    before = signal.getsignal(number)
    with Interrupts() as interrupts:
        assert not interrupts.requested
        signal.raise_signal(number)
        assert interrupts.requested
        assert type(interrupts.error("stopped")) is kind
        with pytest.raises(kind):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_a_terminated_run_goes_on_with_the_same_bits(tmp_path):
    with pytest.raises(Terminated, match="stopped after step 5; the run can go on from there") as stop:
        go(tmp_path / "run", source=Sabotage(after(signal.SIGTERM), at=4))
    assert stop.value.code == 143
    assert (tmp_path / "run/checkpoints/step-00000005").is_dir()
    _, run, *modules = go(tmp_path / "run")
    _, whole, *others = go(tmp_path / "whole")
    torch.testing.assert_close(values(*modules), values(*others), rtol=0, atol=0)
    assert run.metrics_path.read_bytes() == whole.metrics_path.read_bytes()
    name = "checkpoints/step-00000012/weights.safetensors"
    assert (run.path / name).read_bytes() == (whole.path / name).read_bytes()


def test_without_a_folder_nothing_is_promised():
    with pytest.raises(Terminated, match="without a run folder the training cannot be resumed"):
        train(*toys(), Sabotage(after(signal.SIGTERM), at=2), 8, loss=IWAE(2), options=TrainingOptions(progress=False))


def test_the_command_line_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    path = tmp_path / "run"
    words = ["train", "kvae-demo", "--run", str(path), *TINY.split(), "--quiet", "--checkpoint-every", "2"]
    build = inference.experiments.runs.build_for_videos

    def terminated_later(recipe):
        model, guide = build(recipe)
        model.register_forward_pre_hook(lambda *args: signal.raise_signal(signal.SIGTERM) if model.training else None)
        return model, guide

    with monkeypatch.context() as patch:
        patch.setattr(inference.experiments.runs, "build_for_videos", terminated_later)
        assert main(words) == 143
    captured = capsys.readouterr()
    assert f"\nterminated; resume with: kinema {' '.join(words)}\n" in captured.err
    assert {folder.name for folder in (path / "checkpoints").glob("step-*")} == {"step-00000000", "step-00000001"}
    assert main(words) == 0
    assert {folder.name for folder in (path / "checkpoints").glob("step-*")} == {"step-00000004", "step-00000006"}
    assert main([*words[:-1], "0"]) == 2
    assert "--checkpoint-every: expected at least 1, got 0" in capsys.readouterr().err
