"""What SECURITY.md claims of files from others, beside what test_checkpoints.py and test_damaged_runs.py show."""

import ast
import gzip
import pickle
import re
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from inference import RunFolder
from inference.cli import main
from inference.runs.json_files import read_json
from videos import VideoFormat, load_videos
from videos.digits import _from_mnist

ROOT = Path(__file__).parents[2]
PACKAGES = ("videos", "pyro_models", "guides", "inference")


class Malicious:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickles_in_arrays_are_not_loaded(tmp_path):
    trap = tmp_path / "trap"
    objects = np.empty((2, 2, 2, 2), object)
    objects[:] = Malicious(trap)
    for name, save in (("a.npz", np.savez), ("b.npy", np.save)):
        save(tmp_path / name, objects)
        with pytest.raises(ValueError, match=r"path: expected"):
            load_videos(tmp_path / name)
    (tmp_path / "c.npy").write_bytes(pickle.dumps(Malicious(trap)))
    with pytest.raises(ValueError, match=r"path: expected"):
        load_videos(tmp_path / "c.npy")
    assert not trap.exists()


def test_no_pickle_and_no_evaluated_words_are_in_the_code():
    """`torch.load` has weights_only, `numpy.load` has allow_pickle=False, and nobody calls pickle, eval or exec."""
    loads = 0
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            source = path.read_text()
            for node in ast.walk(ast.parse(source if re.search(r"load|eval\(|exec\(", source) else "")):
                if isinstance(node, ast.Call):
                    called = ast.unparse(node.func)
                    given = {word.arg: ast.unparse(word.value) for word in node.keywords}
                    assert called not in ("eval", "exec", "pickle.load", "pickle.loads", "joblib.load"), path
                    if called == "torch.load":
                        assert given["weights_only"] == "True", path
                        loads += 1
                    if called in ("np.load", "numpy.load"):
                        assert given["allow_pickle"] == "False", path
                        loads += 1
    assert loads >= 2


@pytest.mark.parametrize(("declared", "limit"), [(3 * 10**9, 4.0), (200_000_000, 0.1)])
def test_an_archive_that_would_expand_is_refused_before_it_is_read(tmp_path, declared, limit):
    """Three megabytes that declare three gigabytes, more than 500 times as much; and more than the caller allows."""
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("frames.npy", "w") as stream:
            np.lib.format.write_array(stream, np.zeros((300, 10, 1, 32, 32), np.uint8))
        archive.filelist[0].file_size = declared
    assert path.stat().st_size < 3_200_000
    tracemalloc.start()
    gigabytes = f"{declared / 10**9:.1f} GB"
    with pytest.raises(ValueError, match=rf"got .*bomb.npz, whose \d+ bytes expand to {gigabytes}; if you trust it"):
        load_videos(path, VideoFormat(max_gigabytes=limit))
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_an_honest_archive_is_read(tmp_path):
    """Blank frames are packed as tightly, but take little."""
    np.savez_compressed(tmp_path / "blank.npz", frames=np.zeros((50, 10, 1, 32, 32), np.uint8))
    assert load_videos(tmp_path / "blank.npz").num_sequences == 50


@pytest.mark.parametrize("content", ["flipped", "cut off", "no gzip", "bomb", "other digits"])
def test_mnist_is_known_by_its_checksum_before_it_is_looked_at(tmp_path, content, monkeypatch):
    rng = np.random.default_rng(0)
    packed = gzip.compress(rng.integers(0, 255, 40_000, np.uint8).tobytes())
    damaged = packed[:2000] + bytes(300) + packed[2300:]
    contents = {
        "flipped": damaged,
        "cut off": packed[:-5000],
        "no gzip": b"abc",
        "bomb": gzip.compress(bytes(60_000_000)),
        "other digits": packed,
    }
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(contents[content])
    monkeypatch.setattr("numpy.frombuffer", lambda *args, **kwargs: pytest.fail("looked at"))
    with pytest.raises(ValueError, match=r"folder: expected MNIST's t10k-images-idx3-ubyte, got .*copy it again"):
        _from_mnist("test", tmp_path)


def test_configurations_name_recipes_and_not_modules(tmp_path, capsys):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    for recipe in ("os.system", "../../recipe", "__import__('os')"):
        (run / "config.json").write_text(f'{{"recipe": "{recipe}", "fields": {{}}}}')
        assert main(["evaluate", str(run)]) == 2
        assert "recipe: expected one of" in capsys.readouterr().err


def test_deep_json_is_refused(tmp_path):
    for content in ("[" * 51 + "]" * 51, "[" * 10**6):
        (tmp_path / "deep.json").write_text(content)
        with pytest.raises(ValueError, match=r"deep.json: expected a JSON record, got lists or objects more than 50"):
            read_json(tmp_path / "deep.json")
    (tmp_path / "deep.json").write_text("[" * 50 + "]" * 50)
    assert read_json(tmp_path / "deep.json")


def test_names_in_a_state_lead_nowhere(tmp_path):
    run = RunFolder.start(tmp_path / "run", {})
    outside = tmp_path / "outside"
    outside.write_text("precious")
    run.write_checkpoint(1, {"../../x": torch.ones(1)}, {"step": 1, "../../outside": 0}, keep_last=1)
    checkpoint = run.last_checkpoint()
    run.cut_back({**checkpoint.state["sizes"], "../outside": 0, str(outside): 0})
    assert outside.read_text() == "precious"
    assert {path.name for path in tmp_path.iterdir()} == {"run", "outside"}
