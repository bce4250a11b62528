"""Table 1: every method by level of displacement, with intervals.

    python paper_figures/table1_methods.py [--records records] [--out figures]

Reads what figure 3 reads: ``RECORDS/h0_orderings/records.jsonl`` and ``RECORDS/h0_SET/
records.jsonl``; and writes ``table1_methods.tex`` and ``.md``, with a caption of which every number
is counted in the records. Where no record stands it writes nothing and says the command that makes
one.
"""

import math
from collections.abc import Sequence

import numpy as np
import script
import sources
import tables
from methods import Method, methods
from runs import UNITS, seeds_in_words, units_of

from equicomir.evaluation.alignment import SUCCESS_FRACTION
from equicomir.evaluation.displacements import LEVELS
from equicomir.evaluation.records import successes
from equicomir.evaluation.statistics import Rate, rate


def success(method: Method, level: str) -> Rate | None:
    """Success at one level, with its interval; None where it was not tried there."""
    inside = np.array([pair["level"] == level for pair in method.runs[0]["pairs"]])
    if not inside.any():
        return None
    units = [unit for unit, one in zip(_units(method), inside, strict=True) if one]
    return rate(successes(method.runs)[:, inside], units)


def _units(method: Method) -> list[str]:
    return units_of(method.runs, method.data_set)


def cells(method: Method, levels: Sequence[str]) -> list[str]:
    """One line of the table."""
    each = [success(method, level) for level in levels]
    width, pairs = method.width, [pair for run in method.runs for pair in run["pairs"]]
    good = [
        pair["corner_error"]
        for pair in pairs
        if pair["corner_error"] is not None and pair["corner_error"] <= SUCCESS_FRACTION * width
    ]
    error = float(np.median(good)) if good else math.nan
    return [
        method.name,
        method.spent,
        f"{len(method.runs)}" if method.learned else "",
        f"{len(method.runs[0]['pairs'])}",
        *("" if one is None else in_words(one) for one in each),
        "" if math.isnan(error) else f"{error:.2f}",
        f"{np.median([pair['seconds'] for pair in pairs]):.2f}",
    ]


def in_words(one: Rate) -> str:
    """A rate in %, with its interval.

    Example:
        >>> in_words(Rate(0.5, 0.412, 0.588))
        '50 (41 to 59)'
    """
    return f"{100 * one.estimate:.0f} ({100 * one.low:.0f} to {100 * one.high:.0f})"


def table(every: Sequence[Method]) -> tables.Table:
    """All methods, under the set and width that they were tried on."""
    there = {pair["level"] for of in every for run in of.runs for pair in run["pairs"]}
    levels = [level for level in LEVELS if level in there]
    rows: list[list[str]] = []
    heading = ""
    for of in every:
        source = of.path.parent.name if of.path.parent.name == "h0_orderings" else "h0_baselines"
        now = f"{of.data_set.name}, {of.width} px, {source}"
        if now != heading:
            rows.append([heading := now])
        rows.append(cells(of, levels))
    headings = [
        *("method", "trained for", "seeds", "pairs"),
        *(f"level {level}, %" for level in levels),
        *("error, px", "s a pair"),
    ]
    return tables.Table(headings, rows, caption(every), words=2)


def caption(every: Sequence[Method]) -> str:
    """What stands with the table; its numbers are those of the records."""
    each = []
    for data_set in dict.fromkeys(of.data_set for of in every):
        of_set = [of for of in every if of.data_set == data_set]
        pairs = {pair["scene"] for of in of_set for pair in of.runs[0]["pairs"]}
        units = sorted({len(set(_units(of))) for of in of_set})
        some = "/".join(map(str, units))
        each.append(
            f"{data_set.name}: {len(pairs)} scene{'s' if len(pairs) > 1 else ''}, {some} "
            f"units ({UNITS[data_set.unit]})"
        )
    learned = [len(of.runs) for of in every if of.learned]
    seeds = f"{seeds_in_words(learned)} of what is learned; " if learned else ""
    return (
        f"Success within {100 * SUCCESS_FRACTION:g} % of the width, in %, by level of "
        "displacement, both directions together, with 95 % intervals by bootstrap over training "
        "seeds and units (over units alone where there is one seed or none; where all "
        "succeed or none, the exact binomial bound of as many trials as the units are worth); "
        "median corner error of the successes; median seconds. "
        f"{seeds}{'; '.join(each)}."
    )


def main() -> None:
    """Read, count, write."""
    chosen = script.options(__doc__).parse_args()
    every = methods(chosen.records)
    named = sources.named(chosen.records, sorted({of.path for of in every}))
    tables.save(table(every), chosen.out / "table1_methods", named)
    print(f"Table: {chosen.out / 'table1_methods.tex'} and .md")


if __name__ == "__main__":
    script.run("table1_methods", main)
