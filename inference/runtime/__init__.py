"""What a process has: random streams, its place among several processes, its memory."""
