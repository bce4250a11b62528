"""What a newcomer brings: a phone's pictures, 16 bit, blanks and umlauts, folders not her own."""

import os

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from equicomir.cli import main
from equicomir.images.files import open_image

QUICK = ["--steps", "3", "--patch-size", "32", "--batch", "4", "--high-pass-cutoff", "0.2"]
TINY = ["--group", "C4", "--widths", "1", "1", "--kernel-size", "3"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Photographs as a phone stores them: as the sensor saw, and a number that says what was up."""
    folder = tmp_path_factory.mktemp("n") / "Meine Präparate, größer"
    rng = torch.Generator().manual_seed(0)
    seen = torch.rand(3, 12, 10, 3, generator=rng).repeat_interleave(8, 1).repeat_interleave(8, 2)
    turned = Image.Exif()
    turned[274] = 6
    for name in ("Foto", "12 bit"):
        (folder / name).mkdir(parents=True)
    for name, picture in zip("abc", (255 * seen).byte().numpy(), strict=True):
        stored = Image.fromarray(np.rot90(picture).copy())
        stored.save(folder / "Foto" / f"Schnitt {name}.jpg", quality=95, subsampling=0, exif=turned)
        scan = picture[..., 0].astype(np.uint16) * 16
        tifffile.imwrite(folder / "12 bit" / f"Schnitt {name}.tif", scan)
    return folder


@pytest.fixture(scope="module")
def model(pictures):
    """Were the photographs not turned upright, they would be of another size, and refused."""
    words = ["--images", pictures / "12 bit", pictures / "Foto", "--out", pictures / "Modell"]
    assert main(["train", *map(str, words), "--quiet", *QUICK, *TINY]) == 0
    return pictures / "Modell"


def refused(capsys, words, *parts):
    assert main([str(word) for word in words]) == 2
    came = capsys.readouterr()
    (line,) = came.err.strip().splitlines()
    for part in parts:
        assert part in line
    return came


def test_what_a_phone_has_turned_is_registered_upright(pictures, model, tmp_path):
    photo, scan = pictures / "Foto" / "Schnitt a.jpg", pictures / "12 bit" / "Schnitt a.tif"
    words = ["register", model, photo, photo, "--out", tmp_path / "größer", "--quiet"]
    words += ["--fixed-modality", "Foto", "--moving-modality", "Foto"]
    assert main([str(word) for word in words]) == 0
    registered = open_image(tmp_path / "größer" / "moving_registered.tif")
    assert registered.shape == (3, 96, 80)
    inner = np.s_[4:-4, 4:-4]
    both = [registered.read()[0].numpy()[inner], tifffile.imread(scan)[inner]]
    assert np.corrcoef(*(one.ravel() for one in both))[0, 1] > 0.98


def test_images_in_the_other_order_are_told_how_to_say_so(pictures, model, tmp_path, capsys):
    photo, scan = pictures / "Foto" / "Schnitt a.jpg", pictures / "12 bit" / "Schnitt a.tif"
    words = ["register", model, photo, scan, "--out", tmp_path / "r", "--quiet"]
    told = (
        "expected 1 channel, as '12 bit' had in training, got 3; choose an image of that kind, or"
    )
    refused(capsys, words, f"{told} say --fixed-modality Foto.")
    words += ["--fixed-modality", "Foto"]
    refused(
        capsys, words, "got 1; choose an image of that kind, or say --moving-modality '12 bit'."
    )
    words += ["--moving-modality", "12 bit"]
    assert main([str(word) for word in words]) in (0, 4)


def test_partners_of_another_size_are_all_named(pictures, tmp_path, capsys):
    (tmp_path / "Foto").mkdir()
    for name in "abc":
        photo = Image.open(pictures / "Foto" / f"Schnitt {name}.jpg")
        size = (60, 70) if name in "ab" else photo.size
        photo.resize(size).save(tmp_path / "Foto" / f"Schnitt {name}.png", exif=photo.getexif())
    words = ["train", "--images", pictures / "12 bit", tmp_path / "Foto", "--out", tmp_path / "m"]
    told = (
        "Schnitt a.png: expected 96 x 80 pixels like its partner, got 60 x 70 (and 1 more problem: "
    )
    refused(capsys, words, f"{told}Schnitt b.png).")
    assert not (tmp_path / "m").exists()


def test_a_folder_that_cannot_be_made_is_told_before_the_scan(pictures, tmp_path, capsys):
    (tmp_path / "file").touch()
    words = ["train", "--images", pictures / "12 bit", pictures / "Foto"]
    words += ["--out", tmp_path / "file" / "model"]
    came = refused(capsys, words, "file/model: expected a folder that can be written, got: Not a")
    assert came.out == ""


@pytest.mark.parametrize("command", ["train", "register", "encode", "evaluate", "export", "demo"])
def test_a_read_only_folder_is_refused_by_name(pictures, model, tmp_path, capsys, command):
    scans, photos = pictures / "12 bit", pictures / "Foto"
    words = {
        "train": ["--images", scans, photos, "--out", "model"],
        "register": [model, scans / "Schnitt a.tif", photos / "Schnitt a.jpg", "--out", "found"],
        "encode": [model, photos / "Schnitt a.jpg", "--modality", "Foto", "--out", "a.npy"],
        "evaluate": [model, "--images", scans, photos, "--width", "32", "--out", "pairs.jsonl"],
        "export": [model, "--onnx", "encoder.onnx"],
        "demo": ["--steps", "1", "--out", "demo"],
    }[command]
    words[-1] = tmp_path / words[-1]
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("this user, root perhaps, writes anywhere")
    refused(capsys, [command, *words], "expected a folder that can be written, got: Permission")
    assert list(tmp_path.iterdir()) == []
