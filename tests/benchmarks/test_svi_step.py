"""Steps are measured in turn, each in a process that waits; records of all kinds become a section."""

import json
import os
import subprocess
import sys

import pytest

from tests.benchmarks.programs import PROGRAMS, run

sys.path.insert(0, str(PROGRAMS))
from measured_process import MeasuredProcess, busy_neighbour, keep_to_cores, thread_environment
from step_sections import compiled_section

SERVER = "import time; from measured_process import serve; serve(lambda: time.sleep(0.01), lambda: {'python': 0.5})"
FOUND = {"median": 8.0, "minimum": 7.0, "first": 1.0, "megabytes": 100.0}
MACHINE = {"cpu": "C", "threads": 1, "gpu": []}
ORIGIN = {"command": ["svi_step.py"], "git": {"commit": "0" * 40, "dirty": False}, "machine": MACHINE}
OLD = {"provenance": ORIGIN, "threads": 2, "cases": {"DMM": {"pyro": FOUND | {"python": 0.5}}}}
NEW = OLD | {
    "threads": 1,
    "rounds": 3,
    "peer": "numpyro 1",
    "cases": {"DMM": {"off": FOUND | {"python": 0.5, "beside": 16.0}, "numpyro": FOUND | {"beside": 12.0}}},
}


def test_a_process_takes_steps_when_told():
    process = MeasuredProcess([sys.executable, "-c", SERVER], {"PYTHONPATH": str(PROGRAMS)})
    assert process.first >= 0.01
    assert len(process.milliseconds(3)) == 3
    assert min(process.milliseconds(2)) >= 10
    assert set(process.end()) == {"python", "megabytes"}


def test_a_process_that_fails_is_reported():
    with pytest.raises(RuntimeError, match="status 3"):
        MeasuredProcess([sys.executable, "-c", "raise SystemExit(3)"], {})


def test_threads_are_those_of_all_libraries():
    assert thread_environment(None) == {}
    assert thread_environment(1)["OMP_NUM_THREADS"] == "1"
    assert "multi_thread_eigen=false" in thread_environment(1)["XLA_FLAGS"]
    assert "multi_thread_eigen=true" in thread_environment(2)["XLA_FLAGS"]
    with pytest.raises(ValueError, match="--threads: expected 1 to"):
        keep_to_cores(10_000)


def test_a_neighbour_is_busy_until_the_end():
    def children():
        return subprocess.run(["pgrep", "-P", str(os.getpid()), "-f", "numpy.ones"], capture_output=True).stdout

    with busy_neighbour():
        assert children()
    assert not children()


@pytest.mark.parametrize(
    ("record", "words", "absent"),
    [
        (OLD, ("| Pyro's SVI | 8.0 | 7.0 | 1.0 | 50% | 1.0 | 100 |",), ("busy", "round")),
        (NEW, ("| NumPyro | 8.0 | 7.0 |  |  | 1.0 | 100 | 1.50 |", "1 thread,", "3 rounds", "numpyro 1"), ()),
    ],
)
def test_records_of_all_kinds_become_a_section(record, words, absent, tmp_path):
    (tmp_path / "svi_step.json").write_text(json.dumps(record))
    section = "\n".join(compiled_section(tmp_path / "svi_step.json"))
    assert all(word in section for word in words), section
    assert not any(word in section for word in absent)


@pytest.mark.slow
def test_variants_of_a_case_are_measured(tmp_path):
    words = ["--cases", "DMM, Trace_ELBO", "--variants", "pyro", "off", "--repetitions", 2, "--rounds", 2, "--beside"]
    printed = run("svi_step.py", *words, "--threads", 1, "--output", tmp_path / "steps.json")
    record = json.loads((tmp_path / "steps.json").read_text())
    assert record["threads"] == 1
    assert set(record["cases"]["DMM, Trace_ELBO"]) == {"pyro", "off"}
    assert all(len(found["rounds"]) == 2 for found in record["cases"]["DMM, Trace_ELBO"].values())
    assert printed.count("beside another process") == 2
