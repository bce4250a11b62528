"""The laws of extra input layers; each is shown to fail for a planted fault."""

import itertools
import math
import pickle
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from skimage.feature import canny
from skimage.filters.rank import entropy
from skimage.morphology import disk
from strategies import cases, seeds

from equicomir.differentials import gradient
from equicomir.encoders.fields import act
from equicomir.encoders.groups import Group
from equicomir.encoders.steerable import steerable
from equicomir.filters import butterworth_high_pass
from equicomir.images.layers import (
    Layer,
    frequencies_of,
    gradient_field,
    gradient_magnitude,
    high_passed,
    laplacian,
    of_filter,
    structure_field,
    with_layers,
)
from equicomir.images.neighbourhoods import edge_distance, local_entropy
from equicomir.properties import mirror_error, quarter_turn_error

sides = st.integers(5, 24)
sigmas = st.floats(0.75, 2.5)
angles = st.floats(0, 2 * math.pi)
SMOOTH = [  # those that are derivatives or filters, of a wave of 0.05 to 0.1 cycles per pixel
    st.builds(gradient_field, sigmas),
    st.builds(gradient_magnitude, sigmas),
    st.builds(structure_field, sigmas),
    st.builds(laplacian, st.floats(0.05, 0.3)),
    st.builds(high_passed, st.floats(0.04, 0.2)),
    st.builds(lambda cutoff: of_filter(butterworth_high_pass(cutoff)), st.floats(0.1, 0.2)),
]
ENTROPIES = st.builds(local_entropy, st.integers(1, 6), st.integers(2, 20))
DISTANCES = st.builds(edge_distance, sigmas, st.floats(0.05, 0.5), st.integers(2, 20))
LAYERS = st.one_of(*SMOOTH, ENTROPIES, DISTANCES)
SOME = st.lists(LAYERS, min_size=1, max_size=4)


def uniform(generator, *shape, dtype=torch.float64):
    """Uniform in [-0.1, 1.1]: what a percentile scaling makes."""
    return (1.2 * torch.rand(*shape, generator=generator, dtype=torch.float64) - 0.1).to(dtype)


def moved(x, turns, mirrored):
    return torch.rot90(x.flip(-1) if mirrored else x, turns, (-2, -1))


def moved_fields(fields, frequencies, turns, mirrored):
    """Fields as they are when the image is mirrored and turned: pixels move, components mix."""
    sizes = [1 if frequency == 0 else 2 for frequency in frequencies]
    parts = moved(fields, turns, mirrored).split(sizes, dim=1)
    matrices = [act(f, Group(4, mirrors=True), turns, mirrored).to(fields) for f in frequencies]
    mixed = [
        torch.einsum("xy,byhw->bxhw", m, part) for m, part in zip(matrices, parts, strict=True)
    ]
    return torch.cat(mixed, dim=1)


def turn_error(x, layers, turns, mirrored):
    """How far the layered turned image is from the turned layered image, by its types."""
    frequencies = frequencies_of(x.shape[1], layers)
    expected = moved_fields(with_layers(x, layers), frequencies, turns, mirrored)
    came = with_layers(moved(x, turns, mirrored), layers)
    return float((came - expected).abs().max())


# ------------------------------------------------- planted faults: layers one might have made


def upwards(images):
    return gradient(images) * torch.tensor([-1.0, 1.0]).repeat(images.shape[1])[:, None, None]


def columns_first(images):
    return gradient(images).unflatten(1, (-1, 2)).flip(2).flatten(1, 2)


def padded_with_zeros(layer, images):
    depth = layer.reach + 1
    made = layer(F.pad(images, (depth,) * 4))
    return made[..., depth:-depth, depth:-depth]


def not_twice_the_angle(images):
    rows, columns = gradient(images).unflatten(1, (-1, 2)).unbind(2)
    return torch.stack((rows * rows, columns * columns), dim=2).flatten(1, 2)


def axis_as_vector(images):
    return structure_field()(images).unflatten(1, (-1, 3))[:, :, 1:].flatten(1, 2)


def axis_of_wrong_sense(images):
    """Quarter turns and mirrors cannot tell: a quarter turn negates both components."""
    sense = torch.tensor([1.0, 1.0, -1.0], dtype=images.dtype)[:, None, None]
    return structure_field(2.0)(images) * sense


FAULTS = [
    Layer("upwards", (1,), 1, upwards),
    Layer("columns first", (1,), 1, columns_first),
    Layer("a vector as two scalars", (0, 0), 1, gradient),
    Layer("a vector as an axis", (2,), 1, gradient),
    Layer("squares as an axis", (2,), 1, not_twice_the_angle),
    Layer("an axis as a vector", (1,), 8, axis_as_vector),
]


