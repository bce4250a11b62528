"""Scenes listed in tables; groups and contents on one side of a split."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage import io

from equicomir.images.listing import SceneFiles, list_table, scene_name, split
from equicomir.images.sources import read_parts, read_table


@pytest.fixture
def table(tmp_path):
    """Six cores of three patients."""
    random = np.random.default_rng(0)
    (tmp_path / "files").mkdir()
    lines = ["scene,group,SHG,HE"]
    for i in range(6):
        for modality in ("shg", "he"):
            pixels = random.integers(0, 255, (24, 24), np.uint8)
            io.imsave(tmp_path / "files" / f"{modality}_{i}.png", pixels, check_contrast=False)
        lines.append(f"core {i},patient {i // 2},files/shg_{i}.png,files/he_{i}.png")
    path = tmp_path / "cores.csv"
    path.write_text("\n".join(lines))
    return path


def rewritten(table, old, new):
    table.write_text(table.read_text().replace(old, new))
    return table


def test_a_table_becomes_parts_that_share_no_group(table):
    parts = read_table(table, generator=np.random.default_rng(0))
    assert (parts.name, parts.modalities) == ("cores", ("SHG", "HE"))
    groups = [{s.group for s in part} for part in (parts.train, parts.validation, parts.test)]
    assert [len(g) for g in groups] == [1, 1, 1]
    assert len(set.union(*groups)) == 3
    assert parts.found[0] == "6 scenes in 3 groups (2 train, 2 validation, 2 test)" or (
        sorted(parts.found[0].split("(")[1].rstrip(")").split(", "))
        == ["2 test", "2 train", "2 validation"]
    )
    assert parts.train[0].images["SHG"].shape == (1, 24, 24)


@given(
    st.lists(st.integers(0, 9), min_size=8, max_size=40),
    st.floats(0, 0.4),
    st.floats(0, 0.4),
    st.integers(0, 99),
)
def test_a_split_never_divides_a_group(groups, validation, test, seed):
    scenes = [SceneFiles(str(i), {}, group=f"p{g}") for i, g in enumerate(groups)]
    if len(set(groups)) < 5:
        return
    generator = np.random.default_rng(seed)
    done = split(scenes, validation=validation, test=test, generator=generator)
    assert [s.name for s in done] == [s.name for s in scenes]
    sides = {(s.group, s.part) for s in done}
    assert len(sides) == len(set(groups))
    parts = [part for _, part in sides]
    for name, fraction in (("validation", validation), ("test", test)):
        expected = max(round(fraction * len(sides)), int(fraction > 0))
        assert parts.count(name) == expected
    # The plain control: scene by scene, groups are divided.
    alone = [SceneFiles(str(i), {}) for i in range(len(groups))]
    naive = split(alone, validation=0.4, test=0.2, generator=generator)
    if len(groups) > 20:
        assert len({(g, s.part) for g, s in zip(groups, naive, strict=True)}) > len(set(groups))


def test_parts_that_were_named_are_kept(table):
    text = table.read_text().splitlines()
    named = [text[0] + ",part"] + [
        f"{line},{'test' if 'patient 1' in line else ''}" for line in text[1:]
    ]
    table.write_text("\n".join(named))
    done = split(list_table(table), validation=0.5, test=0, generator=np.random.default_rng(0))
    assert {s.part for s in done if s.group == "patient 1"} == {"test"}
    assert sorted({s.part for s in done}) == ["test", "train", "validation"]


def test_semicolons_marks_and_blanks_of_spreadsheets_are_understood(table):
    plain = list_table(table)
    table.write_text("\ufeff" + table.read_text().replace(",", " ; "), encoding="utf-8")
    assert list_table(table) == plain


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("scene,group,SHG,HE", "scene,group,SHG,SHG", "expected two or more columns of files"),
        ("scene,group,SHG,HE", "scene,group,part,SHG", "expected two or more columns of files"),
        ("files/he_3.png", "", "line 5: expected a file of HE, got an empty cell"),
        ("files/he_3.png", "files/he_3.png,more", "line 5: expected as many cells"),
        ("core 3", "core 2", "line 5: expected every scene once, got 'core 2' again"),
    ],
)
def test_a_table_that_says_nonsense_is_refused_by_line(table, old, new, message):
    with pytest.raises(ValueError, match=message):
        list_table(rewritten(table, old, new))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("files/he_3.png", "files/nowhere.png", "nowhere.png: expected a readable image"),
        ("group", "part", "line 2: expected a part of train, validation, test or none"),
    ],
)
def test_what_a_table_names_must_be_there(table, old, new, message):
    with pytest.raises(ValueError, match=message):
        read_table(rewritten(table, old, new), generator=np.random.default_rng(0))


def test_tables_that_are_none_are_refused(tmp_path):
    for content, message in ((b"", "two or more columns"), (b"A,B\n", "a line a scene")):
        (tmp_path / "a.csv").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            list_table(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_bytes(b"A,B\n\xff\xfe,b\n")
    with pytest.raises(ValueError, match="expected a CSV table of scenes in UTF-8"):
        list_table(tmp_path / "a.csv")
    with pytest.raises(ValueError, match="expected a CSV table"):
        list_table(tmp_path / "none.csv")


def test_too_few_groups_and_odd_fractions_are_refused():
    two = [SceneFiles("a", {}), SceneFiles("b", {})]
    with pytest.raises(ValueError, match="expected more than 2 groups to divide, got 2"):
        split(two, generator=np.random.default_rng(0))
    with pytest.raises(ValueError, match="fractions with a sum below 1"):
        split(two, validation=0.6, test=0.5, generator=np.random.default_rng(0))
    torn = [SceneFiles("a", {}, group="p", part="train"), SceneFiles("b", {}, None, "p", "test")]
    with pytest.raises(ValueError, match="group 'p': expected all its scenes in one part"):
        split(torn, generator=np.random.default_rng(0))


def write_parts(folder, pictures):
    for part, by_name in pictures.items():
        for name, pixels in by_name.items():
            for modality, image in zip(("T1", "T2"), (pixels, 255 - pixels // 2), strict=True):
                path = folder / part / modality / f"{name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                io.imsave(path, image, check_contrast=False)


def test_one_picture_in_two_parts_is_refused(tmp_path):
    random = np.random.default_rng(0)
    a, b, c = (random.integers(0, 255, (20, 20), np.uint8) for _ in range(3))
    write_parts(tmp_path / "good", {"train": {"a": a}, "validation": {"b": b}, "test": {"c": c}})
    assert [s.name for s in read_parts(tmp_path / "good", ["T1", "T2"]).test] == ["c"]
    same_names = {"train": {"a": a}, "validation": {"a": b}, "test": {"a": c}}
    write_parts(tmp_path / "crops", same_names)  # of one field: a name alone is no group
    assert len(read_parts(tmp_path / "crops", ["T1", "T2"]).train) == 1
    write_parts(tmp_path / "twice", {"train": {"a": a}, "validation": {"b": b}, "test": {"x": a}})
    with pytest.raises(ValueError, match=r"x.png: expected other pictures in test than in train"):
        read_parts(tmp_path / "twice", ["T1", "T2"])


def test_masks_of_a_set_are_read(tmp_path):
    random = np.random.default_rng(0)
    pictures = {
        part: {part: random.integers(0, 255, (20, 20), np.uint8)}
        for part in ("train", "validation", "test")
    }
    write_parts(tmp_path, pictures)
    for part in pictures:
        mask = np.zeros((20, 20), np.uint8)
        mask[4:] = 255
        (tmp_path / part / "valid").mkdir()
        io.imsave(tmp_path / part / "valid" / f"{part}.png", mask, check_contrast=False)
    parts = read_parts(tmp_path, ["T1", "T2"], masks="valid")
    assert not parts.test[0].mask[:4].any()
    assert parts.test[0].mask[4:].all()
    assert parts.found[1] == "3 with a mask"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.tif", "a"), ("a.ome.TIFF", "a"), ("a.b.png", "a.b"), ("a.OME.tif", "a"), ("a", "a")],
)
def test_scene_names(tmp_path, name, expected):
    assert scene_name(tmp_path / name) == expected
