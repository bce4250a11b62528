"""Damaged files, full disks, folders that cannot be written: told, and nothing good is lost.

The law is one for every file of the library's own: with any byte changed, or cut off anywhere, it
is refused in one sentence that names it, or read as what it was. Never as something else.
"""

import contextlib
import json
import os
import resource
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from equicomir.commands.train import forget_if_nothing_was_learned
from equicomir.evaluation import records
from equicomir.evaluation.alignment import Outcome
from equicomir.evaluation.displacements import TestPair
from equicomir.images.intensities import Scaling
from equicomir.registration import search
from equicomir.registration.verdict import PACKAGED, read_calibration
from equicomir.representations import EncoderSettings, Representations, load, save
from equicomir.sealed import SEAL, sealed, unsealed
from equicomir.training.checkpoints import BEFORE, LAST, NEXT, read_checkpoint, write_checkpoint
from equicomir.training.settings import TrainingSettings
from equicomir.training.settings_file import read_settings, write_settings
from equicomir.training.watching import Watch
from equicomir.transforms.displacement_files import read_displacement, write_displacement
from equicomir.transforms.files import SavedTransform, read_transform, write_transform
from equicomir.transforms.itk import read_tfm, write_tfm

MATRIX = np.array([[0.8, -0.6, 12.25], [0.6, 0.8, -3.5], [0, 0, 1]])
TRANSFORM = SavedTransform(MATRIX, (64, 48), (32, 32), (0.5, 0.5), None, "HE", None)
PAIR = TestPair("any", "A", "B", "s", 1, 2, 100, 30.0, 1.0, -2.0)
OUTCOMES = [Outcome(PAIR, 0.5, 0.1), Outcome(PAIR, 2.25, 0.1)]


@dataclass(frozen=True)
class Own:
    """A kind of file: how a folder gets one, or another version of it, and what is read of it."""

    write: Callable[[Path, int], object]
    read: Callable[[Path], Any]


def model(version):
    rng = torch.Generator().manual_seed(version)
    settings = EncoderSettings(family="plain", group="C1", widths=(1, 1), kernel_size=1)
    scalings = {"T1": Scaling((0.0,), (1.5,)), "T2": Scaling((-1.0,), (2.0,), "log")}
    return Representations(scalings, settings, high_pass=("gaussian", 0.125), generator=rng)


def of_model(folder):
    loaded = load(folder)
    state = {name: value.tolist() for name, value in loaded.state_dict().items()}
    return loaded.settings, loaded.scalings, loaded.high_pass, state


def of_checkpoint(folder):
    tensors, facts, said = read_checkpoint(folder)
    return {name: value.tolist() for name, value in tensors.items()}, facts, bool(said)


def write_records(folder, version):
    records.append(folder / "records.jsonl", OUTCOMES, settings={"seed": version}, detail=0.125)


def of_version(version):
    return replace(TRANSFORM, moving_to_fixed=MATRIX + version * np.eye(3, k=2))


def of_transform(path):
    saved = read_transform(path)
    return replace(saved, moving_to_fixed=None), saved.moving_to_fixed.tolist()


