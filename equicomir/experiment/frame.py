"""How an experiment is run: in this process, over processes, or on a cluster, and never twice."""

import argparse
import contextlib
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import joblib
import torch
from joblib.externals.loky import process_executor
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from scipy import stats

from equicomir.evaluation.verdicts import FEWEST_SEEDS
from equicomir.experiment.plan import CLAIMED, QUICK, Budget, Experiment, Task, tasks
from equicomir.experiment.rows import Row, Runs, row, runs_of
from equicomir.experiment.sets import EMBEDDED, SETS, DataSet
from equicomir.experiment.trade_off import MEASURES, learned, trade_off
from equicomir.experiment.verdict import judged, sentence
from equicomir.experiment.work import Status, run
from equicomir.gate import GATE_FAILED

_SECONDS_A_STEP, _SECONDS_A_GATE = 0.65, 8.0  # one core, about; as all these
_DENSE = 10.0  # times as much a step of CoMIR's network, with 83 times the weights
_ROOM_BYTES = 4 * 2**30
_SPREAD = 10  # points: standard deviation over seeds of a difference, as in most records
_SECONDS_A_PAIR = {
    "search": 0.35,
    "distance": 1.0,
    "features": 0.1,
    "elastix": 8.0,
    "information": 2.0,
    "squared_loss": 1.0,
    "identity": 0.0,
}


def main(
    experiment: Experiment,
    lists: Path,
    argv: Sequence[str] | None = None,
    *,
    coarse: Experiment | None = None,
) -> int:
    """The command line of an experiment.

    Args:
        experiment: what is stated.
        lists: folder of the committed lists of test pairs.
        argv: the command line; that of the process if None.
        coarse: the search on validation by which it was chosen what is confirmed, if there is one.

    Returns:
        The exit status: 0; 3 where a gate did not hold.
    """
    chosen = _arguments(experiment, argv, searches=coarse is not None)
    if coarse is not None and chosen.coarse:
        experiment = coarse
    out = chosen.out or Path("runs") / experiment.name
    console = Console()
    budget = QUICK if chosen.quick else experiment.full if chosen.full else experiment.default
    sets = [EMBEDDED]
    if chosen.data is not None:
        sets = [one for one in SETS if one.name in (chosen.set or [SETS[0].name])]
    planned = tasks(experiment, sets, budget)
    console.print(f"[bold]{experiment.name}[/]: {experiment.hypothesis}", highlight=False)
    console.print(f"Refuted if: {experiment.refuted_if}", highlight=False)
    if chosen.dry_run:
        _print_plan(console, planned, chosen.jobs)
        _print_what_could_be_told(console, experiment, sets, budget)
        return 0
    with _backend(chosen):
        became = _map(console, planned, chosen.data, lists, out)
    _print_what_became(console, became)
    summarise(console, experiment, sets, budget, out)
    return GATE_FAILED if became["gate"] else 0


