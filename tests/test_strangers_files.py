"""Files from strangers: they run no code, exhaust no memory, and are refused in one sentence."""

import gzip
import json
import os
import pickle
import struct
import subprocess
import sys
from functools import partial
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import few
from test_training_survival import QUICK, TINY, noise

from equicomir.allowance import check_size
from equicomir.commands.points import read_points
from equicomir.encoders.encoder import kernel_values
from equicomir.encoders.groups import parse_group
from equicomir.evaluation import records
from equicomir.evaluation.displacements import read_pairs
from equicomir.images.intensities import Scaling
from equicomir.images.layer_names import layer_of
from equicomir.images.listing import list_table
from equicomir.images.nifti import read_nifti
from equicomir.representations import EncoderSettings, Representations, load, save
from equicomir.training.checkpoints import LAST, read_checkpoint, write_checkpoint
from equicomir.training.loop import train
from equicomir.training.settings_file import read_settings
from equicomir.transforms.files import SavedTransform, read_transform, write_transform
from equicomir.transforms.itk import read_tfm

ROOT = Path(__file__).parent.parent
HUGE = 10**400  # a whole number that no float holds


@pytest.fixture
def folder(tmp_path):
    """Of a model, whose settings carry no seal: a stranger would have made one that is right."""
    settings = EncoderSettings(family="plain", group="C1", widths=(1, 1), kernel_size=1)
    scalings = {"T1": Scaling((0.0,), (1.5,)), "T2": Scaling((-1.0,), (2.0,))}
    save(Representations(scalings, settings, generator=torch.Generator()), tmp_path)
    path = tmp_path / "settings.json"
    told = json.loads(path.read_text())
    del told["sha256"]
    path.write_text(json.dumps(told))
    return tmp_path


def changed(folder, part, **values):
    path = folder / "settings.json"
    told = json.loads(path.read_text())
    (told if part is None else told[part]).update(values)
    path.write_text(json.dumps(told))


