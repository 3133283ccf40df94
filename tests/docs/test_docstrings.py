"""Docstrings in the house style become valid reStructuredText, with nothing lost."""

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "docs" / "_extensions" / "docstrings.py"


@pytest.fixture(scope="module")
def escape():
    spec = importlib.util.spec_from_file_location("docstrings", PATH)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.escape


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("(*particles, sequences), q(z | x)", r"(\*particles, sequences), q(z \| x)"),
        ("b_k and the trailing sites_ of `model`", r"b_k and the trailing sites\_ of `model`"),
        ("`controls[:, t]` acts", "``controls[:, t]`` acts"),
        ("``*literal*`` and :math:`a*b`", "``*literal*`` and :math:`a*b`"),
    ],
)
def test_plain_text_is_escaped_and_code_is_not(escape, written, expected):
    assert escape([written]) == [expected]


def test_indented_equations_keep_their_lines(escape):
    lines = ["The bound:", "", "    L_k = a * b", "    M = c * d", "", "Args:", "    x: (*batch, time)"]
    assert escape(lines) == [
        "The bound:",
        "",
        "::",
        "",
        "    L_k = a * b",
        "    M = c * d",
        "",
        "Args:",
        r"    x: (\*batch, time)",
    ]


def test_examples_are_left_alone(escape):
    lines = ["Example:", "    >>> a = 2 * b", "    ... * 3", "    (*)", "", "Raises:", "    ValueError: if a * b"]
    assert escape(lines) == [*lines[:-1], r"    ValueError: if a \* b"]
