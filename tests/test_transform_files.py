import json
import re
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st
from strategies import few

from equicomir.geometry import corners, rigid, transform_points, warp_image
from equicomir.sealed import unsealed
from equicomir.transforms.deformations import displace_points
from equicomir.transforms.displacement_files import read_displacement, write_displacement
from equicomir.transforms.files import SavedTransform, read_transform, write_transform
from equicomir.transforms.itk import itk_matrix, read_tfm, write_tfm
from equicomir.transforms.linear import affine, in_micrometres, invert, similarity

numbers = st.floats(-1e6, 1e6)
pixel_sizes = st.tuples(st.floats(0.1, 4), st.floats(0.1, 4))
shifts = st.tuples(st.floats(-30, 30), st.floats(-30, 30))
angles = st.floats(-3, 3)
SAVED = SavedTransform(
    similarity(30, 1.1, (3, -2)), (64, 48), (50, 70), (0.5, 0.25), (1.0, 2.0), "bright field", None
)
AFFINE = affine([[1.2, 0.3], [-0.1, 0.8]], (4.0, -7.0))


def folder():
    return Path(tempfile.mkdtemp())


sizes = st.tuples(st.integers(1, 10**6), st.integers(1, 10**6))
images = st.tuples(sizes, sizes, *[st.none() | pixel_sizes] * 2, *[st.none() | st.text()] * 2)


@given(st.tuples(*[numbers] * 6), images)
def test_json_gives_back_every_bit(entries, rest):
    matrix = np.eye(3)
    matrix[:2] = np.reshape(entries, (2, 3))
    if abs(np.linalg.det(matrix[:2, :2])) < 1e-3:
        matrix[:2, :2] = np.eye(2)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "saved.json"
        write_transform(path, SavedTransform(matrix, *rest))
        back = read_transform(path)
    np.testing.assert_array_equal(back.moving_to_fixed, matrix)
    assert replace(back, moving_to_fixed=None) == SavedTransform(None, *rest)


def test_json_tells_its_direction_and_unit_to_a_person():
    path = folder() / "saved.json"
    write_transform(path, SAVED)
    content = json.loads(path.read_text())
    assert content["direction"] == "moving_to_fixed"
    assert content["unit"] == "pixels, (row, column, 1)"
    assert content["version"] == 1
    assert content["moving_to_fixed"] == SAVED.moving_to_fixed.tolist()


