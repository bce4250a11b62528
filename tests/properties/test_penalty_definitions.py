"""Penalties and monitors by their definitions: loops, NumPy, SciPy; and what planted ones miss."""

from functools import partial

import numpy as np
import scipy.ndimage
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from strategies import cases
from test_penalties import SIZE, pair, smooth

from equicomir.losses.collapse import (
    covariance_term,
    effective_rank,
    total_variation,
    variance,
    variance_term,
)
from equicomir.losses.penalties import (
    gradient_agreement,
    orientation_agreement,
    self_similarity,
    spectral_retention,
)

# ----------------------------------------------------------- equality with naive definitions


def naive_cells(image):
    """Gradients in the middle of each 2 x 2 pixels, one after the other."""
    rows, columns = (n - 1 for n in image.shape)
    slopes = np.zeros((2, rows, columns))
    for r in range(rows):
        for c in range(columns):
            (a, b), (d, e) = image[r : r + 2, c : c + 2]
            slopes[:, r, c] = (d + e - a - b) / 2, (b + e - a - d) / 2
    return slopes


def naive_field(images, edge, relative=True):
    """The published normalised gradient fields, of one channel, (batch, 2, rows, columns)."""
    fields = []
    for image in images[:, 0].numpy():
        slopes = naive_cells(image)
        e = edge * np.hypot(*slopes).mean() if relative else edge
        fields.append(slopes / np.sqrt((slopes**2).sum(0) + e**2))
    return np.array(fields)


def naive_distance(first, second):
    products = ((first * second).sum(1) ** 2).sum((1, 2))
    lengths = [((field**2).sum(1) ** 2).sum((1, 2)) for field in (first, second)]
    return (1 - products / np.sqrt(lengths[0] * lengths[1])).mean()


@given(cases())
def test_a_fixed_edge_parameter_or_no_normalisation_would_let_scale_matter(case):
    y, x = pair(case)

    def fixed_edge(y, x):  # as where the published e is chosen once for all images
        fields = [naive_field(of, edge=1.0, relative=False) for of in (y, x)]
        return naive_distance(*fields)

    def no_own_mean(y):  # the same windows, each image with its own constant
        samples = F.unfold(y, 2).transpose(0, 1).flatten(1).numpy()
        return np.square(np.corrcoef(samples)[~np.eye(4, dtype=bool)]).mean()

    assert abs(fixed_edge(100 * y, x) - fixed_edge(y, x)) > 1e-3
    constants = 100 * torch.arange(case.batch).reshape(-1, 1, 1, 1)
    rough = case.images(case.batch, 1, SIZE, torch.float64)
    assert abs(no_own_mean(rough + constants) - no_own_mean(rough)) > 1e-3
    plain = partial(total_variation, relative=False)
    torch.testing.assert_close(plain(-3 * y + 1), 3 * plain(y))


@given(cases(), st.floats(0.2, 3.0))
def test_gradient_agreement_equals_normalised_gradient_fields(case, edge):
    y, x = pair(case, size=10)
    expected = naive_distance(naive_field(y, edge), naive_field(x, edge))
    assert abs(float(gradient_agreement(y, x, edge=edge)) - expected) < 1e-9
    assert abs(float(gradient_agreement(y, x, edge=2 * edge)) - expected) > 1e-8


@given(cases(), st.integers(1, 2))
def test_orientation_agreement_equals_that_of_eigenvectors(case, channels):
    """By NumPy's eigenvectors and SciPy's Gaussian."""
    y, x = pair(case, (1, channels), size=14)

    def angle_and_coherence(image):
        slopes = [naive_cells(channel) for channel in image.numpy()]
        tensor = sum(np.einsum("irc,jrc->rcij", slope, slope) for slope in slopes)
        tensor = scipy.ndimage.gaussian_filter(tensor, 1.0, axes=(0, 1), truncate=3.0)
        values, vectors = np.linalg.eigh(tensor[3:-3, 3:-3])
        trace = values.sum(-1)
        angle = np.arctan2(vectors[..., 1, 1], vectors[..., 0, 1])
        return angle, (values[..., 1] - values[..., 0]) / (trace + trace.mean())

    expected = 0.0
    for of_y, of_x in zip(y, x, strict=True):
        (a, p), (b, q) = angle_and_coherence(of_y), angle_and_coherence(of_x)
        cosine = (p * q * np.cos(2 * (a - b))).sum() / np.sqrt((p**2).sum() * (q**2).sum())
        expected += (1 - cosine) / 2 / len(y)
    assert abs(float(orientation_agreement(y, x, sigma=1.0)) - expected) < 1e-9