FIELD = np.random.default_rng(0).normal(size=(2, 4, 3))
OWN = {
    "transform.json": Own(
        lambda f, v: write_transform(f / "transform.json", of_version(v), notes={"score": 0.5}),
        lambda f: of_transform(f / "transform.json"),
    ),
    "transform.tfm": Own(
        lambda f, v: write_tfm(f / "transform.tfm", MATRIX + v * np.eye(3, k=2)),
        lambda f: read_tfm(f / "transform.tfm").tolist(),
    ),
    "displacement.mha": Own(
        lambda f, v: write_displacement(f / "displacement.mha", FIELD + v),
        lambda f: read_displacement(f / "displacement.mha").tolist(),
    ),
    "settings.json": Own(
        lambda f, v: write_settings(
            f / "settings.json", TrainingSettings(seed=v), EncoderSettings()
        ),
        lambda f: read_settings(f / "settings.json"),
    ),
    "model/settings.json": Own(
        lambda f, v: save(model(v), f / "model"), lambda f: of_model(f / "model")
    ),
    "model/weights.safetensors": Own(
        lambda f, v: save(model(v), f / "model"), lambda f: of_model(f / "model")
    ),
    f"run/{LAST}": Own(
        lambda f, v: write_checkpoint(f / "run", {"x": torch.arange(v, v + 9.0)}, {"step": v}),
        lambda f: of_checkpoint(f / "run"),
    ),
    "records.jsonl": Own(write_records, lambda f: records.read(f / "records.jsonl")),
    "calibration.json": Own(
        lambda f, v: shutil.copy(PACKAGED, f / "calibration.json"),
        lambda f: read_calibration(search.register, f / "calibration.json"),
    ),
}


def written(folder, name):
    OWN[name].write(folder, 0)
    return (folder / name).read_bytes()


def refused(folder, name):
    """What is said of a file that is not read; None where it is read as what it was."""
    path = folder / name
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            came = OWN[name].read(folder)
    except ValueError as error:
        told = str(error)
        whole = told.startswith(f"{path}: expected ") and told.endswith(".")
        return told if whole and "\n" not in told else pytest.fail(told)
    if said:  # of records alone: a line that was half written is left out
        assert str(said[0].message).startswith(f"{path}: line ")
        return str(said[0].message)
    return came


@pytest.mark.parametrize("name", OWN)
@given(data=st.data())
def test_one_changed_byte_anywhere_is_told_or_changes_nothing(name, data):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        content = written(folder, name)
        right = OWN[name].read(folder)
        for _ in range(4):
            at = data.draw(st.integers(0, len(content) - 1))
            damaged = bytearray(content)
            damaged[at] ^= data.draw(st.integers(1, 255))
            (folder / name).write_bytes(damaged)
            came = refused(folder, name)
            assert isinstance(came, str) or came == right


@pytest.mark.parametrize("name", OWN)
@given(data=st.data())
def test_a_file_cut_off_anywhere_is_told(name, data):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        content = written(folder, name)
        right = OWN[name].read(folder)
        for _ in range(2):
            kept = data.draw(st.integers(0, len(content) - 1))
            (folder / name).write_bytes(content[:kept])
            came = refused(folder, name)
            # Without its last line break nothing is lost, nor of a transform without the line that
            # seals it, as other programs write them; and no line at all is no record.
            seal = name == "transform.tfm" and b"sha256" not in content[:kept]
            whole = (kept == len(content) - 1 or seal) and came == right
            assert isinstance(came, str) or whole or (name, came) == ("records.jsonl", [])


def test_every_digit_of_a_transform_counts_and_without_its_seal_it_does_not(tmp_path):
    """The planted fault: a file without a seal, of which another number is read in silence."""
    content = written(tmp_path, "transform.json")
    right, path = OWN["transform.json"].read(tmp_path), tmp_path / "transform.json"

    def silent(text):
        wrong = 0
        for at, byte in enumerate(text):
            if chr(byte).isdigit():
                path.write_bytes(text[:at] + str((byte - 47) % 10).encode() + text[at + 1 :])
                came = refused(tmp_path, "transform.json")
                wrong += not isinstance(came, str) and came != right
        return wrong

    assert silent(content) == 0
    unsafe = json.dumps(unsealed(content)).encode()
    assert silent(unsafe) > 10


def test_a_file_changed_by_hand_is_read_when_its_seal_is_taken_out(tmp_path):
    path = tmp_path / "settings.json"
    write_settings(path, TrainingSettings(seed=3), EncoderSettings())
    changed = json.loads(path.read_text())
    changed["training"]["seed"] = 4
    path.write_text(json.dumps(changed))
    with pytest.raises(ValueError, match="take the entry sha256 out if you changed it yourself"):
        read_settings(path)
    del changed[SEAL]
    path.write_text(json.dumps(changed))
    assert read_settings(path)[0].seed == 4


