"""Every code block of the site's pages runs: Python as it stands but with fewer steps, commands with smaller runs."""

import itertools
import re
import shlex
import shutil
from pathlib import Path

import pytest

from inference.cli import main

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "how_to").glob("[!i]*.md")) + [ROOT / "docs" / "write_a_model.md"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FEWER_STEPS = re.compile(r"^num_steps = \d+$", re.MULTILINE)
FEWER_VIDEOS = re.compile(r"\.simulate\(\d{3,},")
FEWER_PARTICLES = re.compile(r"Budget\(particles=\d+\)")
HELD_OUT = ("--num-validation", "--num-test")
SMALLER = ["--channels", "2", "--batch-size", "4", "--num-validation", "2", "--num-test", "2", "--num-train", "8"]


def test_pages_are_found_and_have_code():
    assert len(PAGES) == 10
    assert [page.name for page in PAGES if "```python" not in page.read_text()] == []


def test_every_how_to_page_is_listed():
    listed = re.findall(r"^\w+$", (ROOT / "docs" / "how_to" / "index.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(page.stem for page in PAGES if page.parent.name == "how_to")


def run_command(line):
    """A command of ours, in this process and with smaller sizes; torchrun's own words are run by test_processes."""
    words = shlex.split(line, comments=True)
    if words[0] == "cp":
        assert words[1] == "-r"
        shutil.copytree(*words[2:])
        return
    if words[0] == "torchrun":
        assert words[1:6] == ["--nproc-per-node", "2", "-m", "--", "kinema"]
        words = ["kinema", *words[6:]]
    assert words[:2] == ["kinema", "train"], line
    more = zip(SMALLER[::2], SMALLER[1::2], strict=True)
    if "--videos" in words:  # they are held out by time, not by number
        more = [pair for pair in more if pair[0] not in HELD_OUT]
    assert main([*words[1:], *itertools.chain(*more), "--quiet"]) == 0


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.filterwarnings("ignore:.*k-hat:UserWarning")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for language, block in BLOCK.findall(page.read_text()):
        if language == "python":
            for pattern, smaller in (
                (FEWER_STEPS, "num_steps = 4"),
                (FEWER_VIDEOS, ".simulate(8,"),
                (FEWER_PARTICLES, "Budget(particles=32)"),
            ):
                block = pattern.sub(smaller, block)
            exec(compile(block, page.name, "exec"), names)
        elif language == "bash":
            for line in block.splitlines():
                run_command(line)
        else:
            assert language == "text", f"{page.name}: no test for blocks of {language}"
