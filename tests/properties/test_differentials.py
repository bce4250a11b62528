import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from equicomir.differentials import (
    GRADIENT_REACH,
    gradient,
    structure_tensor,
    structure_tensor_reach,
)
from equicomir.encoders.fields import act
from equicomir.encoders.groups import Group

sizes = st.integers(3, 24)
seeds = st.integers(0, 2**31 - 1)
slopes = st.floats(-5, 5)
sigmas = st.floats(0.3, 3)
angles = st.floats(0, 2 * math.pi)
PRECISION = {
    torch.float64: 1e-12,
    torch.float32: 1e-5,
    torch.float16: 2e-3,
    torch.bfloat16: 2e-2,
}
DTYPES = st.sampled_from(list(PRECISION))


def noise(seed, height, width, dtype=torch.float64, channels=2):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, channels, height, width, generator=generator, dtype=torch.float64)
    return x.to(dtype)


def grid(size):
    at = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    return torch.meshgrid(at, at, indexing="ij")


# ------------------------------------------------- planted faults: gradients one might have made


def half_a_pixel_off(images):
    """Forward differences: the derivative between this pixel and the next."""
    rows = images.roll(-1, -2) - images
    columns = images.roll(-1, -1) - images
    return torch.stack((rows, columns), dim=2).flatten(1, 2)


def columns_first(images):
    return gradient(images).unflatten(1, (-1, 2)).flip(2).flatten(1, 2)


def upwards(images):
    """As mathematicians draw it: the first axis pointing up."""
    return gradient(images) * torch.tensor([-1.0, 1.0]).repeat(images.shape[1])[:, None, None]


def padded_with_zeros(images):
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    return gradient(padded)[..., 1:-1, 1:-1]


# ----------------------------------------------------------------------------------- gradient


def plane_error(measure, row_slope, column_slope, size):
    rows, columns = grid(size)
    x = (row_slope * rows + column_slope * columns + 7)[None, None]
    expected = torch.tensor([row_slope, column_slope], dtype=torch.float64)[:, None, None]
    return float((measure(x)[0] - expected)[:, 1:-1, 1:-1].abs().max())


@given(slopes, slopes, st.integers(5, 16))
def test_the_gradient_of_a_plane_is_its_slope(row_slope, column_slope, size):
    assert plane_error(gradient, row_slope, column_slope, size) < 1e-12


@pytest.mark.parametrize("fault", [columns_first, upwards, lambda x: gradient(x) / 2])
@given(st.floats(1, 5), st.floats(-5, -1), st.integers(5, 16))
def test_a_wrong_axis_sign_or_unit_is_caught(fault, row_slope, column_slope, size):
    assert plane_error(fault, row_slope, column_slope, size) > 0.1


def wave_error(measure, frequency, direction, phase):
    """The greatest difference from the true derivative of a sine, relative to that."""
    rows, columns = grid(24)
    row_speed = 2 * math.pi * frequency * math.cos(direction)
    column_speed = 2 * math.pi * frequency * math.sin(direction)
    angle = row_speed * rows + column_speed * columns + phase
    true = torch.stack((row_speed * angle.cos(), column_speed * angle.cos()))
    came = measure(angle.sin()[None, None])[0]
    return float((came - true)[:, 1:-1, 1:-1].abs().max() / (2 * math.pi * frequency))


@given(st.floats(0.02, 0.1), angles, angles)
def test_the_gradient_of_a_sine_is_its_cosine(frequency, direction, phase):
    # sin(w)/w of the difference, 1 - (6/16) w^2/2 of the smoothing, at worst.
    bound = (2 * math.pi * frequency) ** 2 * 0.19
    assert wave_error(gradient, frequency, direction, phase) < bound
    assert wave_error(half_a_pixel_off, frequency, direction, phase) > bound


def direction_error_degrees(frequency, direction):
    rows, columns = grid(41)
    angle = 2 * math.pi * frequency * (rows * math.cos(direction) + columns * math.sin(direction))
    along_rows, along_columns = gradient(angle.sin()[None, None])[0, :, 20, 20].tolist()
    off = math.degrees(math.atan2(along_columns, along_rows) - direction)
    return abs((off + 180) % 360 - 180)


@given(st.floats(0.02, 0.1), angles)
def test_the_direction_of_a_gradient_is_that_of_the_wave(frequency, direction):
    assert direction_error_degrees(frequency, direction) < 0.2


