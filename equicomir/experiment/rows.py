"""What the records of an experiment hold: the runs of each variant, and a line of a table each."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from equicomir.evaluation import records
from equicomir.evaluation.displacements import TestPair
from equicomir.evaluation.records import Record, successes
from equicomir.evaluation.statistics import rate
from equicomir.experiment.plan import CLAIMED, Budget, Experiment, tasks
from equicomir.experiment.sets import DataSet
from equicomir.experiment.standing import standing

#: Set, width and variant, and the runs that stand there, one a seed.
Runs = dict[tuple[str, int, str], list[Record]]

_RESULTS = ("corner_error", "seconds", "failure")


@dataclass(frozen=True)
class Row:
    """One variant on one set and width; all but ``by_level`` at the level of the claims.

    Attributes:
        data_set: its name.
        width: in pixels.
        variant: its name.
        seeds: how many training seeds.
        pairs: a seed.
        success: rate at 2 % of the width, over seeds and pairs.
        precise: likewise at 1 and 0.5 %.
        corner_error: median of the successes, in pixels; NaN without any.
        equivariance_error: mean over modalities, angles and seeds.
        detail: :func:`equicomir.evaluation.detail.detail`, mean over seeds; empty for raw images.
        seconds: median of a registration, representations included.
        training_seconds: mean.
        interval: of the success, 95 % over seeds and units.
        each_way: success where each modality in turn is fixed, by its name.
        by_seed: success of each training seed, in order.
        by_level: success at each level that was run.
        training: what was learned from what and how, whatever the seed; empty for raw images.
    """

    data_set: str
    width: int
    variant: str
    seeds: int
    pairs: int
    success: float
    precise: tuple[float, float]
    corner_error: float
    equivariance_error: float
    detail: dict[str, float]
    seconds: float
    training_seconds: float
    interval: tuple[float, float] = (0.0, 1.0)
    each_way: dict[str, float] = field(default_factory=dict)
    by_seed: tuple[float, ...] = ()
    by_level: dict[str, float] = field(default_factory=dict)
    training: str = ""

    @property
    def coherence(self) -> float:
        """Of fine detail, between the two representations; NaN for raw images."""
        return self.detail.get("coherence_between", np.nan)


def seed_of(run: Record) -> int | None:
    """The training seed of a run; None where nothing was trained."""
    training = run["settings"]["training"]
    return None if run["settings"]["encoder"] is None else int(training["seed"])


def pair_of(line: Record) -> TestPair:
    """The pair that an entry of a record's ``pairs`` is about, without what became of it."""
    return TestPair(**{k: v for k, v in line.items() if k not in _RESULTS})


def runs_of(experiment: Experiment, sets: Sequence[DataSet], budget: Budget, path: Path) -> Runs:
    """The records that this budget asks for, by set, width and variant, in order of seeds.

    Records of other settings, such as another budget's, are left out; so are the data's
    fingerprints, of which there is one a file.

    Args:
        experiment: as its script states it.
        sets: on which.
        budget: of the runs.
        path: of the records.

    Returns:
        Records one a seed, where there are any.

    Raises:
        ValueError: the file is damaged, or holds runs of two versions of a set.
    """
    stands = standing(path, data="")
    found: Runs = {}
    versions: dict[tuple[str, tuple[str, ...]], str] = {}
    for task in tasks(experiment, sets, budget):
        for name, registration in task.registrations:
            for width in task.data_set.widths:
                record = stands.get(records.run_key(task.evaluated("", registration, width)))
                if record is None:
                    continue
                data = str(record["settings"]["data"])
                if versions.setdefault((task.data_set.name, task.modalities), data) != data:
                    raise ValueError(
                        f"{path}: expected runs of one version of {task.data_set.name}, got two; "
                        f"keep the runs of one in the file."
                    )
                found.setdefault((task.data_set.name, width, name), []).append(record)
    return found


def at_level(run: Record, level: str = CLAIMED) -> Record:
    """A run with its pairs of one level alone."""
    return {**run, "pairs": [pair for pair in run["pairs"] if pair["level"] == level]}


def row(place: tuple[str, int, str], runs: Sequence[Record], data_set: DataSet) -> Row:
    """The line of a table for one variant on one set and width.

    Args:
        place: set, width and variant.
        runs: one a training seed.
        data_set: says which pairs are of one unit.

    Returns:
        The line.
    """
    name, width, variant = place
    claimed = [at_level(run) for run in runs]
    errors = np.array(
        [
            [
                np.inf if pair["corner_error"] is None else pair["corner_error"]
                for pair in run["pairs"]
            ]
            for run in claimed
        ]
    )
    succeeded = errors <= 0.02 * width
    found = rate(succeeded.astype(float), data_set.units_of(_pairs(claimed[0])))
    of_turns = [list(run.get("equivariance_error", {"raw": [np.nan]}).values()) for run in runs]
    return Row(
        name,
        width,
        variant,
        len(runs),
        errors.shape[1],
        found.estimate,
        (float((errors <= 0.01 * width).mean()), float((errors <= 0.005 * width).mean())),
        float(np.median(errors[succeeded])) if succeeded.any() else np.nan,
        float(np.mean(of_turns)),
        _means([run.get("detail", {}) for run in runs]),
        float(np.median([pair["seconds"] for run in claimed for pair in run["pairs"]])),
        float(np.mean([run.get("training_seconds", 0.0) for run in runs])),
        (found.low, found.high),
        _shares(claimed, "fixed"),
        tuple(succeeded.mean(1).tolist()),
        _shares(runs, "level"),
        _training(runs[0]),
    )


def _training(run: Record) -> str:
    settings = run["settings"]
    if settings["encoder"] is None:
        return ""
    told = {name: settings[name] for name in ("set", "modalities", "lacking", "encoder")}
    training = {name: value for name, value in settings["training"].items() if name != "seed"}
    return records.run_key({**told, "training": training})


def _pairs(run: Record) -> list[TestPair]:
    return [pair_of(pair) for pair in run["pairs"]]


def _shares(runs: Sequence[Record], what: str) -> dict[str, float]:
    """Success by a property of the pairs."""
    good = successes(runs).mean(0)
    of_pair = np.array([pair[what] for pair in runs[0]["pairs"]])
    return {name: float(good[of_pair == name].mean()) for name in dict.fromkeys(of_pair.tolist())}


def _means(of_runs: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in of_runs])) for name in of_runs[0]}
