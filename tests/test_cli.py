"""The command line, end to end on small phantoms: status, files, and what is said."""

import importlib
import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from skimage import io

from equicomir.cli import COMMANDS, main
from equicomir.evaluation import records
from equicomir.geometry import rigid, rotation_degrees
from equicomir.images.files import open_image
from equicomir.images.instruments import BRIGHTFIELD, SECOND_HARMONIC
from equicomir.images.phantoms import phantom
from equicomir.images.tissues import fibres
from equicomir.representations import load
from equicomir.transforms.itk import read_tfm

SIZE = 96
TINY = ["--group", "C4", "--widths", "1", "1", "--kernel-size", "3"]
QUICK = ["--steps", "3", "--patch-size", "32", "--batch", "4", "--high-pass-cutoff", "0.2"]


def write(path, image, pixel=0.5):
    """An OME-TIFF of 16 bit with a pixel size in micrometres."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = (np.asarray(image).clip(0, 6) * 10000).astype(np.uint16)
    size = {"PhysicalSizeX": pixel, "PhysicalSizeY": pixel}
    units = {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
    metadata = {"axes": "YX", **size, **units}
    tifffile.imwrite(path, stored, ome=True, metadata=metadata)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Folders of three scenes in two modalities, under a path with a space and umlauts."""
    folder = tmp_path_factory.mktemp("work") / "Präparat 7, größer"
    generator = torch.Generator().manual_seed(0)
    for name in ("a", "b", "c"):
        scene = phantom(fibres, (SIZE, SIZE), [SECOND_HARMONIC, BRIGHTFIELD], generator=generator)
        for modality, of in (("SHG", "second_harmonic"), ("HE", "brightfield")):
            write(folder / modality / f"{name}.tif", scene.images[of][0])
    turned = tifffile.imread(folder / "SHG" / "a.tif")
    write(folder / "turned.tif", np.rot90(turned) / 10000)
    return folder


@pytest.fixture(scope="module")
def model(work):
    words = ["--images", str(work / "SHG"), str(work / "HE"), "--out", str(work / "model")]
    assert main(["train", *words, *QUICK, *TINY, "--quiet"]) == 0
    return work / "model"


def refused(capsys, words, *parts, status=2):
    """Assert that a command refuses in one sentence on standard error that holds all parts."""
    assert main([str(word) for word in words]) == status
    came = capsys.readouterr()
    lines = came.err.strip().splitlines()
    assert len(lines) == 1
    assert "Traceback" not in came.err
    assert lines[0].startswith("equicomir")
    assert lines[0].endswith(".")
    for part in parts:
        assert part in lines[0]
    return came


