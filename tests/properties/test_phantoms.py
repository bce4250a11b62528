"""The laws of phantoms: what is drawn once is seen from anywhere, and the truth is the truth."""

import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import few, seeds, shared_energy, shows_something

from equicomir.evaluation.alignment import SUCCESS_FRACTION, corner_error
from equicomir.geometry import image_centre, inverse, rigid, warp_image
from equicomir.images.instruments import (
    BRIGHTFIELD,
    FLUORESCENCE,
    SECOND_HARMONIC,
    Modality,
)
from equicomir.images.phantoms import phantom, render
from equicomir.images.tissues import cells, fibres, vessels
from equicomir.registration.search import register

KINDS = st.sampled_from([fibres, cells, vessels])
EVERY = [SECOND_HARMONIC, BRIGHTFIELD, FLUORESCENCE]
MODALITIES = st.sampled_from(EVERY)
SIDES = st.integers(24, 60)
SIZES = st.tuples(SIDES, SIDES)
numbers = st.integers(0, 2**31 - 1)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def same(first, second):
    return float((first - second).abs().max()) < 1e-5


# --------------------------------------------------------------------------- drawn from a seed


@given(KINDS, SIZES, numbers, numbers)
def test_one_seed_one_scene_bit_by_bit_another_seed_another(kind, size, seed, other):
    assume(seed != other)
    first, again, second = (
        phantom(kind, size, EVERY, generator=seeded(s)) for s in (seed, seed, other)
    )
    assert first.name == again.name != second.name
    assert first.size == size
    differ = []
    for name, image in first.images.items():
        assert image.shape == (1, *size)
        assert image.dtype == torch.float32
        assert torch.isfinite(image).all()
        assert torch.equal(image, again.images[name])
        assert not torch.equal(image, second.images[name])
        differ.append(float((image - second.images[name]).abs().max()))
    assert max(differ) > 0.1  # of a small scene one instrument may show next to nothing


@given(KINDS, st.sampled_from([(96, 97), (97, 120), (128, 96)]), numbers)
def test_every_modality_has_something_to_see(kind, size, seed):
    description = kind(size, generator=seeded(seed))
    for modality in EVERY:
        clean = render(description, modality, size)
        assert torch.isfinite(clean).all()
        assert clean.min() > 0
        assert clean.std() > 0.02
        assert 0.4 < clean.max() < 20


@given(KINDS, MODALITIES, SIZES, numbers)
def test_noise_has_its_own_generator_and_leaves_the_scene_alone(kind, modality, size, seed):
    description = kind(size, generator=seeded(seed))
    clean = render(description, modality, size)
    noisy, again, other = (modality(clean, generator=seeded(seed + s)) for s in (1, 1, 2))
    assert torch.equal(noisy, again)
    assert not torch.equal(noisy, other)
    assert torch.equal(render(description, modality, size), clean)
    back = pickle.loads(pickle.dumps(description))
    assert torch.equal(render(back, modality, size), clean)


@given(KINDS, MODALITIES, seeds())
def test_noise_averages_out_but_for_the_instruments_offset_and_shade(kind, modality, generator):
    clean = render(kind((32, 40), generator=generator), modality, (32, 40))
    many = torch.stack([modality(clean, generator=generator) for _ in range(150)]).mean(0)
    expected = {
        "second_harmonic": clean,
        "brightfield": clean * 0.9,  # the mean shade in the middle and in the corners
        "fluorescence": clean + 0.05,
    }[modality.name]
    slack = {"second_harmonic": 0.2, "brightfield": 0.15, "fluorescence": 0.1}[modality.name]
    error = ((many - expected).abs() / (0.5 + clean)).max()
    assert error < slack
    once = (modality(clean, generator=generator) - expected).abs().max()
    assert once > 2 * (many - expected).abs().mean()


# ------------------------------------------------------------------------- seen from anywhere


def turned_view(size, turns):
    """Where the pixels of ``torch.rot90(image, turns)`` lie in the scene, and its size."""
    turned = size if turns % 2 == 0 else size[::-1]
    centre, to = image_centre(*size), image_centre(*turned)
    move = (to[0] - centre[0], to[1] - centre[1])
    return np.linalg.inv(rigid(90 * turns, move, centre=centre)), turned


