"""The public sets and their readers, without a network: small replicas of their layouts."""

import re
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage
from skimage.transform import SimilarityTransform, matrix_transform
from skimage.transform import warp as skimage_warp

from equicomir.geometry import rotation_degrees, warp_image
from equicomir.images.downloads import check_inside
from equicomir.images.files import read_image
from equicomir.images.published import PUBLISHED, Published
from equicomir.images.published_pairs import LU_FOLDS, moved_pairs, reference_scenes
from equicomir.images.published_readers import comir_scenes, read_zurich, zurich_files


def noise(seed, size):
    return np.random.default_rng(seed).bytes(size)


def one_sentence(error):
    """A message of one sentence: it ends as one, and holds no second."""
    message = str(error.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert not re.search(r"\w\w\. [A-Z]", message)
    return message


@pytest.mark.parametrize("one", PUBLISHED.values(), ids=PUBLISHED)
def test_every_set_says_what_it_is(one):
    assert isinstance(one, Published)
    assert all((one.licence, one.citation, one.modalities, one.layout, one.readers))
    assert one.doi.startswith("10.")
    assert (one.record is None) == bool(one.files)
    for file in one.files:
        check_inside(one.name, file.name)
        assert file.url.startswith("https://")
        assert file.url.endswith(file.name)
    assert len({file.name for file in one.files}) == len(one.files)


def test_published_folds_are_disjoint_and_whole():
    for folds in LU_FOLDS.values():
        assert len(frozenset.union(*folds)) == sum(map(len, folds))
    assert frozenset.union(*LU_FOLDS["Zurich"]) == {f"zh{n}" for n in range(1, 21)}


def published_transform(width, degrees, tx, ty):
    """The transform of the publisher's scripts, in (x, y), from moving to reference."""
    centre = np.array([width, width]) / 2 - 0.5
    return (
        SimilarityTransform(translation=(tx, ty))
        + SimilarityTransform(translation=-centre)
        + SimilarityTransform(rotation=np.deg2rad(degrees))
        + SimilarityTransform(translation=centre)
    )


def published_line(name, width, degrees, tx, ty):
    """A line as the publisher writes it, empty columns and all."""
    corners = np.array([[0, 0], [0, width], [width, width], [width, 0]])
    moved = matrix_transform(corners, published_transform(width, degrees, tx, ty).params)
    line = {"Filename": name, "ReferenceImage": "", "Method": ""}
    for which, points in (("Ref", corners), ("Trans", moved), ("Recover", None)):
        for n in range(4):
            for axis in (0, 1):
                value = "" if points is None else points[n, axis]
                line["XY"[axis] + f"{n + 1}_{which}"] = value
    displacement = np.linalg.norm(moved - corners, axis=1).mean()
    return line | {
        "Displacement": displacement,
        "RelativeDisplacement": displacement / width,
        "Tx": tx,
        "Ty": ty,
        "AngleDegree": degrees,
        "AngleRad": np.deg2rad(degrees),
        "Error": "",
        "DisplacementCategory": "",
    }


def write_table(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [",".join(lines[0])] + [",".join(map(str, line.values())) for line in lines]
    path.write_text("\n".join(rows) + "\n")


NAMES = {
    "Zurich": (("zh3_01_01", "zh20_02_01"), ("zh10_01_02", "zh1_01_01"), ("zh2_01_01",)),
    "Balvan": (("DU145_do_1_f15_02_01",), ("PNT1A_st_3_f00_01_02",), ("LNCaP_do_1_f00_01_01",)),
}


def replica(root, subset="Zurich", levels=(1, 2), width=12):
    """The published layout: every fold and level, a list and both patches in both modalities."""
    ending = ".tif" if subset == "Eliceiri" else ".png"
    for fold, names in enumerate(NAMES.get(subset, (("1B_A4", "2B_F10"),)), 1):
        middle = f"fold{fold}/" if subset in NAMES else ""
        for level in levels:
            folder = root / f"{subset}_patches/{middle}patch_tlevel{level}"
            lines = []
            for number, name in enumerate(names):
                lines.append(published_line(name, width, 5 * level - 2.5, number, -level))
                for modality in "AB":
                    for kind in "RT":
                        path = folder / modality / "test" / f"{name}_{kind}{ending}"
                        path.parent.mkdir(parents=True, exist_ok=True)
                        pixels = np.frombuffer(noise(len(str(path)), width**2), np.uint8)
                        Image.fromarray(pixels.reshape(width, width)).save(path)
            write_table(folder / "info_test.csv", lines)
    return root


def textures(seed, size):
    """Two smooth textures of one scene."""
    rng = np.random.default_rng(seed)
    one = ndimage.gaussian_filter(rng.normal(size=(size, size)), size / 12)
    return one / one.std()


def agreement(seed, width, degrees, tx, ty, pair):
    """Correlation of the reference with the moving patch brought back by the pair's truth."""
    reference = textures(seed, width)
    moving = skimage_warp(reference, published_transform(width, degrees, tx, ty), order=3)
    back, valid = warp_image(
        torch.from_numpy(moving)[None, None], np.linalg.inv(pair.moving_to_fixed)
    )
    seen = ndimage.binary_erosion(valid.numpy(), iterations=3)
    # Where the moving patch looked beyond the reference, it has no content.
    inside = skimage_warp(
        np.ones_like(reference), published_transform(width, degrees, tx, ty), order=0
    )
    known, _ = warp_image(
        torch.from_numpy(inside)[None, None], np.linalg.inv(pair.moving_to_fixed), mode="nearest"
    )
    seen &= ndimage.binary_erosion(known[0, 0].numpy() > 0.5, iterations=3)
    return np.corrcoef(back[0, 0].numpy()[seen], reference[seen])[0, 1]


moves = st.tuples(
    st.integers(20, 70), st.floats(-179, 179), st.floats(-0.1, 0.1), st.floats(-0.1, 0.1)
)


def one_line(root, width, degrees, tx, ty):
    replica(root, "Eliceiri", levels=(1,))
    line = published_line("1B_A4", width, degrees, tx, ty)
    write_table(root / "Eliceiri_patches/patch_tlevel1/info_test.csv", [line])
    return line


@given(st.integers(0, 10**6), moves)
def test_the_truth_brings_the_publishers_patch_back(tmp_path_factory, seed, move):
    width, degrees, tx, ty = move[0], move[1], move[2] * move[0], move[3] * move[0]
    root = tmp_path_factory.mktemp("lu")
    one_line(root, width, degrees, tx, ty)
    (pair,) = moved_pairs(root, "Eliceiri", level=1)
    assert rotation_degrees(pair.moving_to_fixed) == pytest.approx(-degrees, abs=1e-6)
    assert agreement(seed, width, degrees, tx, ty, pair) > 0.99


def test_planted_fault_a_truth_the_other_way_round_is_seen(tmp_path):
    one_line(tmp_path, 60, 17.0, 4.0, -5.0)
    (pair,) = moved_pairs(tmp_path, "Eliceiri", level=1)
    assert agreement(1, 60, 17.0, 4.0, -5.0, pair) > 0.99
    swap = np.eye(3)[[1, 0, 2]]
    for wrong in (np.linalg.inv(pair.moving_to_fixed), swap @ pair.moving_to_fixed @ swap):
        assert agreement(1, 60, 17.0, 4.0, -5.0, replace(pair, moving_to_fixed=wrong)) < 0.95


@pytest.mark.parametrize("subset", ["Zurich", "Balvan", "Eliceiri"])
@pytest.mark.parametrize("wrapped", [".", "Zurich_patches", "a/b"])
def test_pairs_are_listed_as_published(tmp_path, subset, wrapped):
    replica(tmp_path / wrapped, subset)
    (tmp_path / "__MACOSX" / f"{subset}_patches").mkdir(parents=True)
    fold = 2 if subset in NAMES else None
    for fixed, moving in ("AB", "BA"):
        pairs = moved_pairs(tmp_path, subset, level=2, fold=fold, fixed=fixed)
        names = NAMES[subset][1] if fold else ("1B_A4", "2B_F10")
        assert [pair.name for pair in pairs] == list(names)
        for pair in pairs:
            assert pair.fixed.parts[-3:-1] == (fixed, "test")
            assert pair.moving.parts[-3:-1] == (moving, "test")
            assert pair.fixed.stem == f"{pair.name}_R"
            assert pair.moving.stem == f"{pair.name}_T"
            assert pair.fixed_corners.tolist() == [[0, 0], [12, 0], [12, 12], [0, 12]]
            assert pair.moving_corners.shape == (4, 2)
            assert read_image(pair.moving).shape == (1, 12, 12)


@pytest.mark.parametrize("subset", ["Zurich", "Balvan"])
@pytest.mark.parametrize("fold", [1, 2, 3])
def test_training_patches_are_of_the_other_folds(tmp_path, subset, fold):
    replica(tmp_path, subset)
    scenes = reference_scenes(tmp_path, subset, fold=fold)
    groups = {scene.name.split("_")[0] for scene in scenes}
    assert len(scenes) == sum(map(len, NAMES[subset])) - len(NAMES[subset][fold - 1])
    assert not groups & LU_FOLDS[subset][fold - 1]
    for scene in scenes:
        assert {path.stem for path in scene.files.values()} == {f"{scene.name}_R"}
        assert list(scene.files) == ["A", "B"]


def table_of(root):
    return root / "Zurich_patches/fold1/patch_tlevel1/info_test.csv"


def change(root, edit):
    path = table_of(root)
    path.write_text(edit(path.read_text()))


def stretch(root):
    """Corners moved by the right angle, but apart."""
    line = published_line("zh3_01_01", 12, 2.5, 0, 1)
    points = {key: value for key, value in line.items() if key.endswith("_Trans")}
    write_table(table_of(root), [line | {key: 1.1 * value for key, value in points.items()}])


DAMAGES = {
    "no list": (lambda r: table_of(r).unlink(), "expected one Zurich_patches/fold1"),
    "no moving patch": (
        lambda r: (table_of(r).parent / "B/test/zh20_02_01_T.png").unlink(),
        "zh20_02_01_T.png: expected this file",
    ),
    "no fixed patch": (
        lambda r: (table_of(r).parent / "A/test/zh3_01_01_R.png").unlink(),
        "zh3_01_01_R.png: expected this file",
    ),
    "no column": (
        lambda r: change(r, lambda t: t.replace("Y3_Trans", "Z3_Trans")),
        "expected the column Y3_Trans",
    ),
    "no lines": (lambda r: change(r, lambda t: t.splitlines()[0]), "expected pairs, got none"),
    "empty": (lambda r: change(r, lambda t: ""), "expected the column Filename, got none"),
    "short line": (
        lambda r: change(r, lambda t: t + "zh3_01_01,,,0,0\n"),
        "expected four corners Ref of zh3_01_01",
    ),
    "wrong fold": (
        lambda r: change(r, lambda t: t.replace("zh3_", "zh10_")),
        "expected images of fold 1 .* got zh10_01_01",
    ),
    "x and y exchanged": (
        lambda r: change(
            r,
            lambda t: t.replace("X", "Q").replace("Y", "X").replace("Q", "Y"),
        ),
        "moved rigidly by AngleDegree",
    ),
    "stretched": (stretch, "moved rigidly by AngleDegree"),
    "twice": (lambda r: replica(r / "again"), "expected one"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_set_is_told_in_a_sentence(tmp_path, damage):
    replica(tmp_path)
    assert len(moved_pairs(tmp_path, "Zurich", level=1, fold=1)) == 2
    harm, message = DAMAGES[damage]
    harm(tmp_path)
    with pytest.raises(ValueError, match=message) as error:
        moved_pairs(tmp_path, "Zurich", level=1, fold=1)
    one_sentence(error)


def test_training_patches_of_a_damaged_set_are_told(tmp_path):
    replica(tmp_path)
    (table_of(tmp_path).parent / "B/test/zh3_01_01_R.png").unlink()
    with pytest.raises(ValueError, match=r"zh3_01_01_R\.png: expected this file"):
        reference_scenes(tmp_path, "Zurich", fold=2)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"subset": "Zürich", "level": 1, "fold": 1}, "subset: expected Zurich, Balvan, Eliceiri"),
        ({"subset": "Zurich", "level": 5, "fold": 1}, "level: expected 1 to 4, got 5"),
        ({"subset": "Zurich", "level": 1}, "fold: expected 1 to 3 for Zurich, got None"),
        ({"subset": "Balvan", "level": 1, "fold": 0}, "fold: expected 1 to 3 for Balvan, got 0"),
        ({"subset": "Eliceiri", "level": 1, "fold": 1}, "fold: expected None"),
        ({"subset": "Zurich", "level": 1, "fold": 1, "fixed": "C"}, 'fixed: expected "A" or "B"'),
    ],
)
def test_what_is_not_published_cannot_be_asked_for(tmp_path, asked, message):
    with pytest.raises(ValueError, match=message) as error:
        moved_pairs(tmp_path, **asked)
    one_sentence(error)