def test_help_of_every_command_has_an_example(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for command in COMMANDS:
        assert f"  {command} " in shown
    for command in COMMANDS:
        assert main([command, "--help"]) == 0
        shown = capsys.readouterr()
        assert f"    equicomir {command}" in shown.out
        assert "--quiet" in shown.out
        assert "--json" in shown.out
        assert shown.err == ""
        assert max(map(len, shown.out.splitlines()[1:])) <= 80
        assert not [mark for mark in ("``", ":func:", ":data:", "Attributes") if mark in shown.out]


def test_help_needs_no_torch():
    code = (
        "import sys; from equicomir.cli import main; main(['--help']);"
        "assert not {'torch', 'tyro', 'escnn'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True)
    assert done.returncode == 0, done.stderr


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "equicomir", "nothing"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "expected a command of demo, train" in done.stderr


def test_without_words_the_help_is_an_error(capsys):
    assert main([]) == 2
    assert "usage: equicomir COMMAND" in capsys.readouterr().err


def test_a_mistake_of_ours_is_not_called_the_users(monkeypatch):
    monkeypatch.setattr(importlib, "import_module", lambda name: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["train"])


# ---------------------------------------------------------------------------------- train


def test_train_leaves_a_model_named_by_its_folders_and_says_so_to_programs(work, tmp_path, capsys):
    words = ["--images", f"{work / 'SHG'}/", f"{work / 'HE'}/", "--out", str(tmp_path / "m")]
    assert main(["train", *words, *QUICK, *TINY, "--quiet", "--json"]) == 0
    came = capsys.readouterr()
    assert came.err == ""
    facts = json.loads(came.out)
    assert facts["modalities"] == ["SHG", "HE"] == list(load(tmp_path / "m").scalings)
    assert (facts["steps"], facts["scenes"]) == (3, 3)
    assert (tmp_path / "m" / "progress.csv").exists()


def test_train_shows_progress_on_standard_error_alone(work, tmp_path, capsys):
    words = ["--images", str(work / "SHG"), str(work / "HE"), "--out", str(tmp_path)]
    assert main(["train", *words, *QUICK, *TINY]) == 0
    came = capsys.readouterr()
    assert "training" in came.err
    assert "HE: 3 files, TIFF uint16" in came.out
    assert f"{tmp_path}: a model of SHG, HE, 3 steps" in came.out


def test_a_run_that_is_there_goes_on_and_another_is_refused(work, model, capsys):
    words = ["train", "--images", work / "SHG", work / "HE", "--out", model, *QUICK, *TINY]
    before = (model / "weights.safetensors").read_bytes()
    assert main([*map(str, words), "--quiet"]) == 0
    assert (model / "weights.safetensors").read_bytes() == before
    refused(capsys, [*words, "--seed", 1, "--quiet"], str(model), "seed (0, not 1)", "choose anot")


@pytest.fixture
def few_pairs(monkeypatch):
    monkeypatch.setattr("equicomir.commands.train._PAIRS", 1)


@pytest.mark.usefixtures("few_pairs")
def test_train_on_a_table_leaves_its_other_parts_alone(work, tmp_path, capsys):
    lines = [f"SHG/{n}.tif;HE/{n}.tif;{part}" for n, part in zip("abc", PARTS, strict=True)]
    table = work / "scenes.csv"
    table.write_text("\n".join(["SHG;HE;part", *lines]), encoding="utf-8")
    words = ["train", "--table", str(table), "--out", str(tmp_path / "m"), *QUICK, *TINY, "--json"]
    assert main([*words, "--quiet", "--validations", "1"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["scenes"] == 1
    ((step, score),) = facts["validations"]
    assert step == 3
    assert 0 <= score <= 1


PARTS = ("train", "validation", "test")


@pytest.mark.usefixtures("few_pairs")
def test_masks_and_validation_on_folders(work, tmp_path, capsys):
    for name in ("a", "b", "c"):
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[:, 10:] = 255
        (tmp_path / "masks").mkdir(exist_ok=True)
        io.imsave(tmp_path / "masks" / f"{name}.png", mask, check_contrast=False)
    words = ["train", "--images", work / "SHG", work / "HE", "--masks", tmp_path / "masks"]
    words += ["--out", tmp_path / "m", "--validations", 1, *QUICK, *TINY, "--quiet", "--json"]
    assert main([str(word) for word in words]) == 0
    assert json.loads(capsys.readouterr().out)["scenes"] == 2  # a fifth, but one at least, is kept


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("--images SHG nowhere --out m", ["nowhere: expected a folder of images"]),
        ("--images SHG --out m", ["expected two or more"]),
        ("--out m", ["--images, --table: expected one of the two, got neither"]),
        ("--images SHG HE --table t.csv --out m", ["expected one of the two, got both"]),
        ("--table t.csv --out m", ["t.csv: expected a CSV table"]),
        ("--table t.csv --masks HE --out m", ["--masks: expected none beside --table"]),
        ("--images SHG HE", ["expected --out, got none"]),
        ("--images SHG HE --out m --steps many", ["--steps: expected None or a whole number, got"]),
        ("--images SHG HE --out m --batch 1", ["batch: expected at least 2 pairs"]),
        ("--images SHG HE --out m --sed 3", ["got --sed, 3; perhaps you meant --seed"]),
        ("--images SHG HE --out m --curves lin", ["expected one of linear, log", "got 'lin'"]),
        ("--images SHG HE --out m --augmentation.scale 9", ["scale: expected 1 to 4, got 9.0"]),
        ("--images SHG HE --out m --out", ["--out: expected a value, got none"]),
        ("--images SHG HE --out m --family cubist", ["family: expected one of", "got 'cubist'"]),
        ("--images SHG HE --out m --patch-size 800", ["800"]),
        ("--images SHG HE --out a_file", ["a_file"]),
    ],
)
def test_what_train_refuses(work, monkeypatch, capsys, words, parts):
    monkeypatch.chdir(work)
    Path("a_file").touch()
    refused(capsys, ["train", "--quiet", *words.split()], *parts)
    assert not Path("m").exists()


def read_only(folder):
    """A folder that cannot be written, by root neither."""
    if os.geteuid() == 0:
        return Path("/proc/equicomir")
    folder.mkdir()
    folder.chmod(0o500)
    return folder / "m"


@pytest.mark.parametrize("command", ["train", "encode", "register", "evaluate", "export"])
def test_where_nothing_can_be_written_that_is_said(command, work, model, tmp_path, capsys):
    out = read_only(tmp_path / "locked")
    images = ["--images", work / "SHG", work / "HE"]
    words = {
        "train": [*images, "--out", out, *QUICK, *TINY],
        "encode": [model, work / "HE/a.tif", "--modality", "HE", "--out", out / "r.npy"],
        "register": [model, work / "SHG/a.tif", work / "HE/a.tif", "--out", out],
        "evaluate": [model, *images, "--out", out / "e.jsonl", "--width", 32],
        "export": [model, "--onnx", out / "e.onnx"],
    }
    refused(capsys, [command, "--quiet", *words[command]], str(out), "expected a f")


# --------------------------------------------------------------------------------- encode


@pytest.mark.parametrize("ending", ["npy", "tif"])
def test_encode_writes_what_the_model_gives(work, model, tmp_path, capsys, ending):
    path, out = work / "HE" / "b.tif", tmp_path / "rep" / f"é.{ending}"
    words = ["encode", model, path, "--modality", "HE", "--out", out, "--tile", 40, "--json"]
    assert main([str(word) for word in words]) == 0
    assert json.loads(capsys.readouterr().out)["shape"] == [1, SIZE, SIZE]
    written = np.load(out) if ending == "npy" else tifffile.imread(out)[None]
    expected = load(model).encode("HE", open_image(path).read()[None])[0].numpy()
    np.testing.assert_allclose(written.reshape(expected.shape), expected, atol=1e-4)
    assert list(out.parent.iterdir()) == [out]
    if ending == "tif":
        assert open_image(out).pixel_size_micrometres == (0.5, 0.5)


def test_transparent_pixels_of_an_rgba_png_have_no_representation(tmp_path, rng):
    for modality in ("SHG", "RGB"):
        (tmp_path / modality).mkdir()
    for name in ("a", "b"):
        x = torch.rand(12, 12, 4, generator=rng).repeat_interleave(8, 0).repeat_interleave(8, 1)
        x[..., 3] = 1
        x[: 8 * (name == "b"), :, 3] = 0
        rgba = (255 * x).round().to(torch.uint8).numpy()
        io.imsave(tmp_path / "RGB" / f"{name}.png", rgba, check_contrast=False)
        write(tmp_path / "SHG" / f"{name}.tif", x[..., 0])
    words = ["--images", tmp_path / "SHG", tmp_path / "RGB", "--out", tmp_path / "m", "--quiet"]
    assert main(["train", *map(str, words), *QUICK, *TINY]) == 0
    out = tmp_path / "rep.npy"
    words = [tmp_path / "m", tmp_path / "RGB/b.png", "--modality", "RGB", "--out", out, "--quiet"]
    assert main(["encode", *map(str, words)]) == 0
    undefined = np.isnan(np.load(out)[0])
    assert undefined[:8].all()
    assert not undefined[8:].any()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("model HE/a.tif --modality FISH --out r.npy", "expected one of ['SHG', 'HE'], got 'FISH'"),
        ("model HE/z.tif --modality HE --out r.npy", "HE/z.tif: expected a readable image"),
        ("model model/settings.json --modality HE --out r.npy", "expected a readable image"),
        ("HE HE/a.tif --modality HE --out r.npy", "settings.json: expected a model's settings"),
        ("model HE/a.tif --modality HE --out r.xyz", "expected a name that ends in .npy"),
        ("model HE/a.tif --modality HE --out r.npy --tile 3", "tile: expected at least"),
        ("model HE/a.tif --out r.npy", "expected --modality, got none"),
        ("model rgb.png --modality HE --out r.npy", "rgb.png: expected 1 channel, as 'HE' had"),
    ],
)
def test_what_encode_refuses(work, model, monkeypatch, capsys, words, part):
    monkeypatch.chdir(work)
    io.imsave("rgb.png", np.zeros((32, 32, 3), np.uint8), check_contrast=False)
    refused(capsys, ["encode", "--quiet", *words.split()], part)
    assert not list(Path().glob("*r.npy"))


