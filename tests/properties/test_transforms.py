import itertools

import numpy as np
import pytest
import SimpleITK
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage import transform as skimage_transform

from equicomir.geometry import (
    corners,
    image_centre,
    pixel_centres,
    rigid,
    transform_points,
    warp_image,
)
from equicomir.transforms.deformations import (
    compose_displacements,
    displace_points,
    displacement_of,
    invert_displacement,
    warp_by_displacement,
)
from equicomir.transforms.linear import (
    affine,
    compose,
    in_micrometres,
    in_pixels,
    invert,
    over_xy,
    shrunk_to_original,
    similarity,
)
from equicomir.transforms.scikit_image import from_skimage, to_skimage

angles = st.floats(-180, 180)
shifts = st.tuples(st.floats(-3, 3), st.floats(-3, 3))
scales = st.floats(0.7, 1.4)
seeds = st.integers(0, 10**6)
sizes = st.tuples(st.integers(12, 20), st.integers(12, 20))
pixel_sizes = st.tuples(st.floats(0.1, 4), st.floats(0.1, 4))


@st.composite
def matrices(draw):
    """Affine maps that are far from singular, of either handedness."""
    turn, back = rigid(draw(angles)), rigid(draw(angles))
    stretch = np.diag([draw(scales), draw(st.sampled_from([-1, 1])) * draw(scales)])
    return affine(turn[:2, :2] @ stretch @ back[:2, :2], draw(shifts), centre=(5.0, 7.0))


def noise(seed, size, channels=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, channels, *size, generator=generator, dtype=torch.float64)


def wave(seed, size, amplitude):
    """A smooth deformation, in pixels, whose slope is at most a third of its amplitude."""
    phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, (2, 2))
    rows, columns = np.indices(size) / 6
    waves = [np.sin(rows + a) * np.cos(columns + b) for a, b in phases]
    return amplitude * np.stack(waves) / np.sqrt(2)


# One pixel convention: the same matrix, given to other libraries, gives the same image.


def by_skimage(image, matrix):
    both = to_skimage(matrix)
    return skimage_transform.warp(image, both, order=1, mode="edge", clip=False)


def by_simpleitk(image, matrix):
    itk = over_xy(matrix)
    transform = SimpleITK.AffineTransform(itk[:2, :2].ravel().tolist(), itk[:2, 2].tolist())
    source = SimpleITK.GetImageFromArray(image)
    return SimpleITK.GetArrayFromImage(
        SimpleITK.Resample(source, source, transform, SimpleITK.sitkLinear, 0.0)
    )


def by_grid_sample(image, matrix):
    """With the other of torch's two conventions, in which -1 and 1 are the outer pixel edges."""
    source = transform_points(matrix, pixel_centres(*image.shape)).reshape(*image.shape, 2)
    normalised = (2 * source + 1) / np.array(image.shape) - 1
    grid = torch.from_numpy(normalised[..., ::-1].copy())[None]
    moved = torch.nn.functional.grid_sample(
        torch.from_numpy(image)[None, None], grid, align_corners=False
    )
    return moved[0, 0].numpy()


@pytest.mark.parametrize("theirs", [by_skimage, by_simpleitk, by_grid_sample])
@given(seed=seeds, size=sizes, degrees=angles, scale=scales, shift=shifts)
def test_other_libraries_warp_alike_and_half_a_pixel_is_seen(
    theirs, seed, size, degrees, scale, shift
):
    x = noise(seed, size)
    matrix = similarity(degrees, scale, shift, centre=image_centre(*size))
    ours, inside = warp_image(x, matrix, mode="bilinear")
    inside = inside.numpy()
    expected = theirs(x[0, 0].numpy(), matrix)
    np.testing.assert_allclose(ours[0, 0].numpy()[inside], expected[inside], atol=1e-6)
    for fault in ((0.5, 0.5), (0.5, 0.0), (0.0, -0.5)):
        wrong, _ = warp_image(x, rigid(0, fault) @ matrix, mode="bilinear")
        assert np.abs(wrong[0, 0].numpy() - expected)[inside].max() > 0.1


