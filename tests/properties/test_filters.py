import copy
import math
import pickle
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import ndimage
from skimage.filters import butterworth
from strategies import cases

from equicomir import properties
from equicomir.filters import (
    band_limit,
    butterworth_high_pass,
    difference_of_gaussians,
    disk_mask,
    gaussian_high_pass,
    gaussian_sigma,
    high_pass,
    ideal_high_pass,
    laplacian_of_gaussian,
    reach,
)

frequencies = st.floats(0.05, 0.45)
slow = st.floats(0.05, 0.15)  # kernels wider than a pixel: their border is nearly compact
sizes = st.integers(5, 40)
seeds = st.integers(0, 2**31 - 1)
borders = st.sampled_from(["replicate", "periodic"])
FAMILIES = {
    "gaussian": gaussian_high_pass,
    "butterworth": butterworth_high_pass,
    "steep butterworth": partial(butterworth_high_pass, order=4),
    "ideal": ideal_high_pass,
    "difference": difference_of_gaussians,
    "wide difference": partial(difference_of_gaussians, ratio=3.0),
    "laplacian": laplacian_of_gaussian,
}
HIGH = [FAMILIES[name] for name in ("gaussian", "butterworth", "steep butterworth", "ideal")]
BAND = [FAMILIES[name] for name in ("difference", "wide difference", "laplacian")]
EVERY = HIGH + BAND
COMPACT = [make for make in EVERY if make is not ideal_high_pass]


def filters(makers=EVERY, at=frequencies):
    return st.builds(lambda make, frequency: make(frequency), st.sampled_from(makers), at)


def noise(seed, height, width, dtype=torch.float64, batch=2, channels=2):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, channels, height, width, generator=generator, dtype=torch.float64)
    return x.to(dtype)


def wave(height, width, row_frequency, column_frequency, phase):
    rows = torch.arange(height, dtype=torch.float64)[:, None]
    columns = torch.arange(width, dtype=torch.float64)[None, :]
    angle = 2 * math.pi * (row_frequency * rows + column_frequency * columns) + phase
    return torch.sin(angle)[None, None]


# ------------------------------------------------------------------------- laws of all filters


@given(filters(), borders, cases())
def test_every_filter_keeps_its_laws(image_filter, border, case):
    for claim in properties.of_filter(partial(image_filter, border=border)):
        assert claim.error(case) < claim.tolerance, claim.name


@given(frequencies, cases())
def test_the_high_pass_by_its_old_name_keeps_its_laws(cutoff, case):
    for claim in properties.of_filter(partial(high_pass, cutoff=cutoff)):
        assert claim.error(case) < claim.tolerance, claim.name


def padded_with_zeros(image_filter, images):
    margin = image_filter.reach
    padded = image_filter(F.pad(images, (margin,) * 4), border="periodic")
    return padded[..., margin:-margin, margin:-margin]


def anisotropic(images):
    """A Gaussian complement that is wider along rows than along columns."""
    height, width = images.shape[-2:]
    rows = torch.fft.fftfreq(height, dtype=torch.float64)[:, None]
    columns = torch.fft.rfftfreq(width, dtype=torch.float64)[None, :]
    response = 1 - torch.exp2(-((rows / 0.1) ** 2) - (columns / 0.12) ** 2)
    return torch.fft.irfft2(torch.fft.rfft2(images) * response, s=(height, width))


def not_zero_sum(images):
    right = gaussian_high_pass(0.1)
    return replace(right, response=lambda f: right.response(f) + 0.01)(images)


FAULTS = [
    (properties.constant_response, lambda x: x),
    (properties.constant_response, not_zero_sum),
    (properties.constant_response, partial(padded_with_zeros, gaussian_high_pass(0.1))),
    (properties.constant_response, gaussian_high_pass(0.1).complement()),
    (properties.linearity_error, lambda x: high_pass(x, 0.1).abs()),
    (properties.filter_turn_error, lambda x: x - x.roll(1, dims=-1)),
]


@pytest.mark.parametrize(("measure", "fault"), FAULTS)
@given(case=cases())
def test_each_law_catches_its_planted_fault(measure, fault, case):
    assert measure(fault, case) > 1e-6  # the laws hold to 1e-9