@given(
    st.dictionaries(
        st.text(max_size=4),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False)
            | st.text(max_size=4),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
            max_leaves=6,
        ),
        max_size=4,
    ).filter(lambda content: SEAL not in content)
)
def test_a_seal_survives_another_layout_and_order(content):
    kept = sealed(content)
    assert unsealed(json.dumps(kept, indent=1)) == unsealed(json.dumps(kept, separators=(",", ":")))
    assert unsealed(json.dumps(dict(reversed(kept.items())))) == content


@pytest.mark.parametrize("name", OWN)
def test_old_files_without_a_seal_are_read(tmp_path, name):
    content = written(tmp_path, name)
    right = OWN[name].read(tmp_path)
    if name.endswith((".json", ".jsonl")):
        old = unsealed(content)
        old.pop("weights_sha256", None)
        (tmp_path / name).write_text(json.dumps(old) + "\n")
    elif name.endswith(".tfm"):
        (tmp_path / name).write_bytes(b"".join(content.splitlines(keepends=True)[:-1]))
    elif name.endswith(".mha"):
        lines = content.split(b"\n")
        (tmp_path / name).write_bytes(b"\n".join(n for n in lines if not n.startswith(b"Comment")))
    assert OWN[name].read(tmp_path) == right


def test_weights_of_another_model_are_told(tmp_path):
    save(model(0), tmp_path / "a")
    save(model(1), tmp_path / "b")
    shutil.copy(tmp_path / "b" / "weights.safetensors", tmp_path / "a")
    with pytest.raises(
        ValueError, match=r"weights.safetensors: expected these weights, got: other"
    ):
        load(tmp_path / "a")


# ---------------------------------------------------------------- full disks, locked folders


@contextlib.contextmanager
def disk_with_room_for(size):
    """Files of this process end there: a write past it fails as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def without_rights():
    """Whoever may do everything becomes someone who may not."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


WRITTEN = sorted(set(OWN) - {"calibration.json"})  # which comes with the package


@pytest.mark.parametrize("name", WRITTEN)
@given(share=st.floats(0, 0.95))
def test_a_full_disk_loses_nothing(name, share):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        size = len(written(folder, name))
        right, there = OWN[name].read(folder), sorted(folder.rglob("*"))
        before = size if name == "records.jsonl" else 0  # to which a line is added
        with disk_with_room_for(before + int(share * size)), pytest.raises(OSError):  # noqa: PT011
            OWN[name].write(folder, 1)
        assert sorted(folder.rglob("*")) == there
        assert OWN[name].read(folder) == right
        OWN[name].write(folder, 1)
        assert OWN[name].read(folder) != right


def test_a_disk_that_is_full_behind_the_weights_keeps_the_model_before(tmp_path):
    save(model(0), tmp_path)
    right = of_model(tmp_path)
    with disk_with_room_for(10_000), pytest.raises(OSError):  # noqa: PT011
        save(model(1), tmp_path, losses=[0.123456] * 2_000)
    assert of_model(tmp_path) == right


@pytest.mark.parametrize("name", WRITTEN)
def test_a_folder_that_cannot_be_written_loses_nothing(name, monkeypatch):
    for facts in ("versions", "machine"):  # which only someone with rights may look up
        monkeypatch.setattr(records, facts, dict)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        written(folder, name)
        right, inner = OWN[name].read(folder), (folder / name).parent
        folder.chmod(0o755)
        inner.chmod(0o555)
        with without_rights(), pytest.raises(OSError, match="Permission denied"):
            OWN[name].write(folder, 1)
        inner.chmod(0o755)
        assert OWN[name].read(folder) == right


# ---------------------------------------------------------------- between two renames


