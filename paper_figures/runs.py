"""What experiments left in the records: their runs, by set, width and variant.

Every figure of experiments reads through here, so that all draw the same runs: those of the budget
that the experiment states, the full one where a set has it, and of no other; and so that a record
that is missing is named with the one command that makes it.
"""

import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from equicomir.evaluation import records
from equicomir.evaluation.records import Record
from equicomir.evaluation.verdicts import FEWEST_UNITS
from equicomir.experiment.plan import Budget, Experiment, tasks
from equicomir.experiment.rows import pair_of, runs_of
from equicomir.experiment.sets import EMBEDDED, SETS, DataSet
from equicomir.experiment.verdict import ROOM

#: Folder of the records of an experiment: the script that makes them.
SCRIPTS = {
    "h0_orderings": "h0_orderings",
    "h1": "h1_extra_layers",
    "h2": "h2_third_modality",
    "h3": "h3_structure_penalties",
    "h4": "h4_augmentation",
    "h5": "h5_high_pass",
    "h6": "h6_rotation_groups",
    "h7": "h7_one_filter",
}
#: What is independent in the test part of a set, in words.
UNITS = {
    "scenes": "scenes",
    "blocks": "blocks of one field",
    "runs": "runs of neighbouring slices of one patient",
}
_EXPERIMENTS = Path(__file__).parent.parent / "experiments"


@dataclass(frozen=True)
class Standing:
    """The runs of one experiment on one set.

    Attributes:
        experiment: as its script states it.
        data_set: on which.
        budget: of all these runs.
        runs: by set, width and variant, one a training seed, as :func:`runs_of` gives them.
        path: of the records.
    """

    experiment: Experiment
    data_set: DataSet
    budget: Budget
    runs: dict[tuple[str, int, str], list[Record]]
    path: Path

    def at(self, width: int) -> dict[str, list[Record]]:
        """The runs at one width, by variant."""
        return {variant: of for (_, w, variant), of in self.runs.items() if w == width}

    @property
    def spent(self) -> str:
        """What each training was given, in words."""
        return f"{self.budget.steps} steps"


def stated(folder: str) -> Experiment:
    """What the script of an experiment states.

    Args:
        folder: of :data:`SCRIPTS`.
    """
    path = _EXPERIMENTS / f"{SCRIPTS[folder]}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise OSError(f"{path}: expected the script of an experiment, found none.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Experiment = module.EXPERIMENT
    return found


def command(folder: str, of_records: Path, data_set: str = "") -> str:
    """What makes the records of an experiment."""
    where = f" --set {data_set}" if data_set else ""
    script = f"experiments/{SCRIPTS[folder]}.py"
    return f"python {script} --data DATA{where} --out {of_records / folder}"


def standing(of_records: Path, folders: Iterable[str] = tuple(SCRIPTS)) -> list[Standing]:
    """What stands of the experiments: of each set, the runs of the budget of which most have run.

    Args:
        of_records: folder of all records.
        folders: of :data:`SCRIPTS`.

    Raises:
        ValueError: none of them has a run, or a file is damaged.
    """
    folders = list(folders)
    found = []
    for folder in folders:
        path = of_records / folder / "records.jsonl"
        lines = records.read(path)
        names = {line["settings"]["set"] for line in lines if "settings" in line}
        for data_set in (one for one in (*SETS, EMBEDDED) if one.name in names):
            found += _on_one(folder, data_set, path)
    if not found:
        wanted = f"any of {', '.join(folders)}" if len(folders) > 1 else folders[0]
        raise ValueError(
            f"{of_records}: expected the records of {wanted}, in the budget that the script "
            f"states, found none; run {command(folders[-1], of_records)}."
        )
    return found


def _on_one(folder: str, data_set: DataSet, path: Path) -> list[Standing]:
    """A first run of the full budget does not hide a default that is complete."""
    experiment = stated(folder)
    found = list[tuple[float, Standing]]()
    for budget in (experiment.full, experiment.default):
        runs = runs_of(experiment, [data_set], budget, path)
        if runs:
            planned = tasks(experiment, [data_set], budget)
            asked = sum(len(task.registrations) for task in planned) * len(data_set.widths)
            share = sum(map(len, runs.values())) / asked
            found.append((share, Standing(experiment, data_set, budget, runs, path)))
    return [max(found, key=lambda one: one[0])[1]] if found else []


def data_set_of(name: str) -> DataSet:
    """What is known of a set.

    Raises:
        ValueError: nothing is.
    """
    for one in (*SETS, EMBEDDED):
        if one.name == name:
            return one
    raise ValueError(f"{name}: expected a set of {', '.join(s.name for s in SETS)}.")


def roomiest(rates: dict[int, float], units: dict[int, int]) -> int:
    """Of several widths the one at which two methods can differ, and be told apart.

    Args:
        rates: of success, by width.
        units: how many, likewise: where there are too few to decide, only if there are everywhere.

    Example:
        >>> roomiest({64: 0.99, 128: 0.6, 192: 0.55}, {64: 9, 128: 10, 192: 3})
        128
    """
    return min(
        rates,
        key=lambda width: (
            units[width] < FEWEST_UNITS,
            abs(rates[width] - float(np.mean(ROOM))),
            width,
        ),
    )


def units_of(runs: Sequence[Record], data_set: DataSet) -> list[str]:
    """The independent unit of each pair of runs of one list."""
    return data_set.units_of([pair_of(pair) for pair in runs[0]["pairs"]])


def seeds_in_words(counts: Iterable[int]) -> str:
    """How many training seeds several variants have, for a caption.

    Example:
        >>> seeds_in_words([3, 3, 2]), seeds_in_words([1, 1])
        ('2 to 3 training seeds', '1 training seed')
    """
    each = list(counts)
    least, most = min(each), max(each)
    some = f"{least} to {most}" if least < most else f"{most}"
    return f"{some} training seed{'' if most == 1 else 's'}"
