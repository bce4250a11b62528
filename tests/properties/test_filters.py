import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from strategies import cases

from equicomir import properties
from equicomir.filters import disk_mask, gaussian_sigma, high_pass, reach

cutoffs = st.floats(0.03, 0.4)


@given(cutoffs, cases())
def test_the_high_pass_keeps_its_laws(cutoff, case):
    for claim in properties.of_filter(partial(high_pass, cutoff=cutoff)):
        assert claim.error(case) < claim.tolerance, claim.name


FAULTS = [
    (properties.constant_response, lambda x: x),
    (properties.linearity_error, lambda x: high_pass(x, 0.1).abs()),
    (properties.filter_turn_error, lambda x: x - x.roll(1, dims=-1)),
]


@pytest.mark.parametrize(("measure", "fault"), FAULTS)
@given(case=cases())
def test_each_law_catches_its_planted_fault(measure, fault, case):
    assert measure(fault, case) > 1e-3


@given(st.floats(0.05, 0.3), st.floats(0.2, 1.8), st.floats(0, math.pi))
def test_the_response_to_a_sine_is_the_declared_one(cutoff, relative_frequency, direction):
    frequency = min(cutoff * relative_frequency, 0.45)
    at = torch.arange(96, dtype=torch.float64)
    rows, columns = torch.meshgrid(at, at, indexing="ij")
    phase = rows * math.cos(direction) + columns * math.sin(direction)
    wave = torch.sin(2 * math.pi * frequency * phase)[None, None]
    response = 1 - math.exp(-2 * (math.pi * gaussian_sigma(cutoff) * frequency) ** 2)
    r = reach(cutoff)
    inside = (..., slice(r, 96 - r), slice(r, 96 - r))
    # A sampled Gaussian narrower than a pixel has aliases; else only the truncation is left.
    tolerance = 2e-3 if gaussian_sigma(cutoff) > 0.8 else 3e-2
    torch.testing.assert_close(
        high_pass(wave, cutoff)[inside], response * wave[inside], rtol=0, atol=tolerance
    )


@given(cutoffs, cases())
def test_the_border_reaches_as_far_as_declared_and_no_further(cutoff, case):
    r = reach(cutoff)
    n = 2 * r + 9
    x = case.images(1, 1, n, torch.float64)
    other = x.clone()
    other[..., 0] += 10  # what lies outside is continued from the border column
    inside = (..., slice(r + 1, n - r - 1))
    assert torch.equal(high_pass(x, cutoff)[inside], high_pass(other, cutoff)[inside])
    assert not torch.equal(high_pass(x, cutoff)[..., r], high_pass(other, cutoff)[..., r])


@given(cutoffs, cases())
def test_equals_scipy(cutoff, case):
    x = case.images(1, 1, 40, torch.float64)
    blurred = ndimage.gaussian_filter(
        x[0, 0].numpy(), gaussian_sigma(cutoff), mode="nearest", radius=reach(cutoff)
    )
    torch.testing.assert_close(high_pass(x, cutoff)[0, 0], x[0, 0] - torch.from_numpy(blurred))


@given(st.integers(4, 40), st.floats(1, 20))
def test_the_disk_is_what_turns_keep(size, radius):
    mask = disk_mask(size, radius)
    assert torch.equal(mask, torch.rot90(mask))
    assert torch.equal(mask, mask.flip(0))


def test_bad_input_is_refused():
    for cutoff in (0, -1, 0.6, math.nan):
        with pytest.raises(ValueError, match="cutoff: expected cycles per pixel"):
            high_pass(torch.rand(1, 1, 8, 8), cutoff)
    with pytest.raises(ValueError, match="4 axes"):
        high_pass(torch.rand(8, 8), 0.1)
    with pytest.raises(ValueError, match="radius"):
        disk_mask(8, 0)
