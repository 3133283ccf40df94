"""Docstrings as reStructuredText: what the house style writes plainly is escaped, before Sphinx reads it as markup.

Shapes such as (*plates, time) and densities such as q(z | x) have the characters of emphasis and substitutions;
equations in indented blocks are to keep their lines.
"""

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the tests of this file run without Sphinx
    from sphinx.application import Sphinx

NAME = re.compile(r"[A-Za-z_][\w.]*\Z")
CODE = re.compile(r"(``[^`]+``|:[\w:]+:`[^`]+`|`[^`]+`)")
SECTION = re.compile(r"(Args|Raises|Returns|Yields|Attributes|Example|Examples|Note|Notes):\Z")


def setup(app: "Sphinx") -> dict[str, Any]:
    """Run before napoleon, which takes the sections apart."""
    app.connect("autodoc-process-docstring", escape_docstring, priority=100)
    app.connect("autodoc-skip-member", skip_fields_of_tuples)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def skip_fields_of_tuples(app: "Sphinx", what: str, name: str, obj: object, skip: bool, options: object) -> bool | None:
    """Leave out "Alias for field number 0": the docstring of the tuple explains its fields."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def escape_docstring(app: "Sphinx", what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Escape the lines of a docstring in place."""
    lines[:] = escape(lines)


def escape(lines: list[str]) -> list[str]:
    """The lines with plain text escaped, and with indented equations as literal blocks."""
    result: list[str] = []
    block: int | None = None  # indentation of what a literal block or a directive is indented from
    section = 0  # indentation that text of the present section has
    for index, line in enumerate(lines):
        indentation = len(line) - len(line.lstrip())
        if block is not None and line.strip() and indentation <= block:
            block = None
        if line.lstrip().startswith(">>> "):
            block = indentation - 1  # a doctest lasts while lines are indented as its first
        if block is not None or not line.strip():
            result.append(line)
            continue
        if SECTION.match(line.strip()):
            result.append(line)
            section = indentation + 4
            continue
        if indentation == 0:
            section = 0
        after_blank = index > 0 and not lines[index - 1].strip()
        if after_blank and indentation >= section + 4 and not line.lstrip().startswith(("- ", ".. ")):
            result += [" " * section + "::", "", line]
            block = section
            continue
        if line.rstrip().endswith("::") or line.lstrip().startswith(".. "):
            block = indentation
        result.append(escape_line(line))
    return result


def escape_line(line: str) -> str:
    """One line of text: code that names nothing is literal, and the characters of markup stand for themselves."""
    if line.lstrip().startswith(".. "):
        return line
    parts = CODE.split(line)
    for place, part in enumerate(parts):
        if place % 2 == 0:
            parts[place] = re.sub(r"(\*|\||(?<=\w)_(?!\w))", r"\\\1", part)
        elif part[0] == "`" and part[1] != "`" and not NAME.match(part[1:-1]):
            parts[place] = f"`{part}`"
    return "".join(parts)