def turned(fields, frequency, turns, mirrored):
    """Fields as they are when the image is mirrored and turned: pixels move, components mix."""
    matrix = act(frequency, Group(4, mirrors=True), turns, mirrored)
    moved = torch.rot90(fields.flip(-1) if mirrored else fields, turns, (-2, -1))
    pairs = moved.unflatten(1, (-1, matrix.shape[0]))
    return torch.einsum("xy,bcyhw->bcxhw", matrix, pairs).flatten(1, 2)


def gradient_turn_error(measure, x, turns, mirrored):
    of_turned = measure(torch.rot90(x.flip(-1) if mirrored else x, turns, (-2, -1)))
    return float((of_turned - turned(measure(x), 1, turns, mirrored)).abs().max())


@given(seeds, sizes, sizes, st.integers(0, 3), st.booleans())
def test_the_gradient_turns_as_the_field_of_frequency_one_of_encoders(
    seed, height, width, turns, mirrored
):
    x = noise(seed, height, width)
    assert gradient_turn_error(gradient, x, turns, mirrored) < 1e-12
    if turns == 1 and not mirrored:
        for fault in (columns_first, upwards, half_a_pixel_off):
            assert gradient_turn_error(fault, x, turns, mirrored) > 1e-3


@given(seeds, angles)
def test_by_any_angle_the_gradient_turns_as_positions_do(seed, angle):
    """A smooth image and the same one turned, both sampled; compared where both have a pixel."""
    generator = torch.Generator().manual_seed(seed)
    speeds = 0.3 * torch.randn(5, 2, generator=generator, dtype=torch.float64)
    phases = 6 * torch.rand(5, generator=generator, dtype=torch.float64)
    rotation = torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]],
        dtype=torch.float64,
    )
    places = torch.stack(grid(9), dim=-1)

    def sampled(points):
        return torch.sin(points @ speeds.T + phases).sum(-1)[None, None]

    still = gradient(sampled(places))[0, :, 4, 4]
    moved = gradient(sampled(places @ rotation))[0, :, 4, 4]  # each pixel looks R^-1 back
    torch.testing.assert_close(moved, rotation @ still, rtol=0, atol=0.05)
    if abs(math.sin(angle)) > 0.3 and still.norm() > 0.3:  # turned the other way: caught
        assert (moved - rotation.T @ still).norm() > 0.1


@given(seeds, sizes, sizes, slopes)
def test_the_gradient_is_linear_and_blind_to_constants(seed, height, width, factor):
    x, y = noise(seed, height, width), noise(seed + 1, height, width)
    together = gradient(factor * x + y + 11)
    torch.testing.assert_close(together, factor * gradient(x) + gradient(y))
    constant = torch.full_like(x, 3.0)
    assert gradient(constant).abs().max() < 1e-12
    assert padded_with_zeros(constant).abs().max() > 1  # the planted fault


@given(seeds, sizes, sizes)
def test_the_gradient_equals_a_correlation_of_scipy(seed, height, width):
    x = noise(seed, height, width, channels=1)
    rows = np.outer([-1, 0, 1], [3, 10, 3]) / 32
    for channel, weights in enumerate((rows, rows.T)):
        theirs = ndimage.correlate(x[0, 0].numpy(), weights, mode="nearest")
        torch.testing.assert_close(gradient(x)[0, channel], torch.from_numpy(theirs))


# --------------------------------------------------------------------------- structure tensor


@given(seeds, sizes, sizes, sigmas, st.integers(0, 3), st.booleans())
def test_the_structure_tensor_turns_as_the_fields_zero_and_two(
    seed, height, width, sigma, turns, mirrored
):
    x = noise(seed, height, width)
    of_turned = structure_tensor(
        torch.rot90(x.flip(-1) if mirrored else x, turns, (-2, -1)), sigma
    ).unflatten(1, (-1, 3))
    straight = structure_tensor(x, sigma).unflatten(1, (-1, 3))
    for frequency, part in ((0, slice(0, 1)), (2, slice(1, 3))):
        expected = turned(straight[:, :, part].flatten(1, 2), frequency, turns, mirrored)
        torch.testing.assert_close(of_turned[:, :, part].flatten(1, 2), expected)
        if frequency == 2 and turns == 1:  # as if it turned once, not twice, as fast: caught
            wrong = turned(straight[:, :, part].flatten(1, 2), 1, turns, mirrored)
            assert (of_turned[:, :, part].flatten(1, 2) - wrong).abs().max() > 1e-3


