"""Growth as the records give it: points, fitted exponents, and what the machine could do at best.

An exponent is the slope of a straight line through the logarithms (least squares), with its 95 %
interval by Student's t: of three points it is wide, and of fewer there is none. Work that does not
grow, such as a coarse search, flattens the small end, so the slope between the last two points
stands beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats
from style import counted

from equicomir.evaluation import records
from equicomir.evaluation.records import Record

FILE = Path("growth") / "growth.jsonl"
#: Series of ``benchmarks/growth_points.py``, as a reader names them.
NAMES = {
    "encode": "encoding, at once",
    "encode_by_tiles": "encoding, by tiles",
    "search": "search",
    "information": "information",
    "distance": "distance",
    "features": "features",
    "step_modalities": "training step",
    "loss_modalities": "loss alone",
    "step_batch": "training step",
    "loss_batch": "loss alone",
    "step_channels": "channels, C8",
    "step_order": "order, two fields",
    "step_order_same_channels": "order, 16 channels",
}
#: Of what grows, with its unit.
GROWING = {
    "size": "height and width, px",
    "modalities": "modalities",
    "batch": "batch",
    "channels": "channels at full resolution",
    "order": "order of the group",
}
_RATES = ("product", "convolution")


@dataclass(frozen=True)
class Fit:
    """A power law through some points.

    Attributes:
        exponent: of the law.
        low: end of its 95 % interval.
        high: the other end.
        last: exponent between the last two points.
    """

    exponent: float
    low: float
    high: float
    last: float

    def __str__(self) -> str:
        """As a table shows it."""
        return f"{two_digits(self.exponent)} ({two_digits(self.low)} to {two_digits(self.high)})"


def two_digits(number: float) -> str:
    """With two digits after the point, and no minus before a zero."""
    return f"{round(number, 2) + 0.0:.2f}"


@dataclass(frozen=True)
class Curve:
    """One series.

    Attributes:
        series: its name in the records.
        of: what grows, of :data:`GROWING`.
        values: of it, growing.
        seconds: median of the passes, one a value.
        arithmetic: seconds that the counted operations take at the machine's best rate; 0 where
            nothing was counted.
        traffic: seconds that the counted bytes take at the rate of a copy; likewise.
        mebibytes: the peak of memory above what was held before.
        repeats: passes behind each median.
        machine: in words.
    """

    series: str
    of: str
    values: list[int]
    seconds: list[float]
    arithmetic: list[float]
    traffic: list[float]
    mebibytes: list[float]
    repeats: list[int]
    machine: str

    @property
    def time(self) -> Fit | None:
        """How its seconds grow."""
        return fit(self.values, self.seconds)

    @property
    def memory(self) -> Fit | None:
        """How its peak grows."""
        return fit(self.values, self.mebibytes)


def fit(values: Sequence[float], amounts: Sequence[float]) -> Fit | None:
    """The power law through some points, by least squares of logarithms.

    Args:
        values: positive, each different.
        amounts: at these; those that are not positive have no logarithm and are left out.

    Returns:
        The fit; None for fewer than three points.

    Example:
        >>> found = fit([1, 2, 4, 8], [5.0, 20.0, 80.0, 320.0])
        >>> round(found.exponent, 6), round(found.low, 6), round(found.last, 6)
        (2.0, 2.0, 2.0)
    """
    points = [(v, a) for v, a in zip(values, amounts, strict=True) if a > 0]
    if len(points) < 3:
        return None
    x, y = np.log(np.array(points, dtype=float)).T
    slope, intercept = np.polyfit(x, y, 1)
    left = y - slope * x - intercept
    error = np.sqrt(left @ left / (len(x) - 2)) / np.linalg.norm(x - x.mean())
    reach = stats.t.ppf(0.975, len(x) - 2) * error
    last = (y[-1] - y[-2]) / (x[-1] - x[-2])
    return Fit(*map(float, (slope, slope - reach, slope + reach, last)))


def command(of_records: Path) -> str:
    """What makes the records.

    Args:
        of_records: folder of all records.
    """
    return f"python benchmarks/growth.py --records {of_records}"


def curves(of_records: Path) -> dict[str, Curve]:
    """Every series that stands in the records, by name, in the order of :data:`NAMES`.

    Args:
        of_records: folder of all records.

    Returns:
        Curves of one number of threads; runs of ``--quick`` are no results.

    Raises:
        ValueError: there is none, or they were made with several numbers of threads.
    """
    lines = records.read(of_records / FILE)
    lines = [line for line in lines if not line["settings"]["quick"]]
    if not lines:
        raise ValueError(
            f"{of_records / FILE}: expected how time and memory grow, found none; run "
            f"{command(of_records)}."
        )
    threads = sorted({line["settings"]["threads"] for line in lines})
    if len(threads) > 1:
        raise ValueError(
            f"{of_records / FILE}: expected one number of threads, got {threads}; "
            "keep those of one."
        )
    found = {}
    for series in NAMES:
        of = [line for line in lines if line["settings"]["series"] == series]
        if of:
            found[series] = _curve(series, sorted(of, key=lambda line: line["settings"]["value"]))
    return found


def _curve(series: str, lines: Sequence[Record]) -> Curve:
    return Curve(
        series,
        lines[0]["settings"]["of"],
        [line["settings"]["value"] for line in lines],
        [float(np.median(line["seconds"])) for line in lines],
        [line["operations"] / max(line["rates"][r] for r in _RATES) for line in lines],
        [line["bytes"] / line["rates"]["copy"] for line in lines],
        [line["peak_bytes"] / 2**20 for line in lines],
        [len(line["seconds"]) for line in lines],
        in_words(lines),
    )


def in_words(lines: Sequence[Record]) -> str:
    """The machine of some records, and what it did at its best.

    Args:
        lines: of one series or all.

    Returns:
        Processor, cores and threads, with medians of its rates.
    """
    machine, threads = lines[0]["machine"], lines[0]["settings"]["threads"]
    at_best = {
        name: np.median([line["rates"][name] for line in lines]) for name in (*_RATES, "copy")
    }
    return (
        f"{machine['processor']}, {machine['cores']} cores, {counted(threads, 'thread')}: "
        f"{at_best['product'] / 1e9:.0f} GFLOP/s in a matrix product, "
        f"{at_best['convolution'] / 1e9:.0f} in a convolution, "
        f"{at_best['copy'] / 1e9:.1f} GB/s in a copy"
    )


def machine(of_records: Path) -> str:
    """The machine of all records in words.

    Args:
        of_records: folder of all records.
    """
    lines = records.read(of_records / FILE)
    return in_words([line for line in lines if not line["settings"]["quick"]])
