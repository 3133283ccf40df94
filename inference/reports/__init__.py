"""A page for each run: what was asked, how training went, scores, evidence, pictures, provenance."""
