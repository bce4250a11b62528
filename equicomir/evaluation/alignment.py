"""How far from the truth a registration ends, pair by pair and over a list."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from equicomir.evaluation.displacements import TestPair, cut_pair
from equicomir.geometry import corners, transform_points
from equicomir.images.pairs import Scene
from equicomir.shapes import Array, ArrayMask, Matrix

#: A corner error of at most this fraction of the width is a success.
SUCCESS_FRACTION = 0.02


def corner_error(truth: Matrix, found: Matrix, width: int) -> float:
    """Mean distance, in pixels, between the corners mapped by the two transforms.

    Args:
        truth: 3 x 3, from moving to fixed.
        found: likewise.
        width: of the patches, in pixels.

    Returns:
        In pixels.

    Example:
        >>> from equicomir.geometry import rigid
        >>> corner_error(np.eye(3), rigid(0, (3, 4)), 64)
        5.0
    """
    points = corners(width, width)
    gap = transform_points(truth, points) - transform_points(found, points)
    return float(np.linalg.norm(gap, axis=1).mean())


#: Takes fixed, moving, moving mask, and the names of both modalities; gives the matrix.
Method = Callable[[Array, Array, ArrayMask, tuple[str, str]], Matrix]


@dataclass(frozen=True)
class Outcome:
    """What one method made of one pair.

    Attributes:
        pair: the line of the list.
        corner_error: in pixels; infinite where the method raised.
        seconds: wall time of the method.
        failure: the message of what it raised, or empty.
    """

    pair: TestPair
    corner_error: float
    seconds: float
    failure: str = ""

    @property
    def success(self) -> bool:
        """Whether the corner error is at most 2 % of the width."""
        return self.corner_error <= SUCCESS_FRACTION * self.pair.width


def evaluate(method: Method, pairs: Sequence[TestPair], scenes: Sequence[Scene]) -> list[Outcome]:
    """Run a method over the list; one that raises has failed that pair.

    Args:
        method: sees the two patches, the mask and the modalities' names, and nothing else.
        pairs: the list.
        scenes: of the test part.

    Returns:
        One outcome a pair, in the list's order.

    Source:
        Lu et al., PLOS ONE 2022, doi 10.1371/journal.pone.0276196; but a failure counts as one.
    """
    by_name = {scene.name: scene for scene in scenes}
    return [attempt(method, pair, cut_pair(pair, by_name)) for pair in pairs]


def attempt(method: Method, pair: TestPair, patches: tuple[Array, Array, ArrayMask]) -> Outcome:
    """Run a method on the patches of one pair; if it raises it has failed.

    Args:
        method: as for :func:`evaluate`.
        pair: its modalities, width and true transform count.
        patches: fixed, moving and moving mask, as
            :func:`equicomir.evaluation.displacements.cut_pair` gives them.

    Returns:
        What became of the pair.

    Raises:
        ImportError: the method is not installed, and so has not failed.

    Example:
        >>> pair = TestPair("1", "A", "B", "a", 0, 0, 8, 0.0, 3.0, 4.0)
        >>> image, mask = np.zeros((1, 8, 8)), np.ones((8, 8), dtype=bool)
        >>> attempt(lambda *given: np.eye(3), pair, (image, image, mask)).corner_error
        5.0
    """
    begun, failure = time.perf_counter(), ""
    try:
        found = method(*patches, (pair.fixed, pair.moving))
        error = corner_error(pair.moving_to_fixed(), found, pair.width)
    except ImportError:
        raise
    except Exception as raised:  # whatever a method raises is its failure at this pair
        error, failure = math.inf, f"{type(raised).__name__}: {raised}"
    return Outcome(pair, error, time.perf_counter() - begun, failure)


@dataclass(frozen=True)
class Summary:
    """Success of one method on some pairs.

    Attributes:
        pairs: how many.
        success: rate, in [0, 1].
        low: lower end of its 95 % Wilson interval, in [0, 1].
        high: upper end.
        each_way: the rate of each direction, [0, 1], in the order in which they come.
        median_error: corner error of the successes, in pixels; NaN without any.
        seconds: median time a pair.
    """

    pairs: int
    success: float
    low: float
    high: float
    each_way: tuple[float, ...]
    median_error: float
    seconds: float


def summarise(outcomes: Sequence[Outcome]) -> Summary:
    """Success rate with its 95 % Wilson interval, over the pairs as if they were independent.

    Raises:
        ValueError: there is no outcome.

    Source:
        Wilson 1927, doi 10.1080/01621459.1927.10502953.
    """
    if not outcomes:
        raise ValueError("outcomes: expected at least one, got none.")
    n, z = len(outcomes), 1.959964
    good = [o.corner_error for o in outcomes if o.success]
    rate = len(good) / n
    centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    ways = dict.fromkeys(o.pair.fixed for o in outcomes)
    each_way = tuple(
        float(np.mean([o.success for o in outcomes if o.pair.fixed == fixed])) for fixed in ways
    )
    median = float(np.median(good)) if good else math.nan
    seconds = float(np.median([o.seconds for o in outcomes]))
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Summary(n, rate, low, high, each_way, median, seconds)
