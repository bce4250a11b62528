"""What a registration writes: exact where it can be, and in the files' own pixels."""

import csv
import json

import hypothesis.strategies as st
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given

from equicomir.commands.points import read_points
from equicomir.commands.registered import Found, write_found
from equicomir.commands.resampled import (
    Picture,
    on_pixels_of,
    own_to_common,
    read_picture,
    to_own_pixels,
)
from equicomir.geometry import rigid, transform_points
from equicomir.images.files import open_image
from equicomir.registration.alignment import Alignment
from equicomir.transforms.deformations import displacement_of
from equicomir.transforms.displacement_files import read_displacement
from equicomir.transforms.files import read_transform
from equicomir.transforms.itk import read_tfm


@pytest.fixture(autouse=True, scope="module")
def strips():
    """Strips of a few rows, so that small images have several."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("equicomir.commands.registered._STRIP", 7)
        yield


def textures(seed, channels, height, width, dtype):
    """Random values of a type, over its whole range."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=(channels, height, width)).astype(dtype)
    top = min(np.iinfo(dtype).max, 2**20)
    return rng.integers(0, top, (channels, height, width), endpoint=True).astype(dtype)


def stored(path, image, pixel=None):
    size = {} if pixel is None else {"PhysicalSizeX": pixel[1], "PhysicalSizeY": pixel[0]}
    units = {} if pixel is None else {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
    metadata = {"axes": "CYX", **size, **units}
    tifffile.imwrite(path, image, ome=True, photometric="minisblack", metadata=metadata)
    return open_image(path)


def found(alignment, fixed, moving):
    return Found(alignment, fixed, moving, ("A", "B"), "search", "rigid")


@given(
    seed=st.integers(0, 2**31 - 1),
    turns=st.integers(0, 3),
    size=st.tuples(st.integers(17, 24), st.integers(17, 24)),
    channels=st.integers(1, 4),
    dtype=st.sampled_from([np.uint8, np.uint16, np.int32, np.float32]),
    deformed=st.booleans(),
    fault=st.booleans(),
)
def test_a_quarter_turn_is_undone_to_the_last_bit(
    tmp_path_factory, seed, turns, size, channels, dtype, deformed, fault
):
    """And a matrix of the opposite direction is seen not to."""
    folder = tmp_path_factory.mktemp("r")
    image = textures(seed, channels, *size, dtype)
    moving_image = np.rot90(image, turns, (1, 2))
    fixed, moving = stored(folder / "f.tif", image), stored(folder / "m.tif", moving_image)
    here, there = ((n - 1) / 2 for n in size), ((n - 1) / 2 for n in moving_image.shape[1:])
    matrix = rigid(0, tuple(here)) @ rigid(-90 * turns) @ np.linalg.inv(rigid(0, tuple(there)))
    if fault:
        matrix = np.linalg.inv(matrix)
    displacement = displacement_of(np.linalg.inv(matrix), size) if deformed else None
    alignment = Alignment(matrix, 1.0, confidence=1.0, trusted=True, displacement=displacement)
    facts = write_found(folder, found(alignment, fixed, moving), read_picture(moving, None), None)
    came = tifffile.imread(folder / "moving_registered.tif").reshape(image.shape)
    assert came.dtype == dtype
    exact = np.array_equal(came, image) and facts["overlap"] == 1
    assert exact == (not fault or turns % 2 == 0)


@given(
    seed=st.integers(0, 2**31 - 1),
    degrees=st.floats(-180, 180),
    fixed_pixel=st.tuples(st.floats(0.1, 4), st.floats(0.1, 4)),
    moving_pixel=st.tuples(st.floats(0.1, 4), st.floats(0.1, 4)),
)
def test_json_tfm_and_points_say_the_same(
    tmp_path_factory, seed, degrees, fixed_pixel, moving_pixel
):
    folder = tmp_path_factory.mktemp("r")
    fixed = stored(folder / "f.tif", textures(seed, 1, 20, 24, np.uint8), fixed_pixel)
    moving = stored(folder / "m.tif", textures(seed, 1, 22, 18, np.uint8), moving_pixel)
    matrix = rigid(degrees, (3.5, -2), centre=(9, 9))
    points = np.random.default_rng(seed).uniform(0, 18, (5, 2))
    table = folder / "points.csv"
    lines = "".join(f"{row},{column},{n}\n" for n, (row, column) in enumerate(points.tolist()))
    table.write_text(f"row,column,name\n{lines}")
    alignment = Alignment(matrix, 0.5, confidence=0.75)
    write_found(
        folder, found(alignment, fixed, moving), read_picture(moving, None), read_points(table)
    )
    facts = json.loads((folder / "transform.json").read_text())
    np.testing.assert_array_equal(facts["moving_to_fixed"], matrix)
    pixels = {
        "fixed_pixel_size_micrometres": fixed.pixel_size_micrometres,
        "moving_pixel_size_micrometres": moving.pixel_size_micrometres,
    }
    assert {name: tuple(facts[name]) for name in pixels} == pixels
    np.testing.assert_allclose(read_tfm(folder / "transform.tfm", **pixels), matrix, atol=1e-6)
    with (folder / "points_registered.csv").open() as file:
        came = list(csv.DictReader(file))
    assert [line["name"] for line in came] == ["0", "1", "2", "3", "4"]
    moved = [[float(line["row"]), float(line["column"])] for line in came]
    np.testing.assert_allclose(moved, transform_points(matrix, points), atol=1e-4)


def test_the_library_reads_the_transform_and_leaves_the_verdict_alone(tmp_path):
    fixed = stored(tmp_path / "f.tif", textures(0, 1, 20, 24, np.uint8), (0.5, 0.5))
    alignment = Alignment(rigid(20, (1, 2)), 0.5, confidence=0.75, evidence={"lead": 2.0})
    write_found(tmp_path, found(alignment, fixed, fixed), read_picture(fixed, None), None)
    path = tmp_path / "transform.json"
    facts = json.loads(path.read_text())
    assert (facts["confidence"], facts["evidence"]) == (0.75, {"lead": 2.0})
    np.testing.assert_array_equal(read_transform(path).moving_to_fixed, rigid(20, (1, 2)))


def test_a_deformation_is_written_as_a_field_and_points_follow_it(tmp_path):
    fixed = stored(tmp_path / "f.tif", textures(0, 1, 40, 44, np.uint8))
    matrix = rigid(30, (2, 3), centre=(20, 20))
    bend = 1.5 * np.sin(np.indices((40, 44)) / 9)
    displacement = displacement_of(np.linalg.inv(matrix), (40, 44)) + bend
    alignment = Alignment(matrix, 0.5, confidence=0.7, displacement=displacement)
    at = np.array([[20.0, 20.0], [15.0, 25.0]])
    moving_points = at + displacement[:, at[:, 0].astype(int), at[:, 1].astype(int)].T
    marks = tmp_path / "p.geojson"
    coordinates = (moving_points[:, ::-1] + 0.5).tolist()  # x, y from the corner
    marks.write_text(json.dumps({"type": "MultiPoint", "coordinates": coordinates}))
    write_found(
        tmp_path, found(alignment, fixed, fixed), read_picture(fixed, None), read_points(marks)
    )
    np.testing.assert_allclose(read_displacement(tmp_path / "displacement.mha"), displacement)
    assert not (tmp_path / "transform.tfm").exists()  # which could only say a part of it
    came = json.loads((tmp_path / "points_registered.geojson").read_text())["coordinates"]
    np.testing.assert_allclose(came, at[:, ::-1] + 0.5, atol=0.01)


def test_colours_keep_their_order_and_what_is_outside_is_zero(tmp_path):
    image = textures(0, 3, 20, 24, np.uint8).transpose(1, 2, 0)
    tifffile.imwrite(tmp_path / "m.tif", image, photometric="rgb")
    moving = open_image(tmp_path / "m.tif")
    fixed = stored(tmp_path / "f.tif", textures(1, 1, 20, 24, np.uint16), (0.5, 0.25))
    alignment = Alignment(rigid(0, (5, 0)), 1.0, confidence=1.0)
    mask = Picture(moving.read(), torch.arange(24).expand(20, 24) >= 4)
    facts = write_found(tmp_path, found(alignment, fixed, moving), mask, None)
    came = open_image(tmp_path / "moving_registered.tif")
    assert came.channel_names == ("red", "green", "blue")
    assert came.pixel_size_micrometres == (0.5, 0.25)
    pixels = came.read().numpy().transpose(1, 2, 0)
    np.testing.assert_array_equal(pixels[5:, 4:], image[:-5, 4:])
    assert not pixels[:5].any()
    assert not pixels[:, :4].any()
    assert facts["overlap"] == 15 * 20 / (20 * 24)


def test_names_of_channels_are_kept(tmp_path):
    image = textures(0, 2, 20, 24, np.uint16)
    metadata = {"axes": "CYX", "Channel": {"Name": ["DAPI", "FITC"]}}
    tifffile.imwrite(tmp_path / "m.tif", image, ome=True, metadata=metadata)
    moving = open_image(tmp_path / "m.tif")
    alignment = Alignment(np.eye(3), 1.0, confidence=1.0)
    write_found(tmp_path, found(alignment, moving, moving), read_picture(moving, None), None)
    assert open_image(tmp_path / "moving_registered.tif").channel_names == ("DAPI", "FITC")


@given(
    fixed_pixel=st.tuples(st.floats(0.2, 2), st.floats(0.2, 2)),
    ratio=st.tuples(st.floats(0.3, 3), st.floats(0.3, 3)),
    degrees=st.floats(-180, 180),
    deformed=st.booleans(),
)
def test_a_transform_between_alike_pixels_is_that_between_the_files_own(
    tmp_path_factory, fixed_pixel, ratio, degrees, deformed
):
    """A point of the scene has one place in the fixed image, whatever pixels it was seen with."""
    folder = tmp_path_factory.mktemp("r")
    moving_pixel = tuple(p * r for p, r in zip(fixed_pixel, ratio, strict=True))
    fixed = stored(folder / "f.tif", textures(0, 1, 20, 24, np.uint8), fixed_pixel)
    moving = stored(folder / "m.tif", textures(1, 1, 60, 60, np.uint8), moving_pixel)
    common = rigid(degrees, (1, 2), centre=(8, 8))  # between pixels of the fixed image's size
    displacement = displacement_of(np.linalg.inv(common), (20, 24)) if deformed else None
    before = Alignment(common, 1.0, displacement=displacement)
    picture = read_picture(moving, None)
    own = to_own_pixels(before, fixed, moving, picture)
    points = np.random.default_rng(0).uniform(0, 60, (7, 2))
    seen = points * np.array(moving_pixel) / np.array(fixed_pixel)
    alike = np.abs(np.array(ratio) - 1).max() <= 0.01
    expected = transform_points(common, points if alike else seen)
    np.testing.assert_allclose(
        transform_points(own.moving_to_fixed, points), expected, atol=1e-4, rtol=1e-4
    )
    if own.displacement is not None:
        back = displacement_of(np.linalg.inv(own.moving_to_fixed), (20, 24))
        np.testing.assert_allclose(own.displacement, back, atol=1e-6)


def test_finer_pixels_are_seen_with_coarser_ones(tmp_path):
    """A wave that both can show is the same wave; without the ratio it is another."""
    rows, columns = np.indices((80, 80)) / 2
    wave = (100 * (1 + np.sin(rows / 3) * np.cos(columns / 4))).astype(np.float32)
    fixed = stored(tmp_path / "f.tif", textures(0, 1, 40, 40, np.uint8), (1.0, 1.0))
    moving = stored(tmp_path / "m.tif", wave[None], (0.5, 0.5))
    picture = read_picture(moving, None)
    seen = on_pixels_of(fixed, moving, picture)
    assert seen.size == (40, 40)
    rows, columns = np.indices((40, 40))
    expected = 100 * (1 + np.sin(rows / 3) * np.cos(columns / 4))
    inner = np.s_[4:-4, 4:-4]
    assert np.abs(seen.pixels[0].numpy() - expected)[inner].max() < 3
    assert np.abs(picture.pixels[0].numpy()[:40, :40] - expected)[inner].max() > 30
    unknown = stored(tmp_path / "u.tif", wave[None])
    assert on_pixels_of(fixed, unknown, picture) is picture
    assert np.array_equal(own_to_common(fixed, unknown), np.eye(3))


def test_a_pixel_size_that_cannot_be_is_refused(tmp_path):
    fixed = stored(tmp_path / "f.tif", textures(0, 1, 40, 40, np.uint8), (50.0, 50.0))
    moving = stored(tmp_path / "m.tif", textures(0, 1, 40, 40, np.uint8), (0.5, 0.5))
    with pytest.raises(ValueError, match=r"m\.tif: expected pixels of about .* correct the pixel"):
        on_pixels_of(fixed, moving, read_picture(moving, None))
