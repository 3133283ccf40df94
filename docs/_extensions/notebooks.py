"""Tutorials: the notebooks of `notebooks/`, copied to where Sphinx looks, each with a note on its outputs."""

from pathlib import Path
from typing import Any

import nbformat
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
WITHOUT = (
    "This page shows the notebook's code and text without outputs. "
    "Its numbers and pictures come from training: run `notebooks/{name}.ipynb`, or build the site with "
    "`KINEMA_EXECUTE=1` to see what each cell returns at reduced size."
)
REDUCED = (
    "The outputs on this page come from a run at reduced size (`KINEMA_SMOKE=1`: few videos, a handful of steps). They "
    "show the form of the results, not their values: the models are untrained, and what the text says about results "
    "does not hold for them. Run `notebooks/{name}.ipynb` for the real ones."
)


def setup(app: Sphinx) -> dict[str, Any]:
    """Copy before Sphinx looks for documents."""
    app.connect("builder-inited", copy_notebooks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def copy_notebooks(app: Sphinx) -> None:
    """Write each notebook, with the line after its title, unless it is there already."""
    executed = app.config.nb_execution_mode != "off"
    target = Path(app.srcdir) / "tutorials"
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, 4)
        note = (REDUCED if executed else WITHOUT).format(name=path.stem)
        title, _, rest = notebook.cells[0].source.partition("\n")
        notebook.cells[0].source = f":::{{note}}\n{note}\n:::\n".join((title + "\n\n", rest))
        text = nbformat.writes(notebook)
        copy = target / path.name
        if not copy.exists() or copy.read_text() != text:
            copy.write_text(text)
