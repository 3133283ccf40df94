"""Compiled steps on disk: a second start of a training, or one after a change that no graph sees, compiles nothing."""

import hashlib
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, fx

# On a CPU a wrapper in C++ is one file to compile in place of one for each kernel, and calls them without Python. Apart
# from its kernels it is compiled with -O1: that halves the time to the first step and costs no step any time.
OPTIONS = {"fallback_random": True, "cpp_wrapper": True, "cpp_wrapper_build_separate": True}
FOLDER = "kinema_steps"
_PASSES = (*("graph", "passes", "nodes", "shared_parts", "products", "grouping", "batching", "inductor", "kept_steps"),)
_logger = logging.getLogger(__name__)


class KeptStep:
    """Where a step is kept: a file of TorchInductor's cache, named after all that the compiled step depends on.

    That is the traced graph (not the code of model and guide: what it computes), sizes, types and layout of its inputs,
    this package's own passes, the number of threads, settings of PyTorch and its compiler, their versions and the
    processor.

    Args:
        module: the graph as it was traced; all tensors are inputs.
        given: tensors like those that it is called with.
    """

    def __init__(self, module: fx.GraphModule, given: Sequence[Tensor]) -> None:
        from torch._inductor.runtime.cache_dir_utils import cache_dir

        self._given = list(given)
        self.path = Path(cache_dir()) / FOLDER / _key(module, self._given)

    def load(self) -> Callable[..., Any] | None:
        """The compiled step, if it is there and can be read."""
        from torch._inductor.standalone_compile import AOTCompiledArtifact

        if not _may_keep() or not self.path.is_file():
            return None
        try:
            return AOTCompiledArtifact.load(path=str(self.path))
        except Exception as error:  # a damaged file, whatever it looks like when it is read
            _logger.warning("a compiled step is compiled anew, as %s cannot be read: %r", self.path, error)
            return None

    def compile(self, module: fx.GraphModule) -> Callable[..., Any]:
        """Compile a graph and keep it.

        Args:
            module: does what the traced graph does, without results that are None; handed over.
        """
        from torch._inductor import standalone_compile
        from torch._subclasses import FakeTensorMode
        from torch.fx.experimental.symbolic_shapes import ShapeEnv

        step = standalone_compile(
            module,
            cast(list[Any], self._given),
            dynamic_shapes="from_example_inputs",
            fake_mode=FakeTensorMode(allow_non_fake_inputs=True, shape_env=ShapeEnv(assume_static_by_default=True)),
            options={"config_patches": OPTIONS},
            aot=True,
            donate_graph_module=True,
        )
        if _may_keep():
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                step.save(path=str(self.path))
            except OSError as error:  # no space left, or a folder of somebody else
                _logger.warning("the compiled step cannot be kept in %s: %s", self.path, error)
        return step


def _may_keep() -> bool:
    from torch._inductor import config

    return not config.force_disable_caches and config.fx_graph_cache


def _key(module: fx.GraphModule, given: Sequence[Tensor]) -> str:
    from torch._inductor import config
    from torch._inductor.codecache import torch_key

    first_of: dict[int, int] = {}
    forms = [
        (
            tuple(tensor.shape),
            tensor.stride(),
            tensor.storage_offset(),
            tensor.dtype,
            str(tensor.device),
            first_of.setdefault(tensor.untyped_storage().data_ptr(), place),  # inputs may share memory
        )
        for place, tensor in enumerate(given)
    ]
    settings = (
        torch.get_num_threads(),
        torch.get_float32_matmul_precision(),
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.mkldnn.enabled,
        torch.backends.cpu.get_cpu_capability(),
        sys.version,
        sorted(config.save_config_portable().items(), key=repr),
    )
    pieces = [module.code, repr(forms), repr(settings), repr(OPTIONS)]
    sources = [Path(__file__).with_name(f"{name}.py").read_bytes() for name in _PASSES]
    hashed = hashlib.sha256()
    for piece in (*(piece.encode() for piece in pieces), *sources, torch_key()):
        hashed.update(hashlib.sha256(piece).digest())
    return hashed.hexdigest()
