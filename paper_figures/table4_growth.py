"""Table 4: exponents of time and memory, and how far from what the machine could do at best.

    python paper_figures/table4_growth.py [--records records] [--out figures]

Reads ``RECORDS/growth/growth.jsonl``, written by ``benchmarks/growth.py``, and writes
``table4_growth.tex`` and ``.md``. Where records are missing it says the command that makes them.
"""

from collections.abc import Mapping

import script
import sources
from growth_curves import FILE, GROWING, NAMES, Curve, curves, machine, two_digits
from tables import Table, save

HEADINGS = (
    "what",
    "from, to",
    "exponent of time (95 %)",
    "of the last step",
    "seconds at the end",
    "arithmetic alone, s",
    "memory traffic alone, s",
    "exponent of memory (95 %)",
    "MiB at the end",
)


def row(curve: Curve) -> list[str]:
    """One series."""
    time, memory = curve.time, curve.memory
    limits = (curve.arithmetic[-1], curve.traffic[-1])
    return [
        NAMES[curve.series],
        f"{curve.values[0]} to {curve.values[-1]}",
        str(time or ""),
        two_digits(time.last) if time else "",
        of_seconds(curve.seconds[-1]),
        *(of_seconds(limit) if limit else "" for limit in limits),
        str(memory or ""),
        f"{curve.mebibytes[-1]:.0f}",
    ]


def of_seconds(number: float) -> str:
    """With two digits that say something, or all before the point.

    Example:
        >>> of_seconds(123.4), of_seconds(0.01234)
        ('123', '0.012')
    """
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"


def table(found: Mapping[str, Curve], on: str) -> Table:
    """Every series, by what grows.

    Args:
        found: the curves, by series.
        on: the machine in words.
    """
    rows: list[list[str]] = []
    for of, words in GROWING.items():
        curves_of = [curve for curve in found.values() if curve.of == of]
        rows += [[words]] if curves_of else []
        rows += [row(curve) for curve in curves_of]
    said = (
        "How time and memory grow: exponents of power laws through all points, with 95 % "
        "intervals, and between the last two. Beside the seconds at the greatest value, what its "
        "counted floating-point operations would take at the best rate that the machine reached "
        "in the same run, and what the bytes that they read and write would take at the rate of a "
        "copy; nothing was counted outside torch. Memory: the peak above what the process held "
        f"before. Measured on {on}."
    )
    return Table(HEADINGS, rows, said, words=2)


def main() -> None:
    """Read and write."""
    chosen = script.options(__doc__).parse_args()
    of = table(curves(chosen.records), machine(chosen.records))
    named = sources.named(chosen.records, [chosen.records / FILE])
    save(of, chosen.out / "table4_growth", named)
    print(f"Table: {chosen.out / 'table4_growth.tex'} and .md")


if __name__ == "__main__":
    script.run("table4_growth", main)