@given(cases())
def test_the_law_of_turns_catches_an_ellipse(case):
    assume(case.quarter_turns != 2)  # by half a turn an ellipse is the same
    assert properties.filter_turn_error(anisotropic, case) > 1e-3


@given(filters(), borders, sizes, sizes, seeds, st.integers(1, 3))
def test_turns_and_mirrors_of_any_rectangle(image_filter, border, height, width, seed, times):
    x = noise(seed, height, width)
    y = image_filter(x, border=border)
    turned = image_filter(torch.rot90(x, times, (-2, -1)), border=border)
    torch.testing.assert_close(turned, torch.rot90(y, times, (-2, -1)))
    torch.testing.assert_close(image_filter(x.flip(-1), border=border), y.flip(-1))


PRECISION = {
    torch.float64: 1e-12,
    torch.float32: 1e-5,
    torch.float16: 2e-3,
    torch.bfloat16: 2e-2,
}


@given(filters(), borders, sizes, sizes, seeds, st.sampled_from(list(PRECISION)))
def test_every_precision_gives_its_own_type_and_the_same_numbers(
    image_filter, border, height, width, seed, dtype
):
    x = noise(seed, height, width, dtype)
    y = image_filter(x, border=border)
    assert y.dtype == dtype
    assert y.shape == x.shape
    exact = image_filter(x.double(), border=border)
    scale = float(exact.abs().max()) + 1
    torch.testing.assert_close(y.double(), exact, rtol=0, atol=PRECISION[dtype] * scale)


def adjoint_error(image_filter, seed, height, width):
    x, y = noise(seed, height, width), noise(seed + 1, height, width)
    difference = (image_filter(x) * y).sum() - (x * image_filter(y)).sum()
    return float(difference.abs() / (x.norm() * y.norm()))


@given(filters(), sizes, sizes, seeds)
def test_self_adjoint_with_periodic_borders(image_filter, height, width, seed):
    assert adjoint_error(partial(image_filter, border="periodic"), seed, height, width) < 1e-12


@given(sizes, sizes, seeds)
def test_what_is_not_self_adjoint_is_caught(height, width, seed):
    for fault in (lambda x: x - x.roll(1, dims=-1), gaussian_high_pass(0.1)):  # it replicates
        assert adjoint_error(fault, seed, height, width) > 1e-10


@given(filters(), borders, sizes, sizes, seeds, st.sampled_from([torch.float32, torch.float64]))
def test_a_filter_and_its_complement_are_the_identity(
    image_filter, border, height, width, seed, dtype
):
    x = noise(seed, height, width, dtype)
    both = image_filter(x, border=border) + image_filter.complement()(x, border=border)
    torch.testing.assert_close(both, x, rtol=0, atol=20 * PRECISION[dtype])


@given(filters([gaussian_high_pass, butterworth_high_pass]), seeds)
def test_the_complement_of_another_cutoff_is_not_enough(right, seed):
    wrong = replace(right, response=lambda f: right.response(0.9 * f)).complement()
    x = noise(seed, 32, 32)
    assert (right(x) + wrong(x) - x).abs().max() > 1e-2


@given(filters(), borders, seeds, st.sampled_from(list(PRECISION)), st.booleans())
def test_gradients_are_finite(image_filter, border, seed, dtype, constant):
    x = torch.full((1, 1, 9, 12), 3.0) if constant else noise(seed, 9, 12, channels=1)
    x = x.to(dtype).requires_grad_()
    (slope,) = torch.autograd.grad(image_filter(x, border=border).square().sum(), x)
    assert slope.dtype == dtype
    assert torch.isfinite(slope).all()


@given(filters(), sizes, sizes, seeds)
def test_the_gradient_is_the_filter_itself(image_filter, height, width, seed):
    x, y = noise(seed, height, width).requires_grad_(), noise(seed + 1, height, width)
    (slope,) = torch.autograd.grad((image_filter(x, border="periodic") * y).sum(), x)
    torch.testing.assert_close(slope, image_filter(y, border="periodic"))


@given(filters(), seeds, st.booleans())
def test_copied_and_pickled_filters_are_the_same(image_filter, seed, complement):
    one = image_filter.complement() if complement else image_filter
    x = noise(seed, 12, 15)
    for other in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert other == one
        assert torch.equal(other(x), one(x))


# ------------------------------------------------------------------- responses, by a sine


