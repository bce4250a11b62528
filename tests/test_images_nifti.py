"""NIfTI volumes and the brains of the open MS set, as replicas written field by field."""

import gzip
import re
import struct

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from equicomir.images.nifti import read_nifti
from equicomir.images.published import OPEN_MS
from equicomir.images.published_readers import (
    MS_ENDING,
    MS_MODALITIES,
    SceneFiles,
    axial_slices,
    ms_scenes,
)


def one_sentence(error):
    """A message of one sentence: it ends as one, and holds no second."""
    message = str(error.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert not re.search(r"\w\w\. [A-Z]", message)
    return message


TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}
PLACED = np.array([[-1.0, 0, 0, 90], [0, 1.0, 0, -126], [0, 0, 1.0, -72]])


def nifti(values, order="<", code=16, scaling=(1.0, 0.0), rows=PLACED, **fields):
    """A NIfTI-1 file as bytes, written field by field."""
    header = bytearray(352)
    struct.pack_into(order + "i", header, 0, fields.get("size", 348))
    sizes = fields.get("sizes", (values.ndim, *values.shape, *[1] * (7 - values.ndim)))
    struct.pack_into(order + "8h", header, 40, *sizes)
    struct.pack_into(order + "2h", header, 70, code, np.dtype(TYPES.get(code, "f4")).itemsize * 8)
    struct.pack_into(order + "4f", header, 76, *fields.get("pixdim", (1.0, 1.0, 1.0, 1.0)))
    struct.pack_into(order + "3f", header, 108, fields.get("start", 352.0), *scaling)
    header[123] = 2
    struct.pack_into(order + "2h", header, 252, *fields.get("given", (0, 1)))
    struct.pack_into(order + "6f", header, 256, *fields.get("quaternion", (0, 0, 0, 0, 0, 0)))
    struct.pack_into(order + "12f", header, 280, *np.ravel(rows))
    header[344:348] = fields.get("magic", b"n+1\0")
    return bytes(header) + values.astype(order + TYPES.get(code, "f4")).tobytes(order="F")


@given(st.data())
def test_every_plain_nifti_is_read_as_written(tmp_path_factory, data):
    code = data.draw(st.sampled_from(sorted(TYPES)))
    shape = data.draw(st.tuples(*[st.integers(1, 5)] * 3))
    slope, intercept = data.draw(st.sampled_from([(1.0, 0.0), (0.5, -3.0), (0.0, 7.0)]))
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    values = rng.integers(0 if TYPES[code][0] == "u" else -100, 100, shape)
    raw = nifti(values, data.draw(st.sampled_from("<>")), code, (slope, intercept))
    packed = data.draw(st.booleans())
    path = tmp_path_factory.mktemp("nifti") / "a.nii.gz"
    path.write_bytes(gzip.compress(raw) if packed else raw)
    volume = read_nifti(path)
    expected = values * slope + intercept if slope else values
    assert volume.values.dtype == np.float32
    np.testing.assert_array_equal(volume.values, expected.astype(np.float32))
    np.testing.assert_array_equal(volume.to_millimetres[:3], PLACED)


def test_planted_fault_the_other_order_of_axes_is_seen(tmp_path):
    values = np.arange(24).reshape(2, 3, 4)
    (tmp_path / "a.nii").write_bytes(nifti(values))
    read = read_nifti(tmp_path / "a.nii").values
    np.testing.assert_array_equal(read, values)
    assert not np.array_equal(read.ravel(order="F"), values.ravel(order="C"))


