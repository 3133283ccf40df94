"""Amortized guides q(latents | frames), one way of inferring per file, and tools to write one."""