@given(st.floats(0.05, 0.1), angles, angles)
def test_the_structure_tensor_of_a_sine_is_its_axis_at_twice_the_angle(frequency, direction, phase):
    sigma = 0.4 / frequency  # the mean is over a wave
    n = 2 * structure_tensor_reach(sigma) + 3
    rows, columns = grid(n)
    angle = 2 * math.pi * frequency * (rows * math.cos(direction) + columns * math.sin(direction))
    trace, same, mixed = structure_tensor((angle + phase).sin()[None, None], sigma)[
        0, :, n // 2, n // 2
    ].tolist()
    assert math.isclose(trace, (2 * math.pi * frequency) ** 2 / 2, rel_tol=0.2)
    assert abs(same / trace - math.cos(2 * direction)) < 0.01
    assert abs(mixed / trace - math.sin(2 * direction)) < 0.01
    if abs(math.sin(2 * direction)) > 0.1:  # columns counted upwards: caught
        assert abs(-mixed / trace - math.sin(2 * direction)) > 0.01


@given(seeds, sizes, sizes, sigmas, slopes)
def test_the_structure_tensor_is_quadratic_positive_and_blind_to_constants(
    seed, height, width, sigma, factor
):
    x = noise(seed, height, width)
    came = structure_tensor(x, sigma)
    torch.testing.assert_close(structure_tensor(factor * x + 5, sigma), factor**2 * came)
    trace, same, mixed = came.unflatten(1, (-1, 3)).unbind(2)
    assert (trace >= 0).all()
    assert (torch.hypot(same, mixed) <= trace * (1 + 1e-12)).all()
    assert structure_tensor(torch.full_like(x, 3.0), sigma).abs().max() < 1e-12


@given(seeds, sizes, sizes, sigmas)
def test_the_structure_tensor_equals_gaussian_means_of_scipy(seed, height, width, sigma):
    x = noise(seed, height, width, channels=1)
    rows, columns = gradient(x)[0].numpy()
    products = (rows**2 + columns**2, rows**2 - columns**2, 2 * rows * columns)
    radius = structure_tensor_reach(sigma) - GRADIENT_REACH
    for channel, product in enumerate(products):
        theirs = ndimage.gaussian_filter(product, sigma, mode="nearest", radius=radius)
        torch.testing.assert_close(structure_tensor(x, sigma)[0, channel], torch.from_numpy(theirs))


# ------------------------------------------------------------------------- borders, precision


def crop_error(measure, depth, seed, shift):
    """How much the field of a crop differs from the crop of the field, ``depth`` pixels inside."""
    n = 2 * depth + 5
    x = noise(seed, n + 6, n + 6)
    crop = measure(x[..., shift : shift + n, 3 : 3 + n])[..., depth : n - depth, depth : n - depth]
    whole = measure(x)[..., shift : shift + n, 3 : 3 + n][..., depth : n - depth, depth : n - depth]
    return float((crop - whole).abs().max())


@given(seeds, st.floats(0.5, 3), st.integers(1, 5))
def test_shift_equivariant_as_far_as_declared_and_no_further(seed, sigma, shift):
    measures = [
        (gradient, GRADIENT_REACH),
        (lambda x: structure_tensor(x, sigma), structure_tensor_reach(sigma)),
    ]
    for measure, depth in measures:
        assert crop_error(measure, depth, seed, shift) < 1e-12
        assert crop_error(measure, depth - 1, seed, shift) > 1e-9  # a reach too short is caught


@given(seeds, sizes, sizes, sigmas, DTYPES)
def test_every_precision_gives_its_own_type_and_the_same_numbers(seed, height, width, sigma, dtype):
    x = noise(seed, height, width, dtype)
    for measure, channels in ((gradient, 4), (lambda x: structure_tensor(x, sigma), 6)):
        came, exact = measure(x), measure(x.double())
        assert came.dtype == dtype
        assert came.shape == (2, channels, height, width)
        scale = float(exact.abs().max()) + 1
        torch.testing.assert_close(came.double(), exact, rtol=0, atol=PRECISION[dtype] * scale)


@given(seeds, sigmas, DTYPES, st.booleans())
def test_gradients_are_finite(seed, sigma, dtype, constant):
    x = torch.full((1, 2, 7, 9), 3.0) if constant else noise(seed, 7, 9)
    for measure in (gradient, lambda x: structure_tensor(x, sigma)):
        leaf = x.to(dtype).requires_grad_()
        (slope,) = torch.autograd.grad(measure(leaf).square().sum(), leaf)
        assert slope.dtype == dtype
        assert torch.isfinite(slope).all()