def expected(make, ratio):
    """The response at ``ratio`` times the cut-off or peak, from its formula."""
    name = next(name for name, other in FAMILIES.items() if other is make)
    if "difference" in name:
        wide = 9 if name.startswith("wide") else 1.6**2
        at_peak = math.log(wide) / (wide - 1)
        difference = [math.exp(-at_peak * q) - math.exp(-wide * at_peak * q) for q in (ratio**2, 1)]
        return difference[0] / difference[1]
    return {
        "gaussian": 1 - 0.5 ** (ratio**2),
        "butterworth": ratio**4 / (1 + ratio**4),
        "steep butterworth": ratio**8 / (1 + ratio**8),
        "ideal": 0.5 if abs(ratio - 1) < 1e-9 else float(ratio > 1),
        "laplacian": ratio**2 * math.exp(1 - ratio**2),
    }[name]


def sine_error(image_filter, factor, height, width, row_waves, column_waves, phase):
    """How far a whole number of waves is from itself times the factor, on the torus."""
    x = wave(height, width, row_waves / height, column_waves / width, phase)
    return float((image_filter(x, border="periodic") - factor * x).abs().max())


lattice = st.tuples(
    st.integers(16, 40),
    st.integers(16, 40),
    st.integers(-8, 8),
    st.integers(1, 8),
    st.floats(0.2, 1.2),  # a phase where even two pixels a wave are not all zero
)


@given(st.sampled_from(EVERY), lattice)
def test_the_response_at_the_cutoff_or_peak_is_the_declared_one(make, at):
    frequency = math.hypot(at[2] / at[0], at[3] / at[1])
    assume(frequency <= 0.5)
    declared = 0.5 if make in HIGH else 1.0
    assert sine_error(make(frequency), declared, *at) < 1e-9
    if frequency <= 0.45:  # a cut-off ten per cent off is caught
        assert sine_error(make(1.1 * frequency), declared, *at) > 1e-3


@given(st.sampled_from(EVERY), st.floats(0.3, 3), lattice)
def test_the_response_at_any_frequency_is_its_formula(make, ratio, at):
    frequency = math.hypot(at[2] / at[0], at[3] / at[1])
    assume(frequency <= 0.7 and frequency / ratio <= 0.5)
    assert sine_error(make(frequency / ratio), expected(make, ratio), *at) < 1e-9


@given(st.sampled_from(EVERY), frequencies)
def test_high_pass_responses_rise_and_band_passes_have_one_peak(make, at):
    response = make(at).response(torch.linspace(0, 0.75, 400, dtype=torch.float64))
    steps = response.diff()
    assert response[0] == 0
    if make in HIGH:
        assert (steps >= 0).all()
    else:
        below = torch.arange(1, 400) * 0.75 / 399 < at
        assert (steps[below] > 0).all()
        assert response.max() <= 1 + 1e-12
        above = torch.arange(399) * 0.75 / 399 > at
        assert (steps[above] < 0).all()


def open_sine_error(image_filter, ratio, direction, phase, factor, depth):
    """The same for any frequency, with borders replicated, ``depth`` pixels inside and deeper."""
    frequency, n = ratio[0] * ratio[1], 2 * depth + 16
    x = wave(n, n, frequency * math.cos(direction), frequency * math.sin(direction), phase)
    inside = (..., slice(depth, n - depth), slice(depth, n - depth))
    return float((image_filter(x)[inside] - factor * x[inside]).abs().max())


@given(
    st.sampled_from(COMPACT), slow, st.floats(0.5, 2), st.floats(0, math.pi), st.floats(0, math.pi)
)
def test_in_the_valid_region_a_sine_is_what_it_is_in_the_plane(make, at, ratio, direction, phase):
    """Beyond the border a sine differs from its continuation by two at most."""
    right = make(at)
    drawn = (right, (at, ratio), direction, phase, expected(make, ratio), right.reach)
    assert open_sine_error(*drawn) < 2.5 * right.tolerance + 1e-9
    if ratio < 1.5:  # a filter that says it reaches two pixels is caught there, by one of two
        # phases: a wave that is flat at both borders goes on as a replicated border does.
        faults = [
            open_sine_error(right, (at, ratio), direction, phase + turn, drawn[-2], 2)
            for turn in (0, math.pi / 2)
        ]
        assert max(faults) > 2.5 * right.tolerance


