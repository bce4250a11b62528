"""In Python: a model, two arrays, and where one lies in the other."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import few

import equicomir
from equicomir.evaluation.alignment import corner_error
from equicomir.geometry import image_centre, rigid, rotation_degrees
from equicomir.images.intensities import Scaling
from equicomir.registering import aligned, as_image, compared
from equicomir.registration import search
from equicomir.registration.alignment import not_found
from equicomir.representations import EncoderSettings, Representations, save

SCALING = Scaling((0.0,), (1.0,))


def model_of(family="steerable", **more):
    settings = EncoderSettings(family=family, **more)
    rng = torch.Generator().manual_seed(0)
    return Representations({"A": SCALING, "B": SCALING}, settings, generator=rng).eval()


def blocks(seed, size=64):
    """Squares of random grey: no quarter turn of it looks like it."""
    return np.random.default_rng(seed).random((size // 8, size // 8)).repeat(8, 0).repeat(8, 1)


@few(6)
@given(st.integers(0, 1000), st.integers(0, 3))
def test_a_turned_image_is_found_through_a_steerable_encoder_and_lost_through_a_plain_one(
    seed, turns
):
    """Untrained: one modality, so that equivariance alone decides; the plain one is the control."""
    image = blocks(seed)
    found = equicomir.register(
        model_of(), image, np.rot90(image, turns), moving_modality="A"
    ).moving_to_fixed
    truth = rigid(-90.0 * turns, centre=image_centre(*image.shape))
    assert corner_error(truth, found, len(image)) < 0.1
    if turns % 2:
        seen = equicomir.encode(model_of("plain"), image, modality="A")
        of_turned = equicomir.encode(model_of("plain"), np.rot90(image, turns), modality="A")
        assert not np.allclose(of_turned, np.rot90(seen, turns, (1, 2)), atol=1e-2)


def with_wave(image, degrees):
    """A slow wave across it, twenty times as strong as the image."""
    rows, columns = np.mgrid[: len(image), : len(image)] / len(image)
    along = np.cos(np.radians(degrees)) * rows + np.sin(np.radians(degrees)) * columns
    return (image + 20 * np.sin(2 * along))[None]


def filtered_model():
    rng = torch.Generator().manual_seed(0)
    return Representations({"A": SCALING}, high_pass=("gaussian", 0.05), generator=rng)


@given(st.integers(0, 1000), st.floats(0, 360))
def test_what_the_loss_has_not_seen_is_hardly_there(seed, degrees):
    """But at the border, where a wave ends; the image itself stays."""
    image, inside = blocks(seed)[None], (..., slice(16, -16), slice(16, -16))
    waved = with_wave(image[0], degrees)
    without = compared(filtered_model(), image)[inside]
    left = compared(filtered_model(), waved)[inside] - without
    assert left.std() < 0.05 * (waved - image)[inside].std()
    assert without.std() > 0.5 * image[inside].std()


@pytest.mark.parametrize(("seed", "degrees"), [(0, 0.0), (4, 148.0), (5, 185.0)])
def test_what_the_loss_has_not_seen_does_not_disturb(seed, degrees):
    """Each representation has a wave of its own: without the filter they decide."""
    image, model = blocks(seed), filtered_model()
    seen = with_wave(image, degrees), with_wave(np.rot90(image), degrees + 110)
    truth = rigid(-90.0, centre=image_centre(64, 64))

    def error(fixed, moving):
        return corner_error(truth, search.register(fixed, moving).moving_to_fixed, 64)

    assert error(*(compared(model, x) for x in seen)) < 1
    assert error(*seen) > 5


def test_what_is_encoded_is_what_the_model_gives(tmp_path):
    model, image = model_of(), blocks(0, 48)
    save(model, tmp_path)
    again = equicomir.load(str(tmp_path))
    whole = model.encode("B", torch.from_numpy(image).float()[None, None])[0].numpy()
    for given_as in (image, image[None], image.astype(np.float32), torch.from_numpy(image)):
        np.testing.assert_allclose(
            equicomir.encode(again, given_as, modality="B"), whole, atol=1e-5
        )


@pytest.mark.itk
def test_masks_and_elastix_are_passed_on():
    pytest.importorskip("itk")
    model, image = model_of(), blocks(3)
    mask = np.ones(image.shape, bool)
    mask[:8] = False
    found = equicomir.register(
        model, image, image, moving_modality="A", fixed_mask=mask, transform="affine"
    )
    assert found.trusted
    assert len(found.score_by_angle) > 30  # those of the rigid start
    assert abs(rotation_degrees(found.moving_to_fixed)) < 0.5
    with pytest.raises(ValueError, match="fixed_mask: expected"):
        equicomir.register(model, image, image, moving_modality="A", fixed_mask=mask[:9])


def test_where_elastix_fails_nothing_is_trusted(monkeypatch):
    monkeypatch.setattr(
        "equicomir.registering.elastix.register", lambda *_, **__: not_found("it gave up")
    )
    monkeypatch.setattr("equicomir.registering.check_transform", lambda transform: None)
    image = blocks(3)[None]
    assert aligned(search.register, image, image).trusted
    found = aligned(search.register, image, image, transform="affine")
    assert (found.failure, found.trusted, found.confidence) == ("it gave up", False, 0.0)


def test_without_elastix_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"transform: expected the package itk-elastix"):
        aligned(search.register, blocks(0)[None], blocks(1)[None], transform="affine")


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (np.full((8, 8), "a"), TypeError, "image: expected an array of real numbers, got <U1"),
        (np.zeros((8, 8, 3)), ValueError, r"expected \(3, .*moveaxis\(image, -1, 0\)"),
        (np.zeros((2, 8, 8)), ValueError, r"image: expected \(3, height, width\), got \(2, 8, 8\)"),
        (np.full((3, 8, 8), np.nan), ValueError, "image: expected finite values, got NaN"),
    ],
)
def test_what_is_no_image_of_the_modality_is_refused(image, error, message):
    with pytest.raises(error, match=message):
        as_image("image", image, 3)


def test_an_unknown_modality_or_name_is_refused():
    with pytest.raises(ValueError, match=r"modality: expected one of \['A', 'B'\], got 'C'"):
        equicomir.encode(model_of(), blocks(0), modality="C")
    with pytest.raises(AttributeError, match="no attribute 'registration_of_everything'"):
        equicomir.registration_of_everything  # noqa: B018
