"""The gate: what must hold is checked on the very objects that an experiment is about to use.

It draws the cases of :mod:`equicomir.properties` by Hypothesis, the same ones every time. An
experiment goes no further if something does not hold.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import hypothesis

from equicomir.properties import Case, Property, cases

#: Exit status of an experiment whose gate did not hold.
GATE_FAILED = 3


@dataclass(frozen=True)
class Verdict:
    """What the gate says of one property.

    Attributes:
        name: the claim.
        held: whether every case was within the tolerance.
        worst: the greatest error seen (infinity where the object raised).
        tolerance: as the property says.
        cases: how many were tried.
        reason: what was raised, or empty.
    """

    name: str
    held: bool
    worst: float
    tolerance: float
    cases: int
    reason: str = ""


def check(claim: Property, *, examples: int = 12) -> Verdict:
    """Measure a property on cases that Hypothesis draws, the same ones every time.

    Args:
        claim: the property.
        examples: how many cases.

    Returns:
        The verdict; an object that raises has not held.

    Example:
        >>> check(Property("zero is zero", lambda case: 0.0, 1e-9)).held
        True
    """
    errors: list[float] = []
    reasons: list[str] = []

    @hypothesis.settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(cases())
    def measure(case: Case) -> None:
        try:
            error = claim.error(case)
            errors.append(error if math.isfinite(error) else math.inf)
        except Exception as raised:  # whatever it raises, it does not hold
            errors.append(math.inf)
            reasons.append(f"{type(raised).__name__}: {raised}")

    measure()
    worst = max(errors)
    reason = reasons[0] if reasons else ""
    return Verdict(
        claim.name, worst <= claim.tolerance, worst, claim.tolerance, len(errors), reason
    )


def gate(claims: Sequence[Property], *, examples: int = 12) -> list[Verdict]:
    """Check every property; the caller goes no further unless all held.

    Args:
        claims: what must hold.
        examples: cases that are tried of each.

    Returns:
        One verdict a claim, in order.
    """
    return [check(claim, examples=examples) for claim in claims]