# ------------------------------------------------------------------------------- register


def test_register_finds_a_quarter_turn_and_writes_all_it_promises(work, model, tmp_path, capsys):
    points = work / "points.csv"
    points.write_text("name,row,column\nfirst,10,20.5\nß,0,0\n", encoding="utf-8")
    out = tmp_path / "régistered"
    words = [model, work / "SHG/a.tif", work / "turned.tif", "--out", out, "--points", points]
    words = ["register", *words, "--moving-modality", "SHG", "--quiet", "--json"]
    assert main([str(word) for word in words]) == 0
    facts = json.loads((out / "transform.json").read_text(encoding="utf-8"))
    assert facts == json.loads(capsys.readouterr().out)
    assert facts["trusted"] is True
    assert 0.5 < facts["confidence"] <= 1
    matrix = np.array(facts["moving_to_fixed"])
    truth = rigid(-90, centre=((SIZE - 1) / 2,) * 2)
    np.testing.assert_allclose(matrix, truth, atol=0.05)
    assert facts["fixed_pixel_size_micrometres"] == [0.5, 0.5]
    assert {"torch", "equicomir"} <= facts["versions"].keys()
    read = read_tfm(
        out / "transform.tfm",
        fixed_pixel_size_micrometres=(0.5, 0.5),
        moving_pixel_size_micrometres=(0.5, 0.5),
    )
    np.testing.assert_allclose(read, matrix, atol=1e-9)
    moved = open_image(out / "moving_registered.tif")
    assert (moved.dtype, moved.pixel_size_micrometres) == (np.uint16, (0.5, 0.5))
    fixed = open_image(work / "SHG/a.tif").read()
    inner = np.s_[:, 4:-4, 4:-4]
    assert np.corrcoef(moved.read()[inner].ravel(), fixed[inner].ravel())[0, 1] > 0.999
    lines = (out / "points_registered.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[0] for line in lines] == ["name", "first", "ß"]
    came = [float(cell) for cell in lines[1].split(",")[1:]]
    np.testing.assert_allclose(came, (matrix @ [10, 20.5, 1])[:2], atol=1e-3)


def test_two_scenes_are_not_trusted_and_the_status_says_so(work, model, tmp_path, capsys):
    words = ["register", model, work / "SHG/a.tif", work / "HE/b.tif", "--out", tmp_path / "r"]
    refused(capsys, [*words, "--quiet"], "expected a registration that can be trusted", status=4)
    assert json.loads((tmp_path / "r/transform.json").read_text())["trusted"] is False
    refused(capsys, [*words, "--quiet"], "got one with transform.json of an earlier run")


def test_information_needs_no_model(work, tmp_path):
    image = tifffile.imread(work / "SHG/a.tif")[:32, :32]
    tifffile.imwrite(tmp_path / "a.tif", image)
    tifffile.imwrite(tmp_path / "b.tif", np.rot90(image))
    words = [tmp_path / "a.tif", tmp_path / "b.tif", "--method", "information"]
    assert main(["register", *map(str, words), "--out", str(tmp_path / "r"), "--quiet"]) in (0, 4)
    facts = json.loads((tmp_path / "r/transform.json").read_text())
    assert abs(rotation_degrees(np.array(facts["moving_to_fixed"])) + 90) < 1
    assert facts["fixed_pixel_size_micrometres"] is None


def test_pixels_of_another_size_are_made_alike_first(work, model, tmp_path):
    """The moving image has pixels half as large; its transform is between the files' own."""
    fixed = open_image(work / "SHG/a.tif").read()[0].numpy() / 10000
    write(tmp_path / "fine.tif", np.rot90(fixed).repeat(2, 0).repeat(2, 1), pixel=0.25)
    words = [model, work / "SHG/a.tif", tmp_path / "fine.tif", "--moving-modality", "SHG"]
    assert main(["register", *map(str, words), "--out", str(tmp_path / "r"), "--quiet"]) == 0
    facts = json.loads((tmp_path / "r/transform.json").read_text())
    turned = rigid(-90, centre=((SIZE - 1) / 2,) * 2)
    expected = turned @ np.diag([0.5, 0.5, 1]) @ rigid(0, (-0.5, -0.5))
    np.testing.assert_allclose(facts["moving_to_fixed"], expected, atol=0.15)


def test_elastix_goes_on_from_what_was_found_and_is_trusted_as_far(
    work, model, tmp_path, monkeypatch
):
    from equicomir import registering
    from equicomir.registration.alignment import Alignment

    asked = {}

    def refined(fixed, moving, **options):
        asked.update(options, channels=len(fixed))
        return Alignment(options["initial"] @ rigid(0, (0.25, 0)), 0.9)

    monkeypatch.setattr(registering.elastix, "register", refined)
    words = [model, work / "SHG/a.tif", work / "turned.tif", "--moving-modality", "SHG"]
    words += ["--out", tmp_path / "r", "--transform", "affine", "--quiet"]
    assert main(["register", *map(str, words)]) == 0
    assert (asked["transform"], asked["measure"]) == ("affine", "correlation")
    facts = json.loads((tmp_path / "r/transform.json").read_text())
    expected = asked["initial"] @ rigid(0, (0.25, 0))
    np.testing.assert_array_equal(facts["moving_to_fixed"], expected)
    assert (facts["transform"], facts["trusted"], facts["score"]) == ("affine", True, 0.9)
    assert "<polyline" in (tmp_path / "r/report.html").read_text()  # of the rigid start


def test_where_nothing_is_found_nothing_is_written(work, model, tmp_path, capsys, monkeypatch):
    from equicomir.commands import register
    from equicomir.registration.alignment import not_found

    monkeypatch.setattr(register, "aligned", lambda *_, **__: not_found("no content"))
    words = ["register", model, work / "SHG/a.tif", work / "HE/a.tif", "--out", tmp_path / "r"]
    refused(capsys, [*words, "--quiet"], "no content", status=4)
    assert not list((tmp_path / "r").iterdir())


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (
            "SHG/a.tif HE/a.tif",
            "expected 3 paths, MODEL, FIXED and MOVING, or --method information",
        ),
        ("", "got 0: none"),
        (
            "model SHG/a.tif HE/a.tif --method information",
            "expected 2 paths, FIXED and MOVING, got",
        ),
        ("model SHG/a.tif HE/z.tif", "HE/z.tif: expected a readable image"),
        ("model SHG/a.tif HE/a.tif --fixed-modality x", "expected one of ['SHG', 'HE'], got 'x'"),
        ("model SHG/a.tif HE/a.tif --fixed-mask small.png", "expected a mask of the size of a.tif"),
        (
            "model SHG/a.tif HE/a.tif --moving-mask empty.png",
            "expected pixels that count",
        ),
        ("model SHG/a.tif HE/a.tif --points xy.csv", "with the columns row and column, in pixels"),
        ("model SHG/a.tif HE/a.tif --points bad.csv", "got '1,two' in line 3"),
        ("model SHG/a.tif HE/a.tif --transform bent", "--transform: expected one of rigid"),
    ],
)
def test_what_register_refuses(work, model, monkeypatch, capsys, words, part):
    monkeypatch.chdir(work)
    io.imsave("small.png", np.eye(9, dtype=np.uint8), check_contrast=False)
    io.imsave("empty.png", np.zeros((SIZE, SIZE), np.uint8), check_contrast=False)
    Path("xy.csv").write_text("x,y\n1,2\n")
    Path("bad.csv").write_text("row,column\n1,2\n1,two\n")
    refused(capsys, ["register", "--quiet", *words.split(), "--out", "r"], part)
    assert not Path("r").exists()


