"""Steps are measured in turn, each in a process that waits; records of all kinds become a section."""

import json
import os
import subprocess
import sys

import pytest

from tests.benchmarks.programs import PROGRAMS, run

sys.path.insert(0, str(PROGRAMS))
from measured_process import MeasuredProcess, busy_neighbour, keep_to_cores, thread_environment
from step_sections import compiled_section, growth_section

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
COUNTED = OLD | {
    "cases": {"DMM": {"pyro": FOUND | {"gigaflops": 0.4}, "trace": FOUND, "product": FOUND | {"gigaflops": 0.8}}},
}


def test_a_process_takes_steps_when_told():
    process = MeasuredProcess([sys.executable, "-c", SERVER], {"PYTHONPATH": str(PROGRAMS)})
    assert process.first >= 0.01
    assert len(process.milliseconds(3)) == 3
    assert min(process.milliseconds(2)) >= 10
    assert set(process.end()) == {"python", "megabytes"}


def test_memory_is_that_of_the_process_alone():
    held = bytearray(400 << 20)
    held[:: 1 << 12] = b"x" * len(held[:: 1 << 12])  # resident
    process = MeasuredProcess([sys.executable, "-c", SERVER], {"PYTHONPATH": str(PROGRAMS)})
    assert process.end()["megabytes"] < 200


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
        (COUNTED, ("| Pyro's SVI | 8.0 | 7.0 | 1.0 |  | 1.0 | 100 | 50 |", "100 | 50 |\n| DMM | a large"), ()),
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
    found = record["cases"]["DMM, Trace_ELBO"]
    assert set(found) == {"pyro", "off", "product"}
    assert all(len(each["rounds"]) == 2 for each in found.values())
    assert printed.count("beside another process") == 3
    assert found["off"]["gigaflops"] == pytest.approx(found["pyro"]["gigaflops"])
    assert found["product"]["gigaflops"] == pytest.approx(2 * 1.024**3)


def test_growth_becomes_a_section(tmp_path):
    row = {"case": "DMM", "what": "frames", "sizes": [15, 30, 60]}
    for variant in ("trace", "inductor"):
        row |= {f"{variant} median": [1, 2, 4], f"{variant} first": [3, 6, 12], f"{variant} exponent": 1.0}
    (tmp_path / "growth.json").write_text(json.dumps({"provenance": ORIGIN, "rows": [row]}))
    section = "\n".join(growth_section(tmp_path / "growth.json"))
    assert "| DMM | frames | 15, 30, 60 | compiled | 1.0, 2.0, 4.0 | 1.00 | 3, 6, 12 |" in section
    assert growth_section(tmp_path / "none.json") == []


@pytest.mark.slow
def test_steps_of_several_sizes_are_measured(tmp_path):
    output = tmp_path / "growth.json"
    run("svi_growth.py", "--only", "DMM, Trace_ELBO", "--repetitions", 2, "--rounds", 1, "--output", output)
    frames, sequences = json.loads(output.read_text())["rows"]
    assert frames["sizes"] == [15, 30, 60]
    assert sequences["sizes"] == [32, 64, 128]
    assert frames["inductor median"][-1] > frames["inductor median"][0]
    assert frames["trace first"][-1] > frames["trace first"][0]