def test_the_histological_set_has_no_folds_to_learn_from(tmp_path):
    with pytest.raises(ValueError, match="has no folds"):
        reference_scenes(tmp_path, "Eliceiri", fold=1)
    with pytest.raises(ValueError, match="fold: expected 1 to 3"):
        reference_scenes(tmp_path, "Zurich", fold=4)


def test_comir_pairs_are_matched_by_ending(tmp_path):
    part = tmp_path / "BioData/TrainSet"
    part.mkdir(parents=True)
    for name in ("1B_A1", "R_1B_A10"):
        for seed, ending in enumerate(("SHG", "BF")):
            pixels = np.frombuffer(noise(seed, 48), np.uint8).reshape(4, 4, 3)
            tifffile.imwrite(part / f"{name}_{ending}.tif", pixels[..., 0] if seed else pixels)
    (part / "._1B_A1_BF.tif").touch()  # as archives of some systems have
    (tmp_path / "__MACOSX/BioData/TrainSet").mkdir(parents=True)
    scenes = comir_scenes(tmp_path)
    assert [scene.name for scene in scenes] == ["1B_A1", "R_1B_A10"]
    assert scenes[0].files == {"SHG": part / "1B_A1_SHG.tif", "BF": part / "1B_A1_BF.tif"}
    assert read_image(scenes[0].files["BF"]).shape[-2:] == (4, 4)
    (part / "1B_A1_SHG.tif").unlink()
    with pytest.raises(ValueError, match=r"1B_A1_SHG\.tif: expected a partner") as error:
        comir_scenes(tmp_path)
    one_sentence(error)
    with pytest.raises(ValueError, match="expected one Validation1Set in it, found none"):
        comir_scenes(tmp_path, "Validation1Set")
    (tmp_path / "Validation1Set").mkdir()
    with pytest.raises(ValueError, match=r"expected files \*_SHG\.tif, \*_BF\.tif, found none"):
        comir_scenes(tmp_path, "Validation1Set")