@given(st.integers(0, 10**6), st.sampled_from([-1.0, 1.0]))
def test_a_quaternion_and_its_matrix_place_alike(tmp_path_factory, seed, handedness):
    """Against SciPy's rotations."""
    rng = np.random.default_rng(seed)
    quaternion = rng.normal(size=4)
    quaternion *= np.sign(quaternion[3]) / np.linalg.norm(quaternion)  # x, y, z, w with w > 0
    spacing, offset = rng.uniform(0.5, 2, 3), rng.uniform(-90, 90, 3)
    raw = nifti(
        np.zeros((2, 2, 2)),
        given=(1, 0),
        pixdim=(handedness, *spacing),
        quaternion=(*quaternion[:3], *offset),
    )
    path = tmp_path_factory.mktemp("nifti") / "a.nii"
    path.write_bytes(raw)
    expected = Rotation.from_quat(quaternion).as_matrix() * (spacing * [1, 1, handedness])
    placed = read_nifti(path).to_millimetres
    np.testing.assert_allclose(placed[:3, :3], expected, atol=1e-4)
    np.testing.assert_allclose(placed[:3, 3], offset, atol=1e-4)


def test_without_a_placement_voxel_sizes_are_taken(tmp_path):
    raw = nifti(np.zeros((2, 2, 2)), given=(0, 0), pixdim=(1.0, 0.5, 2.0, 3.0))
    (tmp_path / "a.nii").write_bytes(raw)
    assert np.diag(read_nifti(tmp_path / "a.nii").to_millimetres).tolist() == [0.5, 2, 3, 1]