@given(seeds, sizes, matrices(), st.floats(0, 2))
def test_other_libraries_deform_alike_and_the_opposite_sign_is_seen(seed, size, matrix, amplitude):
    x = noise(seed, size)
    displacement = compose_displacements(0.5 + wave(seed, size, amplitude), matrix)
    ours, inside = warp_by_displacement(x, displacement, mode="bilinear")
    ours, inside, image = ours[0, 0].numpy(), inside.numpy(), x[0, 0].numpy()
    places = np.indices(size) + displacement
    scikit = skimage_transform.warp(image, places, order=1, mode="edge", clip=False)
    field = SimpleITK.GetImageFromArray(displacement[::-1].transpose(1, 2, 0), isVector=True)
    source = SimpleITK.GetImageFromArray(image)
    itk = SimpleITK.Resample(
        source, source, SimpleITK.DisplacementFieldTransform(field), SimpleITK.sitkLinear
    )
    opposite, _ = warp_by_displacement(x, -displacement, mode="bilinear")
    for expected in (scikit, SimpleITK.GetArrayFromImage(itk)):
        np.testing.assert_allclose(ours[inside], expected[inside], atol=1e-6)
        if inside.sum() > 20:
            assert np.abs(opposite[0, 0].numpy() - expected)[inside].max() > 0.05


@given(matrices())
def test_scikit_image_gives_the_matrix_back_and_maps_points_alike(matrix):
    points = corners(7, 11)
    theirs = to_skimage(matrix)
    np.testing.assert_array_equal(from_skimage(theirs), matrix)
    np.testing.assert_allclose(theirs(points[:, ::-1])[:, ::-1], transform_points(matrix, points))


@given(angles, shifts, scales)
def test_scikit_image_is_given_the_narrowest_kind(degrees, shift, scale):
    assert type(to_skimage(rigid(degrees, shift))) is skimage_transform.EuclideanTransform
    grown = similarity(degrees, scale * 1.5, shift) if abs(scale * 1.5 - 1) > 0.01 else None
    if grown is not None:
        assert type(to_skimage(grown)) is skimage_transform.SimilarityTransform
    mirror = compose(np.diag([1.0, -1.0, 1.0]), rigid(degrees))
    assert type(to_skimage(mirror)) is skimage_transform.AffineTransform


# Matrices


@given(matrices(), matrices(), matrices())
def test_composing_is_doing_one_after_the_other_and_inverting_undoes_it(first, second, third):
    points = corners(7, 11)
    one_by_one = transform_points(third, transform_points(second, transform_points(first, points)))
    total = compose(first, second, third)
    np.testing.assert_allclose(transform_points(total, points), one_by_one)
    back = compose(invert(third), invert(second), invert(first))
    np.testing.assert_allclose(back, invert(total), atol=1e-9)
    np.testing.assert_allclose(transform_points(invert(total), one_by_one), points, atol=1e-8)


@given(angles, scales, shifts, shifts)
def test_a_similarity_scales_all_distances_alike_and_keeps_its_centre(
    degrees, scale, shift, centre
):
    matrix = similarity(degrees, scale, shift, centre=centre)
    points = np.random.default_rng(0).normal(size=(5, 2))
    moved = transform_points(matrix, points)
    for a, b in itertools.combinations(range(5), 2):
        gap = np.linalg.norm(moved[a] - moved[b])
        np.testing.assert_allclose(gap, scale * np.linalg.norm(points[a] - points[b]))
    np.testing.assert_allclose(matrix @ [*centre, 1], [*np.add(centre, shift), 1], atol=1e-9)
    np.testing.assert_allclose(
        similarity(degrees, 1.0, shift, centre=centre),
        rigid(degrees, shift, centre=centre),
        atol=1e-12,
    )


@given(matrices(), pixel_sizes, pixel_sizes)
def test_physical_points_are_pixels_times_pixel_sizes(matrix, from_size, to_size):
    points = corners(7, 11)
    physical = in_micrometres(matrix, from_size, to_size)
    np.testing.assert_allclose(
        transform_points(physical, points * from_size), transform_points(matrix, points) * to_size
    )
    np.testing.assert_allclose(in_pixels(physical, from_size, to_size), matrix, atol=1e-9)
    swapped = in_pixels(physical, to_size, from_size)
    assert np.allclose(from_size, to_size, atol=0.05) or not np.allclose(swapped, matrix, atol=1e-3)


