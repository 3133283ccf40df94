"""A hermetic test run: cleared Pyro state, fixed seed, validation on, restored defaults.

Nothing of ours is imported at module level: the shape checker must be installed before the packages are.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pyro
import pytest
import torch

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # workers share the cores, so several threads in each would wait for one another


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """GPU tests are skipped, visibly, where there is no GPU."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(autouse=True)
def clean_state() -> Iterator[None]:
    """Every test starts from the same generators, with Pyro's validation on, and leaves no parameters behind."""
    seed = int(os.environ.get("KINEMA_TEST_SEED", "0"))
    pyro.clear_param_store()
    pyro.set_rng_seed(seed)
    default_dtype = torch.get_default_dtype()
    with pyro.validation_enabled(True):
        yield
    torch.set_default_dtype(default_dtype)
    pyro.clear_param_store()


@pytest.fixture(autouse=True)
def no_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test depends on a network."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise ConnectionError("tests do not download")

    monkeypatch.setattr("pooch.retrieve", refuse)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder with the real data sets, named by the environment variable KINEMA_DATA."""
    folder = os.environ.get("KINEMA_DATA")
    if not folder:
        pytest.skip("KINEMA_DATA names no folder with the real data")
    return Path(folder)
