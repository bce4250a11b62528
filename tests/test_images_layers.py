import inspect
import math

import numpy as np
import pytest
import torch

from equicomir.images import layers, neighbourhoods
from equicomir.images.layers import (
    Layer,
    frequencies_of,
    gradient_field,
    gradient_magnitude,
    high_passed,
    laplacian,
    structure_field,
    with_layers,
)
from equicomir.images.neighbourhoods import edge_distance, local_entropy

SEVEN = [
    gradient_field(),
    gradient_magnitude(),
    laplacian(),
    structure_field(),
    local_entropy(),
    high_passed(),
    edge_distance(),
]


def test_the_seven_layers_of_the_first_hypothesis():
    x = torch.rand(2, 1, 32, 40)
    assert with_layers(x, SEVEN).shape == (2, 11, 32, 40)
    assert frequencies_of(1, SEVEN) == (0, 1, 0, 0, 0, 2, 0, 0, 0)
    assert [layer.reach for layer in SEVEN] == [7, 7, 10, 8, 5, 14, 23]
    assert torch.equal(with_layers(x, []), x)
    assert frequencies_of(3, []) == (0, 0, 0)


def test_a_vector_points_to_the_brighter_side_along_rows_then_columns():
    ramp = torch.linspace(0, 1, 41).view(1, 1, 41, 1).expand(1, 1, 41, 41)
    down, right = gradient_field()(ramp)[0, :, 20, 20].tolist()
    assert down > 0.01
    assert abs(right) < 1e-6
    down, right = gradient_field()(ramp.mT)[0, :, 20, 20].tolist()
    assert abs(down) < 1e-6
    assert right > 0.01


def test_bright_blobs_are_positive_in_the_laplacian():
    at = torch.arange(41.0) - 20
    blob = torch.exp(-(at[:, None] ** 2 + at[None, :] ** 2) / 18)[None, None]
    assert laplacian(0.08)(blob)[0, 0, 20, 20] > 0.1


def test_entropy_tells_texture_from_brightness():
    random = torch.rand(1, 1, 20, 20, generator=torch.Generator().manual_seed(0))
    layer = local_entropy()
    assert layer(random).min() > 0.6
    assert layer(torch.full((1, 1, 20, 20), 0.5)).max() < 1e-6  # between two centres of bins
    assert layer(torch.full((1, 1, 20, 20), 7.0)).max() == 0  # beyond the last bin


def test_distance_to_the_edge_of_a_square():
    square = torch.zeros(1, 1, 64, 64)
    square[..., 20:44, 20:44] = 1
    far = edge_distance(farthest=12)(square)[0, 0]
    assert far[32, 20] == 0
    assert far[32, 32] == pytest.approx(far[32, 31])
    assert 0.6 < far[32, 32] < 0.9
    assert far[2, 2] == 1


def test_layers_of_one_name_are_the_same():
    assert gradient_field(2) == gradient_field(np.float64(2.0))
    assert gradient_field(2) != gradient_field(2.5)
    assert len({local_entropy(3), local_entropy(3), local_entropy(3, 8)}) == 2


@pytest.mark.parametrize("make", [gradient_field, gradient_magnitude, structure_field])
def test_a_sigma_that_is_no_number_of_pixels(make):
    for sigma in (0.7, -1, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"sigma: expected at least 0.75 pixels, got {sigma}"):
            make(sigma)
    for sigma in ("1", True, None):
        with pytest.raises(TypeError, match="sigma: expected a number of pixels, got"):
            make(sigma)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: local_entropy(0), "radius: expected a whole number, 1 or more, got 0"),
        (lambda: local_entropy(2.5), "radius: expected a whole number, 1 or more, got 2.5"),
        (lambda: local_entropy(5, 1), "bins: expected a whole number, 2 or more, got 1"),
        (lambda: edge_distance(farthest=0), "farthest: expected a whole number, 1 or more"),
        (lambda: edge_distance(threshold=0), "threshold: expected a positive number, got 0"),
        (lambda: edge_distance(threshold=math.nan), "threshold: expected a positive number"),
        (lambda: edge_distance(sigma=0.1), "sigma: expected at least 0.75 pixels, got 0.1"),
        (lambda: laplacian(0.7), r"peak: expected cycles per pixel in \(0, 0.5\], got 0.7"),
        (lambda: high_passed(0), r"cutoff: expected cycles per pixel in \(0, 0.5\], got 0"),
        (lambda: frequencies_of(0, SEVEN), "channels: expected 1 or more, got 0"),
        (lambda: Layer("none", (), 0, abs), r"frequencies: expected 0, 1 or 2 .*, got \(\)"),
        (lambda: Layer("three", (0, 3), 0, abs), r"frequencies: expected 0, 1 .*, got \(0, 3\)"),
    ],
)
def test_bad_numbers_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_bad_images_are_named():
    for layer in SEVEN:
        with pytest.raises(ValueError, match="images: expected 4 axes"):
            layer(torch.rand(8, 8))
        with pytest.raises(TypeError, match=r"images: expected a torch tensor"):
            layer(np.zeros((1, 1, 8, 8)))
        with pytest.raises(TypeError, match=r"images: expected a floating type"):
            with_layers(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), [layer])


def test_a_function_that_does_not_make_what_it_declares_is_named():
    liar = Layer("liar", (1,), 0, torch.abs)
    with pytest.raises(
        ValueError, match=r"liar: expected .* \(2, 6, 4, 5\), .* got \(2, 3, 4, 5\)"
    ):
        with_layers(torch.rand(2, 3, 4, 5), [liar])


def test_every_public_name_has_a_docstring_with_an_example():
    for module in (layers, neighbourhoods):
        for name, thing in vars(module).items():
            if not name.startswith("_") and getattr(thing, "__module__", "") == module.__name__:
                assert "Example:" in inspect.getdoc(thing), name
