"""The tables of the peers, from their records alone."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from peer_list import OURS, PEERS, Peer
from peer_sets import names

from equicomir.evaluation import records
from equicomir.evaluation.alignment import SUCCESS_FRACTION, Outcome, summarise
from equicomir.evaluation.displacements import LEVELS
from equicomir.evaluation.records import Record
from equicomir.experiment.rows import pair_of

REACHES = 0.9  # of the pairs
#: The lines of each set and width.
Tables = dict[tuple[str, int], list["Line"]]
COMMAND = "python benchmarks/peers.py --data DATA"


@dataclass(frozen=True)
class Line:
    """What is known of one method on one set at one width.

    Attributes:
        peer: the method.
        by_level: the record of each level that was measured.
        missing: why it was not, where it was not.
    """

    peer: Peer
    by_level: dict[str, Record]
    missing: str

    def outcomes(self, level: str | None = None) -> list[Outcome]:
        """Of one level, or of all."""
        chosen = [r for name, r in self.by_level.items() if level in (None, name)]
        return [_outcome(pair) for record in chosen for pair in record["pairs"]]

    def mean(self, name: str) -> float:
        """Of a number of the records, over the levels."""
        return float(np.mean([record[name] for record in self.by_level.values()]))


def _outcome(pair: Record) -> Outcome:
    error = math.inf if pair["corner_error"] is None else pair["corner_error"]
    return Outcome(pair_of(pair), error, pair["seconds"], pair["failure"])


def lines_of(found: Sequence[Record], width: int) -> list[Line]:
    """One line a method at one width of one set.

    Of records of one level, that with most pairs counts; of as many, the last.
    """
    lines = []
    for peer in PEERS:
        own = [r for r in found if _of(r) == (peer.name, width)]
        by_level: dict[str, Record] = {}
        for record in (r for r in own if r["pairs"]):
            level = record["settings"]["level"]
            if len(record["pairs"]) >= len(by_level.get(level, {"pairs": []})["pairs"]):
                by_level[level] = record
        reasons = [record["missing"] for record in own if "missing" in record]
        ordered = {level: by_level[level] for level in LEVELS if level in by_level}
        lines.append(Line(peer, ordered, reasons[-1] if reasons else "not run"))
    return lines


def _of(record: Record) -> tuple[str, int]:
    told = record.get("settings", record)
    return told["method"], told["width"]


def page(folder: Path) -> str:
    """All tables as Markdown.

    Args:
        folder: of the records, one file a set.

    Raises:
        ValueError: there is no record, or a file is damaged.
    """
    found = {name: records.read(folder / f"{name}.jsonl") for name in names()}
    found = {name: of_set for name, of_set in found.items() if of_set}
    tables = {
        (name, width): lines_of(of_set, width)
        for name, of_set in found.items()
        for width in sorted({_of(record)[1] for record in of_set}, reverse=True)
    }
    if not any(line.by_level for lines in tables.values() for line in lines):
        raise ValueError(f"--records: expected records in {folder}, found none; run {COMMAND}.")
    absent = ", ".join(f"`{name}`" for name in names() if name not in found)
    said = [f"Not measured yet: {absent}."] if absent else []
    parts = [_HEAD, *said, _overview(tables), _reaches(tables), _set_ups(tables)]
    for (name, width), lines in tables.items():
        modalities = next(r["settings"]["modalities"] for r in found[name] if r.get("settings"))
        within = (
            f"{' and '.join(modalities)}; a success is within {SUCCESS_FRACTION * width:.2f} px."
        )
        parts.append(f"## {name}, {width} px\n\n{within}\n\n{_details(lines)}")
    machines = {
        f"{r['machine']['processor']}, {r['machine']['cores']} cores, "
        f"{r['settings']['threads']} thread(s), GPU: {r['machine']['gpu'] or 'none'}"
        for of_set in found.values()
        for r in of_set
        if r["pairs"]
    }
    parts.append("Measured on: " + "; ".join(sorted(machines)) + ".")
    return "\n\n".join(parts) + "\n"


_HEAD = f"""# Peers, side by side

