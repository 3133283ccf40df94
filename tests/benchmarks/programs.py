"""Programs of `benchmarks/`, run as their users run them, and options that make slots small."""

import subprocess
import sys
from pathlib import Path

PROGRAMS = Path(__file__).parents[2] / "benchmarks"
SLOTS = {
    "channels": 4,
    "units": 6,
    "latent_dim": 3,
    "decoder_layers": 2,
    "halvings": 1,
    "reading_layers": 2,
    "refinements": 2,
    "starts": 1,
    "scale_epochs": [0, 1],
    "entropy_epochs": [0, 1],
}


def run(program, *words, status=0):
    """What a program prints, or its complaint if it is to end with another status."""
    command = [str(word) for word in (sys.executable, PROGRAMS / program, *words)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def results(records, *added):
    """RESULTS.md and the files beside the records, as one text."""
    document = records.parent / "RESULTS.md"
    run("results.py", *added, "--records", records, "--output", document)
    return "\n".join(page.read_text() for page in [document, *sorted(records.glob("*.md"))])
