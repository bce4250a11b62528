import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage import io
from strategies import seeds

from equicomir.geometry import rotate
from equicomir.images.pairs import (
    Scaling,
    Scene,
    percentile_scaling,
    read_image,
    read_scenes,
)
from equicomir.images.patches import cut_patches, draw_patches, patch_places
from equicomir.images.sources import embedded, read_parts
from equicomir.losses.rotated_pairs import valid_disk


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
    np.save(folders[1] / "d.npy", np.ones((40, 30)))
    return "d.npy: expected finite values"


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


@given(seeds(), st.floats(0.5, 5), st.floats(60, 99.5))
def test_scaling_takes_the_percentiles_to_zero_and_one(generator, low, high):
    images = [100 * torch.randn(2, 20, 25, generator=generator) + 7 for _ in range(3)]
    scaling = percentile_scaling(images, low, high)
    pixels = torch.cat([scaling(image).flatten(1) for image in images], dim=1).numpy()
    np.testing.assert_allclose(np.percentile(pixels, low, axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(np.percentile(pixels, high, axis=1), 1, atol=1e-5)


def test_scaling_refuses_other_channels_and_survives_mostly_empty_images():
    with pytest.raises(ValueError, match="expected 1 channels, as in training, got 2"):
        Scaling((0.0,), (1.0,))(torch.rand(2, 4, 4))
    sparse = torch.zeros(1, 50, 50)
    sparse[0, 0, 0] = 8.0
    assert torch.isfinite(percentile_scaling([sparse])(sparse)).all()


def noise_scenes(generator, count=2, size=48):
    images = [torch.randn(2, 1, size, size, generator=generator) for _ in range(count)]
    return [Scene(str(i), {"A": x[0], "B": x[1]}) for i, x in enumerate(images)]


@given(seeds(), st.integers(16, 24))
def test_both_images_of_a_pair_come_from_one_place_each_turned_by_its_own_angle(generator, size):
    scenes = noise_scenes(generator)
    same = [Scene(s.name, {"A": s.images["A"], "B": s.images["A"]}) for s in scenes]
    draw = draw_patches(patch_places(same, size), 3, 2, generator=generator)
    first, second = cut_patches(same, draw, size)
    assert not torch.equal(draw.degrees[0], draw.degrees[1])
    for b in range(3):
        row, column = draw.corner[b].tolist()
        image = same[int(draw.scene[b])].images["A"][None]
        straight = image[..., row : row + size, column : column + size]
        inside = (..., valid_disk(size, 2))
        for patches, degrees in ((first, draw.degrees[0]), (second, draw.degrees[1])):
            expected = rotate(straight, degrees[b : b + 1])
            torch.testing.assert_close(
                patches[b : b + 1][inside], expected[inside], atol=1e-3, rtol=1e-3
            )


@given(seeds())
def test_a_draw_can_be_replayed_and_a_seed_repeats_it(generator):
    scenes = noise_scenes(generator)
    places = patch_places(scenes, 16)
    state = generator.get_state()
    first = draw_patches(places, 4, 2, generator=generator)
    generator.set_state(state)
    again = draw_patches(places, 4, 2, generator=generator)
    assert torch.equal(first.degrees, again.degrees)
    for one, other in zip(
        cut_patches(scenes, first, 16), cut_patches(scenes, again, 16), strict=True
    ):
        assert torch.equal(one, other)


@given(seeds())
def test_few_scenes_at_once_means_few_scenes(generator):
    places = patch_places(noise_scenes(generator, count=5), 16)
    draw = draw_patches(places, 40, 2, scenes_at_once=2, generator=generator)
    assert len(draw.scene.unique()) <= 2
    free = draw_patches(places, 40, 2, generator=generator)
    assert len(free.scene.unique()) > 2


@given(seeds())
def test_without_turns_patches_are_plain_crops(generator):
    scenes = noise_scenes(generator)
    draw = draw_patches(patch_places(scenes, 16), 2, 2, turns=1, generator=generator)
    patches = cut_patches(scenes, draw, 16)
    row, column = draw.corner[0].tolist()
    crop = scenes[int(draw.scene[0])].images["B"][:, row : row + 16, column : column + 16]
    torch.testing.assert_close(patches[1][0], crop, atol=1e-5, rtol=1e-5)


def test_patches_are_not_centred_on_background(rng):
    image = torch.zeros(1, 64, 64)
    image[:, 20:40, 24:44] = 1 + torch.rand(1, 20, 20, generator=rng)
    scene = Scene("brain", {"T1": image, "T2": image})
    (places,) = patch_places([scene], 16)
    centre = places + 8
    assert image[0, centre[:, 0], centre[:, 1]].min() > 0
    assert len(places) == 20 * 20


def test_scenes_without_room_are_refused():
    scene = Scene("small", {"A": torch.rand(1, 20, 40), "B": torch.rand(1, 20, 40)})
    with pytest.raises(ValueError, match="at most 20 pixels, the extent of scene small, got 32"):
        patch_places([scene], 32)
    empty = Scene("empty", {"A": torch.ones(1, 40, 40), "B": torch.rand(1, 40, 40)})
    with pytest.raises(ValueError, match="scene empty: expected content"):
        patch_places([empty], 16)
