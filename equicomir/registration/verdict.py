"""The verdict: how probable it is that an alignment is right, and whether to trust it.

Evidence (:mod:`equicomir.registration.evidence`) becomes a probability by a logistic regression,
one a method, fitted on validation pairs of known truth, half of which show different scenes or
places that do not overlap. No weight is negative: more evidence never means less confidence. The
confidence from which an alignment is ``trusted`` lies above that of all but half a per cent of
the validation pairs that have no answer. ``benchmarks/confidence.py`` fits and tests it and
writes ``calibration.json``; what that file says of its pairs is how far a confidence can be
believed: for images unlike those, fit one's own by :func:`fit`.

It costs four registrations instead of one, and two climbs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.optimize
from scipy.special import expit

from equicomir.registration.alignment import Alignment
from equicomir.registration.evidence import Evidence, Register, gather
from equicomir.sealed import read_sealed, write_sealed
from equicomir.shapes import Array, ArrayMask

#: The calibrations that come with the package.
PACKAGED = Path(__file__).with_name("calibration.json")
_NAMES = tuple(f.name for f in fields(Evidence))
_LEAST_CLASS = 5  # pairs of each outcome, below which nothing can be fitted


@dataclass(frozen=True)
class Calibration:
    """How the evidence of one method becomes a confidence.

    Attributes:
        method: the method's function and its options, as :func:`method_name` gives them.
        weights: a number of :class:`Evidence` each, none negative.
        intercept: the logit without evidence.
        threshold: the least confidence that is trusted, in (0, 1].
        fitted_on: what it was fitted on, for a person to read.

    Raises:
        ValueError: a value is outside its range, or there is not one weight for each evidence.
    """

    method: str
    weights: tuple[float, ...]
    intercept: float
    threshold: float
    fitted_on: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        """Refuse what no fit can have given."""
        if len(self.weights) != len(_NAMES):
            raise ValueError(
                f"weights: expected one for each of {', '.join(_NAMES)}, got {len(self.weights)}."
            )
        if not all(math.isfinite(w) and w >= 0 for w in self.weights):
            raise ValueError(f"weights: expected none below zero, got {self.weights}.")
        if not math.isfinite(self.intercept):
            raise ValueError(f"intercept: expected a finite number, got {self.intercept}.")
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold: expected a value in (0, 1], got {self.threshold}.")


def judged(
    register: Register,
    fixed: Array,
    moving: Array,
    *,
    calibration: Calibration,
    fixed_mask: ArrayMask | None = None,
    moving_mask: ArrayMask | None = None,
) -> Alignment:
    """Register a pair and say how probable it is that the result is right.

    Args:
        register: of a method, or ``functools.partial`` of it with options.
        fixed: (height, width) or (channels, height, width).
        moving: likewise.
        calibration: fitted for that method with those options.
        fixed_mask: boolean (height, width), true where ``fixed`` is defined; None for everywhere.
        moving_mask: likewise for ``moving``.

    Returns:
        What ``register`` gives, with ``confidence`` in [0, 1], ``trusted`` and ``evidence``. A
        failure has confidence 0.

    Raises:
        TypeError, ValueError: whatever ``register`` refuses, or the calibration is another
            method's.

    Example:
        >>> from equicomir.registration import search
        >>> image = np.random.default_rng(0).normal(size=(8, 8)).repeat(4, 0).repeat(4, 1)
        >>> calibration = read_calibration(search.register)
        >>> judged(search.register, image, np.rot90(image), calibration=calibration).trusted
        True
        >>> other = np.random.default_rng(1).normal(size=(8, 8)).repeat(4, 0).repeat(4, 1)
        >>> judged(search.register, image, other, calibration=calibration).trusted
        False
    """
    if method_name(register) != calibration.method:
        raise ValueError(
            f"calibration: expected one of {method_name(register)}, got one of "
            f"{calibration.method}; fit one as benchmarks/confidence.py does."
        )
    found, evidence = gather(
        register, fixed, moving, fixed_mask=fixed_mask, moving_mask=moving_mask
    )
    if evidence is None:
        return replace(found, confidence=0.0, trusted=False)
    probability = confidence(evidence, calibration)
    return replace(
        found,
        confidence=probability,
        trusted=probability >= calibration.threshold,
        evidence=asdict(evidence),
    )


def confidence(evidence: Evidence, calibration: Calibration) -> float:
    """The probability that an alignment with this evidence is right.

    Args:
        evidence: of the alignment.
        calibration: of its method.

    Returns:
        In [0, 1]; it falls with no number of the evidence.

    Example:
        >>> nothing = Evidence(0, 0, 0, 0, 0, 0, 0, 0, 0)
        >>> confidence(nothing, Calibration("search", (1.0,) * 9, 0.0, 0.9))
        0.5
    """
    logit = calibration.intercept + float(np.dot(calibration.weights, astuple(evidence)))
    return float(expit(logit))


def method_name(register: Register) -> str:
    """What a calibration calls a method: where its function is, and its options in order.

    Example:
        >>> from equicomir.registration import information
        >>> method_name(partial(information.register, levels=16))
        'equicomir.registration.information.register(levels=16)'
    """
    options: dict[str, Any] = {}
    function: Any = register
    while isinstance(function, partial):
        options = {**function.keywords, **options}
        function = function.func
    function = function if hasattr(function, "__qualname__") else type(function)
    listed = ", ".join(f"{name}={value!r}" for name, value in sorted(options.items()))
    return f"{function.__module__}.{function.__qualname__}" + (f"({listed})" if listed else "")


def fit(
    register: Register,
    evidence: Sequence[Evidence | None],
    right: Sequence[bool],
    answerable: Sequence[bool],
    *,
    ridge: float = 1.0,
    admitted: float = 0.005,
    fitted_on: Mapping[str, Any] | None = None,
) -> Calibration:
    """Fit the confidence of one method to pairs of known truth.

    Args:
        register: the method that gathered the evidence.
        evidence: of each pair; None where the method failed, whose confidence is 0 anyway.
        right: whether its alignment is a success.
        answerable: whether both images show one place; those that do not are never right.
        ridge: penalty on the squared weights of standardised evidence, as so many pairs' worth.
        admitted: greatest fraction of the pairs without an answer that may be trusted, in [0, 1).
        fitted_on: what to say of the pairs, JSON values.

    Returns:
        The calibration: most likely under the ridge among those without a negative weight. Its
        threshold is at least one half.

    Raises:
        ValueError: lengths differ, a pair is called right that has no answer or at which the
            method failed, or there are fewer than five pairs that are right, five whose evidence
            is there but that are wrong, or five without an answer.

    Source:
        Platt 1999, Probabilistic outputs for support vector machines: a logistic curve through
        scores, here of several, under a ridge.
    """
    found = np.array([e is not None for e in evidence], dtype=bool)
    y, one_place = np.array(right, dtype=bool), np.array(answerable, dtype=bool)
    if not len(found) == len(y) == len(one_place):
        raise ValueError(
            f"right, answerable: expected one a pair ({len(found)}), got {len(y)} and "
            f"{len(one_place)}."
        )
    if (y & ~(one_place & found)).any():
        raise ValueError("right: expected no pair without an answer among the right ones, got one.")
    counts = [int(n.sum()) for n in (y, found & ~y, ~one_place)]
    if min(counts) < _LEAST_CLASS:
        raise ValueError(
            f"evidence: expected at least {_LEAST_CLASS} pairs that are right, wrong and without "
            f"an answer, got {counts[0]}, {counts[1]} and {counts[2]}; draw more pairs."
        )
    x, y = np.array([astuple(e) for e in evidence if e is not None]), y[found]
    mean, spread = x.mean(axis=0), x.std(axis=0)
    spread = np.where(spread > 1e-9, spread, np.inf)  # what never differs says nothing
    z, sign = (x - mean) / spread, np.where(y, 1.0, -1.0)

    def loss(parameters: Array) -> tuple[float, Array]:
        weights, intercept = parameters[:-1], parameters[-1]
        margin = sign * (z @ weights + intercept)
        slope = -sign * expit(-margin)
        value = np.logaddexp(0, -margin).sum() + ridge / 2 * (weights**2).sum()
        return float(value), np.append(z.T @ slope + ridge * weights, slope.sum())

    bounds = [(0, None)] * len(_NAMES) + [(None, None)]
    start = np.zeros(len(bounds))
    best = scipy.optimize.minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x
    weights = best[:-1] / spread
    calibration = Calibration(
        method_name(register),
        tuple(float(w) for w in weights),
        float(best[-1] - weights @ mean),
        threshold=0.5,
        fitted_on=dict(fitted_on or {}),
    )
    unanswered = sorted(
        confidence(e, calibration) if e else 0.0
        for e, answer in zip(evidence, one_place, strict=True)
        if not answer
    )[::-1]
    highest = unanswered[math.floor(admitted * len(unanswered))]
    return replace(calibration, threshold=max(0.5, math.nextafter(highest, 1)))


def read_calibration(register: Register, path: Path = PACKAGED) -> Calibration:
    """The calibration of a method, from a file.

    Args:
        register: of the method, with the options that it will be used with.
        path: written by :func:`write_calibrations`; that which comes with the package if left out.

    Returns:
        The calibration.

    Raises:
        ValueError: the file is missing or damaged, or does not know the method; it is named.

    Example:
        >>> from equicomir.registration import search
        >>> read_calibration(search.register).method
        'equicomir.registration.search.register'
    """
    try:
        listed = read_sealed(path)
        if list(listed["evidence"]) != list(_NAMES):
            raise ValueError(f"it weighs {listed['evidence']}, not {list(_NAMES)}")
        calibrations = {
            c["method"]: Calibration(**{**c, "weights": tuple(float(w) for w in c["weights"])})
            for c in listed["calibrations"]
        }
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ValueError(
            f"{path}: expected calibrations, got: {reason}; write them by benchmarks/confidence.py."
        ) from error
    if method_name(register) not in calibrations:
        raise ValueError(
            f"{path}: expected a calibration of {method_name(register)}, got those of "
            f"{', '.join(calibrations) or 'no method'}; fit one as benchmarks/confidence.py does."
        )
    return calibrations[method_name(register)]


def write_calibrations(path: Path, calibrations: Sequence[Calibration]) -> None:
    """Write calibrations as JSON, with the names of the evidence that they weigh.

    Args:
        path: of the file; its folder exists.
        calibrations: one a method.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "calibration.json"
        >>> write_calibrations(path, [])
        >>> read_sealed(path)["calibrations"]
        []
    """
    write_sealed(path, {"evidence": _NAMES, "calibrations": [asdict(c) for c in calibrations]})
