"""How little data is enough: success of encoders that were trained on parts of a training set.

    python benchmarks/data_efficiency.py --data DATA [--set brain_mri] [--dry-run]
    python benchmarks/data_efficiency.py --table

Trains a steerable and a plain encoder, with the default settings and as in
``experiments/h0_baselines.py``, for the same minutes on ever more of the training data, three seeds
each, and registers the first pairs of the committed test list at level any. Nothing is tuned and
nothing validated. Amounts of one set are nested, so that more data is the old data and some more:

- ``brain_mri``: 3, 6, 12, 24 and 48 slices, evenly spaced over the one training patient (their
  order is that of their names): each amount is every second slice of the next;
- ``motor_neurons``: the leading rows of the one training image, an eighth to all of them, but at
  least as many as a patch has.

One line a run is kept in ``RECORDS/SET.jsonl``; a run that stands there is skipped, one that was
killed goes on from its checkpoint in ``OUT/models``, and several processes may share the runs.
Give ``--steps`` in place of the minutes on a machine that has other work to do. The table at the
end is made from the records alone.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from equicomir.evaluation import records, units
from equicomir.evaluation.alignment import evaluate
from equicomir.evaluation.displacements import TestPair, read_pairs
from equicomir.evaluation.records import Record, successes
from equicomir.evaluation.statistics import difference, rate
from equicomir.evaluation.validation import register_by
from equicomir.evaluation.verdicts import judge
from equicomir.images.fingerprint import fingerprint
from equicomir.images.pairs import Scene
from equicomir.images.sources import Parts, read_parts
from equicomir.provenance import command, commit
from equicomir.representations import EncoderSettings
from equicomir.shapes import Array
from equicomir.training.loop import train
from equicomir.training.settings import TrainingSettings

PAIRS = Path(__file__).parent / "pairs"
LEVEL = "any"
ENCODERS = (EncoderSettings(family="steerable"), EncoderSettings(family="plain"))

# On two cores of a small machine, for the dry run alone.
_SECONDS_A_STEP, _SECONDS_A_PAIR = 0.4, 0.4
_RESULTS = ("corner_error", "seconds", "failure")


@dataclass(frozen=True)
class Study:
    """A set, and how its training data are made fewer.

    Attributes:
        set: name of its folder.
        modalities: fixed first, moving second.
        width: of the test patches, in pixels.
        of: ``"slices"``, of which amounts are numbers, or ``"region"``, of which they are shares.
        amounts: ascending.
        unit: what is independent in the test part.
    """

    set: str
    modalities: tuple[str, str]
    width: int
    of: str
    amounts: tuple[float, ...]
    unit: units.Units


STUDIES = (
    Study("brain_mri", ("T1", "T2"), 64, "slices", (3, 6, 12, 24, 48), units.runs),
    Study(
        "motor_neurons",
        ("phase_contrast", "nfh"),
        128,
        "region",
        (1 / 8, 1 / 4, 1 / 2, 1),
        units.blocks,
    ),
)


@dataclass(frozen=True)
class Task:
    """One run: an encoder, trained with one seed on one amount of data."""

    study: Study
    amount: float
    encoder: EncoderSettings
    training: TrainingSettings
    pairs: int

    @property
    def label(self) -> str:
        """For a person to read."""
        amount = f"{self.amount:g} {self.study.of}"
        return f"{self.study.set}, {amount}, {self.encoder.family}, seed {self.training.seed}"

    @property
    def expected_seconds(self) -> float:
        """Of training and evaluation, roughly."""
        steps = self.training.steps
        trained = steps * _SECONDS_A_STEP if steps else 60 * self.training.minutes
        return trained + 2 * self.pairs * _SECONDS_A_PAIR

    def settings(self, data: str) -> dict[str, Any]:
        """What defines the run, for its record; the data by their fingerprint."""
        training = asdict(self.training)
        indifferent = ["workers", "checkpoint_seconds"] + ["minutes"] * bool(self.training.steps)
        for name in indifferent:
            del training[name]
        return {
            "benchmark": "data_efficiency",
            "set": self.study.set,
            "modalities": self.study.modalities,
            "width": self.study.width,
            "of": self.study.of,
            "amount": self.amount,
            "data": data,
            "encoder": asdict(self.encoder),
            "training": training,
            "level": LEVEL,
            "pairs_a_direction": self.pairs,
        }


def tasks(study: Study, training: TrainingSettings, seeds: Sequence[int], pairs: int) -> list[Task]:
    """All runs of a study, seed by seed: what is broken off has whole curves of fewer seeds."""
    return [
        Task(study, amount, encoder, replace(training, seed=seed), pairs)
        for seed in seeds
        for amount in study.amounts
        for encoder in ENCODERS
    ]


def spread(total: int, amounts: Sequence[int]) -> dict[int, list[int]]:
    """Which of so many slices are taken for each amount: evenly spaced, and nested.

    Args:
        total: of slices in their order.
        amounts: how many to take, in any order.

    Returns:
        Indices in ascending order, by amount. Each amount is taken from the next greater one, in
        the middle of equal stretches; where the middle lies between two slices it is now the
        earlier, now the later, so that small amounts do not drift to one end.

    Raises:
        ValueError: more are asked for than there are, or less than one.

    Example:
        >>> spread(12, [3, 6, 12])[3]
        [2, 6, 10]
    """
    if not amounts or min(amounts) < 1 or max(amounts) > total:
        raise ValueError(
            f"amounts: expected 1 to {total} training slices each, as many as there are, got "
            f"{list(amounts)}; ask for fewer."
        )
    taken, chosen = list(range(total)), dict[int, list[int]]()
    for number, amount in enumerate(sorted(amounts, reverse=True)):
        held, earlier = len(taken), number % 2
        taken = [taken[((2 * k + 1) * held - earlier) // (2 * amount)] for k in range(amount)]
        chosen[amount] = taken
    return chosen


def part_of(study: Study, scenes: Sequence[Scene], amount: float, patch_size: int) -> list[Scene]:
    """So much of the training scenes, as the study takes it.

    Args:
        study: of which ``amount`` is one.
        scenes: all of the training part.
        amount: number of slices, or share of the rows.
        patch_size: least number of rows, in pixels.

    Raises:
        ValueError: there are fewer slices, as :func:`spread` says.
    """
    if study.of == "slices":
        ordered = sorted(scenes, key=lambda scene: scene.name)
        chosen = spread(len(ordered), [int(a) for a in study.amounts])[int(amount)]
        return [ordered[index] for index in chosen]
    parts = []
    for scene in scenes:
        height = scene.size[0]
        rows = (0, min(height, max(patch_size, round(amount * height))))
        images = {modality: scene.window(modality, rows) for modality in scene.images}
        mask = None if scene.mask is None else scene.mask[: rows[1]]
        parts.append(replace(scene, images=images, mask=mask))
    return parts


def listed(study: Study, count: int) -> list[TestPair]:
    """The first pairs of each direction of the committed list.

    Raises:
        ValueError: there is no such list, or it has fewer.
    """
    path = PAIRS / f"{study.set}_{'_'.join(study.modalities)}_{study.width}.csv"
    at_level = [pair for pair in read_pairs(path) if pair.level == LEVEL]
    kept = []
    for fixed in study.modalities:
        of_direction = [pair for pair in at_level if pair.fixed == fixed]
        if not 1 <= count <= len(of_direction):
            raise ValueError(
                f"--pairs: expected 1 to {len(of_direction)}, as many a direction as {path.name} "
                f"has, got {count}."
            )
        kept += of_direction[:count]
    return kept


def run(task: Task, parts: Parts, pairs: Sequence[TestPair], path: Path, models: Path) -> str:
    """Train and evaluate one task and record it, unless that is done or another does it.

    Returns:
        What became of it, in words.

    Raises:
        ValueError: the data are too few, or the folder of models holds another run.
    """
    scenes = part_of(task.study, parts.train, task.amount, task.training.patch_size)
    settings = task.settings(fingerprint([*scenes, *parts.test]))
    key = records.run_key(settings)
    if key in records.done(path):
        return "stands in the records"
    with records.claim(path, key) as mine:
        if not mine:
            return "another process has it"
        begun = time.perf_counter()
        done = train(scenes, task.encoder, task.training, folder=models / key, quiet=True)
        outcomes = evaluate(partial(register_by, done.model.comparable), pairs, parts.test)
        records.append(
            path,
            outcomes,
            settings=settings,
            training_scenes=[scene.name for scene in scenes],
            training_pixels=sum(height * width for height, width in (s.size for s in scenes)),
            steps=len(done.losses),
            training_seconds=round(done.seconds, 1),
            commit=commit(),
            command=command(),
        )
    good = sum(outcome.success for outcome in outcomes)
    seconds = time.perf_counter() - begun
    return f"{len(done.losses)} steps, {good} of {len(outcomes)} pairs, {seconds:.0f} s"


def grouped(lines: Sequence[Record]) -> dict[str, dict[tuple[float, str], list[Record]]]:
    """Records by what they share (set, width, budget, pairs), then by amount and encoder.

    Those of one cell are in the order of their seeds.
    """
    found: dict[str, dict[tuple[float, str], list[Record]]] = {}
    for line in lines:
        s = line["settings"]
        training = {k: v for k, v in s["training"].items() if k != "seed"}
        encoder = {k: v for k, v in s["encoder"].items() if k != "family"}
        shared = {k: v for k, v in s.items() if k not in ("amount", "data")}
        key = records.run_key({**shared, "training": training, "encoder": encoder})
        cell = found.setdefault(key, {}).setdefault((s["amount"], s["encoder"]["family"]), [])
        cell.append(line)
    for cells in found.values():
        for cell in cells.values():
            cell.sort(key=lambda line: int(line["settings"]["training"]["seed"]))
    return found


def of_both(cells: dict[tuple[float, str], list[Record]], amount: float) -> tuple[Array, Array]:
    """Successes (seeds, pairs) of both encoders, with the seeds that both were trained with."""
    by_seed = [
        {r["settings"]["training"]["seed"]: r for r in cells.get((amount, encoder.family), [])}
        for encoder in ENCODERS
    ]
    seeds = sorted(by_seed[0].keys() & by_seed[1].keys())
    if not seeds:
        return np.zeros((0, 0)), np.zeros((0, 0))
    both = successes([runs[seed] for runs in by_seed for seed in seeds])
    return both[: len(seeds)], both[len(seeds) :]


def table(cells: dict[tuple[float, str], list[Record]], study: Study) -> Table:
    """Success by amount of data, with intervals, of records that share all else.

    Args:
        cells: one entry of :func:`grouped`.
        study: of their set.

    Returns:
        A line an amount. Rates have intervals of their own, over seeds and units of test data;
        the differences are one family, and theirs hold together.
    """
    s = next(iter(cells.values()))[0]["settings"]
    steps, minutes = s["training"]["steps"], s["training"].get("minutes")
    budget = f"{steps} steps" if steps else f"{minutes:g} minutes"
    made = Table(
        title=f"{s['set']}, {' and '.join(s['modalities'])}, {s['width']} px, level {s['level']}, "
        f"{s['pairs_a_direction']} pairs a direction, {budget} each: success, % (95 %)"
    )
    for heading in (s["of"], *(e.family for e in ENCODERS), "difference, points", "seeds", "units"):
        made.add_column(heading, justify="right")
    compared = {}
    for amount in sorted({amount for amount, _ in cells}):
        both = of_both(cells, amount)
        if both[0].size:
            line = next(iter(cells.values()))[0]["pairs"]
            unit = study.unit([_pair(pair) for pair in line])
            alone = [rate(of, unit) for of in both]
            gap = difference(*both, unit, greatest=1.0, generator=np.random.default_rng(0))
            compared[amount] = (alone, gap)
    if not compared:  # no seed of both encoders yet
        return made
    judged = judge([gap for _, gap in compared.values()], [0.0] * len(compared))
    for (amount, (alone, gap)), said in zip(compared.items(), judged, strict=True):
        made.add_row(
            f"{amount:g}",
            *(_percent(of.estimate, of.low, of.high, least=0.0) for of in alone),
            _percent(gap.estimate, said.low, said.high, least=-1.0),
            str(gap.seeds),
            str(gap.units),
        )
    return made


def _pair(line: Record) -> TestPair:
    return TestPair(**{k: v for k, v in line.items() if k not in _RESULTS})


def _percent(value: float, low: float, high: float, *, least: float) -> str:
    """With its interval, cut at what is possible; without one where a single seed shows none."""
    signed = "+" if least < 0 else ""
    if not np.isfinite([low, high]).all():
        return f"{100 * value:{signed}.0f} (one seed)"
    low, high = max(least, low), min(1.0, high)
    return f"{100 * value:{signed}.0f} ({100 * low:{signed}.0f} to {100 * high:{signed}.0f})"


def show(console: Console, folder: Path) -> None:
    """Print a table for everything that the records of a folder have in common."""
    for study in STUDIES:
        for cells in grouped(records.read(folder / f"{study.set}.jsonl")).values():
            console.print(table(cells, study))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [study.set for study in STUDIES]
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--set", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    how_long = parser.add_mutually_exclusive_group()
    how_long.add_argument("--minutes", type=float, default=1.5, help="of training, each run")
    how_long.add_argument("--steps", type=int, help="of training, in place of the minutes")
    parser.add_argument("--pairs", type=int, default=50, help="a direction")
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument("--out", type=Path, default=Path("runs/data_efficiency"))
    parser.add_argument("--records", type=Path, help="folder of the records, if not --out")
    parser.add_argument("--dry-run", action="store_true", help="list the runs and what they cost")
    parser.add_argument(
        "--table", action="store_true", help="print the records' table, run nothing"
    )
    chosen = parser.parse_args()
    if chosen.data is None and not chosen.table:
        parser.error("--data: expected the folder of the data sets, got none; name it.")
    if chosen.threads is not None and chosen.threads < 1:
        parser.error(f"--threads: expected at least 1, got {chosen.threads}.")
    return chosen


def main() -> None:
    """Run what is not in the records yet, and print what they say."""
    chosen = arguments()
    console = Console(width=120)
    folder = chosen.records or chosen.out
    if chosen.threads is not None:
        torch.set_num_threads(chosen.threads)
    if not chosen.table:
        training = TrainingSettings(minutes=chosen.minutes, steps=chosen.steps)
        for study in (study for study in STUDIES if study.set in chosen.set):
            work(console, chosen, folder, study, training)
    if not chosen.dry_run:
        show(console, folder)


def work(
    console: Console,
    chosen: argparse.Namespace,
    folder: Path,
    study: Study,
    training: TrainingSettings,
) -> None:
    """All runs of one study, or their list and cost."""
    path = folder / f"{study.set}.jsonl"
    parts = read_parts(chosen.data / study.set, study.modalities)
    pairs = listed(study, chosen.pairs)
    planned, seconds = tasks(study, training, chosen.seeds, chosen.pairs), 0.0
    stands = records.done(path)
    for number, task in enumerate(planned, 1):
        if chosen.dry_run:
            scenes = part_of(study, parts.train, task.amount, training.patch_size)
            key = records.run_key(task.settings(fingerprint([*scenes, *parts.test])))
            cost = 0.0 if key in stands else task.expected_seconds
            seconds += cost
            became = f"about {cost:.0f} s" if cost else "stands in the records"
        else:
            became = run(task, parts, pairs, path, chosen.out / "models")
        console.print(f"  {number}/{len(planned)} {task.label}: {became}", highlight=False)
    if chosen.dry_run:
        console.print(f"{study.set}: {len(planned)} runs, about {seconds / 60:.0f} minutes to go.")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as mistake:  # one sentence that says what to do; no traceback
        sys.exit(f"data_efficiency: {mistake}")