GRID = np.arange(8.0).reshape(2, 2, 2)
REFUSED = {
    "no nifti": (b"\x89PNG" + bytes(400), "expected a NIfTI-1 file"),
    "empty": (b"", "expected a NIfTI-1 file"),
    "two files": (nifti(GRID, magic=b"ni1\0"), "expected a NIfTI-1 file in one piece"),
    "nifti 2": (nifti(GRID, size=540), "expected a NIfTI-1 file"),
    "four axes": (nifti(np.zeros((2, 2, 2, 3))), "expected a volume of three axes"),
    "two axes": (nifti(np.zeros((2, 2))), "expected a volume of three axes"),
    "negative size": (nifti(GRID, sizes=(3, 2, -2, 2, 1, 1, 1, 1)), "three axes"),
    "complex": (nifti(GRID, code=32), "got type 32"),
    "colour": (nifti(GRID, code=128), "got type 128"),
    "cut off": (nifti(GRID)[:-1], "copy it again"),
    "wrong start": (nifti(GRID, start=float("nan")), "from byte nan"),
    "too large": (nifti(GRID, sizes=(3, 32767, 32767, 32767, 1, 1, 1, 1)), "copy it again"),
    "scaling": (nifti(GRID, scaling=(float("nan"), 0.0)), "expected a finite scaling"),
    "flat": (nifti(GRID, rows=np.zeros((3, 4))), "expected a placement"),
    "cut gzip": (gzip.compress(nifti(GRID))[:-20], "expected a readable NIfTI"),
    "bad gzip": (b"\x1f\x8b\x08" + bytes(100), "expected a readable NIfTI"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_plain_is_refused_in_a_sentence(tmp_path, kind):
    raw, message = REFUSED[kind]
    (tmp_path / "a.nii.gz").write_bytes(raw)
    with pytest.raises(ValueError, match=message) as error:
        read_nifti(tmp_path / "a.nii.gz")
    assert str(tmp_path / "a.nii.gz") in one_sentence(error)


def test_one_time_point_is_a_volume(tmp_path):
    (tmp_path / "a.nii").write_bytes(nifti(GRID[..., None]))
    np.testing.assert_array_equal(read_nifti(tmp_path / "a.nii").values, GRID)


def body(shape):
    """A value that says where a voxel lies: right, front and head, in (x, y, z) of the body."""
    right, front, head = np.meshgrid(*map(np.arange, shape), indexing="ij")
    return 1.0 + right + 10 * front + 100 * head


def write_patient(folder, values, rows, **other):
    folder.mkdir(parents=True, exist_ok=True)
    for factor, modality in enumerate(MS_MODALITIES, 1):
        raw = nifti(factor * values, rows=other.get(modality, rows))
        (folder / f"{modality}{MS_ENDING}").write_bytes(gzip.compress(raw))


@given(st.permutations([0, 1, 2]), st.tuples(*[st.booleans()] * 3))
def test_slices_are_the_same_however_the_volume_is_stored(tmp_path_factory, axes, flipped):
    values = body((4, 5, 3))
    rows = np.eye(4)[:3]
    stored = values
    matrix = np.eye(4)
    for axis, flip in enumerate(flipped):
        if flip:
            stored = np.flip(stored, axis)
            matrix[axis, axis], matrix[axis, 3] = -1, values.shape[axis] - 1
    stored = stored.transpose(axes)
    rows = (matrix @ np.eye(4)[:, [*axes, 3]])[:3]
    root = tmp_path_factory.mktemp("ms")
    write_patient(root / "patient07", stored, rows)
    (scene,) = ms_scenes(root)
    slices = axial_slices(scene)
    assert [one.name for one in slices] == [f"patient07_slice{n:03}" for n in range(3)]
    for height, one in enumerate(slices):
        for factor, modality in enumerate(MS_MODALITIES, 1):
            # The first row is the front (large y), the first column the right (large x).
            expected = factor * values[::-1, ::-1, height].T
            np.testing.assert_allclose(one.images[modality][0].numpy(), expected)


def test_planted_fault_a_volume_placed_otherwise_looks_otherwise(tmp_path):
    upright, mirrored = np.eye(4)[:3], np.array([[-1.0, 0, 0, 3], [0, 1, 0, 0], [0, 0, 1, 0]])
    for name, rows in (("patient01", upright), ("patient02", mirrored)):
        write_patient(tmp_path / name, body((4, 5, 3)), rows)
    one, other = (axial_slices(scene)[0].images["T1"] for scene in ms_scenes(tmp_path))
    assert torch.equal(one, other.flip(2))
    assert not torch.equal(one, other)


def test_empty_slices_are_left_out(tmp_path):
    values = body((4, 5, 6))
    values[..., :2] = 0
    write_patient(tmp_path / "patient19", values, PLACED)
    names = [one.name for one in axial_slices(ms_scenes(tmp_path)[0], every=2)]
    assert names == ["patient19_slice002", "patient19_slice004"]


def test_damaged_patients_are_told(tmp_path):
    with pytest.raises(ValueError, match="expected folders patient01") as error:
        ms_scenes(tmp_path)
    one_sentence(error)
    write_patient(tmp_path / "patient26", body((4, 5, 3)), PLACED)
    with pytest.raises(ValueError, match="every: expected 1 or more, got 0"):
        axial_slices(ms_scenes(tmp_path)[0], every=0)
    moved = PLACED.copy()
    moved[0, 3] += 5
    write_patient(tmp_path / "patient26", body((4, 5, 3)), PLACED, T2=moved)
    with pytest.raises(ValueError, match=r"T2_N4.*expected the grid of T1_N4") as error:
        axial_slices(ms_scenes(tmp_path)[0])
    one_sentence(error)
    slanted = np.array([[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0]])
    write_patient(tmp_path / "patient26", body((4, 5, 3)), slanted)
    with pytest.raises(ValueError, match="slanted grid"):
        axial_slices(ms_scenes(tmp_path)[0])
    (tmp_path / "patient26" / f"FLAIR{MS_ENDING}").unlink()
    with pytest.raises(ValueError, match=r"FLAIR.*expected a volume of patient26") as error:
        ms_scenes(tmp_path)
    one_sentence(error)


def test_open_ms_is_fetched_into_the_layout_that_is_read():
    names = [file.name for file in OPEN_MS.files if file.name.startswith("patient07/")]
    expected = SceneFiles("patient07", {m: f"patient07/{m}{MS_ENDING}" for m in MS_MODALITIES})
    assert names == list(expected.files.values())
    assert len(OPEN_MS.files) == 90
