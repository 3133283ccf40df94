"""Training curves as inline SVG that takes its colours and its type from the page."""

import io
import re
from collections.abc import Sequence

import matplotlib

from inference.pictures.theme import GRID, QUIET, new_figure
from inference.pictures.training_curves import Panel, draw_panel

NUM_COLOURS = 8  # custom properties --run-0 ... of the page
_INK = "#000000"
_SENTINELS = tuple(f"#5e15{index:02x}" for index in range(NUM_COLOURS))  # stand-ins for the page's colours


def chart(panel: Panel, names: Sequence[str]) -> str:
    """One panel as an SVG element, sized for a column of 400 pixels.

    Args:
        panel: from `training_panels`.
        names: all runs of the page, which fixes their colours.
    """
    figure = new_figure(3.7, 2.45)
    colours = {name: _SENTINELS[index % NUM_COLOURS] for index, name in enumerate(names)}
    draw_panel(figure.subplots(), panel, colours)
    figure.axes[0].set_title("", loc="left")  # the page has it as a heading
    figure.patch.set_visible(False)
    figure.axes[0].patch.set_visible(False)
    file = io.StringIO()
    # Text stays text: it follows the page's colours, can be searched, and is read out
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": panel.title}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return _themed(file.getvalue(), panel.title)


def _themed(text: str, title: str) -> str:
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\s(width|height)="[\d.]+pt"', "", text, count=2)
    text = text.replace("<svg", f'<svg role="img" aria-label="{title} by step"', 1)
    for index, sentinel in enumerate(_SENTINELS):
        text = text.replace(sentinel, f"var(--run-{index})")
    for colour, role in ((GRID, "rule"), (QUIET, "quiet"), (_INK, "ink")):
        text = re.sub(re.escape(colour), f"var(--{role})", text, flags=re.IGNORECASE)
    return re.sub(r"<text ", '<text fill="currentColor" ', text)
