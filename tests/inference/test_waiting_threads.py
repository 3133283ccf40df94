"""These tests pin: threads that wait sleep soon if the package is imported before torch and nobody chose otherwise."""

import os
import subprocess
import sys

import pytest

NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


@pytest.mark.parametrize(
    ("imports", "chosen", "expected"),
    [
        ("import inference", {}, "None 10000"),
        ("import inference.cli", {}, "None 10000"),
        ("import torch, inference", {}, "None None"),
        ("import inference", {"OMP_WAIT_POLICY": "active"}, "active None"),
        ("import inference", {"GOMP_SPINCOUNT": "1000"}, "None 1000"),
    ],
    ids=["package", "command line", "too late", "policy chosen", "spinning chosen"],
)
def test_threads_sleep_soon_unless_told_otherwise(imports, chosen, expected):
    environment = {name: value for name, value in os.environ.items() if name not in NAMES} | chosen
    program = f"{imports}; import os; print(os.environ.get('OMP_WAIT_POLICY'), os.environ.get('GOMP_SPINCOUNT'))"
    done = subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == expected