@given(cases(), st.integers(0, 1), st.integers(1, 2))
def test_self_similarity_equals_descriptors_pixel_by_pixel(case, patch, search):
    y, x = pair(case, size=9)
    reach = range(-search, search + 1)
    offsets = [(r, c) for r in reach for c in reach if (r, c) != (0, 0)]
    border = patch + search

    def descriptors(image):
        def square(r, c):
            return image[r - patch : r + patch + 1, c - patch : c + patch + 1]

        inner = range(border, len(image) - border)
        distances = np.array(
            [
                [((square(r, c) - square(r + i, c + j)) ** 2).mean() for i, j in offsets]
                for r in inner
                for c in inner
            ]
        )
        near = [k for k, (i, j) in enumerate(offsets) if abs(i) + abs(j) == 1]
        spread = distances[:, near].mean(1)
        values = np.exp(-distances / (spread + 0.01 * spread.mean())[:, None])
        return values / values.max(1, keepdims=True)

    expected = np.mean(
        [
            np.abs(descriptors(a[0].numpy()) - descriptors(b[0].numpy()))
            for a, b in zip(y, x, strict=True)
        ]
    )
    came = self_similarity(y, x, patch_radius=patch, search_radius=search)
    assert abs(float(came) - expected) < 1e-9


@given(cases(), st.sampled_from([0.1, 0.25, 0.5]), st.sampled_from([None, SIZE - 3]))
def test_spectral_retention_equals_numpys_spectrum(case, cutoff, width):
    y, x = pair(case, width=width)
    height, width = x.shape[2:]
    rows, columns = np.ogrid[:height, :width]
    depth = np.minimum(
        np.minimum(rows + 1, height - rows), np.minimum(columns + 1, width - columns)
    )
    window = np.sin(np.pi / 2 * np.minimum(depth, 8) / 8) ** 2

    def share(image):
        power = np.abs(np.fft.fft2((image - (window * image).sum() / window.sum()) * window)) ** 2
        radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
        return power[radius > cutoff].sum() / power.sum()

    lost = [
        max(0, share(b) - share(a)) / share(b)
        for a, b in zip(y[:, 0].numpy(), x[:, 0].numpy(), strict=True)
    ]
    assert abs(float(spectral_retention(y, x, cutoff=cutoff)) - np.mean(lost)) < 1e-4


@given(cases())
def test_total_variation_equals_its_sum_over_cells(case):
    y, _ = pair(case, (2, 1), size=8)
    total, values = 0.0, []
    for image in y.numpy():
        corners = np.array(
            [image[:, r : r + 2, c : c + 2].reshape(2, 4) for r in range(7) for c in range(7)]
        )
        a, b, c, d = np.moveaxis(corners, -1, 0)
        squares = (a - b) ** 2 + (b - d) ** 2 + (d - c) ** 2 + (c - a) ** 2
        variation = np.sqrt(squares.sum(1) / 2).mean()
        spread = np.sqrt(corners.var(axis=(0, 2)).sum())
        total += variation / len(y)
        values.append(variation / spread / np.sqrt(8))
    assert abs(float(total_variation(y, relative=False)) - total) < 1e-9 * max(1, total)
    assert abs(float(total_variation(y)) - np.mean(values)) < 1e-9


@given(cases())
def test_variation_along_one_axis_is_the_mean_step(case):
    line = case.images(case.batch, 1, SIZE, torch.float64)[..., :1]
    steps = np.abs(np.diff(line.numpy(), axis=2)).mean()
    came = total_variation(line.expand(-1, -1, -1, SIZE), relative=False)
    assert abs(float(came) - steps) < 1e-9


# -------------------------------------------------------------------------------- collapse


@given(cases(), st.integers(1, 2), st.integers(2, 3))
def test_covariance_equals_numpys(case, channels, window):
    y, _ = pair(case, (channels, 1), size=8)
    centred = (y - y.mean((2, 3), keepdim=True)).numpy()
    view = np.lib.stride_tricks.sliding_window_view(centred, (window, window), axis=(2, 3))
    samples = view.transpose(0, 2, 3, 1, 4, 5).reshape(-1, channels * window**2)
    others = ~np.eye(samples.shape[1], dtype=bool)
    published = np.square(np.cov(samples.T)[others]).sum() / samples.shape[1]
    came = float(covariance_term(y, window=window, relative=False))
    assert abs(came - published) < 1e-9 * max(1, published)
    correlation = np.square(np.corrcoef(samples.T)[others]).mean()
    assert abs(float(covariance_term(y, window=window)) - correlation) < 1e-9


