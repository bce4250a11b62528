"""Success of one method against how near it must come, and against how far it must turn.

The points and bands of figure 3. Pairs of a method are counted over all its seeds; what is
uncertain is told by the protocol's own bootstrap.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from methods import Method
from runs import units_of

from equicomir.evaluation.records import successes
from equicomir.evaluation.statistics import Rate, rate
from equicomir.shapes import Array

THRESHOLDS = np.geomspace(0.25, 20, 39)  # % of the width
_RESAMPLES = 1999  # of each point of a band
EDGES = (0.0, 45.0, 90.0, 135.0, 180.0)  # degrees, of the ranges of rotations


@dataclass(frozen=True)
class Curve:
    """Success of one method in %, with its band.

    Attributes:
        x: thresholds in % of the width, or mean rotations in degrees.
        success: of all pairs, or of those in each range of rotations.
        low: lower end of the band.
        high: upper end.
    """

    x: list[float]
    success: list[float]
    low: list[float]
    high: list[float]


def by_threshold(method: Method) -> Curve:
    """Success against the greatest corner error that counts."""
    units = units_of(method.runs, method.data_set)
    points = [
        (threshold, successes(method.runs, fraction=threshold / 100)) for threshold in THRESHOLDS
    ]
    return _curve(points, units)


def by_rotation(method: Method) -> Curve:
    """Success against the rotation between the images, at 2 % of the width."""
    units = np.array(units_of(method.runs, method.data_set))
    good = successes(method.runs)
    turned = np.abs([pair["rotation_degrees"] for pair in method.runs[0]["pairs"]])
    at = np.clip(np.digitize(turned, EDGES), 1, len(EDGES) - 1)
    found = []
    for place in range(1, len(EDGES)):
        inside = at == place
        if inside.any():
            found.append((turned[inside].mean(), good[:, inside], units[inside].tolist()))
    return _joined([_curve([(x, of)], of_units) for x, of, of_units in found])


def _spread(units: Sequence[str], one: Rate) -> tuple[float, float]:
    """The ends of an interval in %; NaN, and not drawn, where a single unit shows no spread."""
    if len(set(units)) == 1:
        return np.nan, np.nan
    return 100 * one.low, 100 * one.high


def _curve(points: Sequence[tuple[float, Array]], units: Sequence[str]) -> Curve:
    rates = [rate(good, units, resamples=_RESAMPLES) for _, good in points]
    ends = [_spread(units, one) for one in rates]
    return Curve(
        [float(x) for x, _ in points],
        [100 * one.estimate for one in rates],
        [low for low, _ in ends],
        [high for _, high in ends],
    )


def _joined(curves: Sequence[Curve]) -> Curve:
    return Curve(
        *(
            [value for one in curves for value in getattr(one, name)]
            for name in ("x", "success", "low", "high")
        )
    )
