import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage.feature import canny
from skimage.filters import gaussian
from strategies import few

from equicomir.differentials import gradient
from equicomir.evaluation.detail import coherence, detail, edge_f1, gradient_correlation
from equicomir.filters import band_limit

seeds = st.integers(0, 2**31 - 1)
gains = st.floats(0.01, 100) | st.floats(-100, -0.01)
offsets = st.floats(-100, 100)
some = few(8)
fine = partial(coherence, segment_pixels=16)


def noise(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def related(seed, size=64, batch=2, channels=1, ratio=1.0):
    """Two noisy images of one white scene: so many times as much scene as noise, in power."""
    scene, *own = noise(seed, 3, batch, channels, size, size)
    first, second = (math.sqrt(ratio) * scene + each for each in own)
    return first, second


def turned(images, turns, mirrored):
    return torch.rot90(images.flip(-1) if mirrored else images, turns, (-2, -1))


def disk(size, row, column, radius):
    at = torch.arange(size, dtype=torch.float64)
    return (at[:, None] - row).square() + (at - column).square() <= radius**2


# ------------------------------------- the definitions, plainly, with faults that might be made


def naive_coherence(first, second, pixels=16, whitened=True, window=True, pooled=True):
    """Of one channel without masks, segment by segment over the whole plane of frequencies."""
    along = np.sin(np.pi * (np.arange(pixels) + 0.5) / pixels) ** 2 if window else np.ones(pixels)
    stencil = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    spectra = ([], [])
    for images, found in zip((first, second), spectra, strict=True):
        for image in images[:, 0].numpy():
            inner = (ndimage.correlate(image, stencil) if whitened else image)[1:-1, 1:-1]
            rest = (len(inner) - pixels) % (pixels // 2) // 2
            starts = range(rest, len(inner) - pixels + 1, pixels // 2)
            for row in starts:
                for column in starts:
                    cut = inner[row : row + pixels, column : column + pixels]
                    found.append(np.fft.fft2(cut * np.outer(along, along)))
    a, b = (np.stack(found) for found in spectra)
    if not pooled:  # the coherence of each segment, then the mean
        values = np.abs(a.conj() * b) ** 2 / (np.abs(a) ** 2 * np.abs(b) ** 2)
    else:
        powers = (np.abs(a) ** 2).sum(0) * (np.abs(b) ** 2).sum(0)
        values = np.abs((a.conj() * b).sum(0)) ** 2 / powers
    at = np.fft.fftfreq(pixels)
    radius = np.hypot(at[:, None], at)
    return float(values[..., (radius > 0.25) & (radius <= 0.5)].mean())


def forward_correlation(first, second):
    """Gradients half a pixel off, the border continued from the other side."""

    def magnitudes(x):
        return torch.hypot(x.roll(-1, -2) - x, x.roll(-1, -1) - x)

    pair = [magnitudes(x)[..., 1:-1, 1:-1].flatten().numpy() for x in (first, second)]
    return float(np.corrcoef(*pair)[0, 1])


def steepness_quantiles(x):
    """Of the gradient that Canny's method sees, where all four neighbours and more are there."""
    smooth = gaussian(x, 1.0, mode="constant") / gaussian(np.ones_like(x), 1.0, mode="constant")
    steep = np.hypot(ndimage.sobel(smooth, 0), ndimage.sobel(smooth, 1))
    return np.quantile(steep[2:-2, 2:-2], [0.8, 0.9])


def naive_f1(first, second, thresholds=None, tolerance=1.0):
    """From distances to the nearest edge; absolute thresholds or no tolerance are faults."""
    one, other = (
        canny(x, 1.0, *(thresholds or steepness_quantiles(x)), mode="constant")
        for x in (first[0, 0].numpy(), second[0, 0].numpy())
    )
    near_one, near_other = (
        ndimage.distance_transform_edt(~edges) <= tolerance for edges in (one, other)
    )
    inner = (slice(3, -3), slice(3, -3))
    precision = near_other[inner][one[inner]].mean()
    recall = near_one[inner][other[inner]].mean()
    return float(2 * precision * recall / (precision + recall))


# ---------------------------------------------------------------------------------- coherence


@given(seeds, st.integers(40, 70), st.sampled_from([8, 16, 20]))
@some
def test_coherence_is_its_definition(seed, size, pixels):
    first, second = related(seed, size)
    found, _ = coherence(first, second, segment_pixels=pixels)
    assert abs(found - naive_coherence(first, second, pixels)) < 1e-9
    assert abs(found - naive_coherence(first, second, pixels, window=False)) > 1e-8
    assert abs(found - naive_coherence(first, second, pixels, whitened=False)) > 1e-8


@given(seeds, gains, offsets, st.floats(0, 4), st.integers(1, 3))
def test_coherence_is_a_part_symmetric_and_blind_to_gain_and_offset(
    seed, gain, offset, ratio, channels
):
    first, second = related(seed, channels=channels, ratio=ratio)
    found, floor = fine(first, second)
    assert 0 <= found <= 1
    assert fine(second, first) == pytest.approx((found, floor), abs=1e-12)
    assert fine(first, gain * second + offset) == pytest.approx((found, floor), abs=1e-8)


@given(seeds, st.floats(0.3, 0.6), st.sampled_from([-2.0, 0.5]))
@some
def test_a_filtered_copy_is_coherent_and_one_that_is_no_filter_is_not(seed, sigma, gain):
    first = noise(seed, 2, 1, 64, 64)
    blurred = gain * torch.from_numpy(ndimage.gaussian_filter(first.numpy(), (0, 0, sigma, sigma)))
    assert fine(first, blurred)[0] > 0.95
    assert fine(first, first)[0] == pytest.approx(1)
    assert fine(first, first.square())[0] < 0.1


@given(seeds, st.sampled_from([64, 80, 128]), st.integers(1, 3))
@some
def test_independent_noise_has_the_coherence_of_the_floor(seed, size, channels):
    some = [related(seed + n, size, channels=channels, ratio=0) for n in range(6)]
    found, floor = np.mean(
        [fine(*each) for each in some], 0
    )  # of one, it may be half as much again
    assert abs(found / floor - 1) < 0.3
    assert floor < 0.02
    first, second = some[0]
    assert naive_coherence(first, second, pooled=False) == pytest.approx(1)


@given(seeds, st.floats(0.2, 5))
@some
def test_noise_lowers_coherence_by_the_known_amount(seed, ratio):
    first, second = related(seed, 128, ratio=ratio)
    found, floor = fine(first, second)
    true = ratio**2 / (1 + ratio) ** 2
    assert abs(found - (true + floor * (1 - true) ** 2)) < 0.05
    assert abs(found - ratio / (1 + ratio)) > 0.06  # not squared: a magnitude


def test_the_floor_counts_segments_that_overlap_as_fewer():
    pairs = [fine(*related(seed, ratio=0)) for seed in range(40)]
    found, floor = np.mean(pairs, 0)
    assert abs(found / floor - 1) < 0.06
    segments = 2 * 6 * 6
    assert floor > 1.08 / segments


@given(seeds)
@some
def test_coarse_structure_is_no_detail(seed):
    """Shared structure below 0.12 cycles per pixel, a thousand times as strong as own noise."""
    coarse = band_limit(0.12)(noise(seed, 4, 1, 128, 128), border="periodic")[..., 4:-4, 4:-4]
    own = noise(seed + 1, 2, 4, 1, 120, 120) / 1000
    first, second = coarse + own
    found, floor = coherence(first, second)
    assert found < 3 * floor < 0.05
    assert naive_coherence(first, second, 32, whitened=False, window=False) > 0.9


@given(seeds, st.floats(0.02, 0.1))
@some
def test_a_channel_weighs_as_its_fine_structure(seed, gain):
    first, second = related(seed, channels=1, ratio=3)
    faint = gain * noise(seed + 1, 2, 2, 1, 64, 64)
    alone = fine(first, second)[0]
    both = [torch.cat(pair, 1) for pair in ((first, faint[0]), (second, faint[1]))]
    assert alone - fine(*both)[0] < gain
    loud = [torch.cat(pair, 1) for pair in ((first, 50 * faint[0]), (second, 50 * faint[1]))]
    assert alone - fine(*loud)[0] > gain


# --------------------------------------------------------------------------------- gradients


@given(seeds, gains, offsets, st.integers(1, 3))
def test_gradient_correlation_is_symmetric_and_blind_to_gain_and_offset(
    seed, gain, offset, channels
):
    first, second = related(seed, 32, channels=channels)
    found = gradient_correlation(first, second)
    assert 0 < found < 1
    assert gradient_correlation(second, first) == pytest.approx(found)
    assert gradient_correlation(first, gain * second + offset) == pytest.approx(found)
    assert gradient_correlation(first, first) == pytest.approx(1)


@given(seeds, st.integers(8, 40))
def test_gradient_correlation_is_the_mean_of_pearsons_coefficients(seed, size):
    first, second = related(seed, size, channels=2)
    steep = [gradient(x).square().sum(1).sqrt()[:, 1:-1, 1:-1].flatten(1) for x in (first, second)]
    each = [np.corrcoef(*pair)[0, 1] for pair in zip(*steep, strict=True)]
    assert gradient_correlation(first, second) == pytest.approx(np.mean(each))
    with_border = [gradient(x).square().sum(1).sqrt().flatten(1) for x in (first, second)]
    wrong = [np.corrcoef(*pair)[0, 1] for pair in zip(*with_border, strict=True)]
    assert abs(np.mean(wrong) - np.mean(each)) > 1e-8


@given(seeds)
@some
def test_gradients_of_independent_images_do_not_correlate(seed):
    assert abs(gradient_correlation(*related(seed, 96, ratio=0))) < 0.06
    assert gradient_correlation(*related(seed, 96, ratio=4)) > 0.3


@given(seeds, st.integers(1, 3), st.booleans())
@some
def test_turning_and_mirroring_both_changes_nothing(seed, turns, mirrored):
    pair = related(seed, 66)
    moved = [turned(x, turns, mirrored) for x in pair]
    assert gradient_correlation(*moved) == pytest.approx(gradient_correlation(*pair), abs=1e-9)
    assert fine(*moved) == pytest.approx(fine(*pair), abs=1e-9)
    assert edge_f1(*moved) == pytest.approx(edge_f1(*pair), abs=0.005)
    several = [related(seed + n, 66) for n in range(4)]  # of one, the fault may be tiny by chance
    halves = [[turned(x, 2, False) for x in each] for each in several]
    differ = [
        forward_correlation(*half) - forward_correlation(*each)
        for half, each in zip(halves, several, strict=True)
    ]
    assert max(map(abs, differ)) > 1e-4


# -------------------------------------------------------------------------------------- edges


@given(seeds, gains, offsets)
def test_edges_agree_with_themselves_symmetrically_whatever_gain_and_offset(seed, gain, offset):
    first, second = related(seed, 49)  # of 48, a threshold is one pixel's very value
    found, chance = edge_f1(first, second)
    assert 0 < chance < found < 1
    assert edge_f1(first, first)[0] == 1
    assert edge_f1(second, first) == pytest.approx((found, chance))
    assert edge_f1(first, gain * second + offset) == pytest.approx((found, chance), abs=0.01)


@given(seeds)
@some
def test_edges_of_absolute_thresholds_see_the_gain(seed):
    fault, differ = partial(naive_f1, thresholds=(3.0, 4.0)), []
    for n in range(4):  # one may meet the old value on its way over the greatest
        first, second = related(seed + n, 64, batch=1)
        differ.append(abs(fault(first, 1.5 * second) - fault(first, second)))
        assert abs(edge_f1(first, 1.5 * second)[0] - edge_f1(first, second)[0]) < 0.01
    assert max(differ) > 0.02


@given(seeds, st.integers(0, 3))
@some
def test_a_shift_within_a_pixel_is_forgiven_and_one_of_three_is_not(seed, direction):
    scene = turned(noise(seed, 1, 1, 80, 80), direction, False)
    first, one, three = (scene[..., :72, shift : shift + 72] for shift in (0, 1, 3))
    assert edge_f1(first, one)[0] > 0.98
    assert edge_f1(first, three)[0] < 0.65
    assert naive_f1(first, one, tolerance=0) < 0.65


@given(seeds)
@some
def test_edges_of_independent_images_agree_by_chance(seed):
    found, chance = edge_f1(*related(seed, 128, ratio=0))
    assert abs(found - chance) < 0.06
    found, chance = edge_f1(*related(seed, 128, ratio=4))
    assert found > chance + 0.2


@given(seeds, st.floats(0, 4))
@some
def test_f1_is_that_of_distances_between_cannys_edges(seed, ratio):
    first, second = related(seed, 96, batch=1, ratio=ratio)
    # A pixel that is as steep as a threshold may be on either side of it by rounding.
    assert abs(edge_f1(first, second)[0] - naive_f1(first, second)) < 0.003
    assert abs(edge_f1(first, second)[0] - naive_f1(first, second, tolerance=2)) > 0.04


# ------------------------------------------------------------------------------ valid regions


MEASURES = [fine, gradient_correlation, edge_f1, lambda a, b, m=None: detail(a, b, b, a, m)]


@pytest.mark.parametrize("measure", MEASURES)
@given(seeds, st.floats(40, 55), st.floats(40, 55), st.booleans())
@some
def test_nothing_outside_the_mask_counts(measure, seed, row, column, each):
    first, second = related(seed, 96)
    mask = disk(96, row, column, 40)
    mask = torch.stack([mask, mask.T]) if each else mask
    expected = measure(first, second, mask)
    outside = ~mask.expand(2, 96, 96)[:, None]
    for foreign in (torch.full_like(first, math.nan), 1e6 + noise(seed + 1, 2, 1, 96, 96)):
        spoiled = [torch.where(outside, foreign, x) for x in (first, second)]
        assert measure(*spoiled, mask) == expected
    assert measure(*spoiled, None) != expected


@given(seeds, gains)
@few(4)
def test_a_mask_of_a_window_is_as_good_as_the_window(seed, gain):
    mask = torch.zeros(96, 96, dtype=torch.bool)
    mask[16:80, 24:72] = True
    window, whole = (..., slice(16, 80), slice(24, 72)), []
    for n in range(6):  # of one, the whole may score what the window does by chance
        first, second = related(seed + n, 96)
        cut = [x[window] for x in (first, second)]
        found = gradient_correlation(first, second, mask)
        assert found == pytest.approx(gradient_correlation(*cut))
        expected = edge_f1(*cut)
        assert edge_f1(first, gain * second, mask) == pytest.approx(expected, abs=0.005)
        whole.append(abs(edge_f1(first, second)[0] - expected[0]))
    assert max(whole) > 0.005


@given(seeds, st.integers(0, 3))
@some
def test_a_segment_that_touches_what_is_masked_is_skipped(seed, turns):
    first, second = related(seed, 98)
    mask = torch.zeros(98, 98, dtype=torch.bool)
    mask[:50] = True  # six steps of eight pixels and one pixel at each end
    mask[90:] = True  # too narrow for any
    half = [turned(x[..., :50, :], turns, False) for x in (first, second)]
    pair = [turned(x, turns, False) for x in (first, second)]
    found = fine(*pair, turned(mask, turns, False))
    assert found == pytest.approx(fine(*half), abs=1e-9)
    assert abs(found[0] - fine(*pair)[0]) > 1e-8


# ------------------------------------------------------------------------------- all measures


@given(seeds, st.integers(1, 3), st.integers(1, 4))
@some
def test_detail_collects_the_measures(seed, channels, image_channels):
    first, second = related(seed, 64, channels=channels)
    image, other = noise(seed + 1, 2, 2, image_channels, 64, 64)
    found = detail(first, second, image, other, segment_pixels=16)
    value, floor = fine(first, second)
    assert found["coherence_between"] == value
    assert found["coherence_floor"] == floor
    assert found["gradient_correlation_between"] == gradient_correlation(first, second)
    assert (found["edge_f1_between"], found["edge_f1_by_chance_between"]) == edge_f1(first, second)
    assert len(found) == 13
    assert all(type(number) is float for number in found.values())
    swapped = detail(second, first, other, image, segment_pixels=16)
    assert found["coherence_first"] == pytest.approx(swapped["coherence_second"])
    assert found["coherence_first"] != pytest.approx(found["coherence_second"])


def test_an_image_is_compared_by_the_mean_of_its_channels():
    first, second = related(0, 64, ratio=4)
    grey = detail(first, second, first, second)
    colours = detail(first, second, first * torch.tensor([1.0, 5, 0.2])[:, None, None], second)
    assert colours == pytest.approx(grey)
    own = [x[0] for x in (first, second, first, second)]  # without a batch
    assert detail(*own) == detail(*(x[None] for x in own))


def test_detail_tells_a_representation_that_keeps_it_from_one_that_is_only_sharp():
    scene, *own = noise(3, 5, 2, 1, 128, 128)
    first_image, second_image = scene + 0.3 * own[0], -scene + 0.3 * own[1]
    kept = detail(first_image, -second_image, first_image, second_image)
    sharp = detail(own[2], own[3], first_image, second_image)
    blurred = [
        torch.from_numpy(ndimage.gaussian_filter(x.numpy(), (0, 0, 2, 2))) + 0.1 * noise_
        for x, noise_ in ((first_image, own[2]), (-second_image, own[3]))
    ]
    soft = detail(*blurred, first_image, second_image)
    for name in ("coherence_between", "gradient_correlation_between", "edge_f1_between"):
        assert kept[name] > soft[name] > sharp[name] - 0.02
    assert sharp["coherence_between"] < 2 * sharp["coherence_floor"]


def test_a_flat_representation_has_no_detail():
    image = noise(0, 2, 1, 64, 64)
    flat = torch.full((2, 1, 64, 64), 0.3)
    found = detail(flat, flat, image, image)
    assert found.pop("coherence_floor") > 0
    assert set(found.values()) == {0.0}


IMAGE = noise(0, 1, 2, 64, 64)
MASK = torch.ones(64, 64, dtype=torch.bool)
BAD = [
    ((IMAGE.numpy(), IMAGE), {}, TypeError, "first: expected a torch tensor"),
    ((IMAGE, IMAGE.long()), {}, TypeError, "second: expected a floating type"),
    ((IMAGE, IMAGE[..., :60]), {}, ValueError, "second: expected 1 images of 64 x 64 pixels like"),
    ((IMAGE, IMAGE.repeat(1, 2, 1, 1)), {}, ValueError, "second: expected 2 channels like first"),
    ((IMAGE, IMAGE / 0), {}, ValueError, "second: expected finite numbers in the valid region"),
    ((IMAGE, IMAGE, MASK.float()), {}, TypeError, "mask: expected a tensor of booleans, got"),
    ((IMAGE, IMAGE, MASK[:9]), {}, ValueError, r"mask: expected shape \(64, 64\) or \(1, 64, 64\)"),
    ((IMAGE, IMAGE, ~MASK), {}, ValueError, "mask: expected a valid region that holds a square"),
]


@pytest.mark.parametrize(("images", "options", "kind", "message"), BAD)
@pytest.mark.parametrize("measure", [coherence, gradient_correlation, edge_f1])
def test_bad_input_is_refused_in_one_sentence(measure, images, options, kind, message):
    if measure is gradient_correlation and "channels" in message:
        assert measure(*images) == pytest.approx(1)  # magnitudes do not need them to agree
        return
    with pytest.raises(kind, match=message) as caught:
        measure(*images, **options)
    assert str(caught.value).count(". ") == 0
    assert str(caught.value).endswith(".")


def test_one_segment_is_refused_as_its_coherence_is_always_one():
    small = IMAGE[..., :40, :40]
    with pytest.raises(ValueError, match="mask: expected a valid region that holds two or more"):
        coherence(small, small)
    assert coherence(small, small, segment_pixels=16)[1] < 0.15


@pytest.mark.parametrize("pixels", [6, 17, -2])
def test_segments_are_even_and_not_tiny(pixels):
    with pytest.raises(ValueError, match="segment_pixels: expected an even number, 8 or more"):
        coherence(IMAGE, IMAGE, segment_pixels=pixels)
    with pytest.raises(TypeError, match="segment_pixels: expected a whole number, got float"):
        coherence(IMAGE, IMAGE, segment_pixels=16.0)


def test_detail_names_the_image_that_does_not_fit():
    with pytest.raises(ValueError, match="second_image: expected 1 images of 64 x 64"):
        detail(IMAGE, IMAGE, IMAGE, IMAGE[..., 1:])