# ------------------------------------------------------------------------------ turns


@given(SOME, seeds(), st.integers(1, 2), sides, sides, st.integers(0, 3), st.booleans())
def test_layers_turn_and_mirror_as_they_say_borders_included(
    layers, generator, channels, height, width, turns, mirrored
):
    x = uniform(generator, 2, channels, height, width)
    assert turn_error(x, layers, turns, mirrored) < 1e-10
    assert turn_error(x.float(), layers, turns, mirrored) < 1e-4


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@given(seeds(), st.integers(1, 2), sides, sides, st.booleans())
def test_a_wrong_type_sign_or_axis_is_caught(fault, generator, channels, height, width, once):
    x = uniform(generator, 2, channels, height, width)
    turns = 1 if once else 3
    assert turn_error(x, [fault], turns, False) > 1e-2


@pytest.mark.parametrize("group", ["C4", "C8", "D4", "SO(2)"])
@given(SOME, seeds(), cases(), st.integers(1, 2))
def test_a_steerable_encoder_stays_equivariant_with_any_layers(
    group, layers, generator, case, channels
):
    frequencies = frequencies_of(channels, layers)
    count = channels * (1 + sum(layer.channels for layer in layers))
    make = partial(steerable, count, group=group, widths=(1, 1), kernel_size=3, generator=generator)
    typed, scalars = make(frequencies=frequencies), make()

    def layered(encoder, x):
        return encoder(with_layers(x, layers))

    assert quarter_turn_error(partial(layered, typed), case, channels=channels) < 5e-5
    if group == "D4":
        assert mirror_error(partial(layered, typed), case, channels=channels) < 5e-5
    if any(frequencies) and case.quarter_turns != 2:
        # Told that everything is a scalar, it is not: the types mean something.
        assert quarter_turn_error(partial(layered, scalars), case, channels=channels) > 1e-3


@given(seeds(), cases())
def test_frequencies_in_another_order_than_the_channels_are_caught(generator, case):
    layers = [gradient_field(), structure_field()]
    frequencies = frequencies_of(2, layers)
    assert frequencies == (0, 0, 1, 1, 0, 2, 0, 2)
    wrong = (0, 1, 0, 2, 0, 1, 0, 2)  # as if each channel were followed by its own layers
    for order in (frequencies, wrong):
        encoder = steerable(12, frequencies=order, group="C4", widths=(1,), generator=generator)
        error = quarter_turn_error(
            lambda x, encoder=encoder: encoder(with_layers(x, layers)),
            replace(case, quarter_turns=1),
            channels=2,
        )
        assert (error < 1e-5) == (order == frequencies)


def grid(size):
    at = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    return torch.stack(torch.meshgrid(at, at, indexing="ij"), dim=-1)


def rotation(angle):
    cos, sin = math.cos(angle), math.sin(angle)
    return torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)


