"""Importing this module before torch lets the threads of tensor operations sleep soon while they wait for one another.

GNU OpenMP, which torch brings along on Linux, lets a thread spin for milliseconds before it sleeps. Where other
programs run, a thread that spins keeps the core from the one that it waits for: beside two busy processes on two cores,
the median of a traced step of AIR was 200 to 288 ms in three turns, and 117 to 150 ms with a spin of some 0.1 ms; on a
quiet machine 50 to 51 and 51 to 54. Threads that never spin made a compiled step of a deep Markov model there 2.5 times
slower. OpenMP reads its settings once, when torch is imported; settings that are there already stay.
"""

import os
import sys

SPINS = "10000"

if "torch" not in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
