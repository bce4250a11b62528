"""Every number that a user gives has a range: outside it is refused by name, its ends are taken.

Drawn on both sides and at each end: a comparison that is turned round, or one off, still refuses
what one would try first.
"""

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from equicomir.evaluation.coherence import coherence
from equicomir.evaluation.statistics import Difference, difference
from equicomir.evaluation.verdicts import judge
from equicomir.filters import (
    butterworth_high_pass,
    difference_of_gaussians,
    high_pass,
    ideal_high_pass,
)
from equicomir.losses.bounds import DonskerVaradhan
from equicomir.losses.collapse import covariance_term, variance_term
from equicomir.losses.contrastive import info_nce
from equicomir.losses.critics import Bilinear, Separable
from equicomir.losses.hard_negatives import shifted_around
from equicomir.losses.penalties import (
    gradient_agreement,
    orientation_agreement,
    self_similarity,
    spectral_retention,
)
from equicomir.losses.similarity import gaussian
from equicomir.losses.weighted import Penalties
from equicomir.registration import distance, elastix, features, information, search
from equicomir.registration.verdict import Calibration

RNG = torch.Generator().manual_seed(0)
X = torch.rand(3, 1, 16, 16, generator=RNG, dtype=torch.float64)
Y = torch.rand(3, 1, 16, 16, generator=RNG, dtype=torch.float64)
STACK = torch.stack([X, Y])
FIXED, MOVING = (x[0].numpy() for x in (X, Y))
FOUND = Difference(0.5, 3, 5, 5.0, 9, 1.0, np.arange(1, 20) / 100)
HIGHEST, ABOVE_ZERO = math.nextafter(math.inf, 0), math.nextafter(0, 1)

#: By name: what takes the number, and the least and greatest that it takes.
FLOATS = {
    "cutoff": [
        (lambda v: high_pass(X, v), ABOVE_ZERO, 0.5),
        (butterworth_high_pass, ABOVE_ZERO, 0.5),
        (ideal_high_pass, ABOVE_ZERO, 0.5),
        (lambda v: spectral_retention(X, Y, cutoff=v), ABOVE_ZERO, 0.5),
    ],
    "peak": [(difference_of_gaussians, ABOVE_ZERO, 0.5)],
    "ratio": [
        (partial(difference_of_gaussians, 0.1), math.nextafter(1, 2), HIGHEST),
        (lambda v: features.register(FIXED, MOVING, ratio=v), ABOVE_ZERO, 1.0),
    ],
    "momentum": [(DonskerVaradhan, ABOVE_ZERO, 1.0)],
    "target": [(lambda v: variance_term(X, target=v), ABOVE_ZERO, math.inf)],
    "temperature": [(lambda v: info_nce(STACK, temperature=v), ABOVE_ZERO, math.inf)],
    "bandwidth": [(lambda v: gaussian(X, Y, bandwidth=v), ABOVE_ZERO, math.inf)],
    "edge": [
        (lambda v: gradient_agreement(X, Y, edge=v), ABOVE_ZERO, math.inf),
        (lambda v: orientation_agreement(X, Y, edge=v), ABOVE_ZERO, math.inf),
    ],
    "sigma": [(lambda v: orientation_agreement(X, Y, sigma=v), ABOVE_ZERO, math.inf)],
    "self_similarity": [(lambda v: Penalties(self_similarity=v), 0.0, HIGHEST)],
    "spectral_retention": [(lambda v: Penalties(spectral_retention=v), 0.0, HIGHEST)],
    "inlier_pixels": [
        (lambda v: features.register(FIXED, MOVING, inlier_pixels=v), ABOVE_ZERO, math.inf)
    ],
    "minimum_overlap": [
        (lambda v: search.register(FIXED, MOVING, minimum_overlap=v), ABOVE_ZERO, 1.0),
        (lambda v: information.register(FIXED, MOVING, minimum_overlap=v), ABOVE_ZERO, 1.0),
        (lambda v: distance.register(FIXED, MOVING, minimum_overlap=v), ABOVE_ZERO, 1.0),
    ],
    "fraction": [(lambda v: distance.register(FIXED, MOVING, fraction=v), ABOVE_ZERO, 1.0)],
    "most_pixels": [
        (lambda v: distance.alpha_amd(FIXED, MOVING, np.eye(3), most_pixels=v), ABOVE_ZERO, HIGHEST)
    ],
    "start_every_degrees": [
        (lambda v: distance.register(FIXED, MOVING, start_every_degrees=v), ABOVE_ZERO, 360.0),
        (lambda v: elastix.register(FIXED, MOVING, start_every_degrees=v), ABOVE_ZERO, 360.0),
    ],
    "grid_spacing_pixels": [
        (lambda v: elastix.register(FIXED, MOVING, grid_spacing_pixels=v), 4.0, HIGHEST)
    ],
    "threshold": [(lambda v: Calibration("search", (0.0,) * 9, 0.0, v), ABOVE_ZERO, 1.0)],
    "level": [
        (lambda v: judge([FOUND], [0.1], level=v), ABOVE_ZERO, math.nextafter(1, 0)),
    ],
}
WHOLE = {
    "order": [(partial(butterworth_high_pass, 0.1), 1, math.inf)],
    "window": [(lambda v: covariance_term(torch.cat([X, Y], 1), window=v), 1, math.inf)],
    "features": [
        (partial(Bilinear, generator=RNG), 1, math.inf),
        (partial(Separable, generator=RNG), 1, math.inf),
    ],
    "pixels": [(partial(shifted_around, STACK), 1, math.inf)],
    "patch_radius": [(lambda v: self_similarity(X, Y, patch_radius=v), 0, math.inf)],
    "search_radius": [(lambda v: self_similarity(X, Y, search_radius=v), 1, math.inf)],
    "levels": [
        (lambda v: information.register(FIXED, MOVING, levels=v), 2, 64),
        (lambda v: distance.alpha_amd(FIXED, MOVING, np.eye(3), levels=v), 1, math.inf),
        (lambda v: distance.register(FIXED, MOVING, levels=v), 1, math.inf),
    ],
    "steps": [(lambda v: distance.register(FIXED, MOVING, steps=v), 1, math.inf)],
    "segment_pixels": [(lambda v: coherence(X, Y, segment_pixels=v), 8, math.inf)],
    "resamples": [
        (
            lambda v: difference(
                np.eye(3), np.zeros(3), list("abc"), resamples=v, generator=np.random.default_rng(0)
            ),
            1,
            math.inf,
        )
    ],
}


