"""Generative models p(frames, latents), one per file, as PyroModules that run under plain `pyro.infer.SVI`."""