@pytest.mark.parametrize("photometric", ["minisblack", "rgb"])
def test_zurich_images_are_split_into_modalities(tmp_path, photometric):
    images = tmp_path / "Zurich_dataset_v1.0/images_tif"
    images.mkdir(parents=True)
    pixels = {}
    for number in range(1, 21):
        values = np.frombuffer(noise(number, 240), np.uint16).reshape(5, 6, 4)
        pixels[f"zh{number}"] = values
        extra = ["unspecified"] if photometric == "rgb" else ["unspecified"] * 3
        tifffile.imwrite(
            images / f"zh{number}.tif",
            values,
            photometric=photometric,
            planarconfig="contig",
            extrasamples=extra,
        )
    assert [p.stem for p in zurich_files(tmp_path)] == [f"zh{n}" for n in range(1, 21)]
    tested = zurich_files(tmp_path, LU_FOLDS["Zurich"][0])
    assert [p.stem for p in tested] == ["zh3", "zh7", "zh9", "zh15", "zh18", "zh20"]
    scene = read_zurich(tested[0])
    expected = torch.from_numpy(pixels["zh3"].astype(np.float32)).permute(2, 0, 1)
    assert scene.name == "zh3"
    assert torch.equal(scene.images["BGR"], expected[:3])
    assert torch.equal(scene.images["NIR"], expected[3:])
    (images / "zh7.tif").unlink()
    with pytest.raises(ValueError, match=r"zh7\.tif: expected an image of the set") as error:
        zurich_files(tmp_path)
    one_sentence(error)
    with pytest.raises(ValueError, match="groups: expected zh1 to zh20, got zh21"):
        zurich_files(tmp_path, ["zh21"])
    tifffile.imwrite(images / "zh8.tif", pixels["zh8"][..., 0])
    with pytest.raises(ValueError, match=r"zh8\.tif: expected four channels, got 1"):
        read_zurich(images / "zh8.tif")
