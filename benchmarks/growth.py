"""How time and memory grow: with image size, modalities, batch, channels and group order.

    python benchmarks/growth.py [--records records] [--series NAME ...] [--quick]

measures every point of ``growth_points.SERIES`` in a process of its own: seconds (the first pass
builds caches and is counted; it is the result where it takes more than ten seconds, else the three
after it are), the peak of memory above what the process held before, operations and bytes
(``limits.py``), and, right after, what the machine does at its best. One line a point in
``RECORDS/growth/growth.jsonl``, none measured twice, so it goes on where it was stopped. A series
ends before the value that would take longer than ``--most-seconds`` or three quarters of the
free memory, by how the last two grew. Two cores are busy with all of it for about a quarter of an
hour. ``--quick`` tries small values: no result. ``paper_figures/fig9_growth.py`` and
``table4_growth.py`` draw it, and ``growth_page.py`` writes ``docs/growth.md``. Linux alone.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from growth_points import SERIES
from limits import counted, rates

from equicomir.evaluation import records

REPEATS, LONG_SECONDS = 3, 10.0
MEMORY_SHARE = 0.75  # of what is free


def measured(series: str, value: int, *, quick: bool = False) -> dict[str, Any]:
    """One point, in this process.

    Args:
        series: of :data:`SERIES`.
        value: at which.
        quick: whether the machine's rates are tried on little, too.

    Returns:
        ``seconds`` (one a pass), ``peak_bytes``, ``operations``, ``bytes``, and the ``rates`` of
        the machine.
    """
    act = SERIES[series].make(value)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before, begun = resident("VmRSS"), time.perf_counter()
    with counted() as counts:
        act()
    first = time.perf_counter() - begun
    peak = resident("VmHWM") - before
    seconds = [first] if first > LONG_SECONDS else [timed(act) for _ in range(REPEATS)]
    at_best = rates(64, 1) if quick else rates()
    return {
        "seconds": seconds,
        "peak_bytes": peak,
        "operations": counts.operations,
        "bytes": counts.bytes,
        "rates": at_best,
    }


def timed(act: Any) -> float:
    """Seconds of one pass."""
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def resident(line: str) -> int:
    """Bytes of memory of this process, now (VmRSS) or at most (VmHWM)."""
    (found,) = re.findall(rf"{line}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(found)


def free_bytes() -> int:
    """Memory that a new process may take."""
    (found,) = re.findall(r"MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text())
    return 1024 * int(found)


def next_of(values: list[int], amounts: list[float], value: int) -> float:
    """What an amount will be at the next value, as the last two grew; of one, with its square.

    Args:
        values: measured so far, one or more, growing.
        amounts: at these.
        value: the next.

    Returns:
        The amount along a power law.

    Example:
        >>> next_of([1, 2], [3.0, 12.0], 4)
        48.0
    """
    power = 2.0
    if len(values) > 1 and min(amounts[-2:]) > 0:
        grown = amounts[-1] / amounts[-2]
        power = float(np.log(grown) / np.log(values[-1] / values[-2]))
    return float(amounts[-1] * (value / values[-1]) ** power)


def measure_series(path: Path, series: str, *, most_seconds: float, quick: bool) -> None:
    """Append the points of one series that are not there, as far as time and memory go.

    Args:
        path: of the records.
        series: of :data:`SERIES`.
        most_seconds: of one pass.
        quick: the small values.
    """
    of = SERIES[series]
    known: list[int] = []
    found: list[dict[str, Any]] = []
    for value in of.quick if quick else of.values:
        if known:
            expected = next_of(known, [min(one["seconds"]) for one in found], value)
            memory = next_of(known, [float(one["peak_bytes"]) for one in found], value)
            if expected > most_seconds or memory > MEMORY_SHARE * free_bytes():
                print(
                    f"{series}: {of.of} {value} is left out: it would take about "
                    f"{expected:.0f} s and {memory / 2**30:.1f} GiB",
                    flush=True,
                )
                return
        settings = {"series": series, "of": of.of, "value": value, "quick": quick}
        settings["threads"] = torch.get_num_threads()
        point = of_point(path, settings)
        known.append(value)
        found.append(point)


def of_point(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """A point from the records, or measured in a process of its own and appended.

    Args:
        path: of the records.
        settings: that say which point it is.

    Returns:
        Its record, or what :func:`measured` gave.

    Raises:
        ValueError: it could not be measured; the process's last line says why.
    """
    key = records.run_key(settings)
    with records.claim(path, key) as mine:
        if not mine:
            return records.done(path)[key]
        command = [sys.executable, "-W", "ignore", __file__, "--point", json.dumps(settings)]
        ran = subprocess.run(command, capture_output=True, text=True)
        if ran.returncode:
            last = (ran.stderr.strip().splitlines() or [f"status {ran.returncode}"])[-1]
            last = last.removeprefix("growth: ")
            raise ValueError(f"{settings['series']} at {settings['value']}: {last}")
        point: dict[str, Any] = json.loads(ran.stdout)
        records.append(path, [], settings=settings, **point)
    seconds = float(np.median(point["seconds"]))
    mebibytes = point["peak_bytes"] / 2**20
    said = f"{settings['series']}, {settings['of']} {settings['value']}"
    print(f"{said}: {seconds:.3f} s, {mebibytes:.0f} MiB", flush=True)
    return point


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=Path, default=Path("records"))
    parser.add_argument("--series", nargs="+", choices=SERIES, default=list(SERIES))
    parser.add_argument("--most-seconds", type=float, default=180.0, help="of one pass")
    parser.add_argument("--quick", action="store_true", help="small values: no result")
    parser.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.point:
        of = chosen.point
        print(json.dumps(measured(of["series"], of["value"], quick=of["quick"])))
        return
    path = chosen.records / "growth" / "growth.jsonl"
    for series in chosen.series:
        measure_series(path, series, most_seconds=chosen.most_seconds, quick=chosen.quick)


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as mistake:  # one sentence that says what to do; no traceback
        sys.exit(f"growth: {mistake}")
