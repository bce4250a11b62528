"""The scripts a person runs: they end well, leave what they promise, and refuse what is broken."""

import importlib.util
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from equicomir.evaluation import records
from equicomir.experiment import claims
from equicomir.filters import Filter
from equicomir.representations import EncoderSettings, load

ROOT = Path(__file__).parent.parent
H0 = ROOT / "experiments" / "h0_baselines.py"


def script(path, monkeypatch, *arguments):
    """A script as a module, with its command line set."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    # Processes that register find the script's functions by this name.
    monkeypatch.setitem(sys.modules, path.stem, module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
    return module


class OneWay(Filter):
    """A filter that knows left from right."""

    def __call__(self, images, *, border="replicate"):
        return images - images.roll(1, dims=-1)


def test_the_demo_goes_the_whole_way(tmp_path):
    words = ["--patch-size", "64", "--pairs", "1", "--elastix-pairs", "1", "--levels", "any"]
    command = [sys.executable, str(H0), "--steps", "2", *words, "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "holds  encoder of haematoxylin" in done.stdout
    for method in ("identity", "SIFT", "elastix, 12 starts", "search, plain", "search, steerable"):
        assert method in done.stdout
    page = (tmp_path / "report.html").read_text()
    pictures = [p.name for p in tmp_path.glob("*.png")]
    assert sorted(pictures) == [
        *("checkerboard.png", "images.png", "overview.png", "representations.png", "score.png")
    ]
    assert page.count("data:image/png;base64,") == 4
    assert "://" not in page  # nothing is loaded from elsewhere (no picture in base64 has a colon)
    lines = records.read(tmp_path / "records.jsonl")
    assert [len(line["pairs"]) for line in lines] == [2] * 5
    assert load(tmp_path / "steerable").settings.family == "steerable"
    assert load(tmp_path / "plain").settings.family == "plain"


def test_a_failed_gate_ends_with_status_3_before_anything_is_trained(monkeypatch, tmp_path, capsys):
    h0 = script(H0, monkeypatch, "--minutes", 1, "--out", tmp_path)
    monkeypatch.setattr(h0, "STEERABLE", EncoderSettings(family="plain", widths=(1, 1)))
    monkeypatch.setattr(claims, "turns_exactly", lambda encoder: True)  # which it does not
    with pytest.raises(SystemExit) as ended:
        h0.main()
    assert ended.value.code == 3
    assert "gate: encoder of haematoxylin: turning the image by quarter turns" in (
        capsys.readouterr().err
    )
    assert not list(tmp_path.iterdir())


def test_a_broken_filter_is_named_by_the_gate(monkeypatch, tmp_path, capsys):
    h0 = script(H0, monkeypatch, "--minutes", 1, "--out", tmp_path)
    monkeypatch.setattr(h0, "STEERABLE", EncoderSettings(widths=(1, 1)))
    one_way = OneWay("one way", torch.ones_like, reach=1, tolerance=0.0)
    monkeypatch.setattr(claims, "filter_of", lambda settings: one_way)
    with pytest.raises(SystemExit) as ended:
        h0.main()
    assert ended.value.code == 3
    assert "gate: filter: commutes with quarter turns does not hold" in capsys.readouterr().err


def test_a_broken_loss_is_named_by_the_gate(monkeypatch, tmp_path, capsys):
    h0 = script(H0, monkeypatch, "--minutes", 1, "--out", tmp_path)
    monkeypatch.setattr(h0, "STEERABLE", EncoderSettings(widths=(1, 1)))
    right = claims.objective
    monkeypatch.setattr(claims, "objective", lambda settings: lambda y: right(settings)(y) * 1.01)
    with pytest.raises(SystemExit) as ended:
        h0.main()
    assert ended.value.code == 3
    assert "gate: loss: equals its naive double loop does not hold" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "/nowhere", "--modalities", "A", "B"], "expected a folder of images"),
        (["--width", 4000], "expected scenes with room for 4000 px patches"),
        (["--high-pass", 0.9], "cutoff: expected cycles per pixel"),
        (["--set", "/nowhere"], "expected both or neither"),
    ],
)
def test_a_users_mistake_is_one_sentence(arguments, message, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", [str(H0), *map(str, arguments), "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(H0), run_name="__main__")
    # Python prints a text that a program exits with, and ends with status 1.
    assert ended.value.code == 2 or isinstance(ended.value.code, str)
    assert message in f"{capsys.readouterr().err} {ended.value.code}"


def test_importing_prints_nothing():
    code = "import equicomir, equicomir.encoders.steerable, equicomir.representations"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
