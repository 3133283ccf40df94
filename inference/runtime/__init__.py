"""The runtime of a process: random streams, rank among several processes, memory; keyword settings of functions."""
