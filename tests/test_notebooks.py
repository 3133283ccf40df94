"""Every notebook runs at reduced size in this interpreter and is stored without outputs."""

import gc
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_notebooks_are_found():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped(path):
    cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    assert cells
    assert not [cell for cell in cells if cell.outputs or cell.execution_count]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # warnings of the kernel, which leaves sockets to the garbage collector
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, monkeypatch):
    monkeypatch.setenv("KINEMA_SMOKE", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    manager = AsyncKernelManager()
    # No registered kernel is needed: this one runs the current interpreter.
    manager._kernel_spec = KernelSpec(
        argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        display_name="this interpreter",
        language="python",
    )
    client = NotebookClient(
        nbformat.read(path, 4), km=manager, timeout=300, resources={"metadata": {"path": str(ROOT / "notebooks")}}
    )
    client.execute()
    del client, manager
    gc.collect()  # closes sockets here, while their warnings are still ignored
