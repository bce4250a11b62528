import numpy as np
import pytest
import tifffile
import torch
from skimage import io

from equicomir.images.files import read_image
from equicomir.images.listing import list_folders
from equicomir.images.pairs import read_scenes
from equicomir.images.scan import scan
from equicomir.images.sources import embedded, read_parts


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    io.imsave(path, array, check_contrast=False)


@pytest.fixture
def folders(tmp_path):
    """Two modalities, three scenes: 16-bit grey and 8-bit colour."""
    random = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        write(tmp_path / "SHG" / f"{name}.png", random.integers(0, 60000, (40, 30), np.uint16))
        write(tmp_path / "HE" / f"{name}.png", random.integers(0, 255, (40, 30, 3), np.uint8))
    return [tmp_path / "SHG", tmp_path / "HE"]


def test_pairs_are_matched_by_name_in_their_own_units(folders):
    scenes = read_scenes(folders)
    assert [scene.name for scene in scenes] == ["a", "b", "c"]
    assert scenes[0].size == (40, 30)
    raw = io.imread(folders[0] / "a.png")
    assert raw.dtype == np.uint16
    assert torch.equal(scenes[0].images["SHG"][0], torch.from_numpy(raw.astype(np.float32)))
    assert scenes[0].images["HE"].shape == (3, 40, 30)


def damage_missing(folders):
    (folders[1] / "b.png").unlink()
    return "b.png: expected a partner in .*HE"


def damage_truncated(folders):
    path = folders[1] / "c.png"
    path.write_bytes(path.read_bytes()[:60])
    return "c.png: expected a readable image"


def damage_text(folders):
    (folders[0] / "a.png").write_text("not an image")
    return "a.png: expected a readable image"


def damage_size(folders):
    write(folders[1] / "b.png", np.random.default_rng(0).integers(0, 9, (41, 30, 3), np.uint8))
    return "b.png: expected 40 x 30 pixels like its partner, got 41 x 30"


def damage_constant(folders):
    write(folders[0] / "b.png", np.full((40, 30), 7, np.uint8))
    return "b.png: expected an image with content, got a constant one"


def damage_channels(folders):
    write(folders[1] / "c.png", np.random.default_rng(0).integers(0, 9, (40, 30), np.uint8))
    return "c.png: expected 3 channels as in a.png, got 1"


def damage_twice(folders):
    write(folders[0] / "a.tif", np.random.default_rng(0).integers(0, 9, (40, 30), np.uint8))
    return "expected one file a name"


def damage_nan(folders):
    np.save(folders[0] / "d.npy", np.full((40, 30), np.nan))
    np.save(folders[1] / "d.npy", np.random.default_rng(0).normal(size=(40, 30, 3)))
    return "d.npy: expected finite values, got an image without a single one"


def damage_three(folders):
    for name in ("a", "b", "c"):
        (folders[1] / f"{name}.png").write_text("not an image")
    return r"a.png: expected a readable image.* \(and 2 more problems: b.png, c.png\)"


def damage_empty(folders):
    for path in folders[1].iterdir():
        path.unlink()
    return "HE: expected images"


@pytest.mark.parametrize(
    "damage", [v for k, v in dict(globals()).items() if k.startswith("damage")]
)
def test_bad_files_are_named(folders, damage):
    message = damage(folders)
    with pytest.raises(ValueError, match=message):
        read_scenes(folders)


def test_bad_folders_are_named(folders, tmp_path):
    with pytest.raises(ValueError, match="nowhere: expected a folder of images, found none"):
        read_scenes([folders[0], tmp_path / "nowhere"])
    with pytest.raises(ValueError, match="different names"):
        read_scenes([folders[0], folders[0]])
    with pytest.raises(ValueError, match="expected a readable image"):
        read_image(tmp_path / "none.png")


def test_a_pickle_is_not_read(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"a.npy: expected a readable image"):
        read_image(tmp_path / "a.npy")


def test_parts_are_read_from_their_folders(folders, tmp_path):
    random = np.random.default_rng(0)
    for part in ("train", "validation", "test"):
        for modality in ("T1", "T2"):
            image = random.integers(0, 255, (16, 16), np.uint8)
            write(tmp_path / "set" / part / modality / f"{part}.png", image)
    parts = read_parts(tmp_path / "set", ["T1", "T2"])
    assert (parts.name, parts.modalities) == ("set", ("T1", "T2"))
    assert [s[0].name for s in (parts.train, parts.validation, parts.test)] == [
        "train",
        "validation",
        "test",
    ]


