"""Laws of the measure by which every property is judged."""

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import seeds

from equicomir.properties import relative_error

sizes = st.lists(st.integers(2, 5), min_size=1, max_size=4)


def images(size, rng):
    return torch.randn(*size, generator=rng, dtype=torch.float64)


@given(seeds(), sizes)
def test_the_relative_error_is_that_of_its_formula(rng, size):
    came, expected = images(size, rng), images(size, rng)
    a, b = came.numpy(), expected.numpy()
    by_hand = np.sqrt(((a - b) ** 2).sum() / ((b - b.mean()) ** 2).sum())
    assert math.isclose(relative_error(came, expected), by_hand, rel_tol=1e-12)


@given(seeds(), sizes, st.floats(0.01, 100), st.floats(-100, 100))
def test_neither_unit_nor_offset_changes_the_relative_error(rng, size, unit, offset):
    came, expected = images(size, rng), images(size, rng)
    moved = relative_error(unit * came + offset, unit * expected + offset)
    assert math.isclose(moved, relative_error(came, expected), rel_tol=1e-6)


@given(seeds(), sizes, st.floats(0.001, 10))
def test_an_error_of_known_size_is_told_as_that(rng, size, error):
    expected = images(size, rng)
    wrong = images(size, rng)
    wrong *= error * (expected - expected.mean()).norm() / wrong.norm()
    assert math.isclose(relative_error(expected + wrong, expected), error, rel_tol=1e-9)
    assert relative_error(expected, expected) == 0


@given(seeds(), sizes, st.sampled_from([math.nan, math.inf, -math.inf]))
def test_what_is_no_number_is_no_small_error(rng, size, bad):
    expected = images(size, rng)
    came = expected.clone()
    came.view(-1)[0] = bad
    assert relative_error(came, expected) == math.inf