# ----------------------------------------------------------------------------------- borders


def worst_leak(image_filter, side, depth):
    """The change of a pixel when all further from it than ``depth`` is changed by one, at worst."""
    centre = side // 2
    delta = torch.zeros(1, 1, side, side, dtype=torch.float64)
    delta[..., centre, centre] = 1
    kernel = image_filter(delta, border="periodic")
    away = (torch.arange(side) - centre).abs()
    outside = torch.maximum(away[:, None], away[None, :]) > depth
    change = torch.where(outside, kernel.sign(), 0)
    return float(image_filter(change, border="periodic")[..., centre, centre].abs())


@given(filters())
def test_the_tolerance_is_the_greatest_change_from_outside_the_reach(image_filter):
    leak = worst_leak(image_filter, 512, image_filter.reach)
    assert math.isclose(leak, image_filter.tolerance, rel_tol=1e-6)
    # A reach that is claimed too short is caught.
    assert worst_leak(image_filter, 512, image_filter.reach // 2) > 1.001 * image_filter.tolerance


@given(st.sampled_from(COMPACT), frequencies)
def test_a_reach_is_as_short_as_its_tolerance_allows(make, at):
    image_filter = make(at)
    if make is gaussian_high_pass:
        assert image_filter.reach == reach(at)
    elif image_filter.reach < math.ceil(4 / at):
        assert image_filter.tolerance <= 1e-3
        assert worst_leak(image_filter, 512, image_filter.reach - 1) > 1e-3


@given(st.floats(0.002, 0.0166), st.sampled_from(COMPACT))
def test_the_reach_of_slow_filters_is_that_of_faster_ones_stretched(at, make):
    slower, faster = make(at), make(1 / 60)
    assert abs(slower.reach * at - faster.reach / 60) < 0.03
    assert slower.tolerance < 1.5e-3


@given(filters(), sizes, seeds, st.sampled_from(["noise", "one side", "sign of the kernel"]))
def test_no_continuation_of_any_image_enters_the_valid_region(image_filter, size, seed, kind):
    """Whatever lies outside in place of the replicated border, if it differs by one at most."""
    margin = image_filter.reach
    side = size + 4 * margin
    x = noise(seed, size + 2 * margin, size + 2 * margin, batch=1, channels=1)
    replicated = F.pad(x, (margin,) * 4, mode="replicate")
    same = image_filter(replicated, border="periodic")[..., margin:-margin, margin:-margin]
    torch.testing.assert_close(image_filter(x), same)
    change = noise(seed + 1, side, side, batch=1, channels=1).sign()
    if kind == "one side":
        change = torch.ones_like(change)
    elif kind == "sign of the kernel":
        delta = torch.zeros_like(change)
        delta[..., side // 2, side // 2] = 1
        change = image_filter(delta, border="periodic").sign()
    change[..., margin:-margin, margin:-margin] = 0
    leak = image_filter(change, border="periodic")
    deep = leak[..., 2 * margin : side - 2 * margin, 2 * margin : side - 2 * margin]
    assert deep.abs().max() < 1.1 * image_filter.tolerance + 1e-12


def crop_error(image_filter, depth, seed, shift):
    """How much two crops of one image, values up to one, differ where both are valid."""
    n = 2 * depth + 12
    x = noise(seed, n + 6, n + 6).sign()
    first, second = image_filter(x[..., :n, :n]), image_filter(x[..., shift : shift + n, 6:])
    first = first[..., depth + shift : n - depth, depth + 6 : n - depth]
    second = second[..., depth : n - depth - shift, depth : n - depth - 6]
    return float((first - second).abs().max())


@given(filters(COMPACT, slow), seeds, st.integers(0, 6))
def test_shift_equivariant_in_the_valid_region(image_filter, seed, shift):
    depth = image_filter.reach
    assert crop_error(image_filter, depth, seed, shift) < 4.5 * image_filter.tolerance
    faults = [
        (image_filter, 1),  # a reach too short
        (
            lambda x: image_filter(x) * torch.arange(x.shape[-1]),
            depth,
        ),  # varies from place to place
    ]
    for fault, at_depth in faults:
        assert crop_error(fault, at_depth, seed, shift) > 4.5 * image_filter.tolerance


@given(filters(), sizes, sizes, seeds, st.integers(1, 4))
def test_shift_equivariant_with_periodic_borders(image_filter, height, width, seed, shift):
    x = noise(seed, height, width)
    periodic = partial(image_filter, border="periodic")
    shifted = periodic(x.roll((shift, -1), (-2, -1)))
    torch.testing.assert_close(shifted, periodic(x).roll((shift, -1), (-2, -1)))


# ------------------------------------------------------------------------ the same elsewhere


@given(slow, cases())
def test_the_gaussian_equals_scipy(cutoff, case):
    """And its own sampled, truncated kernel of former versions, to a thousandth."""
    x = case.images(1, 1, 40, torch.float64) / case.scale
    blurred = ndimage.gaussian_filter(
        x[0, 0].numpy(), gaussian_sigma(cutoff), mode="nearest", radius=reach(cutoff)
    )
    expected = x[0, 0] - torch.from_numpy(blurred)
    torch.testing.assert_close(high_pass(x, cutoff)[0, 0], expected, rtol=0, atol=1e-3)


@given(frequencies, st.integers(1, 5), sizes, sizes, seeds)
def test_the_butterworth_equals_scikit_image(cutoff, order, height, width, seed):
    x = noise(seed, height, width, batch=1, channels=1)
    theirs = butterworth(x[0, 0].numpy(), cutoff, high_pass=True, order=order)
    ours = butterworth_high_pass(cutoff, order)(x, border="periodic")[0, 0]
    torch.testing.assert_close(ours, torch.from_numpy(theirs))


@given(st.floats(0.05, 0.1), st.floats(1.2, 2), seeds)
def test_the_difference_of_gaussians_is_one_of_scipy(peak, ratio, seed):
    x = noise(seed, 60, 60, batch=1, channels=1)
    exponent = 2 * math.log(ratio) / (ratio**2 - 1)  # 2 (pi sigma peak)^2 of the narrow one
    sigma = math.sqrt(exponent / 2) / (math.pi * peak)
    narrow, wide = (
        torch.from_numpy(ndimage.gaussian_filter(x[0, 0].numpy(), s, mode="wrap", truncate=6))
        for s in (sigma, ratio * sigma)
    )
    at_peak = math.exp(-exponent) - math.exp(-(ratio**2) * exponent)
    ours = difference_of_gaussians(peak, ratio)(x, border="periodic")[0, 0]
    torch.testing.assert_close(ours, (narrow - wide) / at_peak, rtol=0, atol=1e-3)


@given(st.floats(0.05, 0.1), seeds)
def test_the_laplacian_of_gaussian_is_minus_that_of_scipy(peak, seed):
    x = noise(seed, 60, 60, batch=1, channels=1)
    sigma = 1 / (math.sqrt(2) * math.pi * peak)
    theirs = ndimage.gaussian_laplace(x[0, 0].numpy(), sigma, mode="wrap", truncate=7)
    factor = math.e / (2 * math.pi * peak) ** 2
    ours = laplacian_of_gaussian(peak)(x, border="periodic")[0, 0]
    torch.testing.assert_close(ours, -factor * torch.from_numpy(theirs), rtol=0, atol=1e-3)


@given(frequencies, sizes, sizes, seeds)
def test_the_band_limit_leaves_nothing_above_it_and_is_done_once(cutoff, height, width, seed):
    x = noise(seed, height, width)
    limited = band_limit(cutoff)(x, border="periodic")
    rows, columns = torch.fft.fftfreq(height), torch.fft.fftfreq(width)
    above = torch.hypot(rows[:, None], columns[None, :]) > cutoff + 1e-6
    assert torch.fft.fft2(limited)[..., above].abs().sum() < 1e-9 * height * width
    if (torch.hypot(rows[:, None], columns[None, :]) - cutoff).abs().min() > 1e-6:
        torch.testing.assert_close(band_limit(cutoff)(limited, border="periodic"), limited)
    soft = gaussian_high_pass(cutoff).complement()(x, border="periodic")  # leaves more
    assert torch.fft.fft2(soft)[..., above].abs().sum() > 1e-6


@given(st.integers(4, 40), st.floats(1, 20))
def test_the_disk_is_what_turns_keep(size, radius):
    mask = disk_mask(size, radius)
    assert torch.equal(mask, torch.rot90(mask))
    assert torch.equal(mask, mask.flip(0))
