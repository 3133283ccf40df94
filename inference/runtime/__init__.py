"""The runtime of a process: random streams, rank among several processes, memory, threads; settings of functions."""