@given(cases(), st.integers(1, 3), st.floats(0.1, 3.0))
def test_variance_term_equals_its_loops(case, channels, target):
    y, _ = pair(case, (channels, 1), size=6)
    hinges = []
    for channel in range(channels):
        images = [image - image.mean() for image in y[:, channel].numpy()]
        variances = [
            np.var([image[r, c] for image in images], ddof=1) for r in range(6) for c in range(6)
        ]
        hinges.append(max(0.0, 1 - np.sqrt(np.mean(variances) / target**2 + 1e-4)))
    assert abs(float(variance_term(y, target=target)) - np.mean(hinges)) < 1e-9


@given(cases())
def test_both_ways_of_saying_nothing_are_seen_and_planted_terms_miss_one_each(case):
    healthy = case.images(8, 1, SIZE, torch.float64) / case.scale
    one_image = healthy[:1].expand_as(healthy)
    flats = 3 * healthy[..., :1, :1].expand_as(healthy)
    assert variance_term(healthy) < 0.1
    assert variance(healthy) > 0.5
    assert effective_rank(healthy) > 4
    for collapsed in (one_image, flats, one_image + flats):
        assert abs(variance_term(collapsed) - 0.99) < 1e-3
        assert variance(collapsed) < 1e-12
        assert effective_rank(collapsed) == 0

    def pixels_as_samples(y):  # of each channel, over the batch and all pixels
        return (1 - y.std()).clamp(min=0)

    def own_mean_kept(y):  # published, on flattened representations
        return (1 - y.flatten(1).std(0)).clamp(min=0).mean()

    assert pixels_as_samples(one_image) < 0.2
    assert own_mean_kept(flats) < 0.9


@given(cases(), st.integers(1, 2))
def test_repetition_is_seen_between_channels_and_between_neighbours(case, channels):
    rough = case.images(8, channels, SIZE, torch.float64)
    assert covariance_term(rough) < 0.01 < 0.1 < covariance_term(smooth(rough))
    copies = rough[:, :1].expand(-1, 3, -1, -1)
    assert covariance_term(copies, window=1) > 1 - 1e-9


@given(cases(), st.lists(st.floats(0.05, 20.0), min_size=1, max_size=5), st.sampled_from([1, 2]))
def test_effective_rank_is_that_of_the_spectrum(case, spectrum, channels):
    """Of representations built from orthonormal images with given singular values."""
    batch, size = 6, 8
    rows = case.images(1, 1, batch, torch.float64)[0, 0]
    scenes = torch.linalg.qr(torch.cat([torch.ones(batch, 1), rows], dim=1)).Q[:, 1:]
    constants = torch.zeros(channels, channels, size * size, dtype=torch.float64)
    constants[range(channels), range(channels)] = 1
    values = case.images(batch - 1, channels, size, torch.float64).flatten(1)
    whole = torch.cat([constants.flatten(1), values]).T
    images = torch.linalg.qr(whole).Q[:, channels:]
    strengths = torch.zeros(batch - 1, dtype=torch.float64)
    strengths[: len(spectrum)] = torch.tensor(spectrum)
    y = (scenes[:, : batch - 1] * strengths) @ images.T
    offsets = case.images(batch, channels, 1, torch.float64)
    y = y.reshape(batch, channels, size, size) + offsets
    shares = np.array(spectrum) / np.sum(spectrum)
    assert abs(effective_rank(y) - np.exp(-(shares * np.log(shares)).sum())) < 1e-6
    assert abs(variance(y) - np.square(spectrum).sum() / 5 / y[0].numel()) < 1e-6
    turned = 100 * torch.rot90(y, case.quarter_turns, (2, 3))
    assert abs(effective_rank(turned) - effective_rank(y)) < 1e-6


@given(cases())
def test_rounding_is_no_direction(case):
    """Without a floor, a collapsed batch in single precision would have full rank."""
    y = case.images(1, 1, SIZE, torch.float32).expand(6, -1, -1, -1)
    rounded = y * (1 + 6e-8 * case.images(6, 1, SIZE, torch.float32).sign())
    values = torch.linalg.svdvals((rounded - rounded.mean(0)).flatten(1).double())
    shares = values / values.sum()
    assert torch.exp(torch.special.entr(shares).sum()) > 3
    assert effective_rank(rounded) == 0
