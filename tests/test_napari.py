"""The panel in napari: the moving layer turns into place, or it is said why not.

Offscreen: real layers, widgets and threads, but no canvas, which wants OpenGL.
"""

import os
import time
import warnings
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given

from equicomir.geometry import corners, image_centre, rigid, transform_points
from equicomir.images.intensities import Scaling
from equicomir.napari import lay, picture_of, pixel_ratio, pixel_to_world
from equicomir.representations import EncoderSettings, Representations, save

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # theirs
    napari = pytest.importorskip("napari", reason="napari is not installed: extra napari")
    qtpy = pytest.importorskip("qtpy.QtWidgets", reason="no Qt is installed: extra napari")
    from napari.layers import Image, Labels
    from npe2 import PluginManifest

pytestmark = pytest.mark.filterwarnings("ignore")  # of napari, vispy and Qt
SIZE = 64


def blocks(seed, size=SIZE):
    """Squares of random grey: no quarter turn of it looks like it."""
    return np.random.default_rng(seed).random((size // 8, size // 8)).repeat(8, 0).repeat(8, 1)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """One modality, untrained: it is equivariant all the same, and that is enough here."""
    folder = tmp_path_factory.mktemp("m") / "Modell ä"
    rng = torch.Generator().manual_seed(0)
    save(Representations({"A": Scaling((0.0,), (1.0,))}, EncoderSettings(), generator=rng), folder)
    return folder


@pytest.fixture(scope="module")
def application():
    return qtpy.QApplication.instance() or qtpy.QApplication([])


@pytest.fixture
def panel(application):
    """As napari makes it, of what the manifest names."""
    manifest = PluginManifest.from_file(Path(napari_yaml()))
    (contributed,) = manifest.contributions.widgets
    (command,) = manifest.contributions.commands
    assert contributed.command == command.id
    made = command.python_name.partition(":")
    panel = getattr(__import__(made[0], fromlist=["x"]), made[2])()
    yield panel
    panel.close()


def napari_yaml():
    import equicomir.napari as door

    return Path(door.__file__).with_name("napari.yaml")


def chosen(panel, model, fixed, moving, *masks):
    """The panel as a person leaves it, who has just pressed the button, when it has its end."""
    for name in ("fixed", "moving"):
        panel[name].choices = [fixed, moving]
    panel.fixed.value, panel.moving.value = fixed, moving
    for name, mask in zip(("fixed_mask", "moving_mask"), masks, strict=False):
        panel[name].choices = [mask]
        panel[name].value = mask
    panel.model.value = model
    pressed(panel)
    return panel.said.value


def pressed(panel):
    panel.register.changed.emit(True)
    ends = time.monotonic() + 60
    while panel.said.value.startswith("Registering") and time.monotonic() < ends:
        qtpy.QApplication.processEvents()
        time.sleep(0.01)


def drawn(layer, points):
    """Where the canvas draws pixels of a layer."""
    return np.array([layer.data_to_world(p) for p in points])


def test_the_moving_layer_turns_into_place_and_back(panel, model):
    """Over a fixed layer that is itself turned, scaled and moved; twice, to the same place."""
    image = blocks(0)
    fixed = Image(image, name="fixed", scale=(0.5, 0.5), rotate=20, translate=(3, 4))
    moving = Image(np.rot90(image).copy(), name="moving", scale=(0.5, 0.5), translate=(-50, 9))
    before = np.array(moving.affine.affine_matrix)
    said = chosen(panel, model, fixed, moving)
    assert said.startswith("Turned by -90.0 degrees; confidence ")
    assert said.endswith(", trusted.")
    at = corners(SIZE, SIZE)
    truth = transform_points(rigid(-90, centre=image_centre(SIZE, SIZE)), at)
    np.testing.assert_allclose(drawn(moving, at), drawn(fixed, truth), atol=0.05)
    pressed(panel)
    np.testing.assert_allclose(drawn(moving, at), drawn(fixed, truth), atol=0.05)
    assert panel.back.enabled
    panel.back.changed.emit(True)
    panel.back.changed.emit(True)
    np.testing.assert_array_equal(moving.affine.affine_matrix, before)
    assert not panel.back.enabled


@given(
    seed=st.integers(0, 2**31 - 1),
    deeper=st.sampled_from([0, 1]),
    fault=st.booleans(),
)
def test_a_layer_is_laid_where_the_transform_says_whatever_it_had(seed, deeper, fault):
    """And a matrix of the other direction is seen to lay it elsewhere."""
    rng = np.random.default_rng(seed)
    layers = []
    for _ in range(2):
        inner = {
            "scale": rng.uniform(0.2, 3, 2),
            "rotate": float(rng.uniform(-180, 180)),
            "translate": rng.uniform(-50, 50, 2),
            "shear": [float(rng.uniform(-0.5, 0.5))],
        }
        layer = Image(rng.random((16, 18)), **inner)
        affine = np.eye(3)
        affine[:2] += rng.uniform(-0.3, 0.3, (2, 3))
        layer.affine = affine
        if deeper:
            layer = Image(rng.random((3, 16, 18)), scale=[1, *rng.uniform(0.2, 3, 2)])
        layers.append(layer)
    fixed, moving = layers
    matrix = rigid(float(rng.uniform(10, 170)), (3, 8), centre=(7, 9))
    lay(moving, fixed, np.linalg.inv(matrix) if fault else matrix)
    at = corners(16, 18)
    there = transform_points(matrix, at)
    first = [[1.0]] * 4 if deeper else [[]] * 4
    come = drawn(moving, [[*f, *p] for f, p in zip(first, at, strict=True)])
    go = drawn(fixed, [[*f, *p] for f, p in zip(first, there, strict=True)])
    assert np.allclose(come, go, atol=1e-3) != fault
    if not fault:
        world = transform_points(pixel_to_world(moving), at)
        np.testing.assert_allclose(world, come[:, -2:], atol=1e-4)


def test_what_is_not_trusted_is_said_and_moved_to_be_looked_at(panel, model):
    fixed, moving = Image(blocks(1), name="one"), Image(blocks(2), name="other")
    said = chosen(panel, model, fixed, moving)
    assert "NOT to be trusted: look whether what lies in both images goes on unbroken" in said
    assert panel.back.enabled


def test_pixels_of_another_size_are_made_alike_by_the_scales_of_the_layers(panel, model):
    image = blocks(3)
    fine = np.rot90(image).repeat(2, 0).repeat(2, 1)
    units = ("um", "um")
    fixed = Image(image, name="coarse", scale=(0.5, 0.5), units=units)
    moving = Image(fine, scale=(0.25, 0.25), units=units)
    assert chosen(panel, model, fixed, moving).endswith("trusted.")
    # Blocks of 8 pixels, and the same in twice as many: outer corner on outer corner.
    at = np.array([[-0.5, -0.5], [-0.5, 127.5], [127.5, -0.5]])
    truth = transform_points(rigid(-90, centre=image_centre(SIZE, SIZE)), (at + 0.5) / 2 - 0.5)
    np.testing.assert_allclose(drawn(moving, at), drawn(fixed, truth), atol=0.1)
    unknown = Image(fine, scale=(0.25, 0.25))
    np.testing.assert_array_equal(pixel_ratio(fixed, unknown), np.eye(3))


def test_masks_and_transparency_leave_out_what_does_not_count(panel, model, monkeypatch):
    from equicomir import napari as door

    asked, real = {}, door.registering.register
    monkeypatch.setattr(
        door.registering, "register", lambda *a, **more: asked.update(more) or real(*a, **more)
    )
    image = blocks(4)
    spoiled = image.copy()
    spoiled[:, :24] = blocks(9)[:, :24]
    inside = np.ones((SIZE, SIZE), int)
    inside[:, :24] = 0
    labels = Labels(inside, name="tissue")
    said = chosen(panel, model, Image(image), Image(spoiled, name="spoiled"), labels, labels)
    assert said.startswith("Turned by 0.0 degrees")
    for name in ("fixed_mask", "moving_mask"):
        np.testing.assert_array_equal(asked[name], inside == 1)
    colours = np.stack([image, image, image, inside], -1)
    picture = picture_of(Image(colours, rgb=True), 3)
    assert picture.pixels.shape == (3, SIZE, SIZE)
    np.testing.assert_array_equal(picture.mask.numpy(), inside == 1)
    levels = Image([image, image[::2, ::2]], multiscale=True)
    assert picture_of(levels, 1).size == (SIZE, SIZE)


@pytest.mark.parametrize(
    ("moving", "part"),
    [
        (Image(np.random.default_rng(0).random((9, 9, 3)), rgb=True), "expected an image of 1 ch"),
        (Image(np.random.default_rng(0).random((4, 9, 9))), "got 4 x 9 x 9; choose another layer"),
        (Image(np.full((9, 9), np.nan), name="x"), "layer x: expected finite values"),
    ],
    ids=["colours", "stack", "nan"],
)
def test_a_layer_that_is_no_image_of_the_modality_is_refused(panel, model, moving, part):
    before = np.array(moving.affine.affine_matrix)
    assert part in chosen(panel, model, Image(blocks(0), name="fixed"), moving)
    np.testing.assert_array_equal(moving.affine.affine_matrix, before)
    assert not panel.back.enabled


def test_a_choice_that_cannot_be_meant_is_refused_in_a_sentence(panel, model, tmp_path):
    image = Image(blocks(0), name="one")
    pressed(panel)
    assert panel.said.value == "model: expected a model's folder, got none; choose one."
    assert "fixed, moving: expected two layers of images" in chosen(panel, model, image, image)
    panel.model.value = tmp_path
    assert "settings.json: expected a model's settings" in panel.said.value
    pressed(panel)
    assert panel.said.value == "model: expected a model's folder, got none; choose one."
    mask = Labels(np.ones((9, 9), int), name="small")
    said = chosen(panel, model, image, Image(blocks(1), name="other"), mask)
    assert "layer small: expected a mask of the size of one, 64 x 64, got 9 x 9." in said


def test_the_modalities_stay_chosen_when_layers_come_and_go(panel, tmp_path):
    """napari has every panel ask for its choices again then."""
    rng = torch.Generator().manual_seed(0)
    scalings = {name: Scaling((0.0,), (1.0,)) for name in ("A", "B", "C")}
    save(Representations(scalings, EncoderSettings(), generator=rng), tmp_path / "m")
    panel.model.value = tmp_path / "m"
    assert (panel.fixed_modality.value, panel.moving_modality.value) == ("A", "B")
    panel.moving_modality.value = "C"
    panel.reset_choices()
    assert (panel.fixed_modality.value, panel.moving_modality.value) == ("A", "C")


def test_where_nothing_is_found_nothing_is_moved(panel, model, monkeypatch):
    from equicomir import napari as door
    from equicomir.registration.alignment import not_found

    monkeypatch.setattr(door.registering, "register", lambda *_, **__: not_found("no content"))
    said = chosen(panel, model, Image(blocks(0), name="one"), Image(blocks(1), name="other"))
    assert said == "Nothing was found, and nothing was moved: no content."
    assert not panel.back.enabled
