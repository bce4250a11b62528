"""The learning rate of each step: a function of the step alone, so a run can go on anywhere."""

import math
from typing import Literal

#: ``"one_cycle"``: up and far down again, with the momentum the other way round; ``"cosine"``:
#: after a linear warm-up down along half a cosine.
Schedule = Literal["one_cycle", "cosine"]

#: Steps at the schedule's first rate, in which the time of a step is measured.
MEASURED = 10
_RISE = 0.3  # of a cycle
_BEGIN, _END = 1 / 25, 1 / 25e4  # of the peak
_MOMENTA = (0.95, 0.85)  # where the rate is lowest, and highest


def rate(
    schedule: Schedule, step: int, total: int | None, peak: float, warm_up: int = 0
) -> tuple[float, float]:
    """Learning rate and momentum (Adam's first beta) of a step.

    Args:
        schedule: its shape.
        step: from 0; the first ten are at the first rate, whatever comes after.
        total: number of steps, or None while it is not known.
        peak: the highest rate.
        warm_up: steps up to the peak, of ``"cosine"``; ten if fewer are said.

    Returns:
        The rate, and the momentum in [0, 1).

    Example:
        >>> [round(rate("one_cycle", step, 110, 1.0)[0], 2) for step in (0, 9, 40, 109)]
        [0.04, 0.04, 1.0, 0.0]

    Source:
        Smith and Topin, Super-convergence, arXiv 1708.07120; Loshchilov and Hutter, SGDR,
        arXiv 1608.03983, equation 5.
    """
    if schedule == "cosine":
        warm = max(warm_up, MEASURED)  # known or not, so that a run by minutes is one by its steps
        if step < warm or total is None:
            return peak * min(1.0, (step + 1) / warm), 0.9
        done = (step - warm) / max(1, total - warm)
        return _between(peak, 0.0, done), 0.9
    if step < MEASURED or total is None:
        return peak * _BEGIN, _MOMENTA[0]
    last = max(1, total - MEASURED)  # of the cycle's steps, counted from the last measured one
    here, top = step - MEASURED + 1, _RISE * (last + 1) - 1
    top = top if top > 0 else _RISE * last
    if here <= top:
        done = here / top
        return _between(peak * _BEGIN, peak, done), _between(*_MOMENTA, done)
    done = (here - top) / (last - top)
    return _between(peak, peak * _END, done), _between(*_MOMENTA[::-1], done)


def _between(first: float, last: float, done: float) -> float:
    """Along half a cosine."""
    return last + (first - last) * (1 + math.cos(math.pi * min(1.0, done))) / 2