# ------------------------------------------------------- evaluate, check, export, data, demo


def test_evaluate_adds_a_record_of_every_pair(work, model, tmp_path, capsys):
    out = tmp_path / "evaluated" / "records.jsonl"
    words = ["evaluate", model, "--images", work / "SHG", work / "HE", "--out", out, "--width", 32]
    words = [str(word) for word in [*words, "--pairs", 1, "--level", "any", 1]]
    assert main([*words, "--json", "--quiet"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert {level: summary["pairs"] for level, summary in facts["levels"].items()} == {
        "any": 2,
        "1": 2,
    }
    assert main(words) == 0
    assert "level any" in capsys.readouterr().out
    assert [len(record["pairs"]) for record in records.read(out)] == [4, 4]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("--images SHG --out e", "expected two folders"),
        ("--images SHG model --out e", "expected one of ['SHG', 'HE'], got 'model'"),
        ("--images SHG HE --out e --width 500", "expected scenes with room for 500 px"),
        ("--images SHG HE --out e --width 2", "--width: expected at least 16, got 2"),
        ("--images SHG HE --out e --level 5", "--level: expected one of 1, 2, 3, 4, any, got '5'"),
    ],
)
def test_what_evaluate_refuses(work, model, monkeypatch, capsys, words, part):
    monkeypatch.chdir(work)
    refused(capsys, ["evaluate", "model", "--quiet", *words.split()], part)
    assert not Path("e").exists()


