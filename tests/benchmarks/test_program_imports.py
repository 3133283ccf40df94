"""What programs import from one another is there: most of them are run by slow tests, or by hand."""

import ast
from pathlib import Path

import pytest

PROGRAMS = {path.stem: ast.parse(path.read_text()) for path in (Path(__file__).parents[2] / "benchmarks").glob("*.py")}


def defined(tree: ast.Module) -> set[str]:
    """Names that a module has when it is imported."""
    found = set()
    for node in ast.walk(ast.Module([node for node in tree.body if not hasattr(node, "body")], [])):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        if isinstance(node, ast.alias):
            found.add(node.asname or node.name)
    return found | {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def test_names_of_a_module():
    source = "import a\nfrom b import c as d\ne = [f for f in a]\ng: int = 1\ndef h(i): j = 1\nclass K: l = 1"
    assert defined(ast.parse(source)) >= {"a", "d", "e", "g", "h", "K"}
    assert not defined(ast.parse(source)) & {"i", "j", "l", "c"}


@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_what_is_imported_is_there(program):
    for node in ast.walk(PROGRAMS[program]):
        if isinstance(node, ast.ImportFrom) and node.module in PROGRAMS:
            assert {alias.name for alias in node.names} <= defined(PROGRAMS[node.module]), node.module
