"""Freed memory is kept for the next tensor."""

import subprocess
import sys

import pytest

from inference.runtime.host_memory import keep_freed_memory

FAULTS_OF_FORTY_TENSORS = """
import resource
import sys
import torch
from inference.runtime.host_memory import keep_freed_memory

def fault():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if sys.argv[1] == "kept":
    keep_freed_memory()
torch.ones(20_000_000)
before = fault()
for _ in range(40):
    torch.ones(20_000_000)
print(fault() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc has mallopt")
def test_tensors_after_the_first_two_fault_no_pages():
    def faults(how):
        command = [sys.executable, "-c", FAULTS_OF_FORTY_TENSORS, how]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    if not keep_freed_memory():
        pytest.skip("this C library has no mallopt")
    # The second tensor may still fault, as small things lie where the first one was.
    assert faults("kept") * 20 < faults("mapped")
