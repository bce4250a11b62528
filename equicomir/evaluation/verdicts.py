"""Verdicts of a family of comparisons: supported, refuted or inconclusive, adjusted by Holm."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from equicomir.evaluation.statistics import Difference
from equicomir.shapes import Array

#: Fewer training seeds than these decide nothing.
FEWEST_SEEDS = 3
#: Fewer independent units (scenes, blocks) than these decide nothing.
FEWEST_UNITS = 5

_ROUNDING = 1e-9  # p-values are whole numbers of resamples and are met exactly


def holm(p_values: Sequence[float] | Array) -> Array:
    """Holm's step-down adjustment: rejecting those at most alpha errs anywhere in at most alpha.

    Args:
        p_values: one a hypothesis of the family, in [0, 1]; dependent as they may be.

    Returns:
        Adjusted p-values in the order given: the k-th smallest of m times ``m - k + 1``, at least
        the one before, at most 1.

    Raises:
        ValueError: a value is not in [0, 1].

    Example:
        >>> holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]

    Source:
        Holm 1979, Scandinavian Journal of Statistics 6, 65-70, jstor 4615733.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p_values: expected a list of numbers in [0, 1], got {p_values}.")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted: Array = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


@dataclass(frozen=True)
class Judgement:
    """What a family of comparisons says of one of them.

    Attributes:
        verdict: "supported", "refuted", "inconclusive" or "inconclusive: too small".
        low: lower end of its interval, simultaneous within the family.
        high: upper end.
        p_value: Holm-adjusted, of the hypothesis that the difference is the smallest that matters.
        reason: why the experiment is too small, or empty.
    """

    verdict: str
    low: float
    high: float
    p_value: float
    reason: str = ""


def judge(
    differences: Sequence[Difference],
    smallest_effects: Sequence[float],
    *,
    family: int | None = None,
    level: float = 0.95,
) -> list[Judgement]:
    """Verdicts on a family of comparisons: a wrong one anywhere in at most 1 - level.

    Supported: the whole interval lies above the smallest effect that matters; refuted: below it.
    For m comparisons and alpha = 1 - level, Holm's procedure runs once over the hypotheses "not
    above the effect" and once over "not below it", each at alpha / 2 with one-sided p-values, so
    that wrong directions are errors too. Where one of the two leaves r undecided, the ends of
    their intervals on that side are those of single intervals of level 1 - alpha / r, and the ends
    of decided ones are the effect itself, which is all that the r leave to be said; where r = 0,
    ends are those of level 1 - alpha / m, cut at the effect. An end at the effect is open. The
    lower end comes from the first run, the upper end from the second. All intervals together hold
    with probability ``level``.

    Args:
        differences: all that were planned as one family, or those of them that were made.
        smallest_effects: of each, the smallest that would matter, stated before the experiment.
        family: how many were planned, where not all were made: the others are undecided.
        level: of the family, in (0, 1).

    Returns:
        One judgement a difference, in order.

    Raises:
        ValueError: none, not as many effects, a family smaller than that, or a level that is none.

    Example:
        >>> clear = Difference(0.4, 3, 8, 8.0, 100, 0.6, np.arange(1, 200) / 1000)
        >>> unclear = Difference(0.1, 3, 8, 8.0, 100, 0.6, np.arange(1, 200) / 1000)
        >>> [found.verdict for found in judge([clear, unclear], [0.05, 0.05])]
        ['supported', 'inconclusive']

    Source:
        Strassburger and Bretz 2008, doi 10.1002/sim.3338: intervals that agree with Holm's steps.
    """
    if len(smallest_effects) != len(differences) or not differences:
        raise ValueError(
            f"smallest_effects: expected one a difference and at least one, got "
            f"{len(smallest_effects)} for {len(differences)}."
        )
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, got {level}.")
    missing = 0 if family is None else family - len(differences)
    if missing < 0:
        raise ValueError(f"family: expected at least {len(differences)}, got {family}.")
    planned = list(zip(differences, smallest_effects, strict=True))
    low_above, p_above = _one_side(planned, 1, missing, level)
    high_below, p_below = _one_side(planned, -1, missing, level)
    found = []
    for index, (each, effect) in enumerate(planned):
        reason = _too_few(each)
        if reason:
            verdict = "inconclusive: too small"
        elif p_above[index] <= 1 - level + _ROUNDING:
            verdict = "supported"
        elif p_below[index] <= 1 - level + _ROUNDING:
            verdict = "refuted"
        else:
            reason = _no_room(each, effect, level)
            verdict = "inconclusive: too small" if reason else "inconclusive"
        low, high = effect + low_above[index], effect - high_below[index]
        p_value = float(min(1.0, p_above[index], p_below[index]))
        found.append(Judgement(verdict, low, high, p_value, reason))
    return found


def _one_side(
    planned: Sequence[tuple[Difference, float]], side: int, missing: int, level: float
) -> tuple[list[float], Array]:
    """How far the near ends lie beyond the effects on one side, and twice the adjusted p-values."""
    gaps = [side * (each.estimate - effect) for each, effect in planned]
    halves = [each.p_value(effect) / 2 for each, effect in planned]
    one_sided = [p if gap > 0 else 1 - p for p, gap in zip(halves, gaps, strict=True)]
    adjusted: Array = 2 * holm([*one_sided, *[1.0] * missing])[: len(planned)]
    decided = adjusted <= 1 - level + _ROUNDING
    undecided = int((~decided).sum()) + missing
    single_level = 1 - (1 - level) / (undecided or len(planned))
    ends = []
    for (each, _), gap, settled in zip(planned, gaps, decided, strict=True):
        end = gap - each.half_width(single_level)
        if settled:
            end = 0.0 if undecided else max(0.0, end)
        ends.append(end)
    return ends, adjusted


def _too_few(found: Difference) -> str:
    """Why nothing can be said from so few seeds or units, or nothing."""
    if 0 < found.seeds < FEWEST_SEEDS:
        return f"{found.seeds} training seeds, and fewer than {FEWEST_SEEDS} decide nothing"
    if found.units < FEWEST_UNITS:
        return f"{found.units} independent units, and fewer than {FEWEST_UNITS} decide nothing"
    return ""


def _no_room(found: Difference, effect: float, level: float) -> str:
    """Why even the best result could not have been told from the effect, or nothing."""
    half = found.half_width(level)
    if effect + half < found.room:
        return ""
    return (
        f"the interval reaches {half:.3g} to each side, so a difference would have to be above "
        f"{effect + half:.3g} to be supported, and the reference leaves room for {found.room:.3g}"
    )
