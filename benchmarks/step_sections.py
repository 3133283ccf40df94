"""Sections of RESULTS.md on the time of training steps."""

import json
from pathlib import Path
from statistics import mean, stdev

from records import origin, table

STEPS = {
    "pyro": "Pyro's SVI",
    "off": "ours, eager",
    "trace": "traced",
    "inductor": "compiled",
    "bfloat16": "compiled, networks in bfloat16",
    "cudagraph": "recorded",
    "port": "PyTorch port",
    "numpyro": "NumPyro",
    "numpyro-unrolled": "NumPyro, unrolled",
    "product": "a large matrix product",
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
    """Steps of Pyro's SVI, of ours, compiled or not, and of NumPyro's ports.

    Records without ports, rounds, a matrix product or a busy neighbour have no words or column about them.
    """
    if not path.is_file():
        return []
    record = json.loads(path.read_text())
    beside = any("beside" in found for variants in record["cases"].values() for found in variants.values())
    counted = any("gigaflops" in found for variants in record["cases"].values() for found in variants.values())
    rows = []
    for case, variants in record["cases"].items():
        for variant, found in variants.items():
            ratio = f"{variants['pyro']['median'] / found['median']:.1f}" if "pyro" in variants else ""
            ratio = "" if variant == "product" else ratio
            python = f"{found['python']:.0%}" if "python" in found else ""
            numbers = [f"{found['median']:.1f}", f"{found['minimum']:.1f}", ratio, python]
            numbers += [f"{found['first']:.1f}", f"{found['megabytes']:.0f}" if "megabytes" in found else ""]
            if counted:
                numbers.append(_gigaflops_a_second(variants, variant))
            if beside:
                numbers.append(f"{found['beside'] / found['median']:.2f}" if "beside" in found else "")
            rows.append((case, STEPS[variant], *numbers))
    header = ["case", "", "ms per step", "minimum", "speed-up", "in Python", "first step, s", "MB"]
    header += ["GFLOP/s"] if counted else []
    header += ["times longer beside a busy process"] if beside else []
    return [*table(header, rows), *_circumstances(record), origin(record["provenance"]), ""]


def _gigaflops_a_second(variants: dict[str, dict[str, float]], variant: str) -> str:
    """Products and convolutions of the eager step over the time of a variant: the variant may compute fewer."""
    counts = [found["gigaflops"] for name, found in variants.items() if "gigaflops" in found and name != "product"]
    count = variants[variant].get("gigaflops", counts[0] if counts else None)
    return "" if count is None else f"{1000 * count / variants[variant]['median']:.0f}"


def _circumstances(record: dict) -> list[str]:
    """Threads, rounds and versions of a record that has rounds."""
    if "rounds" not in record:
        return []
    counts = ((record["threads"], "thread"), (record["rounds"], "round"))
    threads, rounds = (f"{number} {word}{'s' * (number > 1)}" for number, word in counts)
    peer = f" NumPyro's start from our parameters, on our batch: {record['peer']}." if "peer" in record else ""
    return [f"Steps with {threads}, all variants of a case in turn, {rounds}.{peer}", ""]


def growth_section(path: Path) -> list[str]:
    """What steps cost as something doubles."""
    if not path.is_file():
        return []
    record = json.loads(path.read_text())
    rows = []
    for row in record["rows"]:
        for variant in ("trace", "inductor"):
            steps = ", ".join(f"{value:.1f}" for value in row[f"{variant} median"])
            firsts = ", ".join(f"{value:.0f}" for value in row[f"{variant} first"])
            sizes = ", ".join(map(str, row["sizes"]))
            rows.append(
                (row["case"], row["what"], sizes, STEPS[variant], steps, f"{row[f'{variant} exponent']:.2f}", firsts)
            )
    header = ["case", "", "how many", "", "ms per step", "exponent", "first step, s"]
    return [
        "Milliseconds grow as a power of what doubles; one thread, the variants of a size in turn.",
        "",
        *table(header, rows),
        origin(record["provenance"]),
        "",
    ]


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


def compiled_training_section(path: Path) -> list[str]:
    """Bounds reached with eager and with compiled steps."""
    if not path.is_file():
        return []
    record = json.loads(path.read_text())
    rows = []
    for compile in dict.fromkeys(run["compile"] for run in record["runs"]):
        runs = [run for run in record["runs"] if run["compile"] == compile]
        bounds = [run["best_bound"] for run in runs]
        minutes = mean(run["seconds"] for run in runs) / 60
        spread = stdev(bounds) if len(bounds) > 1 else float("nan")
        each = ", ".join(f"{bound:.2f}" for bound in bounds)
        rows.append((compile, each, f"{mean(bounds):.2f} ± {spread:.2f}", f"{runs[0]['steps']}", f"{minutes:.1f}"))
    header = [f"{record['recipe']}, compile =", "validation bound by seed", "mean", "steps", "minutes"]
    return [*table(header, rows), origin(record["provenance"]), ""]


def marginal_section(path: Path) -> list[str]:
    """The output of `benchmarks/gaussian_marginal.py`."""
    return [path.read_text().strip(), ""] if path.is_file() else []