@given(KINDS, MODALITIES, SIZES, numbers, st.integers(1, 3))
def test_a_rendered_quarter_turn_is_that_of_the_image(kind, modality, size, seed, turns):
    description = kind(size, generator=seeded(seed))
    straight = torch.rot90(render(description, modality, size), turns, (1, 2))
    assume(np.ptp(straight.numpy()) > 1e-2)  # cells without collagen have no second harmonic
    view, turned_size = turned_view(size, turns)
    assert same(render(description, modality, turned_size, view), straight)
    if turns == 2:
        half_a_pixel = view @ rigid(0, (0.5, 0.5))  # centres at n / 2: caught
        assert not same(render(description, modality, turned_size, half_a_pixel), straight)
    else:
        other, _ = turned_view(size, -turns)  # the other direction: caught
        assert not same(render(description, modality, turned_size, other), straight)


@given(KINDS, MODALITIES, SIZES, numbers, st.integers(-12, 12), st.integers(-12, 12))
def test_a_rendered_shift_is_a_shift_with_true_context(kind, modality, size, seed, row, column):
    description = kind(size, generator=seeded(seed))
    large = (size[0] + 24, size[1] + 24)
    whole = render(description, modality, large, rigid(0, (-12, -12)))
    part = whole[:, 12 + row : 12 + row + size[0], 12 + column : 12 + column + size[1]]
    assume(np.ptp(part.numpy()) > 1e-2)
    assert same(render(description, modality, size, rigid(0, (row, column))), part)
    if (row, column) != (0, 0):
        assert not same(render(description, modality, size, rigid(0, (-row, -column))), part)


@given(KINDS, numbers, st.floats(-180, 180), st.floats(-8, 8), st.floats(-8, 8))
def test_a_view_is_what_warping_the_image_there_would_approximate(kind, seed, degrees, row, column):
    """The direction of the matrix is that of ``warp``: from output to input."""
    size = (64, 64)
    description = kind(size, generator=seeded(seed))
    matrix = rigid(degrees, (row, column), centre=image_centre(*size))
    came = render(description, FLUORESCENCE, size, matrix)[0]
    straight = render(description, FLUORESCENCE, size)[None]
    warped, inside = warp_image(straight, matrix)
    assert (came - warped[0, 0])[inside].abs().mean() < 0.01
    if abs(degrees) > 5 and abs(abs(degrees) - 180) > 5:
        wrong, inside = warp_image(straight, np.linalg.inv(matrix))
        assert (came - wrong[0, 0])[inside].abs().mean() > 0.02


ENDS = (slice(0, 8), slice(-8, None))


@given(KINDS, SIZES, numbers, st.floats(0, 360))
def test_an_image_may_be_turned_by_any_angle_and_moved_until_the_tissue_ends(
    kind, size, seed, degrees
):
    description = kind(size, generator=seeded(seed))
    turned = rigid(degrees, centre=image_centre(*size))
    clean = render(description, BRIGHTFIELD, size, turned)
    assert clean.max() < 1
    for corner in (clean[..., rows, columns] for rows in ENDS for columns in ENDS):
        assert corner.std() > 1e-3  # without context it would be flat
    with pytest.raises(ValueError, match=r"expected an image within .* reaches"):
        render(description, BRIGHTFIELD, size, rigid(0, (max(size), 0)) @ turned)


# -------------------------------------------------------------------------- what it is good for


def planted(kind, modality, seed, degrees, row, column):
    """Fixed and moving image, each with its own noise, and the truth."""
    size = (128, 128)
    description, noise = kind(size, generator=seeded(seed)), seeded(seed + 1)
    moving_to_fixed = rigid(degrees, (row, column), centre=image_centre(*size))
    views = [render(description, modality, size, view) for view in (None, moving_to_fixed)]
    return [modality(view, generator=noise) for view in views], views, moving_to_fixed


#: How near the search comes without noise, in pixels: half of one, but on sparse, sharp fibres
#: one (there the truth correlates with 0.998, as the next test shows, what it ends at with less).
NEAR = {"second_harmonic": 0.05, "brightfield": 0.05, "fluorescence": 0.05}
MOVES = st.tuples(st.floats(-180, 180), st.floats(-12, 12), st.floats(-12, 12))


@pytest.mark.parametrize("modality", EVERY, ids=lambda modality: modality.name)
@given(KINDS, numbers, MOVES)
@few(6)
def test_registration_recovers_the_planted_transform(modality, kind, seed, move):
    noisy, clean, truth = planted(kind, modality, seed, *move)
    one, other = (image[0].numpy() for image in clean)
    assume(shows_something(one))
    assume(min(shared_energy(one, inverse(truth)), shared_energy(other, truth)) > 0.5)
    for images, near in ((clean, NEAR[modality.name]), (noisy, SUCCESS_FRACTION * 128)):
        fixed, moving = (image[0].double().numpy() for image in images)
        found = register(fixed, moving).moving_to_fixed
        assert corner_error(truth, found, 128) < near
        back = np.linalg.inv(truth)  # the other direction is refused, where it is another
        assert corner_error(back, found, 128) > corner_error(back, truth, 128) - near


