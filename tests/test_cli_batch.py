"""Two folders: every pair has its own end, and all of them a table and a page."""

import csv
import json

import numpy as np
import pytest
import torch
from skimage import io

from equicomir.cli import main
from equicomir.commands import register_batch
from equicomir.images.intensities import Scaling
from equicomir.representations import EncoderSettings, Representations, save


def grey(seed, size=64):
    """Squares of random grey, as a camera stores them."""
    values = np.random.default_rng(seed).integers(0, 256, (size // 8, size // 8))
    return values.repeat(8, 0).repeat(8, 1).astype(np.uint8)


@pytest.fixture
def folders(tmp_path):
    """A model that knows turns by construction, and three pairs: turned, damaged, strangers."""
    rng = torch.Generator().manual_seed(0)
    scaling = Scaling((0.0,), (255.0,))
    model = Representations({"A": scaling}, EncoderSettings(), generator=rng)
    save(model, tmp_path / "model")
    for name in ("fixed", "moving set"):
        (tmp_path / name).mkdir()
    for number, name in enumerate(("a turned", "b damaged", "c strangers")):
        io.imsave(tmp_path / "fixed" / f"{name}.png", grey(number), check_contrast=False)
    moving = tmp_path / "moving set"
    io.imsave(moving / "a turned.png", np.rot90(grey(0)), check_contrast=False)
    (moving / "b damaged.png").write_bytes(b"no picture at all")
    io.imsave(moving / "c strangers.png", grey(9), check_contrast=False)
    return tmp_path


def register(folders, *more):
    paths = [str(folders / name) for name in ("model", "fixed", "moving set")]
    return main(["register", *paths, "--out", str(folders / "out"), *more])


def table(folders):
    with (folders / "out" / register_batch.TABLE).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_failed_pair_does_not_end_the_others_and_what_stands_is_not_done_again(
    folders, monkeypatch, capsys
):
    assert register(folders) == 4
    assert "expected 3 registrations that can be trusted, got 1" in capsys.readouterr().err
    lines = table(folders)
    assert [line["outcome"] for line in lines] == ["trusted", "refused", "not trusted"]
    assert abs(float(lines[0]["degrees"]) + 90) < 0.1
    assert "b damaged.png" in lines[1]["said"]
    page = (folders / "out" / register_batch.INDEX).read_text()
    assert "1 of 3 pairs registered and trusted" in page
    assert page.count("<img src=") == 2
    assert "http" not in page.replace("http-equiv", "").split("<ul>")[0]
    for name in ("a turned", "c strangers"):
        held = {path.name for path in (folders / "out" / name).iterdir()}
        assert {"report.html", "transform.json", "moving_registered.tif"} <= held

    io.imsave(folders / "moving set" / "b damaged.png", np.rot90(grey(1), 2), check_contrast=False)
    asked = []
    find = register_batch.register_all

    def counted(pairs, out, one, output):
        def noted(*paths):
            asked.append(paths[-1].name)
            return one(*paths)

        return find(pairs, out, noted, output)

    monkeypatch.setattr("equicomir.commands.register.register_all", counted)
    assert register(folders, "--json") == 4
    assert asked == ["b damaged"]
    told = json.loads(capsys.readouterr().out)["pairs"]
    assert [line["outcome"] for line in told] == ["trusted", "trusted", "not trusted"]
    assert table(folders)[0] == lines[0]


def test_masks_are_folders_too_and_a_missing_one_is_named(folders):
    (folders / "masks").mkdir()
    mask = np.full((64, 64), 255, np.uint8)
    io.imsave(folders / "masks" / "a turned.png", mask, check_contrast=False)
    assert register(folders, "--fixed-mask", str(folders / "masks"), "--quiet") == 4
    said = [line["said"] for line in table(folders)]
    assert said[0] == ""
    assert "--fixed-mask: expected a mask c strangers in" in said[2]


def test_a_damaged_result_is_told_and_left_alone(folders):
    (folders / "out" / "a turned").mkdir(parents=True)
    (folders / "out" / "a turned" / "transform.json").write_text("{}")
    assert register(folders, "--quiet") == 4
    assert "expected the result of a registration, got something else" in table(folders)[0]["said"]
    assert (folders / "out" / "a turned" / "transform.json").read_text() == "{}"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--points", "points.csv"], "--points: expected one pair of images, got folders"),
        (["--fixed-modality", "C"], "modality: expected one of ['A'], got 'C'"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_the_first_pair(folders, more, message, capsys):
    assert register(folders, *more) == 2
    assert message in capsys.readouterr().err
    (folders / "moving set" / "c strangers.png").unlink()
    assert register(folders) == 2
    assert "c strangers" in capsys.readouterr().err