def each(ranges):
    return pytest.mark.parametrize(
        ("name", "call", "least", "greatest"),
        [(name, *one) for name, of_name in ranges.items() for one in of_name],
    )


#: Those whose ends take little time.
CHEAP = {
    *("cutoff", "peak", "momentum", "self_similarity", "spectral_retention", "threshold", "order"),
    *("window", "features", "pixels", "patch_radius", "search_radius", "segment_pixels"),
    *("resamples", "steps"),
}


def refused(name, call, value):
    with pytest.raises(ValueError, match=rf"^{name}: expected .*\bgot\b") as caught:
        call(value)
    assert len(str(caught.value).splitlines()) == 1


@each(FLOATS)
@given(data=st.data())
def test_a_number_outside_its_range_is_refused_by_name(name, call, least, greatest, data):
    below = st.floats(max_value=least, exclude_max=True)
    above = st.floats(min_value=greatest, exclude_min=True) if greatest < math.inf else st.nothing()
    refused(name, call, data.draw(below | above | st.just(math.nan)))


@each(FLOATS)
def test_the_first_numbers_outside_are_refused(name, call, least, greatest):
    refused(name, call, math.nextafter(least, -math.inf))
    refused(name, call, -1.0)
    if greatest < math.inf:
        refused(name, call, math.nextafter(greatest, math.inf))


@each(WHOLE)
@given(data=st.data())
def test_a_whole_number_outside_its_range_is_refused_by_name(name, call, least, greatest, data):
    below = st.integers(max_value=least - 1)
    above = st.integers(min_value=greatest + 1) if greatest < 65 else st.nothing()
    refused(name, call, data.draw(below | above))


@each(WHOLE)
def test_the_first_whole_numbers_outside_are_refused(name, call, least, greatest):
    refused(name, call, least - 1)
    if greatest < 65:
        refused(name, call, greatest + 1)


@pytest.mark.parametrize(
    ("call", "end"),
    [
        (call, end)
        for ranges in (FLOATS, WHOLE)
        for name in sorted(CHEAP & ranges.keys())
        for call, *ends in ranges[name]
        for end in ends
        if 0 <= end < HIGHEST and end != ABOVE_ZERO
    ],
)
def test_the_ends_of_a_range_are_taken(call, end):
    call(end)