def any_angle_error(layer, generator, angle):
    """Smooth waves and the same ones turned, both sampled; compared in the middle."""
    directions = 2 * math.pi * torch.rand(5, generator=generator, dtype=torch.float64)
    speeds = 0.3 + 0.3 * torch.rand(5, generator=generator, dtype=torch.float64)
    phases = 6 * torch.rand(5, generator=generator, dtype=torch.float64)
    vectors = torch.stack([directions.cos(), directions.sin()]) * speeds
    size = 2 * layer.reach + 3

    def in_the_middle(points):
        image = 0.5 + 0.1 * torch.cos(points @ vectors + phases).sum(-1)
        return layer(image[None, None])[0, :, size // 2, size // 2]

    straight = in_the_middle(grid(size))
    turned = in_the_middle(grid(size) @ rotation(angle))  # each pixel looks R^-1 back
    blocks = [torch.eye(1).double() if f == 0 else rotation(f * angle) for f in layer.frequencies]
    return float((turned - torch.block_diag(*blocks) @ straight).abs().max())


@given(st.one_of(*SMOOTH), seeds(), angles)
def test_by_any_angle_a_layer_turns_as_its_frequency_says(layer, generator, angle):
    assert any_angle_error(layer, generator, angle) < 5e-3


@pytest.mark.parametrize(
    "fault",
    [
        Layer("upwards", (1,), 1, upwards),
        Layer("an axis as a vector", (1,), 8, axis_as_vector),
        Layer("an axis of wrong sense", (0, 2), 8, axis_of_wrong_sense),
    ],
    ids=lambda fault: fault.name,
)
@given(st.integers(0, 1000))
def test_by_any_angle_a_wrong_sense_is_caught(fault, seed):
    generators = [torch.Generator().manual_seed(20 * seed + one) for one in range(20)]
    errors = [any_angle_error(fault, one, math.pi / 4) for one in generators]
    assert max(errors) > 2e-2  # in one place of twenty at least the image has a direction


# ------------------------------------------------------------- constants, borders, scale


@given(LAYERS, st.floats(-2, 2), sides, sides)
def test_a_constant_image_says_nothing(layer, value, height, width):
    came = layer(torch.full((1, 1, height, width), value, dtype=torch.float64))
    expected = float(layer.name.startswith("edge_distance"))  # no edge near
    assert (came - expected).abs().max() < 1e-6


@pytest.mark.parametrize(
    "layer", [gradient_field(), gradient_magnitude(), structure_field(), laplacian(), high_passed()]
)
@given(st.floats(0.5, 2), sides, sides)
def test_a_border_of_zeros_would_be_caught(layer, value, height, width):
    """It commutes with quarter turns: the constant image tells."""
    came = padded_with_zeros(layer, torch.full((1, 1, height, width), value).double())
    assert came.abs().max() > 0.05


def crop_error(layer, generator, depth, shift):
    """What the layer of a crop differs from the crop of the layer, ``depth`` pixels inside."""
    size = 2 * depth + 9
    x = uniform(generator, 1, 1, size + 12, size + 12)
    crop = layer(x[..., shift : shift + size, 3 : 3 + size])
    whole = layer(x)[..., shift : shift + size, 3 : 3 + size]
    inside = (..., slice(depth, size - depth), slice(depth, size - depth))
    return (crop - whole)[inside].abs()


@given(st.one_of(*SMOOTH), seeds(), st.integers(1, 11))
def test_further_inside_than_its_reach_a_layer_sees_no_border(layer, generator, shift):
    near = crop_error(layer, generator, 0, shift).max()
    assert crop_error(layer, generator, layer.reach, shift).max() < 0.01
    assert near > 0.01  # the border is seen: the test can fail


@given(ENTROPIES, seeds(), st.integers(1, 11))
def test_the_reach_of_the_entropy_is_exact(layer, generator, shift):
    assert crop_error(layer, generator, layer.reach, shift).max() < 1e-12
    assert crop_error(layer, generator, layer.reach - 1, shift).max() > 1e-6


@given(DISTANCES, seeds(), st.integers(1, 11))
def test_a_patch_has_the_edges_of_the_whole_image(layer, generator, shift):
    # Of several crops, for where a blur's tail decides about an isolated edge, one may lose it.
    errors = [crop_error(layer, generator, layer.reach, shift) for _ in range(4)]
    assert torch.stack(errors).mean() < 0.02


@given(LAYERS, seeds(), sides, sides)
def test_values_are_of_order_one(layer, generator, height, width):
    noise = torch.rand(1, 1, height, width, generator=generator, dtype=torch.float64)
    blocks = (noise > 0.5).double()
    for x in (noise, blocks, blocks.repeat_interleave(4, -1).repeat_interleave(4, -2)):
        assert layer(x).abs().max() < 3.5


@given(st.floats(0.75, 3), st.booleans(), st.integers(0, 3))
def test_a_step_of_one_has_a_gradient_and_a_trace_of_about_one(sigma, between, turns):
    n = 2 * structure_field(sigma).reach + 9
    at = torch.arange(n) - n // 2 + (0.5 if between else 0.0)
    line = (at > 0).double() + 0.5 * (at == 0)
    x = torch.rot90(line.view(1, 1, n, 1).expand(1, 1, n, n), turns, (-2, -1))
    middle = (..., slice(n // 2 - 1, n // 2 + 2), slice(n // 2 - 1, n // 2 + 2))
    vector, length = gradient_field(sigma)(x)[middle], gradient_magnitude(sigma)(x)[middle]
    assert 0.8 < vector.norm(dim=1).max() < 1.1
    assert 0.8 < length.max() < 1.1
    assert 0.4 < structure_field(sigma)(x)[middle][:, 0].max() < 1.2


# -------------------------------------------------------------------- entropy and edges


@given(seeds(), st.integers(1, 6), st.integers(2, 20), sides, sides)
def test_the_entropy_of_quantised_images_is_that_of_scikit_image(
    generator, radius, bins, height, width
):
    levels = torch.randint(bins, (height, width), generator=generator)
    ours = local_entropy(radius, bins)((levels.double() / (bins - 1))[None, None])[0, 0]
    theirs = entropy(levels.numpy().astype(np.uint8), disk(radius)) / math.log2(bins)
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-6)


@given(seeds(), st.integers(2, 6), st.integers(4, 20))
def test_the_entropy_is_continuous_and_has_a_finite_slope(generator, radius, bins):
    x = torch.rand(1, 1, 9, 11, generator=generator, dtype=torch.float64)
    layer = local_entropy(radius, bins)
    x = (x * (bins - 1)).floor().div(bins - 1)
    change = 1e-6 * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    assert (layer(x + change) - layer(x)).abs().max() < 1e-3
    x.requires_grad_()
    (slope,) = torch.autograd.grad(layer(x).sum(), x)
    assert torch.isfinite(slope).all()
    # A hard histogram jumps at the middles between centres: caught.
    edge = x.detach() + 0.5 / (bins - 1)
    jumps = [layer((y * (bins - 1)).round() / (bins - 1)) for y in (edge + change, edge - change)]
    assert (jumps[0] - jumps[1]).abs().max() > 1e-2


@given(seeds(), sigmas, st.floats(0.1, 0.6), st.integers(2, 12), sides, sides)
def test_the_distance_is_to_the_nearest_pixel_of_great_magnitude(
    generator, sigma, threshold, farthest, height, width
):
    x = uniform(generator, 1, 1, height, width)
    edges = (gradient_magnitude(sigma)(x)[0, 0] > threshold).nonzero().numpy()
    pixels = np.array(list(itertools.product(range(height), range(width))))
    far = np.full(len(pixels), np.inf)
    if len(edges):
        far, _ = cKDTree(edges).query(pixels)
    expected = np.minimum(far, farthest).reshape(height, width) / farthest
    came = edge_distance(sigma, threshold, farthest)(x)[0, 0]
    np.testing.assert_allclose(came.numpy(), expected, atol=1e-12)


@given(angles, st.floats(-6, 6))
def test_a_straight_edge_is_as_far_in_every_direction(angle, offset):
    towards = grid(65) @ torch.tensor([math.cos(angle), math.sin(angle)]).double() - offset
    came = edge_distance(farthest=24)(torch.sigmoid(4 * towards)[None, None])[0, 0]
    half_width = 1.5 * math.sqrt(2 * math.log(1 / 0.15))  # where the blurred slope is 0.15
    expected = (towards.abs() - half_width).clamp(0, 24) / 24
    middle = (slice(22, 43), slice(22, 43))  # further out the nearest edge is outside
    assert (came - expected)[middle].abs().max() < 1.2 / 24
    assert (came - towards.abs().clamp(0, 24) / 24)[middle].abs().max() > 1.2 / 24


def test_the_edges_of_canny_do_not_commute_with_quarter_turns():
    """Why they are not used: at corners of equal gradients their thinning breaks the tie."""
    random = np.random.default_rng(0)
    images = [random.integers(0, 2, (6, 8)).repeat(4, 0).repeat(4, 1) / 1.0 for _ in range(40)]
    assert any((canny(np.rot90(x)) != np.rot90(canny(x))).any() for x in images)
    assert all(
        turn_error(torch.from_numpy(x)[None, None], [edge_distance()], 1, False) == 0
        for x in images
    )


# ------------------------------------------------------------------ precision, pickling


@given(LAYERS, seeds(), sides, sides, st.sampled_from([torch.float32, torch.bfloat16]))
def test_every_precision_gives_its_own_type_and_finite_slopes(
    layer, generator, height, width, dtype
):
    for x in (uniform(generator, 2, 1, height, width, dtype=dtype), torch.ones(1, 1, 5, 5)):
        leaf = x.to(dtype).requires_grad_()
        came = layer(leaf)
        assert came.dtype == dtype
        assert torch.isfinite(came).all()
        if not layer.name.startswith("edge_distance"):
            (slope,) = torch.autograd.grad(came.sum(), leaf)
            assert torch.isfinite(slope).all()
        scale = 1e-4 if dtype == torch.float32 else 2e-2
        exact = layer(leaf.detach().double())
        torch.testing.assert_close(came.detach().double(), exact, rtol=0, atol=scale)


@given(LAYERS, seeds())
def test_a_layer_can_be_pickled_and_one_image_does_not_change_another(layer, generator):
    x = uniform(generator, 3, 2, 12, 9)
    again = pickle.loads(pickle.dumps(layer))
    assert again == layer
    torch.testing.assert_close(again(x), layer(x), rtol=0, atol=0)
    torch.testing.assert_close(layer(x[1:2]), layer(x)[1:2])
    torch.testing.assert_close(layer(x[:, 1:]), layer(x)[:, layer.channels :])