class Evil:
    """A pickle that leaves a file where it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_in_place_of_any_file_of_a_model_runs_nothing(folder):
    ran = folder / "ran"
    evil = pickle.dumps({"weights": Evil(ran)})
    pickle.loads(evil)
    assert ran.exists()
    ran.rmdir()
    for name in ("weights.safetensors", "settings.json", LAST):
        kept = (folder / name).read_bytes() if (folder / name).exists() else None
        for content in (evil, b"PK\x03\x04" + evil):
            (folder / name).write_bytes(content)
            with pytest.raises(ValueError, match=f"{name}: expected"):
                read_checkpoint(folder) if name == LAST else load(folder)
        if kept is not None:
            (folder / name).write_bytes(kept)
    assert not ran.exists()


@pytest.mark.parametrize(
    "header",
    [
        b'{"x":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}',
        b'{"x":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}',
        b'{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}' + b" " * 100,
        b"{" * 10_000,
    ],
)
def test_a_header_that_declares_terabytes_is_refused(folder, header):
    changed(folder, None, weights_sha256=None)
    for content in (struct.pack("<Q", len(header)) + header, struct.pack("<Q", 2**60) + header):
        for name in ("weights.safetensors", LAST):
            (folder / name).write_bytes(content)
            with pytest.raises(ValueError, match=f"{name}: expected"):
                read_checkpoint(folder) if name == LAST else load(folder)


def test_weights_larger_than_their_model_are_refused_unread(folder):
    with (folder / "weights.safetensors").open("r+b") as file:
        file.truncate(2**40)  # takes no room on the disk
    with pytest.raises(ValueError, match=r"weights.safetensors: expected these weights, got: more"):
        load(folder)


def test_weights_of_another_type_are_refused(folder):
    changed(folder, None, weights_sha256=None)
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"F32"', b'"I32"', 1))
    with pytest.raises(ValueError, match=r"of torch\.int32, not torch\.float32"):
        load(folder)


TOO_MUCH = {
    "a million channels": {"widths": [1000, 1_000_000]},
    "channels together": {"widths": [4000, 4000], "kernel_size": 5},
    "a million levels": {"widths": [1] * 100_000},
    "wide kernels": {"kernel_size": 100_001},
    "a large group": {"group": "C100000"},
    "many bases": {"group": "C64", "widths": [1] * 16, "kernel_size": 5},
    "no end": {"widths": [HUGE]},
    "half a channel": {"widths": [1.5]},
    "many representations": {"representation_channels": 10**9},
    "a wide layer": {"layers": ["gradient_field(1e7)"]},
    "a slow layer": {"layers": ["local_entropy(bins=1000000000)"]},
    "a low layer": {"layers": ["laplacian(1e-9)"]},
    "a deep layer": {"layers": ["laplacian(" + "-" * 100_000 + "1)"]},
    "nested": {"layers": ["laplacian(" + "(" * 150 + ")"]},
    "many layers": {"layers": ["laplacian"] * 10_000},
    "a dense net": {"family": "tiramisu", "group": "C8", "widths": [2, 4, 8], "kernel_size": 5,
                    "representation_channels": 10**7},
}  # fmt: skip


@pytest.mark.parametrize("kind", TOO_MUCH)
@pytest.mark.parametrize("family", ["plain", "steerable", "roto_translation"])
def test_a_model_that_asks_for_too_much_is_refused_before_anything_is_built(
    folder, monkeypatch, kind, family
):
    changed(folder, "encoders", family=family)
    changed(folder, "encoders", **TOO_MUCH[kind])
    for built in ("Conv2d", "Parameter"):
        monkeypatch.setattr(torch.nn, built, lambda *_, **__: pytest.fail("built"))
    with pytest.raises(ValueError, match=r"settings\.json: expected a model's settings") as said:
        load(folder)
    assert len(str(said.value)) < 1000 + len(str(folder))


@pytest.mark.parametrize(
    ("part", "values"),
    [
        (None, {"scalings": {str(n): {"low": [0], "high": [1]} for n in range(1000)}}),
        (None, {"scalings": {"T1": {"low": [0], "high": [HUGE]}}}),
        (None, {"scalings": {"T1": {"low": [0], "high": ["1"]}}}),
        (None, {"scalings": {"T1": {"low": [0], "high": [1e999]}}}),
        (None, {"scalings": {"T1": {"low": [0] * 10**5, "high": [1] * 10**5}}, "encoders": {
            "family": "plain", "widths": [400], "kernel_size": 5, "group": "C1"}}),
        (None, {"high_pass": ["gaussian", 1e-9]}),
        (None, {"high_pass": ["gaussian", HUGE]}),
        (None, {"encoders": []}),
        ("encoders", {"unheard": 1}),
    ],
)  # fmt: skip
def test_settings_that_mean_nothing_are_refused(folder, part, values):
    changed(folder, part, **values)
    with pytest.raises(ValueError, match=r"settings\.json: expected a model's settings, got: "):
        load(folder)


def test_small_settings_of_all_families_are_still_allowed():
    for kind in ({"group": "C16", "widths": (4, 8, 16)}, {"family": "plain", "widths": (16, 32)}):
        check_size(EncoderSettings(**kind), [3, 1, 1])


@few(8)
@given(
    st.sampled_from(["C1", "C4", "C8", "D4", "SO(2)", "O(2)"]),
    st.sampled_from([3, 5, 7]),
    st.lists(st.integers(1, 3), min_size=1, max_size=3),
    st.integers(1, 3),
)
def test_no_network_holds_more_kernels_and_bases_than_were_counted(group, taps, widths, channels):
    settings = EncoderSettings(group=group, kernel_size=taps, widths=tuple(widths))
    network = settings.make(channels, generator=torch.Generator().manual_seed(0))
    bases = sum(x.numel() for name, x in network.named_buffers() if ".basis" in name)
    kernels = [m.kernel().numel() for m in network.modules() if hasattr(m, "kernel")]
    counted = kernel_values(channels, 1, widths, taps, parse_group(group).field_size)
    assert len(kernels) >= len(widths)
    assert bases + sum(kernels) <= counted <= 8 * (bases + sum(kernels))  # a bound that says much


DEEP = [b"[" * 200_000, b'{"a":' * 200_000, b'{"a": 1, "a": 2}', b"\xff\xfe", b"", b"3"]


@pytest.mark.parametrize("content", DEEP, ids=range(len(DEEP)))
def test_json_that_is_deep_or_none_is_refused_by_every_reader(tmp_path, content):
    readers = {
        "settings.json": lambda path: load(path.parent),
        "run.json": read_settings,
        "transform.json": read_transform,
        "points.geojson": read_points,
    }
    for name, read in readers.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}: expected"):
            read(tmp_path / name)
    (tmp_path / "records.jsonl").write_bytes(content + b"\n{}\n")
    with pytest.raises(ValueError, match=r"records.jsonl: expected a record in line 1"):
        records.read(tmp_path / "records.jsonl")


def test_numbers_that_no_float_holds_are_refused(tmp_path):
    path = tmp_path / "transform.json"
    write_transform(path, SavedTransform(np.eye(3), (6, 4), (3, 2), (1.0, 1.0)))
    told = json.loads(path.read_text())
    del told["sha256"]
    for name, value in (
        ("moving_to_fixed", [[HUGE, 0, 0], [0, 1, 0], [0, 0, 1]]),
        ("moving_to_fixed", [[1e200, 0, 0], [0, 1e200, 0], [0, 0, 1]]),
        ("fixed_pixel_size_micrometres", [HUGE, 1]),
    ):
        path.write_text(json.dumps({**told, name: value}))
        with pytest.raises(ValueError, match=r"transform.json: expected a transform"):
            read_transform(path)
    points = tmp_path / "points.geojson"
    points.write_text(json.dumps({"type": "Point", "coordinates": [HUGE, 1]}))
    with pytest.raises(ValueError, match="in place of a position"):
        read_points(points)
    run = tmp_path / "run.json"
    run.write_text(json.dumps({"training": {"minutes": HUGE}}))
    with pytest.raises(ValueError, match=r"run.json: expected settings"):
        read_settings(run)


def test_a_record_of_a_billion_pairs_that_are_alike_is_refused(tmp_path):
    path = tmp_path / "r.jsonl"
    for count in (10**9, -1):
        path.write_text(json.dumps({"pairs": {"count": count, "width": 64}}) + "\n")
        with pytest.raises(ValueError, match=r"line 1, got something else \(count: expected"):
            records.read(path)


def test_a_cell_without_an_end_is_refused(tmp_path):
    cell = "1" * 200_000
    for name, read, head in (
        ("points.csv", read_points, "row,column"),
        ("scenes.csv", list_table, "SHG,HE"),
        ("pairs.csv", read_pairs, "level,fixed"),
    ):
        for content in (f"{head}\n{cell},1\n", f"{cell},{head}\n1,1,1\n"):
            (tmp_path / name).write_text(content)
            with pytest.raises(ValueError, match=f"{name}.*: expected"):
                read(tmp_path / name)


def test_a_transform_of_itk_at_the_end_of_what_floats_hold_is_refused(tmp_path):
    path = tmp_path / "a.tfm"
    head = "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_2_2\n"
    path.write_text(f"{head}Parameters: 1e308 0 0 1e308 1e308 0\nFixedParameters: 1e308 1e308\n")
    with pytest.raises(ValueError, match=r"a.tfm: expected an ITK transform"):
        read_tfm(path)
    path.write_text(head + "#\n" * 2**20)
    with pytest.raises(ValueError, match="more than 1048576 bytes"):
        read_tfm(path)


def test_a_packed_volume_is_unpacked_no_further_than_its_header_says(tmp_path, monkeypatch):
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, 2, 1, 1, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 2, 8)
    struct.pack_into("<4f", header, 76, 1, 1, 1, 1)
    struct.pack_into("<3f", header, 108, 352, 1, 0)
    header[344:347] = b"n+1"
    path = tmp_path / "bomb.nii.gz"
    path.write_bytes(gzip.compress(bytes(header) + bytes([3, 4]) + bytes(2**26)))
    asked, real = [], gzip.GzipFile.read

    def read(self, size=-1):
        asked.append(size)
        return real(self, size)

    monkeypatch.setattr(gzip.GzipFile, "read", read)
    assert read_nifti(path).values.ravel().tolist() == [3, 4]
    assert min(asked) > 0
    assert max(asked) <= 2**20


def test_a_checkpoint_of_something_else_is_no_traceback(tmp_path):
    write_checkpoint(tmp_path, {"x": torch.ones(1)}, {"step": 1})
    with pytest.raises(ValueError, match="expected an empty folder or a run with the same"):
        train(noise(), TINY, QUICK, folder=tmp_path, quiet=True)
    train(noise(), TINY, QUICK, folder=tmp_path / "run", quiet=True)
    tensors, facts, _ = read_checkpoint(tmp_path / "run")
    one = torch.ones(())
    for wrong in ({}, {**tensors, "losses": one}, {**tensors, "optimiser.x": one}):
        write_checkpoint(tmp_path / "run", wrong, facts)
        with pytest.raises(ValueError, match="run: expected a checkpoint that this run can go on"):
            train(noise(), TINY, QUICK, folder=tmp_path / "run", quiet=True)


def test_half_precision_can_be_kept(tmp_path):
    state = {"x": torch.arange(4).bfloat16()}
    write_checkpoint(tmp_path, state, {})
    assert torch.equal(read_checkpoint(tmp_path)[0]["x"], state["x"])


def test_a_layer_is_no_place_for_code():
    with pytest.raises(ValueError, match="layers: expected laplacian"):
        layer_of("laplacian(__import__('os').getpid())")


# ---------------------------------------------------------------- the scripts


def script(name, *arguments):
    command = [sys.executable, str(ROOT / "benchmarks" / name), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)


def test_a_killed_training_and_a_killed_experiment_end_as_if_nothing_had_been(tmp_path):
    done = script("survival.py", "--kills", 2, "--quick", "--out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines() if "nothing" in line] == [
        "training",
        "experiment",
    ]


def test_fuzzing_gives_a_reader_files_or_says_what_is_missing(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"row,column\n1,x\n")
    assert (
        "points: nothing found" in script("fuzz.py", "--reader", "points", "--input", path).stdout
    )
    done = script("fuzz.py", "--reader", "points", "--seconds", 1)
    if find_spec("atheris") is None:
        assert done.returncode == 2
        assert done.stderr == (
            "fuzz.py: expected Atheris, found none; pip install 'equicomir[fuzz]'.\n"
        )
    else:
        assert "points" in done.stdout
        assert "none" in done.stdout


def module(name):
    spec = spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    made = module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.mark.parametrize(
    "said",
    [KeyError("a"), TypeError("b"), MemoryError(), RecursionError(), RuntimeWarning("overflow"),
     ValueError("a file: expected something, got nothing."), UserWarning("half written")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_planted_fault_fuzzing_finds_what_is_no_sentence(tmp_path, said):
    def reader(path):
        raise said

    assert module("fuzz").given(("a.csv", reader, None), b"", tmp_path) != ""


def test_a_sentence_that_names_the_file_is_no_finding(tmp_path):
    def reader(path, end=""):
        raise ValueError(f"{path}: expected something, got nothing.{end}")

    fuzz = module("fuzz")
    assert fuzz.given(("a.csv", reader, None), b"", tmp_path) == ""
    two = partial(reader, end="\nAnd more.")
    assert fuzz.given(("a.csv", two, None), b"", tmp_path) != ""


def test_planted_fault_a_training_that_lost_its_way_is_told(tmp_path):
    survival = module("survival")
    for name, losses in (("right", [3.0, 2.0, 1.0]), ("cut", [3.0, 2.0]), ("other", [3.0, 2.5])):
        write_checkpoint(tmp_path / name, {"losses": torch.tensor(losses)}, {})
    right = tmp_path / "right"
    assert survival.wrong_with_training(tmp_path / "cut", right) == []
    (told,) = survival.wrong_with_training(tmp_path / "other", right)
    assert told == f"{tmp_path / 'other'}: other losses."