Made by `{COMMAND}`, from its records alone:
`python benchmarks/peers.py --table-only --page docs/peers.md` makes it again.
Every method is given two patches and a mask of each pair, and nothing else: no range of angles, no
first guess. One that raises, or finds nothing, has failed that pair. Both directions of each set
count, on parts that nothing was learned from or chosen on. `phantoms` are drawn, so that their
truth has no error; `zcmir_examples` are four pairs of two instruments that the package zcmir
carries (Lu et al., [doi 10.5281/zenodo.5557568](https://doi.org/10.5281/zenodo.5557568), CC BY
4.0), on which nothing can be learned.

How to read it: success is the share of pairs whose corners land within 2 % of the width on
average, with Wilson's 95 % interval over the pairs as if they were independent; the error is the
median of the successes, over all levels. Levels 1 to 4 turn by up to 5, 10, 15 and 20 degrees and
shift by up to 2.3, 4.7, 7 and 9.3 % of the width, each by more than the level before; *any* turns
by up to 180 degrees and shifts by up to 9.3 %. Seconds are the median of a pair, representations
included and training left out; `x {OURS}` is their ratio to the seconds of `{OURS}` at the
same set and width, one after the other; *core s* are the mean processor seconds of a pair, over all
processes and threads. MiB is the peak of memory of a process of its own and of those it starts
(that of `identity` is what Python, torch and the images take; memory of a GPU is not in it). Where
a method was given fewer pairs than another, its interval is wider: compare intervals, not rates."""


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    ordered = [list(head), *(list(row) for row in rows)]
    ordered.insert(1, ["---"] * len(ordered[0]))
    return "\n".join(f"| {' | '.join(row)} |" for row in ordered)


def _rate(outcomes: Sequence[Outcome]) -> str:
    if not outcomes:
        return ""
    s = summarise(outcomes)
    return f"{100 * s.success:.0f} ({100 * s.low:.0f} to {100 * s.high:.0f})"


def _of_each_set(tables: Tables) -> dict[str, dict[int, list[Line]]]:
    found: dict[str, dict[int, list[Line]]] = {}
    for (name, width), lines in tables.items():
        found.setdefault(name, {})[width] = lines
    return found


def _overview(tables: Tables) -> str:
    """Level any, or the only one there is, of every method that was asked: a table a set."""
    parts = [
        "## All at a glance\n\nSuccess in % (95 % interval) at level any, where the set has it, by "
        "the width in pixels."
    ]
    for name, by_width in _of_each_set(tables).items():
        every = [line for lines in by_width.values() for line in lines]
        level = "any" if any("any" in line.by_level for line in every) else None
        rows = []
        for number, peer in enumerate(PEERS):
            rates = [_rate(lines[number].outcomes(level)) for lines in by_width.values()]
            if any(rates):
                rows.append([f"`{peer.name}`", *(rate or "-" for rate in rates)])
        parts.append(f"### {name}\n\n{_table(['method', *map(str, by_width)], rows)}")
    return "\n\n".join(parts)


def _reaches(tables: Tables) -> str:
    """The smallest width at which enough pairs are registered at level any."""
    sets = {
        name: by_width
        for name, by_width in _of_each_set(tables).items()
        if any("any" in line.by_level for lines in by_width.values() for line in lines)
    }
    rows = []
    for number, peer in enumerate(PEERS):
        cells = []
        for by_width in sets.values():
            every = {width: lines[number].outcomes("any") for width, lines in by_width.items()}
            rates = {width: summarise(x).success for width, x in every.items() if x}
            within = [width for width, rate in rates.items() if rate >= REACHES]
            none = f"above {max(rates)}" if rates else "-"
            cells.append(str(min(within)) if within else none)
        if set(cells) != {"-"}:
            rows.append([f"`{peer.name}`", *cells])
    return (
        "## Reach\n\nThe smallest width, in pixels, of those asked for, at which "
        f"{100 * REACHES:.0f} % of the pairs are registered at level any.\n\n"
        f"{_table(['method', *sets], rows)}"
    )


def _set_ups(tables: Tables) -> str:
    rows = []
    for number, peer in enumerate(PEERS):
        lines = [lines[number] for lines in tables.values()]
        ran = [record for line in lines for record in line.by_level.values()]
        cells = [f"`{peer.name}`", peer.words]
        if ran:
            told = ran[-1]["set_up"]
            cells += [
                ", ".join(told["packages"]) or "nothing",
                str(told["distributions"]),
                str(told["mib"]),
                _training(ran),
            ]
        else:
            cells += [lines[-1].missing, "", "", ""]
        rows.append(cells)
    head = ("method", "what it is", "set-up", "packages in all", "MiB on disk", "training")
    return (
        "## Set-up\n\nWith all packages that it requires, as installed (NumPy and torch are "
        f"counted with each that requires them).\n\n{_table(head, rows)}"
    )


def _training(ran: Sequence[Record]) -> str:
    trained = [record["trained"] for record in ran if record["trained"]]
    if not trained:
        return "none"
    steps = sorted({one["steps"] for one in trained})
    minutes = sorted({one["seconds"] / 60 for one in trained})
    return f"{_span(minutes, '.1f')} minutes, {_span(steps, 'd')} steps a set"


def _span(values: Sequence[Any], how: str) -> str:
    first, last = format(values[0], how), format(values[-1], how)
    return first if first == last else f"{first} to {last}"


def _details(lines: Sequence[Line]) -> str:
    """Every number of one set and width."""
    levels = [level for level in LEVELS if any(level in line.by_level for line in lines)]
    ours = next((line for line in lines if line.peer.name == OURS and line.by_level), None)
    reference = summarise(ours.outcomes()).seconds if ours else math.nan
    head = ["method", *(f"level {level}" for level in levels), "pairs", "error px", "s a pair"]
    head += [f"x {OURS}", "core s", "MiB"]
    rows, missing = [], dict[str, list[str]]()
    for line in lines:
        cells = [f"`{line.peer.name}`"]
        if not line.by_level:
            missing.setdefault(line.missing, []).append(f"`{line.peer.name}`")
            continue
        s = summarise(line.outcomes())
        ratio = s.seconds / reference
        rows.append(
            [
                *cells,
                *(_rate(line.outcomes(level)) for level in levels),
                str(s.pairs),
                "-" if math.isnan(s.median_error) else f"{s.median_error:.2f}",
                f"{s.seconds:.2f}",
                "-" if math.isnan(ratio) else f"{ratio:.2g}",
                f"{line.mean('core_seconds'):.2f}",
                f"{max(record['peak_mib'] for record in line.by_level.values()):.0f}",
            ]
        )
    said = "; ".join(f"{', '.join(names)} ({reason})" for reason, names in missing.items())
    return _table(head, rows) + (f"\n\nNot in the table: {said}." if said else "")
