"""No function takes a long list of arguments, which nobody can keep apart."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("videos", "pyro_models", "guides", "inference", "benchmarks")
MOST_ARGUMENTS = 8
KERNEL = Path("pyro_models", "distributions", "gaussian_kernel")
# Compiled by numba, which binds the arguments of kernels and intrinsics by name and accepts no star
COMPILED = {(KERNEL / "fused.py", "sweep"), (KERNEL / "memory.py", "plain"), (KERNEL / "memory.py", "sharing")}


def functions(source: str) -> list[tuple[str, int]]:
    """Name and number of arguments of every function; *args and **kwargs count as one each, self and cls do not."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = node.args
            each = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
            names = [argument.arg for argument in each if argument is not None]
            found.append((node.name, len(names) - (names[:1] in (["self"], ["cls"]))))
    return found


@pytest.fixture(scope="module")
def long():
    return {
        (path.relative_to(ROOT), name): number
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for name, number in functions(path.read_text())
        if number > MOST_ARGUMENTS and name != "__init__"
    }


def test_arguments_are_counted():
    assert functions("def f(a, /, b, *c, d=1, **e): ...") == [("f", 5)]
    assert functions("class A:\n def f(self, b): ...\n @classmethod\n async def g(cls): ...") == [("f", 1), ("g", 0)]


def test_no_function_outside_constructors_takes_more_than_eight_arguments(long):
    assert {place: number for place, number in long.items() if place not in COMPILED} == {}


def test_every_exception_is_needed(long):
    assert set(long) >= COMPILED
