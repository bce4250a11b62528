"""Augmentation: geometry common to all modalities, photometry each its own; each by its law."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from strategies import seeds

from equicomir.geometry import rotate
from equicomir.images.augmentation import (
    Augmentation,
    change_light,
    displacement,
    draw_geometry,
    draw_photometry,
    matrices,
)
from equicomir.images.pairs import Scene
from equicomir.images.patches import cut_patches, draw_patches, patch_places

MOVED = Augmentation(rotation=True, mirror=True, scale=1.3, elastic_pixels=3)
LIT = Augmentation(
    contrast=0.5, gamma=0.5, noise=0.1, blur_pixels=2, cut_out=0.4, inversion=0.5
)  # fmt: skip


def smooth(generator, size=80):
    noise = torch.randn(1, 1, size // 4, size // 4, generator=generator)
    return torch.nn.functional.interpolate(noise, (size, size), mode="bicubic")[0]


def drawn(generator, augmentation, turns=1, count=4, size=32):
    x = smooth(generator)
    scenes = [Scene("", {"A": x, "B": x})]
    places = patch_places(scenes, size)
    options = {"turns": turns, "augmentation": augmentation, "generator": generator}
    return scenes, draw_patches(places, count, 2, **options)


@given(seeds())
def test_geometry_is_one_for_all_modalities_and_photometry_is_not(generator):
    scenes, draw = drawn(generator, MOVED)
    first, second = cut_patches(scenes, draw, 32)
    assert torch.equal(first, second)
    # The planted fault: geometry drawn anew for the other modality.
    _, other = drawn(generator, MOVED)
    (torn, _) = cut_patches(scenes, replace(draw, geometry=other.geometry), 32)
    assert (torn - second).abs().mean() > 0.05
    scenes, draw = drawn(generator, LIT)
    first, second = cut_patches(scenes, draw, 32)
    assert not torch.equal(first, second)


@given(seeds())
def test_nothing_is_varied_by_default(generator):
    scenes, draw = drawn(generator, Augmentation())
    plain = replace(draw, geometry=None, photometry=())
    for one, other in zip(
        cut_patches(scenes, draw, 32), cut_patches(scenes, plain, 32), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@given(seeds(), st.booleans())
def test_turning_and_mirroring_the_scene_is_what_it_says(generator, mirror):
    scenes, draw = drawn(generator, Augmentation(rotation=True, mirror=mirror), count=6)
    (patches, _) = cut_patches(scenes, draw, 32)
    assert bool(draw.geometry.mirrored.any()) <= mirror
    for b in range(6):
        row, column = draw.corner[b].tolist()
        crop = scenes[0].images["A"][None, :, row : row + 32, column : column + 32]
        crop = crop.flip(3) if draw.geometry.mirrored[b] else crop
        expected = rotate(crop, draw.geometry.degrees[b : b + 1])[..., 8:24, 8:24]
        torch.testing.assert_close(
            patches[b : b + 1, :, 8:24, 8:24], expected, atol=0.02, rtol=0.02
        )


@given(seeds(), st.floats(1.01, 2))
def test_scale_enlarges_about_the_centre(generator, scale):
    geometry = draw_geometry(Augmentation(scale=scale), 5, 33, generator=generator)
    assert (geometry.factor >= 1 / scale - 1e-6).all()
    assert (geometry.factor <= scale + 1e-6).all()
    moved = matrices(geometry, 33)
    centre = torch.tensor([16.0, 16.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(moved @ centre, centre.expand(5, 3))
    # What lies one pixel from the centre of a patch is 1 / factor pixels away in the scene.
    away = (moved @ (centre + torch.tensor([1.0, 0, 0]))) - centre
    torch.testing.assert_close(away.norm(dim=1), 1 / geometry.factor.double())


@given(seeds(), st.floats(0.5, 8))
def test_elastic_displacements_are_smooth_and_as_large_as_asked(generator, pixels):
    geometry = draw_geometry(Augmentation(elastic_pixels=pixels), 60, 96, generator=generator)
    field = displacement(geometry, 96)
    assert 0.8 < field.std() / pixels < 1.2
    assert abs(field.mean()) < 0.3 * pixels
    # A pixel's displacement is hardly another's than its neighbour's: no fold, but in the tails.
    assert (field.diff(dim=2).square().mean().sqrt() / pixels) < 0.06
    assert (field.diff(n=3, dim=3).abs().max() / pixels) < 0.02


@given(seeds())
def test_own_turns_come_on_top_of_common_geometry(generator):
    """Turned back by its own angle, each patch shows the one moved scene."""
    scenes, draw = drawn(generator, MOVED, turns=4)
    turned = cut_patches(scenes, draw, 32)
    straight = cut_patches(scenes, replace(draw, degrees=torch.zeros(2, 4)), 32)
    for modality in range(2):
        for b in range(4):
            quarter = round(float(draw.degrees[modality, b]) / 90)
            back = torch.rot90(turned[modality][b], -quarter, (1, 2))
            torch.testing.assert_close(back, straight[modality][b], atol=1e-3, rtol=1e-3)


def light(generator, **changes):
    patches = 0.2 + 0.6 * torch.rand(5, 2, 24, 24, generator=generator)
    photometry = draw_photometry(Augmentation(**changes), 5, generator=generator)
    return patches, photometry, change_light(patches, photometry)


@given(seeds(), st.floats(0.1, 2))
def test_contrast_keeps_the_mean_and_scales_the_spread(generator, contrast):
    patches, photometry, lit = light(generator, contrast=contrast)
    torch.testing.assert_close(lit.mean((2, 3)), patches.mean((2, 3)))
    ratio = lit.std((2, 3)) / patches.std((2, 3))
    torch.testing.assert_close(ratio, photometry.contrast[:, None].expand(5, 2))
    assert 1 / (1 + contrast) - 1e-6 <= photometry.contrast.min()
    assert photometry.contrast.max() <= 1 + contrast + 1e-6


@given(seeds(), st.floats(0.1, 2))
def test_gamma_is_undone_by_its_inverse(generator, gamma):
    patches, photometry, lit = light(generator, gamma=gamma)
    back = change_light(lit, replace(photometry, gamma=1 / photometry.gamma))
    torch.testing.assert_close(back, patches, atol=1e-5, rtol=1e-5)
    beyond = change_light(patches + 2, photometry)
    torch.testing.assert_close(beyond, patches + 2)  # straight on, not clipped


@given(seeds())
def test_inversion_is_its_own_inverse_and_as_frequent_as_asked(generator):
    patches, photometry, lit = light(generator, inversion=1.0)
    torch.testing.assert_close(lit, 1 - patches)
    torch.testing.assert_close(change_light(lit, photometry), patches)
    many = draw_photometry(Augmentation(inversion=0.3), 2000, generator=generator)
    assert 0.25 < many.inverted.float().mean() < 0.35


@given(seeds(), st.floats(0.2, 4))
def test_blur_is_that_of_scipy(generator, sigma):
    patches, photometry, lit = light(generator, blur_pixels=sigma)
    for b in range(5):
        expected = ndimage.gaussian_filter(
            patches[b].double().numpy(),
            (0, *[float(photometry.blur_pixels[b])] * 2),
            mode="nearest",
            truncate=8,
        )
        np.testing.assert_allclose(lit[b], expected, atol=2e-3)


@given(seeds(), st.floats(0.2, 1.0))
def test_a_cut_out_is_a_square_of_the_mean(generator, cut_out):
    patches, photometry, lit = light(generator, cut_out=cut_out)
    for b in range(5):
        side = round(float(photometry.hole[b, 2]) * 24)
        changed = (lit[b] != patches[b]).any(0)  # one channel may have the mean there
        assert abs(int(changed.sum()) - side**2) <= 2 * side + 1
        if changed.any():
            rows, columns = changed.any(1).sum(), changed.any(0).sum()
            assert abs(int(rows) - int(columns)) <= 1
            assert int(changed.sum()) == rows * columns
            expected = patches[b].mean((1, 2))[:, None]
            torch.testing.assert_close(lit[b][:, changed], expected.expand(2, int(changed.sum())))


@given(seeds(), st.floats(0.05, 1))
def test_noise_is_white_made_again_from_its_seed_and_never_the_same_twice(generator, noise):
    patches, photometry, lit = light(generator, noise=noise)
    torch.testing.assert_close(change_light(patches, photometry), lit, atol=0, rtol=0)
    added = lit - patches
    spread = added.std((1, 2, 3))
    assert ((spread - photometry.noise).abs() <= 0.1 * photometry.noise + 1e-6).all()
    assert len(photometry.noise_seed.unique()) == 5
    whitened = (added / spread[:, None, None, None])[0, 0]
    assert abs(float((whitened[1:] * whitened[:-1]).mean())) < 0.2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": 0.9}, "scale: expected 1 to 4, got 0.9"),
        ({"elastic_pixels": 9}, "elastic_pixels: expected 0 to 8, got 9"),
        ({"inversion": 1.1}, "inversion: expected 0 to 1"),
        ({"noise": -1}, "noise: expected 0 to inf"),
        ({"blur_pixels": float("nan")}, "blur_pixels: expected 0 to 8, got nan"),
    ],
)
def test_impossible_augmentations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**change)