@given(st.data(), st.sampled_from(["json", "tfm"]), st.sampled_from(["cut", "spoiled", "lost"]))
def test_a_damaged_file_is_refused_by_name(data, kind, damage):
    """A byte that is gone can leave a right file of another number: it need not be seen."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / f"saved.{kind}"
        if kind == "json":
            write_transform(path, SAVED)
        else:
            write_tfm(path, AFFINE)
        whole = path.read_bytes()
        at = data.draw(st.integers(0, len(whole) - (2 if kind == "json" else 1)))
        rest = {"cut": b"", "spoiled": b"\xff" + whole[at + 1 :], "lost": whole[at + 1 :]}
        path.write_bytes(whole[:at] + rest[damage])
        reason = ""
        try:
            read_transform(path) if kind == "json" else read_tfm(path)
        except ValueError as error:
            reason = str(error)
        assert reason or damage == "lost"
        assert not reason or re.fullmatch(rf"{re.escape(str(path))}: expected [^\n]*\.", reason)


JSON_FAULTS = [
    ({"format": "another"}, "format"),
    ({"version": 2}, "expected version 1, got 2"),
    ({"version": True}, "expected version 1, got True"),
    ({"direction": "fixed_to_moving"}, "got 'fixed_to_moving'"),
    ({"unit": "micrometres"}, "got 'micrometres'"),
    ({"comment": "mine"}, "missing or unknown: comment"),
    ({"moving_to_fixed": [[1, 0], [0, 1]]}, "expected a 3 x 3 matrix"),
    ({"moving_to_fixed": [[1, 0, 0], [0, 0, 0], [0, 0, 1]]}, "invertible"),
    ({"moving_to_fixed": [[1, 0, float("nan")], [0, 1, 0], [0, 0, 1]]}, "finite"),
    ({"moving_to_fixed": [["a", 0, 0], [0, 1, 0], [0, 0, 1]]}, "3 x 3 matrix of numbers"),
    ({"moving_to_fixed": None}, "3 x 3 matrix"),
    ({"fixed_size": [64, 48.5]}, "fixed_size: expected"),
    ({"moving_size": [64]}, "moving_size: expected"),
    ({"moving_size": [True, 3]}, "moving_size: expected"),
    ({"fixed_pixel_size_micrometres": [1, -1]}, "two positive numbers"),
    ({"fixed_pixel_size_micrometres": "ab"}, "two positive numbers"),
    ({"moving_modality": 3}, "moving_modality: expected a name"),
]


@pytest.mark.parametrize(("fault", "message"), JSON_FAULTS)
def test_json_that_says_something_else_is_refused(fault, message):
    path = folder() / "saved.json"
    write_transform(path, SAVED)
    path.write_text(json.dumps({**unsealed(path.read_bytes()), **fault}))
    with pytest.raises(ValueError, match=message) as caught:
        read_transform(path)
    assert str(path) in str(caught.value)


def test_notes_stand_beside_a_transform_and_nothing_unnamed_does():
    path = folder() / "saved.json"
    write_transform(path, SAVED, notes={"score": 0.5, "versions": {"torch": "2"}})
    assert json.loads(path.read_text())["score"] == 0.5
    assert read_transform(path).moving_size == SAVED.moving_size
    with pytest.raises(ValueError, match="notes: expected other names than those of a transform"):
        write_transform(path, SAVED, notes={"moving_size": 3})
    whole = unsealed(path.read_bytes())
    for notes in (["score"], ["score", "versions", "moving_size"], ["x"], [[1]], "score", 3, None):
        path.write_text(json.dumps({**whole, "notes": notes}))
        with pytest.raises(ValueError, match="expected a transform as JSON, got"):
            read_transform(path)


def test_json_of_another_shape_is_refused():
    path = folder() / "saved.json"
    write_transform(path, SAVED)
    whole = json.dumps(unsealed(path.read_bytes()))
    missing = {k: v for k, v in json.loads(whole).items() if k != "moving_size"}
    twice = whole.replace('"version": 1', '"version": 1, "version": 1')
    for text in (json.dumps(missing), twice, "[]", "3", "", "{", "[" * 5000, '{"format": null}'):
        path.write_text(text)
        with pytest.raises(ValueError, match="expected a transform as JSON, got"):
            read_transform(path)
    with pytest.raises(ValueError, match="expected a transform as JSON, got"):
        read_transform(path.with_name("absent.json"))


def test_what_is_no_transform_is_not_written():
    path = folder() / "saved.json"
    for bad in (replace(SAVED, fixed_size=(0, 3)), replace(SAVED, moving_to_fixed=np.ones((3, 3)))):
        with pytest.raises(ValueError, match="expected"):
            write_transform(path, bad)
    assert not path.exists()


# ITK: what SimpleITK does with our file, and what we make of its own.


def to_xy(points, pixel_size):
    return (points * pixel_size)[:, ::-1]


def through(transform, points):
    return np.array([transform.TransformPoint(point) for point in points.tolist()])


@given(angles, st.floats(0.5, 2), shifts, pixel_sizes, pixel_sizes)
def test_simpleitk_reads_our_file_from_fixed_to_moving(
    angle, scale, shift, fixed_size, moving_size
):
    matrix = similarity(np.degrees(angle), scale, shift) @ AFFINE
    both = {
        "fixed_pixel_size_micrometres": fixed_size,
        "moving_pixel_size_micrometres": moving_size,
    }
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "ours.tfm"
        write_tfm(path, matrix, **both)
        theirs = SimpleITK.ReadTransform(str(path))
        np.testing.assert_allclose(read_tfm(path, **both), matrix, atol=1e-8)
    moving = corners(20, 30)
    fixed = transform_points(matrix, moving)
    landed = through(theirs, to_xy(fixed, fixed_size))
    np.testing.assert_allclose(landed, to_xy(moving, moving_size), atol=1e-6)
    opposite = through(theirs.GetInverse(), to_xy(fixed, fixed_size))
    assert not np.allclose(opposite, landed, atol=0.1)  # the planted fault: the other direction


@pytest.mark.parametrize("kind", range(7))
@given(angle=angles, scale=st.floats(0.5, 2), shift=shifts, centre=shifts, pixel_size=pixel_sizes)
@few(8)
def test_we_read_simpleitks_files(kind, angle, scale, shift, centre, pixel_size):
    euler = SimpleITK.Euler2DTransform(centre, angle, shift)
    similar = SimpleITK.Similarity2DTransform(scale, angle, shift, centre)
    linear = SimpleITK.AffineTransform([1.2, 0.3, -0.1, 0.8], shift, centre)
    theirs = [
        euler,
        similar,
        linear,
        SimpleITK.TranslationTransform(2, shift),
        SimpleITK.Transform(2, SimpleITK.sitkIdentity),
        SimpleITK.CompositeTransform([euler, similar, linear]),
        SimpleITK.CompositeTransform([linear]),
    ][kind]
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "theirs.tfm"
        SimpleITK.WriteTransform(theirs, str(path))
        ours = read_tfm(path, fixed_pixel_size_micrometres=pixel_size)
        path.write_text(path.read_text().replace("AffineTransform", "MatrixOffsetTransformBase"))
        again = read_tfm(path, fixed_pixel_size_micrometres=pixel_size)
    fixed = corners(20, 30)
    landed = through(theirs, to_xy(fixed, pixel_size))[:, ::-1]
    np.testing.assert_allclose(transform_points(invert(ours), fixed), landed, atol=1e-7)
    np.testing.assert_array_equal(again, ours)


def test_simpleitk_warps_by_our_file_as_we_do_and_half_a_pixel_is_seen():
    """Images of different, oblong pixels, resampled through physical space."""
    import torch

    fixed_size, moving_size = (0.5, 0.8), (1.0, 0.7)
    image = torch.rand(1, 1, 40, 50, generator=torch.Generator().manual_seed(0)).double()
    centre_on_centre = affine(np.eye(2), (5.0, 4.0))
    physical = rigid(25, centre=(10.0, 15.0)) @ centre_on_centre
    moving_to_fixed = affine(np.diag([2.0, 0.875])) @ physical
    path = folder() / "found.tfm"
    both = {
        "fixed_pixel_size_micrometres": fixed_size,
        "moving_pixel_size_micrometres": moving_size,
    }
    write_tfm(path, moving_to_fixed, **both)
    moving, fixed = (
        SimpleITK.GetImageFromArray(np.ascontiguousarray(x))
        for x in (image[0, 0].numpy(), np.zeros((60, 45)))
    )
    fixed.SetSpacing(fixed_size[::-1])
    moving.SetSpacing(moving_size[::-1])
    read = SimpleITK.ReadTransform(str(path))
    theirs = SimpleITK.GetArrayFromImage(
        SimpleITK.Resample(moving, fixed, read, SimpleITK.sitkLinear)
    )
    ours, inside = warp_image(image, invert(moving_to_fixed), size=(60, 45), mode="bilinear")
    inside = inside.numpy()
    assert inside.mean() > 0.2
    np.testing.assert_allclose(ours[0, 0].numpy()[inside], theirs[inside], atol=1e-6)
    half = invert(moving_to_fixed) @ rigid(0, (0.5, 0.5))
    wrong, _ = warp_image(image, half, size=(60, 45), mode="bilinear")
    assert np.abs(wrong[0, 0].numpy() - theirs)[inside].max() > 0.1


def test_the_file_of_a_physical_shift_says_micrometres():
    shift = affine(np.eye(2), (0.0, 4.0))
    np.testing.assert_allclose(in_micrometres(shift, (0.5, 0.5), (0.5, 0.5))[:2, 2], (0, 2))
    path = folder() / "found.tfm"
    size = (0.5, 0.5)
    write_tfm(path, shift, fixed_pixel_size_micrometres=size, moving_pixel_size_micrometres=size)
    assert "Parameters: 1.0 0.0 0.0 1.0 -2.0 0.0\n" in path.read_text()


GOOD = (
    "#Insight Transform File V1.0\n#Transform 0\nTransform: Euler2DTransform_double_2_2\n"
    "Parameters: 0.5 1 2\nFixedParameters: 3 4\n"
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no first line"),
        (GOOD[1:], "no first line"),
        (GOOD[:-2], "no line break at its end"),
        (GOOD.split("\n")[0] + "\n", "0 transforms"),
        (GOOD.replace("Euler2D", "BSpline"), "the kind 'BSplineTransform'"),
        (GOOD.replace("_2_2", "_3_3"), "the kind 'Euler2DTransform_double_3_3'"),
        (GOOD.replace("0.5 1 2", "0.5 1"), "Euler2DTransform with 2 parameters"),
        (GOOD.replace("3 4", "3"), "1 fixed ones, not 3 and 2"),
        (GOOD.replace("0.5", "x"), "could not convert"),
        (GOOD.replace("0.5", "nan"), "finite"),
        (GOOD.replace("FixedParameters: 3 4\n", ""), "without its parameters"),
        (GOOD + "more\n", "where it does not belong"),
        (GOOD + "Parameters: 0.5 1 2\n", "where it does not belong"),
        (GOOD.replace("#Transform 0\n", ""), "where it does not belong"),
        (GOOD + GOOD.split("\n", 1)[1], "2 transforms that are no composite"),
    ],
)
def test_a_tfm_of_something_else_is_refused(text, message):
    path = folder() / "found.tfm"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_tfm(path)
    assert str(caught.value).startswith(f"{path}: expected an ITK transform, got")


def test_pixel_sizes_are_refused_by_their_own_name():
    path = folder() / "found.tfm"
    write_tfm(path, AFFINE)
    with pytest.raises(ValueError, match=r"^moving_pixel_size_micrometres: expected two"):
        read_tfm(path, moving_pixel_size_micrometres=(0.0, 1.0))
    with pytest.raises(ValueError, match="the kind 'Bogus'"):
        itk_matrix("Bogus", [], [])


# Displacements, as ITK's vector images.


def wavy(seed, size=(14, 11)):
    return np.random.default_rng(seed).normal(size=(2, *size)) * 3


@given(st.integers(0, 10**6), pixel_sizes, pixel_sizes)
def test_simpleitk_reads_our_displacement_from_fixed_to_moving(seed, fixed_size, moving_size):
    displacement = wavy(seed)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "ours.mha"
        write_displacement(
            path,
            displacement,
            fixed_pixel_size_micrometres=fixed_size,
            moving_pixel_size_micrometres=moving_size,
        )
        back = read_displacement(path, moving_pixel_size_micrometres=moving_size)
        field = SimpleITK.ReadImage(str(path))
        SimpleITK.WriteImage(field, str(path))  # with its notes on what it has read
        same = read_displacement(path, moving_pixel_size_micrometres=moving_size)
        SimpleITK.WriteImage(SimpleITK.Cast(field, SimpleITK.sitkVectorFloat32), str(path))
        again = read_displacement(path, moving_pixel_size_micrometres=moving_size)
    np.testing.assert_allclose(back, displacement, atol=1e-9)
    np.testing.assert_allclose(same, displacement, atol=1e-9)
    np.testing.assert_allclose(again, displacement, atol=1e-4)
    fixed = np.random.default_rng(seed).uniform(0.1, 0.9, (9, 2)) * (13, 10)
    landed = through(SimpleITK.DisplacementFieldTransform(field), to_xy(fixed, fixed_size))
    moving = displace_points(displacement, fixed)
    np.testing.assert_allclose(landed, to_xy(moving, moving_size), atol=1e-8)
    opposite = to_xy(2 * fixed - moving, moving_size)
    assert not np.allclose(landed, opposite, atol=0.01)


MHA_FAULTS = [
    (b"NDims = 2", b"NDims = 3", "NDims = 3, not 2"),
    (b"CompressedData = False", b"CompressedData = True", "CompressedData = True, not False"),
    (b"Offset = 0 0", b"Offset = 5 0", "Offset = 5 0, not 0 0"),
    (b"MET_DOUBLE", b"MET_UCHAR", "ElementType = MET_UCHAR"),
    (b"DimSize = 11 14", b"DimSize = 12 14", "2464 bytes for 14 x 12 vectors"),
    (b"DimSize = 11 14", b"DimSize = -11 -14", "2464 bytes for -14 x -11 vectors"),
    (b"DimSize = 11 14", b"DimSize = 11", "not enough values"),
    (b"DimSize = 11 14\n", b"", "no DimSize"),
    (b"ElementSpacing = 1.0", b"ElementSpacing = 0", "ElementSpacing: expected two positive"),
    (b"LOCAL", b"other.raw", "no line 'ElementDataFile = LOCAL'"),
    (b"NDims", b"Unheard", "no NDims"),
    (b"Offset", b"Unheard", "the unknown entry 'Unheard'"),
    (b"ObjectType = Image", b"ObjectType", "where it does not belong"),
]


@pytest.mark.parametrize(("part", "fault", "message"), MHA_FAULTS)
def test_a_displacement_of_something_else_is_refused(part, fault, message):
    path = folder() / "found.mha"
    write_displacement(path, wavy(0))
    lines = path.read_bytes().split(b"\n")
    whole = b"\n".join(line for line in lines if not line.startswith(b"Comment = sha256"))
    assert part in whole
    path.write_bytes(whole.replace(part, fault))
    with pytest.raises(ValueError, match=message) as caught:
        read_displacement(path)
    assert str(caught.value).startswith(f"{path}: expected a displacement as .mha, got: ")


@given(st.data())
def test_a_displacement_cut_off_is_refused(data):
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "found.mha"
        write_displacement(path, wavy(0))
        whole = path.read_bytes()
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
        with pytest.raises(ValueError, match=r"expected a displacement as \.mha, got"):
            read_displacement(path)


@pytest.mark.parametrize(
    ("vector", "spacing"),
    [
        (0x7FF0000000000001, 1.0),  # a NaN that signals: another warning than of a quiet one
        (0x7FF8000000000000, 1.0),
        (0x7FEFFFFFFFFFFFFF, 1e-9),  # overflows as it becomes pixels
    ],
)
def test_a_vector_that_is_no_number_of_pixels_is_refused_in_a_sentence(vector, spacing):
    path = folder() / "found.mha"
    write_displacement(path, wavy(0))
    lines = path.read_bytes().splitlines(keepends=True)
    head = b"".join(line for line in lines[:20] if b" = " in line and b"sha256" not in line)
    values = path.read_bytes()[-wavy(0).nbytes :]
    path.write_bytes(head + vector.to_bytes(8, "little") + values[8:])
    with pytest.raises(ValueError, match="its values: expected finite"):
        read_displacement(path, moving_pixel_size_micrometres=(spacing, spacing))


def test_what_is_no_displacement_is_not_written():
    path = folder() / "found.mha"
    with pytest.raises(ValueError, match="displacement: expected finite"):
        write_displacement(path, np.full((2, 4, 4), np.nan))
    with pytest.raises(ValueError, match=r"expected a name that ends in \.mha"):
        write_displacement(path.with_suffix(".tif"), wavy(0))
    assert not path.exists()