def test_check_holds_for_a_steerable_model(model, capsys):
    assert main(["check", str(model), "--examples", "2", "--quiet", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["held"]
    assert len(facts["properties"]) > 5


def test_check_ends_with_3_where_a_fault_is_planted(model, monkeypatch, capsys):
    from equicomir.experiment import claims as experiment

    right = experiment.objective
    monkeypatch.setattr(experiment, "objective", lambda told: lambda y: right(told)(y) * 1.01)
    words = ["check", model, "--examples", 2, "--quiet", "--json"]
    came = refused(capsys, words, "got 1 that do not, first: loss: equals its naive", status=3)
    facts = json.loads(came.out)
    assert not facts["held"]
    assert [p["name"] for p in facts["properties"] if not p["held"]] == [
        "loss: equals its naive double loop"
    ]


def test_export_writes_a_network_a_modality_and_what_it_expects(model, tmp_path, capsys):
    out = tmp_path / "encoder.onnx"
    assert main(["export", str(model), "--onnx", str(out), "--modality", "HE", "--quiet"]) == 0
    session = importlib.import_module("onnxruntime").InferenceSession(out)
    told = json.loads(out.with_suffix(".json").read_text())
    network = load(model)
    x = torch.rand(1, told["channels"], 32, 48, generator=torch.Generator().manual_seed(0))
    (came,) = session.run(None, {"images": x.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(came, network.of_scaled("HE", x).numpy(), atol=1e-4)
    refused(capsys, ["export", model, "--onnx", tmp_path / "a.txt"], "ends in .onnx, got a.txt")
    words = ["export", model, "--onnx", out, "--modality", "x"]
    refused(capsys, words, "expected one of ['SHG', 'HE'], got 'x'")


def test_data_lists_and_refuses(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("EQUICOMIR_DATA", str(tmp_path))
    assert main(["data", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert {"lu", "comir", "zurich", "open_ms"} == {one["name"] for one in facts["sets"]}
    assert main(["data"]) == 0
    assert "licence: CC BY 4.0" in capsys.readouterr().out
    refused(capsys, ["data", "fetch", "mnist"], "expected a set of lu, comir", "got mnist")
    refused(capsys, ["data", "list", "lu"], "expected no name after list")


def test_data_fetches_what_is_there_already(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("EQUICOMIR_DATA", str(tmp_path))
    from equicomir.images.published import OPEN_MS

    name = OPEN_MS.files[0].name
    (tmp_path / "open_ms" / name).parent.mkdir(parents=True)
    (tmp_path / "open_ms" / name).touch()
    assert main(["data", "fetch", "open_ms", "--matching", name, "--quiet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"folder": str(tmp_path / "open_ms")}


def test_the_demo_goes_the_whole_way(tmp_path, capsys):
    status = main(["demo", "--steps", "2", "--out", str(tmp_path / "d")])
    assert status in (0, 4)  # two steps teach nothing
    shown = capsys.readouterr().out
    assert "The moving image is turned by" in shown
    assert "Found:" in shown
    assert (tmp_path / "d/registered/moving_registered.tif").exists()
    refused(
        capsys, ["demo", "--out", tmp_path / "d"], "expected an empty folder, got one with model"
    )


def test_ctrl_c_is_no_traceback(monkeypatch, capsys):
    def stopped(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", stopped)
    refused(capsys, ["train"], "say it again to go on", status=130)


def test_names_in_another_unicode_form_are_the_same_file(work, model, tmp_path):
    """A Mac writes ü as two signs; the path is taken as the disk has it, whatever it is."""
    out = tmp_path / unicodedata.normalize("NFD", "Prüfung") / "ö.npy"
    words = [str(model), str(work / "HE/a.tif"), "--modality", "HE", "--out", str(out), "--quiet"]
    assert main(["encode", *words]) == 0
    assert list(out.parent.iterdir()) == [out]