def test_killed_between_the_renames_of_a_checkpoint_a_whole_one_is_there(tmp_path, monkeypatch):
    """Also where the last one is damaged and would be set over the good one before it."""
    for step in (1, 2):
        write_checkpoint(tmp_path, {"x": torch.tensor(step)}, {"step": step})
    (tmp_path / LAST).write_bytes(b"damaged")
    assert read_checkpoint(tmp_path)[1] == {"step": 1}
    real = os.replace

    def killed(source, target):
        if Path(source).name == NEXT:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(tmp_path, {"x": torch.tensor(3)}, {"step": 3})
    monkeypatch.undo()
    assert (tmp_path / BEFORE).read_bytes() == b"damaged"
    assert read_checkpoint(tmp_path)[1:] == ({"step": 3}, "")
    write_checkpoint(tmp_path, {"x": torch.tensor(4)}, {"step": 4})
    assert read_checkpoint(tmp_path)[1:] == ({"step": 4}, "")
    forget_if_nothing_was_learned(tmp_path)
    assert not tmp_path.exists()


def test_a_record_with_something_behind_it_is_not_taken_for_half_written(tmp_path):
    path = tmp_path / "records.jsonl"
    write_records(tmp_path, 0)
    damaged = path.read_bytes()[:-1] + b"\x0b"
    path.write_bytes(damaged)
    with pytest.warns(UserWarning, match="line 1 was half written"):
        assert records.read(path) == []
    with pytest.raises(ValueError, match="expected the last line to end with its record"):
        write_records(tmp_path, 1)
    assert path.read_bytes() == damaged


# ---------------------------------------------------------------- the progress of a run


def watched(folder, steps, done=0, told=""):
    watch = Watch(folder, done, 4, told=told, quiet=True)
    with watch:
        for step in range(done, steps):
            watch.step(step + 1, steps, 1.5 / (step + 1), 1e-3)
            watch.write()
    return watch.digest()


@given(st.data())
def test_damaged_progress_is_told_and_set_aside(data):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        told, path = watched(folder, 5), folder / "progress.csv"
        content = path.read_bytes()
        damaged = bytearray(content)
        at = int(data.draw(st.floats(0, 1, exclude_max=True)) * len(content))  # seconds vary
        damaged[at] ^= data.draw(st.integers(1, 255))
        path.write_bytes(damaged)
        watched(folder, 5, done=5, told=told)
        aside = folder / "progress.damaged.csv"
        if aside.exists():
            assert aside.read_bytes() == damaged
            assert len(path.read_text().splitlines()) == 1
        else:
            assert path.read_bytes() == content


def test_killed_while_it_is_taken_up_progress_is_as_it_was(tmp_path, monkeypatch):
    told = watched(tmp_path, 5)
    kept = (tmp_path / "progress.csv").read_bytes()

    def killed(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        watched(tmp_path, 8, done=5, told=told)
    assert (tmp_path / "progress.csv").read_bytes() == kept


def test_progress_that_finds_no_room_is_told_once_and_training_goes_on(tmp_path, capsys):
    with disk_with_room_for(300):
        assert watched(tmp_path, 30) == ""
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"{tmp_path / 'progress.csv'}: expected room for the progress, got: ")
    watched(tmp_path, 40, done=30)
    assert len((tmp_path / "progress.csv").read_text().splitlines()) > 10


def test_progress_that_is_whole_goes_on_where_it_was_and_what_came_later_goes(tmp_path, capsys):
    told = watched(tmp_path, 5)
    kept = (tmp_path / "progress.csv").read_bytes()
    watched(tmp_path, 8, done=5, told=told)
    assert (tmp_path / "progress.csv").read_bytes().startswith(kept)
    watched(tmp_path, 5, done=5, told=told)
    assert (tmp_path / "progress.csv").read_bytes() == kept
    assert capsys.readouterr().err == ""
    (tmp_path / "progress.csv").write_bytes(kept.replace(b"0.75", b"0.76"))
    watched(tmp_path, 5, done=5, told=told)
    assert "expected the progress of this run, got: other lines" in capsys.readouterr().err
