"""Sections of RESULTS.md on the time of training steps."""

import json
from pathlib import Path

from records import origin, table

STEPS = {
    "pyro": "Pyro's SVI",
    "off": "ours, eager",
    "trace": "traced",
    "inductor": "compiled",
    "cudagraph": "recorded",
    "port": "PyTorch port",
}


def steps_section(path: Path) -> list[str]:
    """Milliseconds per training step."""
    if not path.is_file():
        return []
    record = json.loads(path.read_text())
    lines = table(
        ["variant of kvae-box", "ms per step"],
        [(name, f"{value:.1f}") for name, value in record["milliseconds"].items()],
    )
    parts = ", ".join(f"{name} {value:.1f} ms" for name, value in record["parts"].items())
    return [
        *lines,
        f"CPU time of one step of {record['profiled']} by the profiler: {parts}.",
        "",
        origin(record["provenance"]),
        "",
    ]


def particles_section(path: Path) -> list[str]:
    """Milliseconds per step with several particles."""
    if not path.is_file():
        return []
    record = json.loads(path.read_text())
    counts = list(dict.fromkeys(count for row in record["milliseconds"].values() for count in row))
    rows = []
    for name, row in record["milliseconds"].items():
        first = int(next(iter(row)))
        cells = [f"{row[count]:.1f}" if count in row else "" for count in counts]
        last = list(row)[-1]
        share = row[last] / (int(last) / first * row[str(first)])
        rows.append((name, *cells, f"{share:.0%} of {int(last) // first} times K = {first}"))
    header = ["milliseconds of a gradient step", *(f"K = {count}" for count in counts), f"K = {counts[-1]} costs"]
    return [*table(header, rows), origin(record["provenance"]), ""]


def compiled_section(path: Path) -> list[str]:
    """Steps of Pyro's SVI and of ours, compiled or not."""
    if not path.is_file():
        return []
    record = json.loads(path.read_text())
    rows = []
    for case, variants in record["cases"].items():
        for variant, found in variants.items():
            ratio = variants["pyro"]["median"] / found["median"]
            numbers = (f"{found['median']:.1f}", f"{found['minimum']:.1f}", f"{ratio:.1f}", f"{found['python']:.0%}")
            rows.append((case, STEPS[variant], *numbers, f"{found['first']:.1f}", f"{found['megabytes']:.0f}"))
    header = ["case", "", "ms per step", "minimum", "speed-up", "in Python", "first step, s", "MB"]
    return [*table(header, rows), origin(record["provenance"]), ""]


def sqair_section(path: Path) -> list[str]:
    """Steps of SQAIR compared with those of a public port."""
    if not path.is_file():
        return []
    record = json.loads(path.read_text())
    port = record["variants"].get("port")
    rows = []
    for variant, found in record["variants"].items():
        times = (f"{found[name]:.0f}" for name in ("median", "minimum", "cpu_median", "cpu_minimum"))
        ratio = "" if port is None else f"{port['cpu_minimum'] / found['cpu_minimum']:.2f}"
        rows.append((STEPS[variant], *times, ratio, f"{found['gigaflops']:.0f}"))
    header = [
        f"a step on {record['frames']} frames",
        *("ms", "minimum", "CPU ms", "minimum", "speed-up over the port", "GFLOP in matrix products"),
    ]
    return [*table(header, rows), origin(record["provenance"]), ""]
