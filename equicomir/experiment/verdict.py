"""What the records of an experiment say of its comparisons: differences, intervals, verdicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from equicomir.evaluation.records import Record, successes
from equicomir.evaluation.statistics import Difference, difference
from equicomir.evaluation.verdicts import FEWEST_UNITS, Judgement, judge
from equicomir.experiment.plan import Comparison, Experiment
from equicomir.experiment.rows import Runs, at_level, pair_of, seed_of
from equicomir.experiment.sets import DataSet
from equicomir.shapes import Array

#: Where the reference succeeds less or more often, two methods are not compared.
ROOM = (0.3, 0.8)
UNFINISHED = "inconclusive: unfinished"


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
        detail: difference of the coherence of fine detail between the two representations, and half
            of its own 95 % interval over training seeds; None without representations or with a
            single seed. It has no verdict.
    """

    data_set: DataSet
    width: int
    comparison: Comparison
    found: Difference
    judgement: Judgement
    reference: float
    detail: tuple[float, float] | None = None


def judged(
    experiment: Experiment,
    sets: Sequence[DataSet],
    runs: Runs,
    *,
    seeds: Mapping[str, int] | None = None,
) -> list[Judged]:
    """Every comparison on every set, at the level of the claims, as one family.

    Each is made at the width of the set at which its reference leaves most room: of those with
    units enough to decide, the one where its success is nearest to 55 %. Where that is not within
    30 to 80 % the comparison is there to be read, and not judged. (That the width is chosen on the
    same pairs favours one at which the reference came near 55 % by luck.) The family is what was
    planned: all comparisons on all sets that the experiment names, whether they have run or not.

    Args:
        experiment: as its script states it.
        sets: on which.
        runs: as :func:`equicomir.experiment.rows.runs_of` gives them.
        seeds: how many were planned on each set, by its name: with fewer, nothing is decided yet.

    Returns:
        One a comparison and set, where both variants have runs.

    Raises:
        ValueError: the pairs of two runs are not of one list.
    """
    made = []
    for data_set in sets:
        for comparison in experiment.comparisons:
            chosen = _at_best_width(data_set, comparison, runs)
            if chosen is not None:
                width, better, than = chosen
                units = data_set.units_of([pair_of(pair) for pair in better[0]["pairs"]])
                first, second = (_by_seed(of) for of in (better, than))
                found = difference(
                    first, second, units, greatest=1.0, generator=np.random.default_rng(0)
                )
                reference = float(second.mean())
                detail = _difference_of_detail(better, than)
                made.append((data_set, width, comparison, found, reference, detail))
    if not made:
        return []
    names = {*experiment.sets, *(one.name for one in sets)}
    judgements = judge(
        [m[3] for m in made],
        [m[2].by for m in made],
        family=len(experiment.comparisons) * len(names),
    )
    return [
        Judged(
            data_set,
            width,
            comparison,
            found,
            _finished(said, found, (seeds or {}).get(data_set.name, 0)),
            reference,
            detail,
        )
        for (data_set, width, comparison, found, reference, detail), said in zip(
            made, judgements, strict=True
        )
    ]


def _finished(said: Judgement, found: Difference, seeds: int) -> Judgement:
    """No verdict before all has run: who looks after every seed finds something at last."""
    if not 0 < found.seeds < seeds:
        return said
    reason = f"{found.seeds} of {seeds} seeds"
    return replace(said, verdict=UNFINISHED, reason=reason)


def _at_best_width(
    data_set: DataSet, comparison: Comparison, runs: Runs
) -> tuple[int, list[Record], list[Record]] | None:
    candidates = []
    for width in data_set.compared_widths:
        better, than = (
            [at_level(run) for run in runs.get((data_set.name, width, name), [])]
            for name in (comparison.better, comparison.than)
        )
        if better and than:
            better, than = _same_pairs(*_same_seeds(better, than))
        if better and than:
            off = abs(float(successes(than).mean()) - float(np.mean(ROOM)))
            units = set(data_set.units_of([pair_of(pair) for pair in than[0]["pairs"]]))
            candidates.append((len(units) < FEWEST_UNITS, off, width, better, than))
    if not candidates:
        return None
    _, _, width, better, than = min(candidates, key=lambda c: c[:3])
    return width, better, than


def _same_seeds(better: list[Record], than: list[Record]) -> tuple[list[Record], list[Record]]:
    """Those that both have; raw images, which have none, stand against all."""
    of_better, of_than = ({seed_of(run): run for run in of} for of in (better, than))
    if None in of_better or None in of_than:
        return better, than
    both = sorted({seed for seed in of_better if seed in of_than}, key=lambda seed: seed or 0)
    return [of_better[seed] for seed in both], [of_than[seed] for seed in both]


def _same_pairs(better: list[Record], than: list[Record]) -> tuple[list[Record], list[Record]]:
    """Those that all were given: a slow method is given fewer."""
    of_run = [{pair_of(pair): pair for pair in run["pairs"]} for run in (*better, *than)]
    common = [pair for pair in (of_run[0] if of_run else ()) if all(pair in of for of in of_run)]
    if of_run and not common:
        raise ValueError("pairs: expected two runs of one list, got none that both have.")
    kept = [
        {**run, "pairs": [of[pair] for pair in common]}
        for run, of in zip((*better, *than), of_run, strict=True)
    ]
    return kept[: len(better)], kept[len(better) :]


def _by_seed(runs: list[Record]) -> Array:
    """(seeds, pairs); (pairs,) of raw images."""
    found: Array = successes(runs)
    return found[0] if seed_of(runs[0]) is None else found


def _difference_of_detail(
    better: Sequence[Record], than: Sequence[Record]
) -> tuple[float, float] | None:
    """Mean over seeds, and half of Student's interval."""
    runs = (*better, *than)
    if len(better) != len(than) or len(better) < 2 or not all("detail" in run for run in runs):
        return None
    first, second = (
        np.array([run["detail"]["coherence_between"] for run in of]) for of in (better, than)
    )
    gaps = first - second
    half = stats.t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / np.sqrt(len(gaps))
    return float(gaps.mean()), float(half)


def has_room(one: Judged) -> bool:
    """Whether the reference leaves room to either side, so that a verdict says something."""
    return ROOM[0] <= one.reference <= ROOM[1]


def sentence(one: Judged) -> str:
    """The verdict in words, with its interval.

    The interval is simultaneous within the family, that of the detail is not.
    """
    c, found = one.comparison, one.found
    where = f"{one.data_set.name}, {one.width} px"
    said = one.judgement.verdict
    if not has_room(one):
        said = (
            f"inconclusive: {c.than} succeeds in {100 * one.reference:.0f} %, outside the "
            f"{100 * ROOM[0]:.0f} to {100 * ROOM[1]:.0f} % at which two are compared"
        )
    elif said == UNFINISHED:
        said = f"{said}, {one.judgement.reason}"
    elif one.data_set.within and said in ("supported", "refuted"):
        said = f"{said} {one.data_set.within}"
    # No difference of two rates is greater, whatever three seeds leave possible.
    low, high = (min(100, max(-100, 100 * end)) for end in (one.judgement.low, one.judgement.high))
    detail = ""
    if one.detail is not None:
        detail = f", detail {one.detail[0]:+.3f} (± {one.detail[1]:.3f} over seeds)"
    return (
        f"{where}: {c.better} over {c.than} by {100 * found.estimate:+.0f} points "
        f"({low:+.0f} to {high:+.0f}; asked: "
        f"{100 * c.by:+.0f}), {found.seeds} seeds, {found.units} units worth "
        f"{found.worth:.1f}{detail}: {said}"
    )