def _arguments(
    experiment: Experiment, argv: Sequence[str] | None, *, searches: bool
) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=f"{experiment.name}: {experiment.hypothesis}")
    names = [one.name for one in SETS]
    parser.add_argument("--data", type=Path, help="folder of the data sets; the embedded picture")
    parser.add_argument(
        "--set", nargs="+", choices=names, metavar="NAME", help="the first if not said"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--quick", action="store_true", help="whether everything runs: two minutes")
    how.add_argument("--full", action="store_true", help="for a cluster")
    if searches:
        parser.add_argument(
            "--coarse", action="store_true", help="the search on validation that comes before"
        )
    parser.add_argument("--dry-run", action="store_true", help="list the runs and what they cost")
    parser.add_argument("--out", type=Path, help=f"runs/{experiment.name} if not said")
    parser.add_argument("--jobs", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--backend", default="loky", help="of joblib: loky, sequential or dask")
    parser.add_argument("--address", help="of the Dask scheduler, such as tcp://host:8786")
    chosen = parser.parse_args(argv)
    if chosen.jobs < 1:
        parser.error(f"--jobs: expected at least 1, got {chosen.jobs}.")
    if chosen.set and chosen.data is None:
        parser.error("--data: expected the folder of the data sets where --set is said.")
    if (chosen.backend == "dask") != (chosen.address is not None):
        parser.error("--address: expected with --backend dask, and only there.")
    return chosen


@contextlib.contextmanager
def _backend(chosen: argparse.Namespace) -> Iterator[None]:
    """Where joblib maps the runs."""
    if chosen.backend != "dask":
        with joblib.parallel_config(chosen.backend, n_jobs=chosen.jobs):
            yield
        return
    try:
        from distributed import Client
    except ImportError:
        raise ValueError(
            "--backend: dask needs the package distributed, which is not here; install it."
        ) from None
    client: contextlib.AbstractContextManager[Any] = Client(chosen.address)  # type: ignore[no-untyped-call]
    with client, joblib.parallel_config("dask"):
        yield


def _map(
    console: Console, planned: Sequence[Task], data: Path | None, lists: Path, out: Path
) -> Counter[Status]:
    """Run all; how many became what."""
    data = None if data is None else data.resolve()
    lists, out = lists.resolve(), out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    became: Counter[Status] = Counter()
    columns = (TextColumn("runs"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    work = joblib.Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="all")
    with Progress(*columns, console=console) as progress:
        shown = progress.add_task("runs", total=len(planned))
        for label, status, seconds in work(
            joblib.delayed(_in_one_thread)(task, data, lists, out) for task in planned
        ):
            became[status] += 1
            progress.advance(shown)
            if status != "stood":
                progress.print(f"  {label}: {status}, {seconds:.0f} s", highlight=False)
    return became


def _in_one_thread(
    task: Task, data: Path | None, lists: Path, out: Path
) -> tuple[str, Status, float]:
    torch.set_num_threads(1)
    # Joblib ends a process that has grown by 300 MB, as one that leaks, and warns; a training of
    # CoMIR's network takes more.
    process_executor._MAX_MEMORY_LEAK_SIZE = _ROOM_BYTES
    begun = time.perf_counter()
    status = run(task, data, lists, out)
    return task.label, status, time.perf_counter() - begun


def expected_seconds(task: Task) -> float:
    """Processor time of a run, roughly: of one core of a laptop."""
    registering = sum(
        _SECONDS_A_PAIR[registration.method] * min(task.pairs, registration.most_pairs or math.inf)
        for _, registration in task.registrations
    )
    registering *= 2 * len(task.data_set.widths) * len(task.levels)
    if task.encoder is None:
        return registering
    gate = _SECONDS_A_GATE * task.gate_examples / 12
    steps = task.training.steps
    a_step = _SECONDS_A_STEP * (_DENSE if task.encoder.family == "tiramisu" else 1)
    learning = 60 * task.training.minutes if steps is None else a_step * steps
    return registering + learning + gate


def _print_plan(console: Console, planned: Sequence[Task], jobs: int) -> None:
    total = 0.0
    for task in planned:
        seconds = expected_seconds(task)
        total += seconds
        steps = task.training.steps
        learning = f"{task.training.minutes:g} minutes" if steps is None else f"{steps} steps"
        if task.encoder is None:
            learning = "nothing learned"
        console.print(f"  {task.label}: {learning}, about {seconds:.0f} s", highlight=False)
    console.print(
        f"{len(planned)} runs, about {total / 60:.0f} minutes of one core, "
        f"{total / 60 / jobs:.0f} with {jobs} processes."
    )


def _print_what_could_be_told(
    console: Console, experiment: Experiment, sets: Sequence[DataSet], budget: Budget
) -> None:
    """Before the hours are spent: by how much a variant has to be better to be told from chance."""
    family = len(experiment.comparisons) * len({*experiment.sets, *(one.name for one in sets)})
    if not family or budget.seeds < FEWEST_SEEDS:
        console.print(
            "No verdict can follow: "
            + ("nothing is compared." if not family else f"fewer than {FEWEST_SEEDS} seeds.")
        )
        return
    once = stats.t.ppf(1 - 0.05 / (2 * family), budget.seeds - 1) / math.sqrt(budget.seeds)
    console.print(
        f"{budget.seeds} seeds and a family of {family}: where two variants differ by a spread of "
        f"{_SPREAD} points from seed to seed, the interval of a difference reaches about "
        f"{min(100, once * _SPREAD):.0f} points to each side by that alone; few places add to it.",
        highlight=False,
    )


def _print_what_became(console: Console, became: Counter[Status]) -> None:
    said: dict[Status, str] = {
        "run": "run now",
        "stood": "stood in the records",
        "elsewhere": "being run by another process: come back for them",
        "gate": "not run, as their gate did not hold: the records say what did not",
    }
    for status, words in said.items():
        if became[status]:
            console.print(f"  {became[status]} {words}")


def summarise(
    console: Console,
    experiment: Experiment,
    sets: Sequence[DataSet],
    budget: Budget,
    out: Path,
) -> None:
    """Print the tables and verdicts that the records support, and write them as Markdown.

    Args:
        console: where they are printed.
        experiment: as its script states it.
        sets: on which.
        budget: of the runs.
        out: folder of the records, where the page is written.
    """
    runs = runs_of(experiment, sets, budget, out / "records.jsonl")
    of_name = {one.name: one for one in sets}
    rows = [row(place, of_place, of_name[place[0]]) for place, of_place in runs.items()]
    for name in dict.fromkeys(one.data_set for one in rows):
        console.print(_table(name, [one for one in rows if one.data_set == name]))
    found = judged(experiment, sets, runs, seeds={one.name: budget.seeds for one in sets})
    verdicts = [sentence(one) for one in found]
    here = {one.data_set for one in rows}
    notes = [one.on_the_truth for one in sets if one.name in here and one.on_the_truth]
    of_places = {(one.data_set, one.width): list[Row]() for one in rows}
    for one in rows:
        of_places[one.data_set, one.width].append(one)
    trades = [said for of_place in of_places.values() if (said := trade_off(of_place))]
    for line in (*verdicts, *trades, *notes):
        console.print(f"  {line}", highlight=False)
    (out / "verdict.md").write_text(markdown(experiment, rows, [*verdicts, *trades, *notes], runs))


_HEADINGS = (
    "variant",
    "px",
    "success",
    "1 %",
    "0.5 %",
    "error px",
    "turning",
    "detail",
    "seeds",
    "s",
)


def _cells(one: Row) -> tuple[str, ...]:
    return (
        one.variant,
        str(one.width),
        f"{100 * one.success:.0f} %",
        f"{100 * one.precise[0]:.0f} %",
        f"{100 * one.precise[1]:.0f} %",
        "" if math.isnan(one.corner_error) else f"{one.corner_error:.2f}",
        "" if math.isnan(one.equivariance_error) else f"{one.equivariance_error:.3f}",
        "" if math.isnan(one.coherence) else f"{one.coherence:.3f}",
        str(one.seeds),
        f"{one.training_seconds:.0f}",
    )


def _further_cells(one: Row, levels: Sequence[str]) -> tuple[str, ...]:
    low, high = (100 * end for end in one.interval)
    ways = ", ".join(f"{name} {100 * share:.0f} %" for name, share in one.each_way.items())
    others = (
        f"{100 * one.by_level[level]:.0f} %" if level in one.by_level else ""
        for level in levels
        if level != CLAIMED
    )
    seeds = ", ".join(f"{100 * share:.0f}" for share in one.by_seed)
    cells = (f"{seeds} %", f"{low:.0f} to {high:.0f} %", ways, f"{one.seconds:.2f}")
    return (one.data_set, *_cells(one)[:3], *cells, *others)


def _detail_cells(one: Row) -> tuple[str, ...]:
    return tuple(f"{one.detail[name]:.3f}" for name in MEASURES)


def _table(name: str, rows: Sequence[Row]) -> Table:
    table = Table(title=f"{name}: success at 2, 1 and 0.5 % of the width, error under turning")
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading == "variant" else "right")
    for one in rows:
        table.add_row(*_cells(one))
    return table


def markdown(
    experiment: Experiment,
    rows: Sequence[Row],
    verdicts: Sequence[str],
    runs: Runs,
) -> str:
    """The same for a page.

    Args:
        experiment: as its script states it.
        rows: of the table.
        verdicts: a line each.
        runs: by set, width and variant.

    Returns:
        The page.
    """
    lines = [f"# {experiment.name}", "", experiment.hypothesis, ""]
    lines += [f"Refuted if: {experiment.refuted_if}", ""]
    head = ("set", *_HEADINGS)
    lines += [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    lines += [f"| {' | '.join((one.data_set, *_cells(one)))} |" for one in rows]
    lines += ["", *(f"- {line}" for line in verdicts), ""]
    levels = list(dict.fromkeys(level for one in rows for level in one.by_level))
    others = (f"level {level}" for level in levels if level != CLAIMED)
    shown = ("each seed", "95 %", "each as the fixed one", "s a pair")
    further = ("set", *_HEADINGS[:3], *shown, *others)
    lines += [
        f"Success at level {CLAIMED}: each seed, interval over seeds and units, each way:",
        "",
    ]
    lines += [f"| {' | '.join(further)} |", f"|{' --- |' * len(further)}"]
    lines += [f"| {' | '.join(_further_cells(one, levels))} |" for one in rows]
    lines.append("")
    detailed = ("set", *_HEADINGS[:3], *MEASURES.values())
    lines += ["Detail, from 0 to 1:", ""]
    lines += [f"| {' | '.join(detailed)} |", f"|{' --- |' * len(detailed)}"]
    lines += [
        f"| {' | '.join((one.data_set, *_cells(one)[:3], *_detail_cells(one)))} |"
        for one in learned(rows)
    ]
    lines.append("")
    machines: list[dict[str, Any]] = [r["machine"] for of_place in runs.values() for r in of_place]
    if machines:
        lines.append(f"Machine: {machines[-1]}.")
    return "\n".join(lines) + "\n"


def script(experiment: Experiment, lists: Path, *, coarse: Experiment | None = None) -> None:
    """What a script of an experiment ends with: a user's mistake is one sentence.

    Args:
        experiment: as the script states it.
        lists: folder of the committed lists of test pairs.
        coarse: what ``--coarse`` runs in its place, if the script has it.
    """
    try:
        sys.exit(main(experiment, lists, coarse=coarse))
    except (ValueError, OSError) as mistake:
        sys.exit(f"{experiment.name}: {mistake}")