def test_the_embedded_parts_are_disjoint_aligned_and_unlike():
    parts = embedded()
    sizes = [s[0].size for s in (parts.train, parts.validation, parts.test)]
    assert sizes == [(512, 236), (216, 268), (288, 268)]
    from skimage.color import rgb2hed
    from skimage.data import immunohistochemistry

    whole = rgb2hed(immunohistochemistry()).astype(np.float32)
    corners = {"train": (0, 0), "validation": (0, 244), "test": (224, 244)}
    taken = np.zeros(whole.shape[:2], int)
    for part, (row, column) in corners.items():
        (scene,) = getattr(parts, part)
        height, width = scene.size
        here = (slice(row, row + height), slice(column, column + width))
        taken[here] += 1
        np.testing.assert_array_equal(scene.images["haematoxylin"][0], whole[here][..., 0])
        np.testing.assert_array_equal(scene.images["dab"][0], whole[here][..., 2])
    assert taken.max() == 1
    stains = [whole[..., 0].ravel(), whole[..., 2].ravel()]
    assert abs(np.corrcoef(stains)[0, 1]) < 0.1


def test_endings_do_not_part_a_scene(tmp_path):
    random = np.random.default_rng(0)
    (tmp_path / "A").mkdir()
    tifffile.imwrite(tmp_path / "A" / "core.7.ome.tif", random.random((20, 20)).astype(np.float32))
    write(tmp_path / "B" / "core.7.png", random.integers(0, 99, (20, 20), np.uint8))
    assert [s.name for s in read_scenes([tmp_path / "A", tmp_path / "B"])] == ["core.7"]


def test_masks_and_undefined_pixels_leave_out_what_does_not_count(folders, tmp_path):
    mask = np.zeros((40, 30), np.uint8)
    mask[:, 10:] = 255
    for name in ("a", "b", "c"):
        write(tmp_path / "masks" / f"{name}.png", mask)
    listed = list_folders(folders, masks=tmp_path / "masks")
    assert torch.equal(read_scenes(listed)[1].mask, torch.from_numpy(mask > 0))
    holed = np.random.default_rng(1).normal(size=(40, 30))
    holed[:5] = np.nan
    (folders[0] / "a.png").unlink()
    np.save(folders[0] / "a.npy", holed)
    for in_memory in (True, False):
        scene = read_scenes(list_folders(folders, masks=tmp_path / "masks"), in_memory=in_memory)[0]
        assert not scene.mask[:5].any()
        assert scene.mask[5:, 10:].all()
        assert scene.window("SHG").isfinite().all()
    write(tmp_path / "masks" / "a.png", np.zeros((40, 30), np.uint8))
    with pytest.raises(ValueError, match=r"masks.a.png: expected a mask with pixels"):
        read_scenes(list_folders(folders, masks=tmp_path / "masks"))
    write(tmp_path / "masks" / "a.png", np.ones((4, 30), np.uint8))
    with pytest.raises(ValueError, match=r"a.png: expected 40 x 30 pixels like its scene"):
        read_scenes(list_folders(folders, masks=tmp_path / "masks"))
    (tmp_path / "masks" / "c.png").unlink()
    with pytest.raises(ValueError, match=r"c.png: expected a partner in .*masks"):
        list_folders(folders, masks=tmp_path / "masks")


def test_scenes_left_on_disk_are_those_in_memory(folders):
    for kept, left in zip(
        read_scenes(folders, in_memory=True), read_scenes(folders, in_memory=False), strict=True
    ):
        assert (kept.name, kept.size) == (left.name, left.size)
        for modality in kept.images:
            window = ((3, 20), (7, 30))
            assert torch.equal(kept.window(modality, *window), left.window(modality, *window))
            assert torch.equal(kept.window(modality), left.window(modality))
            assert not isinstance(left.images[modality], torch.Tensor)


def test_a_scan_tells_what_is_there(folders):
    lines = scan(list_folders(folders)).lines
    assert lines[0] == "3 scenes"
    assert lines[1].startswith("SHG: 3 files, PNG uint16, 1 channel, 40 x 30 pixels, values ")
    assert lines[2].startswith("HE: 3 files, PNG uint8, 3 channels, 40 x 30 pixels, values 0 to ")


def test_pictures_of_large_sets_are_said_to_be_slow(folders, monkeypatch):
    assert "unpacked whole" not in scan(list_folders(folders)).lines[-1]
    monkeypatch.setattr("equicomir.images.scan.IN_MEMORY", 1000)
    assert "PNG is unpacked whole for every patch" in scan(list_folders(folders)).lines[-1]


def test_large_images_are_scanned_by_bands(folders, monkeypatch):
    whole = scan(list_folders(folders))
    monkeypatch.setattr("equicomir.images.scan._AT_ONCE", 200)
    banded = scan(list_folders(folders))
    assert banded.lines == whole.lines
    assert not banded.problems