def test_what_is_brightest_and_seen_by_one_alone_is_to_be_masked():
    """The limit that docs/not_for.md names: without masks this pair is lost."""
    (one, other), clean, truth = planted(cells, SECOND_HARMONIC, 2578, 40.0, 0.0, 4.0)
    assert shared_energy(clean[0][0].numpy(), inverse(truth)) < 0.4
    fixed, moving = (image[0].double().numpy() for image in (one, other))
    lost = register(fixed, moving).moving_to_fixed
    assert corner_error(truth, lost, 128) > 5
    dim = {"fixed_mask": fixed < 1, "moving_mask": moving < 1}
    found = register(fixed, moving, **dim).moving_to_fixed
    assert corner_error(truth, found, 128) < 0.5


@given(KINDS, MODALITIES, numbers, MOVES)
def test_at_the_truth_the_two_views_are_one_image(kind, modality, seed, move):
    _, (fixed, moving), truth = planted(kind, modality, seed, *move)
    assume(shows_something(fixed[0].numpy()))

    def correlation(moving_to_fixed):
        warped, inside = warp_image(moving[None].double(), np.linalg.inv(moving_to_fixed))
        return pearson(warped[0, 0][inside], fixed[0].double()[inside])

    assert correlation(truth) > 0.99  # between pixels, thin walls are blurred by interpolation
    assert correlation(truth) > correlation(rigid(0, (0.5, 0.5)) @ truth)  # half a pixel: caught


def pearson(first, second):
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def mutual_information(first, second, bins=24):
    """In bits, of intensities binned into equally full bins."""
    inner = np.linspace(0, 1, bins + 1)[1:-1]
    ranks = [np.searchsorted(np.quantile(x, inner), x).ravel() for x in (first, second)]
    joint = np.histogram2d(*ranks, bins)[0] / first.numel()
    apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    filled = joint > 0
    return float((joint[filled] * np.log2(joint[filled] / apart[filled])).sum())


PAIRS = [(0, 1), (0, 2), (1, 2)]


@given(KINDS, numbers, st.sampled_from(PAIRS))
def test_modalities_hardly_correlate_but_say_much_about_each_other(kind, seed, pair):
    size = (160, 176)
    views = [
        render(kind(size, generator=seeded(s)), EVERY[i], size)
        for s, i in ((seed, pair[0]), (seed, pair[1]), (seed + 1, pair[1]))
    ]
    assert abs(pearson(views[0], views[1])) < 0.5
    together, apart = (mutual_information(views[0], view) for view in views[1:])
    assert together > 0.15
    assert together > 4 * apart
    # A modality that is another one's negative does correlate: the test can fail.
    assert abs(pearson(views[0], 1 - 2 * views[0])) > 0.5


# ------------------------------------------------------------------------------------ refusals


def test_bad_input_is_named(rng):
    scene = cells((32, 40), generator=rng)
    for matrix in (np.eye(2), 2 * np.eye(3), np.diag([1, -1, 1]), np.full((3, 3), math.nan)):
        with pytest.raises(ValueError, match=r"image_to_scene: expected a rigid 3 x 3 matrix, got"):
            render(scene, BRIGHTFIELD, (32, 40), matrix)
    with pytest.raises(ValueError, match=r"size: expected positive height and width, got \(0, 4\)"):
        render(scene, BRIGHTFIELD, (0, 4))
    with pytest.raises(
        ValueError, match=r"within 20 pixels of the scene's 32 x 40, .* 4.0 further"
    ):
        render(scene, BRIGHTFIELD, (32, 40), rigid(0, (24, 0)))
    for kind in (fibres, cells, vessels):
        with pytest.raises(
            ValueError, match=r"size: expected .* at least 16 pixels, got \(40, 8\)"
        ):
            kind((40, 8), generator=rng)
    with pytest.raises(ValueError, match=r"modalities: expected one or more .*, got \[\]"):
        phantom(cells, (32, 32), [], generator=rng)
    with pytest.raises(ValueError, match="modalities: expected one or more of different names"):
        phantom(cells, (32, 32), [BRIGHTFIELD, BRIGHTFIELD], generator=rng)
    with pytest.raises(ValueError, match="clean: expected 1 channels, got 3"):
        BRIGHTFIELD(torch.rand(3, 8, 8), generator=rng)
    with pytest.raises(ValueError, match=r"blur: expected at least 0.4 pixels, got 0.1"):
        Modality("sharp", 0.1, BRIGHTFIELD.brightness, BRIGHTFIELD.expose)
