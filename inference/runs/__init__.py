"""What lies on disk: folders of runs, checkpoints, provenance."""