@given(st.tuples(st.integers(1, 5), st.integers(1, 5)), matrices())
def test_a_shrunk_pixel_is_the_middle_of_its_block(factor, plane):
    """The mean of a plane over a block is the plane at the block's middle."""
    size = (4 * factor[0], 3 * factor[1])
    image = (pixel_centres(*size) @ plane[0, :2]).reshape(size)
    shrunk = image.reshape(4, factor[0], 3, factor[1]).mean((1, 3))
    places = transform_points(shrunk_to_original(factor), pixel_centres(4, 3))
    np.testing.assert_allclose(places @ plane[0, :2], shrunk.ravel(), atol=1e-9)
    if factor != (1, 1):  # without the half pixels, the classical fault
        naive = places @ plane[0, :2] - (np.array(factor) - 1) / 2 @ plane[0, :2]
        gap = abs((np.array(factor) - 1) / 2 @ plane[0, :2])
        assert gap < 1e-6 or not np.allclose(naive, shrunk.ravel(), atol=1e-9)


# Displacements


@given(seeds, sizes, matrices(), st.integers(1, 3))
def test_a_matrix_as_a_displacement_does_the_same(seed, size, matrix, channels):
    x = noise(seed, size, channels)
    displacement = displacement_of(matrix, size)
    (ours, inside), (expected, there) = warp_by_displacement(x, displacement), warp_image(x, matrix)
    assert torch.equal(inside, there)
    torch.testing.assert_close(ours, expected, atol=1e-9, rtol=1e-9)
    far = np.random.default_rng(seed).uniform(-40, 60, (20, 2))  # outside of the grid, too
    np.testing.assert_allclose(
        displace_points(displacement, far), transform_points(matrix, far), atol=1e-7
    )


@given(seeds, sizes, st.floats(0.1, 2))
def test_points_and_images_go_the_same_way(seed, size, amplitude):
    """An image of its own row and column numbers shows, once warped, where each pixel is from."""
    displacement = wave(seed, size, amplitude)
    numbers = torch.from_numpy(np.indices(size).astype(float))[None]
    shown, inside = warp_by_displacement(numbers, displacement, mode="bilinear")
    places = displace_points(displacement, pixel_centres(*size)).T.reshape(2, *size)
    np.testing.assert_allclose(shown[0][:, inside].numpy(), places[:, inside.numpy()], atol=1e-9)


@given(seeds, sizes, matrices(), st.floats(0.1, 2))
def test_composed_displacements_are_one_after_the_other(seed, size, matrix, amplitude):
    first = compose_displacements(wave(seed, size, amplitude), rigid(5, (0.3, -0.2)))
    second = compose_displacements(displacement_of(matrix, size), np.zeros((2, *size)))
    second = second + wave(seed + 1, size, amplitude)
    points = pixel_centres(*size)
    one_by_one = displace_points(second, displace_points(first, points))
    total = compose_displacements(first, second)
    np.testing.assert_allclose(total.reshape(2, -1).T + points, one_by_one, atol=1e-9)
    by_matrix = compose_displacements(first, matrix)
    np.testing.assert_allclose(
        by_matrix.reshape(2, -1).T + points,
        transform_points(matrix, displace_points(first, points)),
        atol=1e-9,
    )
    other_way = compose_displacements(second, first)
    assert not np.allclose(other_way, total, atol=1e-3)


@given(seeds, sizes, angles, scales, shifts, st.floats(0, 1.2))
def test_inverting_a_displacement_undoes_it(seed, size, degrees, scale, shift, amplitude):
    turn = similarity(degrees, scale, shift, centre=image_centre(*size))
    displacement = compose_displacements(wave(seed, size, amplitude), turn)
    inverse, error = invert_displacement(displacement, size)
    shown = np.isfinite(error)
    assert shown.mean() > 0.2
    assert error[shown].max() < 0.01
    pixels = pixel_centres(*size)
    back = pixels + inverse.reshape(2, -1).T
    gaps = np.linalg.norm(displace_points(displacement, back) - pixels, axis=1).reshape(size)
    np.testing.assert_allclose(gaps[shown], error[shown], atol=1e-9)  # the error told is the error
    if amplitude > 0.5:  # the plain control: the matrix alone, and the opposite sign
        alone = transform_points(invert(turn), pixels)
        gaps = np.linalg.norm(displace_points(displacement, alone) - pixels, axis=1)
        assert gaps.reshape(size)[shown].max() > 10 * error[shown].max()


