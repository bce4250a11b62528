"""What the records of an experiment say: a table a set and width, and the verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from equicomir.evaluation import records
from equicomir.evaluation.displacements import TestPair
from equicomir.evaluation.records import Record, successes
from equicomir.evaluation.statistics import Difference, difference
from equicomir.evaluation.verdicts import FEWEST_UNITS, Judgement, judge
from equicomir.experiment.plan import Budget, Comparison, Experiment, tasks
from equicomir.experiment.sets import DataSet
from equicomir.experiment.standing import standing

#: Where the reference succeeds less or more often, neither of two methods can win.
ROOM = (0.3, 0.8)

_RESULTS = ("corner_error", "seconds", "failure")


@dataclass(frozen=True)
class Row:
    """One variant on one set and width.

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

    @property
    def coherence(self) -> float:
        """Of fine detail, between the two representations; NaN for raw images."""
        return self.detail.get("coherence_between", np.nan)


@dataclass(frozen=True)
class Judged:
    """A comparison on one set, at one width, with what is to be said of it.

    Attributes:
        data_set: on which.
        width: of the patches, in pixels.
        comparison: which variants.
        found: the difference, with its interval.
        judgement: what follows from it.
        reference: success of the variant that is compared with, as a fraction.
    """

    data_set: DataSet
    width: int
    comparison: Comparison
    found: Difference
    judgement: Judgement
    reference: float


def runs_of(
    experiment: Experiment, sets: Sequence[DataSet], budget: Budget, path: Path
) -> dict[tuple[str, int, str], list[Record]]:
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
        ValueError: the file is damaged.
    """
    stands = standing(path, data="")
    found: dict[tuple[str, int, str], list[Record]] = {}
    for task in tasks(experiment, sets, budget):
        for name, registration in task.registrations:
            for width in task.data_set.widths:
                record = stands.get(records.run_key(task.evaluated("", registration, width)))
                if record is not None:
                    found.setdefault((task.data_set.name, width, name), []).append(record)
    return found


def row(place: tuple[str, int, str], runs: Sequence[Record]) -> Row:
    """The line of a table for one variant on one set and width.

    Args:
        place: set, width and variant.
        runs: one a training seed.

    Returns:
        The line.
    """
    data_set, width, variant = place
    errors = np.array(
        [
            [
                np.inf if pair["corner_error"] is None else pair["corner_error"]
                for pair in run["pairs"]
            ]
            for run in runs
        ]
    )
    good = errors[errors <= 0.02 * width]
    of_turns = [list(run.get("equivariance_error", {"raw": [np.nan]}).values()) for run in runs]
    return Row(
        data_set,
        width,
        variant,
        len(runs),
        errors.shape[1],
        float((errors <= 0.02 * width).mean()),
        (float((errors <= 0.01 * width).mean()), float((errors <= 0.005 * width).mean())),
        float(np.median(good)) if good.size else np.nan,
        float(np.mean(of_turns)),
        _means([run.get("detail", {}) for run in runs]),
        float(np.median([pair["seconds"] for run in runs for pair in run["pairs"]])),
        float(np.mean([run.get("training_seconds", 0.0) for run in runs])),
    )


def _means(of_runs: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in of_runs])) for name in of_runs[0]}


def judged(
    experiment: Experiment,
    sets: Sequence[DataSet],
    runs: dict[tuple[str, int, str], list[Record]],
) -> list[Judged]:
    """Every comparison on every set, as one family.

    Each is made at the width of the set at which its reference leaves most room: of those with
    units enough to decide, the one where its success is nearest to 55 %. Where that is not within
    30 to 80 % the comparison is there to be read, and not judged.

    Args:
        experiment: as its script states it.
        sets: on which.
        runs: as :func:`runs_of` gives them.

    Returns:
        One a comparison and set, where both variants have runs.
    """
    planned = []
    for data_set in sets:
        for comparison in experiment.comparisons:
            chosen = _at_best_width(data_set, comparison, runs)
            if chosen is not None:
                width, better, than = chosen
                units = data_set.units_of([pair_of(pair) for pair in better[0]["pairs"]])
                first, second = np.split(successes([*better, *than]), [len(better)])
                # Raw images have no seeds: one run stands against all.
                first, second = (
                    x[0] if run["settings"]["encoder"] is None else x
                    for x, run in ((first, better[0]), (second, than[0]))
                )
                found = difference(
                    first, second, units, greatest=1.0, generator=np.random.default_rng(0)
                )
                planned.append((data_set, width, comparison, found, float(second.mean())))
    if not planned:
        return []
    judgements = judge([p[3] for p in planned], [p[2].by for p in planned])
    return [
        Judged(data_set, width, comparison, found, said, reference)
        for (data_set, width, comparison, found, reference), said in zip(
            planned, judgements, strict=True
        )
    ]


def _at_best_width(
    data_set: DataSet, comparison: Comparison, runs: dict[tuple[str, int, str], list[Record]]
) -> tuple[int, list[Record], list[Record]] | None:
    candidates = []
    for width in data_set.widths:
        better, than = (
            runs.get((data_set.name, width, name), [])
            for name in (comparison.better, comparison.than)
        )
        if better and than:
            raw = any(of[0]["settings"]["encoder"] is None for of in (better, than))
            seeds = max(len(better), len(than)) if raw else min(len(better), len(than))
            better, than = better[:seeds], than[:seeds]
            off = abs(float(successes(than).mean()) - float(np.mean(ROOM)))
            units = set(data_set.units_of([pair_of(pair) for pair in than[0]["pairs"]]))
            candidates.append((len(units) < FEWEST_UNITS, off, width, better, than))
    if not candidates:
        return None
    _, _, width, better, than = min(candidates, key=lambda c: c[:3])
    return width, better, than


def pair_of(line: Record) -> TestPair:
    """The pair that an entry of a record's ``pairs`` is about, without what became of it."""
    return TestPair(**{k: v for k, v in line.items() if k not in _RESULTS})


def has_room(one: Judged) -> bool:
    """Whether the reference leaves room to either side, so that a verdict says something."""
    return ROOM[0] <= one.reference <= ROOM[1]


def sentence(one: Judged) -> str:
    """The verdict in words, with its interval.

    The interval is simultaneous within the family.
    """
    c, found = one.comparison, one.found
    where = f"{one.data_set.name}, {one.width} px"
    said = one.judgement.verdict
    if not has_room(one):
        said = f"inconclusive: {c.than} succeeds in {100 * one.reference:.0f} %, no room to compare"
    elif one.data_set.within and said in ("supported", "refuted"):
        said = f"{said} {one.data_set.within}"
    return (
        f"{where}: {c.better} over {c.than} by {100 * found.estimate:+.0f} points "
        f"({100 * one.judgement.low:+.0f} to {100 * one.judgement.high:+.0f}; asked: "
        f"{100 * c.by:+.0f}), {found.seeds} seeds, {found.units} units: {said}"
    )
