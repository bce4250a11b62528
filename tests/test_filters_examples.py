import math

import numpy as np
import pytest
import torch

from equicomir.differentials import gradient, structure_tensor, structure_tensor_reach
from equicomir.filters import (
    band_limit,
    butterworth_high_pass,
    difference_of_gaussians,
    disk_mask,
    gaussian_high_pass,
    high_pass,
    ideal_high_pass,
    laplacian_of_gaussian,
    reach,
)

X = torch.rand(1, 1, 8, 8)
BY_CUTOFF = [gaussian_high_pass, butterworth_high_pass, ideal_high_pass, band_limit]
BY_PEAK = [difference_of_gaussians, laplacian_of_gaussian]


def test_the_reach_that_training_patches_were_planned_for():
    assert [reach(cutoff) for cutoff in (0.03, 0.05, 0.1, 0.2)] == [22, 14, 7, 4]
    assert all(gaussian_high_pass(c).reach == reach(c) for c in (0.03, 0.05, 0.1, 0.2, 0.5))


@pytest.mark.parametrize(
    ("image_filter", "far", "tolerance"),
    [
        (gaussian_high_pass(0.05), 14, 2.1e-4),
        (butterworth_high_pass(0.05), 34, 9.3e-4),
        (butterworth_high_pass(0.05, 4), 66, 9.7e-4),
        (ideal_high_pass(0.05), 40, 6.7),
        (difference_of_gaussians(0.05), 21, 7.1e-4),
        (laplacian_of_gaussian(0.05), 19, 7.7e-4),
    ],
)
def test_what_each_filter_says_of_its_border(image_filter, far, tolerance):
    assert image_filter.reach == far
    assert 0.9 * tolerance < image_filter.tolerance <= tolerance


@pytest.mark.parametrize("cutoff", [0.05, 0.1, 0.25])
def test_noise_outside_the_ideal_filter_enters_as_its_docstring_says(cutoff):
    ideal = ideal_high_pass(cutoff)
    delta = torch.zeros(1, 1, 512, 512, dtype=torch.float64)
    delta[..., 256, 256] = 1
    kernel = ideal(delta, border="periodic")
    near = slice(256 - ideal.reach, 257 + ideal.reach)
    kernel[..., near, near] = 0
    assert 0.2 * cutoff < float(kernel.norm()) < 0.4 * cutoff


def test_filters_are_equal_by_what_they_are():
    assert butterworth_high_pass(0.1) == butterworth_high_pass(np.float32(0.5) / 5)
    assert butterworth_high_pass(0.1) != butterworth_high_pass(0.1, 3)
    assert len({gaussian_high_pass(0.1), gaussian_high_pass(0.1), gaussian_high_pass(0.2)}) == 2


@pytest.mark.parametrize("make", [*BY_CUTOFF, lambda cutoff: high_pass(X, cutoff), reach])
def test_bad_cutoffs_are_refused(make):
    for cutoff in (0, -1, 0.6, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"cutoff: expected cycles per pixel in .*, got"):
            make(cutoff)
    for cutoff in (None, "0.1", True, X):
        with pytest.raises(TypeError, match="cutoff: expected a number, in cycles per pixel, got"):
            make(cutoff)


@pytest.mark.parametrize("make", BY_PEAK)
def test_bad_peaks_are_refused(make):
    with pytest.raises(ValueError, match="peak: expected cycles per pixel in"):
        make(0.51)
    with pytest.raises(TypeError, match="peak: expected a number, in cycles per pixel, got list"):
        make([0.1])


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: high_pass(torch.rand(8, 8), 0.1), ValueError, "4 axes"),
        (lambda: high_pass(X.int(), 0.1), TypeError, "expected a floating type"),
        (lambda: gaussian_high_pass(0.1)(X.numpy()), TypeError, "expected a torch tensor"),
        (lambda: gaussian_high_pass(0.1)(X, border="zeros"), ValueError, "border: .* got 'zeros'"),
        (lambda: butterworth_high_pass(0.1, 0), ValueError, "order: expected 1 or more, got 0"),
        (lambda: butterworth_high_pass(0.1, 1.5), TypeError, "order: expected a whole number"),
        (lambda: difference_of_gaussians(0.1, 1), ValueError, "ratio: expected more than 1, got 1"),
        (lambda: difference_of_gaussians(0.1, "2"), TypeError, "ratio: expected a number, got str"),
        (lambda: disk_mask(8, 0), ValueError, "radius"),
        (lambda: gradient(torch.rand(8, 8)), ValueError, "4 axes"),
        (lambda: gradient(X.int()), TypeError, "expected a floating type"),
        (lambda: structure_tensor(X, 0), ValueError, "sigma: expected a positive number of pixels"),
        (lambda: structure_tensor(X, math.nan), ValueError, "sigma: expected a positive number"),
        (lambda: structure_tensor_reach("1"), TypeError, "sigma: expected a number of pixels"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(call, kind, message):
    with pytest.raises(kind, match=message) as raised:
        call()
    assert "\n" not in str(raised.value)
