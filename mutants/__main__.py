"""Does the suite catch wrong mathematics? Faults drawn by a seed, and known ones, one at a time.

    make mutants
    python -m mutants [--count 300] [--seed 0] [--rooms losses] [--again | --table-only]

Of the places that Cosmic Ray could change (``mutants/drawn.py``) ``--count`` are drawn, from each
room in proportion, and at each place one change; ``mutants/faults.py`` adds faults that people
make. Each is written into a copy of the repository, and of the tests that run the changed line
(``mutants/reach.py``) the fastest come first: properties, then, where none fails, all others. Each
kind gets at most ``--most-seconds`` of the usual time of its tests: a survivor may be one that a
slower test would kill.

Results are appended to ``records/mutants/mutants.jsonl``; a change that stands there, of a function
that is still the same, is not tried again, but with ``--again`` where it survived and is not known
to be equivalent. The table goes to ``docs/mutants.md``, with every survivor and, from
``mutants/survivors.toml``, why.
"""

import argparse
from pathlib import Path

from rich.console import Console

from equicomir.evaluation import records
from mutants import table
from mutants.changes import ROOMS, ROOT, known
from mutants.drawn import drawn
from mutants.tried import reached, results_of


def main() -> None:
    """Draw, try what was not tried, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rooms", nargs="+", choices=tuple(ROOMS), default=tuple(ROOMS))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--most-seconds", type=float, default=60.0)
    parser.add_argument("--again", action="store_true", help="survivors that may be killed")
    parser.add_argument("--table-only", action="store_true")
    parser.add_argument("--records", type=Path, default=ROOT / "records" / "mutants")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "mutants.md")
    chosen = parser.parse_args()
    console, path = Console(), chosen.records / "mutants.jsonl"
    changes = [*known(chosen.rooms), *drawn(chosen.count, chosen.seed, chosen.rooms)]
    reasons = table.reasons()
    stand = {line["settings"]["sha256"]: line for line in records.read(path)}
    wanted = [
        change
        for change in changes
        if (line := stand.get(change.settings["sha256"])) is None
        or (chosen.again and not table.killed(line) and not table.is_equivalent(line, reasons))
    ]
    if wanted and not chosen.table_only:
        reach = reached(ROOT / "runs" / "mutants")
        results = results_of(wanted, reach, chosen.processes, chosen.most_seconds)
        for number, result in enumerate(results, 1):
            records.append(path, [], **result)
            stand[result["settings"]["sha256"]] = result
            words = f"{number} of {len(wanted)}: {table.line_of(result)}"
            console.print(words, markup=False, highlight=False)  # code is full of brackets
    # One program may be a mutant and a known fault: what became of it counts for both.
    lines = [
        stand[change.settings["sha256"]] | {"settings": change.settings}
        for change in changes
        if change.settings["sha256"] in stand
    ]
    chosen.page.write_text(table.page(lines, chosen.seed))
    console.print(f"{len(lines)} of {len(changes)} changes: {chosen.page}")


if __name__ == "__main__":
    main()
