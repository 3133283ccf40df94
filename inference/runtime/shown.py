"""Records as they show themselves: a heading and a few named lines, as text and as HTML for notebooks."""

import html
import textwrap
from collections.abc import Sequence

from torch import Tensor

MOST_LINES = 12
LONGEST = 240  # characters of a line's words

Lines = Sequence[tuple[str, str]]


def shape_of(tensor: Tensor) -> str:
    """A tensor in words, without reading a value: shape, kind of number, and where it is unless on the CPU."""
    place = "" if tensor.device.type == "cpu" else f" on {tensor.device}"
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}{place}"


def shortened(lines: Lines) -> list[tuple[str, str]]:
    """The first lines, and how many there are beyond them."""
    rest = len(lines) - MOST_LINES
    return [*lines[:MOST_LINES], *([("...", f"{rest} more")] if rest > 0 else [])]


def as_text(heading: str, lines: Lines) -> str:
    """A heading, and below it a line for each name with its words."""
    wide = max((len(name) for name, _ in lines), default=0)
    return "\n".join([heading, *(f"  {name:{wide}}  {_short(words)}" for name, words in lines)])


def as_html(heading: str, lines: Lines) -> str:
    """The same as a table."""
    cells = (f"<tr><th>{html.escape(name)}</th><td>{html.escape(_short(words))}</td></tr>" for name, words in lines)
    return f"<p>{html.escape(heading)}</p><table>{''.join(cells)}</table>"


def _short(words: str) -> str:
    return textwrap.shorten(words, LONGEST, placeholder=" ...")
