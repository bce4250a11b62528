"""Times that can be compared: several acts in turn, so that a machine that drifts slows all."""

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

Act = Callable[[], object]


def in_turn(acts: Mapping[str, Act], repeats: int) -> dict[str, list[float]]:
    """Seconds of each act, by name, one a round; a first round builds caches and is not kept.

    Args:
        acts: what to time, by name.
        repeats: rounds that are kept.

    Returns:
        As many seconds for each.
    """
    seconds: dict[str, list[float]] = {name: [] for name in acts}
    for repeat in range(repeats + 1):
        for name, act in acts.items():
            begun = time.perf_counter()
            act()
            took = time.perf_counter() - begun
            if repeat:
                seconds[name].append(took)
    return seconds


def ratio(of: Sequence[float], to: Sequence[float], digits: int = 2) -> str:
    """Median of the ratios round by round, with the least and the most.

    Args:
        of: seconds of one act, one a round.
        to: seconds of another in the same rounds.
        digits: after the point.

    Returns:
        Such as ``"1.50 (1.00 to 2.00)"``.

    Example:
        >>> ratio([1.0, 3.0, 2.0], [1.0, 1.0, 1.0])
        '2.00 (1.00 to 3.00)'
    """
    ratios = np.array(of) / np.array(to)
    low, middle, high = (f"{r:.{digits}f}" for r in np.quantile(ratios, (0, 0.5, 1)))
    return f"{middle} ({low} to {high})"