def test_a_map_that_folds_has_no_inverse_and_says_so():
    displacement = 8 * wave(0, (24, 24), 1.0)
    _, error = invert_displacement(displacement)
    assert np.nanmax(error) > 0.5


def test_the_inverse_has_the_size_of_the_input():
    matrix = similarity(20, 0.5, (3.1, 2.2))
    inverse, error = invert_displacement(displacement_of(matrix, (30, 40)), (12, 9))
    assert inverse.shape == (2, 12, 9)
    np.testing.assert_allclose(inverse, displacement_of(invert(matrix), (12, 9)), atol=1e-9)
    seen = transform_points(invert(matrix), pixel_centres(12, 9)).reshape(12, 9, 2)
    np.testing.assert_array_equal(np.isnan(error), ((seen < 0) | (seen > (29, 39))).any(-1))


def test_warping_by_a_displacement_is_its_naked_loop():
    rng = np.random.default_rng(1)
    image, displacement = rng.normal(size=(6, 7)), rng.uniform(-1.5, 1.5, (2, 5, 4))
    ours, inside = warp_by_displacement(
        torch.from_numpy(image)[None, None], displacement, mode="bilinear"
    )
    assert 0 < inside.sum() < inside.numel()
    for row, column in itertools.product(range(5), range(4)):
        r, c = row + displacement[0, row, column], column + displacement[1, row, column]
        assert inside[row, column] == (0 <= r <= 5 and 0 <= c <= 6)
        if inside[row, column]:
            total = sum(
                image[i, j] * max(0, 1 - abs(r - i)) * max(0, 1 - abs(c - j))
                for i, j in itertools.product(range(6), range(7))
            )
            assert ours[0, 0, row, column].item() == pytest.approx(total, abs=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: similarity(0, 0.0), "scale: expected a positive number"),
        (lambda: affine(np.ones((2, 2))), "expected an invertible transform"),
        (lambda: affine(np.eye(3)), "linear: expected a 2 x 2 matrix"),
        (lambda: shrunk_to_original((0, 1)), "factor: expected"),
        (lambda: compose(np.eye(3), np.eye(2)), "further: expected a 3 x 3 matrix"),
        (lambda: invert(np.full((3, 3), np.nan)), "matrix: expected finite"),
        (lambda: invert(np.ones((3, 3))), "matrix: expected the last row 0, 0, 1"),
        (lambda: invert("abc"), "matrix: expected a 3 x 3 matrix of numbers"),
        (lambda: in_pixels(np.eye(3), (1, 0), (1, 1)), "from_pixel_size_micrometres: expected two"),
        (lambda: in_pixels(np.eye(3), (1, 1), (1,)), "to_pixel_size_micrometres: expected two"),
        (lambda: from_skimage(3), "transform.params: expected"),
        (
            lambda: displace_points(np.zeros((3, 4, 4)), np.zeros((1, 2))),
            "displacement: expected s",
        ),
        (lambda: invert_displacement(np.full((2, 4, 4), np.inf)), "displacement: expected finite"),
        (lambda: invert_displacement(-np.indices((4, 4)).astype(float)), "expected an invertible"),
        (lambda: compose_displacements(np.zeros((2, 4, 4)), np.zeros((3, 3))), "second: expected"),
        (lambda: warp_by_displacement(torch.zeros(4, 4), np.zeros((2, 4, 4))), "image: expected 4"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_displacement_of_another_type_is_refused():
    for bad in ([[0.0]], torch.zeros(2, 4, 4), np.zeros((2, 4, 4), complex)):
        with pytest.raises(TypeError, match="displacement: expected a NumPy array of real numbers"):
            displace_points(bad, np.zeros((1, 2)))
