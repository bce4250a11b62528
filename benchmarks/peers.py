"""Registration side by side: other people's packages, the library's methods, learned and not.

    python benchmarks/peers.py --data DATA [--sets NAME ...] [--widths PX ...] [--levels 1 4 any]
        [--pairs 10] [--slow-pairs 2] [--methods NAME ...] [--minutes 5]
        [--globalign FOLDER] [--py-alpha-amd FOLDER] [--page docs/peers.md]
    python benchmarks/peers.py --table-only --page docs/peers.md

Every method sees two patches and a mask of each pair of the committed lists (test parts), nothing
else; one that raises has failed that pair. Sets: those of DATA, phantoms of known truth, and the
real pairs that the package zcmir carries; without ``--data`` the last two alone. Encoders are
trained for ``--minutes`` each and kept under ``--models``. Each set, width and method is measured
in a process of its own, one after the other, and each level is added to ``--records`` as it ends:
a run that was broken off goes on there, and nothing is measured twice. The table is made from the
records alone. ``pip install "equicomir[peers]"`` brings ANTs and zcmir; what is not there is named.
"""

import argparse
import multiprocessing
import os
import sys
from collections.abc import Callable
from pathlib import Path

import peer_sets
from peer_cell import THREADS, Cell, learn, measure, open_levels, say_missing, stands
from peer_list import BY_NAME, lacking
from peer_table import page
from rich.console import Console

from equicomir.evaluation.displacements import LEVELS

RECORDS = Path(__file__).parent.parent / "records" / "peers"
_PATHS = {"globalign": "--globalign", "py_alpha_amd": "--py-alpha-amd"}


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--sets", nargs="+", choices=peer_sets.names(), metavar="NAME")
    parser.add_argument("--widths", type=int, nargs="+", help="px; all of a set if not said")
    parser.add_argument("--levels", nargs="+", choices=LEVELS, default=list(LEVELS))
    parser.add_argument("--pairs", type=int, default=10, help="a level and direction")
    parser.add_argument("--slow-pairs", type=int, default=2, help="of methods that take seconds")
    parser.add_argument("--methods", nargs="+", choices=BY_NAME, metavar="NAME")
    parser.add_argument("--minutes", type=float, default=5.0, help="of training, each encoder")
    parser.add_argument("--quick", action="store_true", help="whether everything runs: no result")
    parser.add_argument("--records", type=Path, help="folder; records/peers if not said")
    parser.add_argument("--models", type=Path, help="folder; runs/peers if not said")
    parser.add_argument("--page", type=Path, help="Markdown to write the tables to")
    parser.add_argument("--table-only", action="store_true", help="of the records, run nothing")
    parser.add_argument("--globalign", type=Path, metavar="FOLDER", help="CMIF, its authors' code")
    parser.add_argument("--py-alpha-amd", type=Path, metavar="FOLDER", help="likewise")
    parser.add_argument("--threads", type=int, default=1, help="by which each method computes")
    chosen = parser.parse_args(argv)
    if min(chosen.pairs, chosen.slow_pairs, chosen.threads) < 1 or not chosen.minutes > 0:
        parser.error("--pairs, --slow-pairs, --threads, --minutes: expected positive numbers.")
    for name, option in _PATHS.items():
        folder = getattr(chosen, name)
        if folder is not None and not folder.is_dir():
            parser.error(f"{option}: expected a folder, the clone of their code, got {folder}.")
    quick = Path("runs") / "peers_quick"
    chosen.records = chosen.records or (quick / "records" if chosen.quick else RECORDS)
    chosen.models = chosen.models or (quick if chosen.quick else Path("runs") / "peers")
    if chosen.quick:
        chosen.pairs = chosen.slow_pairs = 1
        chosen.sets = chosen.sets or [peer_sets.PHANTOMS]
    return chosen


def cells(chosen: argparse.Namespace, console: Console) -> list[Cell]:
    """All that is to be measured, set by set, and width by width."""
    asked = chosen.sets or (peer_sets.CARRIED if chosen.data is None else peer_sets.names())
    found = []
    for name in asked:
        try:
            one = peer_sets.read(name, chosen.data, chosen.quick)
        except ValueError as mistake:
            if chosen.sets:
                raise
            console.print(f"  left out: {mistake}", highlight=False, markup=False)
            continue
        widths = [w for w in one.data_set.widths if not chosen.widths or w in chosen.widths]
        for width in widths:
            for method in chosen.methods or BY_NAME:
                peer = BY_NAME[method]
                found.append(
                    Cell(
                        method,
                        name,
                        width,
                        tuple(chosen.levels),
                        chosen.slow_pairs if peer.slow else chosen.pairs,
                        chosen.records / f"{name}.jsonl",
                        chosen.models,
                        chosen.minutes,
                        data=chosen.data,
                        quick=chosen.quick,
                        threads=chosen.threads,
                        own_path=getattr(chosen, peer.own_path) if peer.own_path else None,
                    )
                )
    return found


def go(cell: Cell, console: Console) -> None:
    """Measure what is not in the records; say what cannot be."""
    where = f"{cell.set}, {cell.width} px, {cell.method}"
    if cell.own_path is not None:
        sys.path.insert(0, str(cell.own_path.resolve()))
    try:
        reason = lacking(cell.peer)
        if not reason and cell.peer.learned and nothing_to_learn_from(cell):
            reason = "no aligned images to learn from"
        if reason:
            say_missing(cell, reason)
            console.print(f"  {where}: {reason}", highlight=False, markup=False)
            return
        left = open_levels(cell)
        if not left.levels:
            return
        console.print(where, highlight=False)
        ended = 0
        if cell.peer.learned and not stands(cell):
            ended = in_a_process_of_its_own(learn, left)
        ended = ended or in_a_process_of_its_own(measure, left)
        if ended:
            say_missing(cell, f"its process ended with status {ended}")
    finally:
        if cell.own_path is not None:
            sys.path.pop(0)


def nothing_to_learn_from(cell: Cell) -> bool:
    """Whether the set is pairs alone."""
    return peer_sets.read(cell.set, cell.data, cell.quick).parts is None


def in_a_process_of_its_own(act: Callable[[Cell], None], cell: Cell) -> int:
    """Its exit status, minus the signal where one ended it."""
    process = multiprocessing.get_context("spawn").Process(target=act, args=(cell,))
    process.start()
    process.join()
    return process.exitcode or 0


def main(argv: list[str] | None = None) -> None:
    """Measure, and print the tables."""
    chosen, console = arguments(argv), Console(width=150)
    for name in THREADS:
        os.environ[name] = str(chosen.threads)
    if not chosen.table_only:
        for cell in cells(chosen, console):
            go(cell, console)
    text = page(chosen.records)
    print(text)
    if chosen.page:
        chosen.page.parent.mkdir(parents=True, exist_ok=True)
        chosen.page.write_text(text)


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as mistake:  # one sentence that says what to do; no traceback
        sys.exit(f"peers: {mistake}")
