"""Whether any file makes a reader do anything but read it or refuse it in one sentence.

    python benchmarks/fuzz.py [--reader NAME ...] [--seconds 60] [--memory 4096] [--keep FOLDER]

gives every reader of users' files whole files, and what Atheris (coverage-guided, over libFuzzer)
makes of them. A finding is an exception other than ``ValueError`` and ``OSError``, a warning, a
message of several lines or without the file's name, an input that takes longer than ten seconds,
and one that needs more memory than ``--memory``, in MiB, above what the library itself takes. Each
reader has a process of its own. Prints executions and findings a reader, and ends with status 1
where there are any; the inputs behind them are kept in ``--keep``, and `--input FILE --reader NAME`
tries one again.

Atheris is in the extra ``fuzz``; without it nothing is done but one sentence said.
"""

import argparse
import contextlib
import importlib.util
import io
import json
import multiprocessing
import os
import re
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

NAMES = (
    *("transform", "tfm", "displacement", "records", "pairs", "points", "geojson", "table"),
    *("calibration", "settings", "model", "weights", "checkpoint"),
    *("tiff", "png", "jpeg", "npy", "nifti", "nifti_packed"),
)
LONGEST = 10  # seconds that one input may take
GREATEST = 16384  # bytes of an input
#: What mutation would take long to come upon.
WORDS = (
    "1e999",
    "-1e308",
    "NaN",
    "Infinity",
    "9" * 64,
    "null",
    "true",
    "[" * 64,
    '{"":' * 16,
    '""',
)
FORK = multiprocessing.get_context("fork")  # processes that need not import everything anew

#: The name that a file of its kind has, what reads it, and what writes one.
Reader = tuple[str, Callable[[Path], object], Callable[[Path], object]]


def readers() -> dict[str, Reader]:
    """Every reader of users' files, by name."""
    found = {**_of_text(), **_of_models(), **_of_images()}
    assert tuple(found) == NAMES
    return found


def _of_text() -> dict[str, Reader]:
    import numpy as np

    from equicomir.commands.points import read_points
    from equicomir.evaluation import records
    from equicomir.evaluation.displacements import TestPair, read_pairs, write_pairs
    from equicomir.images.listing import list_table
    from equicomir.registration import search
    from equicomir.registration.verdict import PACKAGED, read_calibration
    from equicomir.transforms import displacement_files, files, itk

    def pair(path: Path) -> None:
        write_pairs(path, [TestPair("any", "A", "B", "s", 1, 2, 100, 30.0, 1.0, -2.0)])

    def record(path: Path) -> None:
        records.append(path, [], settings={"seed": 0})
        path.write_bytes(without_seal(path.read_bytes(), b"\n"))

    def transform(path: Path) -> None:
        sizes = (0.5, 0.5)
        saved = files.SavedTransform(np.eye(3), (64, 48), (32, 32), sizes, None, "HE", "SHG")
        files.write_transform(path, saved, notes={"score": 0.5})
        path.write_bytes(without_seal(path.read_bytes()))

    def tfm(path: Path) -> None:
        itk.write_tfm(path, np.eye(3))
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))

    def field(path: Path) -> None:
        displacement_files.write_displacement(path, np.zeros((2, 3, 4)))
        lines = path.read_bytes().split(b"\n")
        path.write_bytes(b"\n".join(line for line in lines if not line.startswith(b"Comment")))

    points = {"type": "Point", "coordinates": [20.5, 10.5]}
    geometries = [points, {"type": "Polygon", "coordinates": [[[0, 0], [4, 0], [4, 4], [0, 0]]]}]
    features = [{"type": "Feature", "geometry": one, "properties": {}} for one in geometries]
    told = json.dumps({"type": "FeatureCollection", "features": features})
    return {
        "transform": ("transform.json", files.read_transform, transform),
        "tfm": ("transform.tfm", itk.read_tfm, tfm),
        "displacement": ("field.mha", displacement_files.read_displacement, field),
        "records": ("records.jsonl", records.read, record),
        "pairs": ("pairs.csv", read_pairs, pair),
        "points": ("points.csv", read_points, text("row,column,name\n1.5,2,a\n3,4,b\n")),
        "geojson": ("points.geojson", read_points, text(told)),
        "table": (
            "scenes.csv",
            list_table,
            text("scene,SHG,HE,part,group\na,a_shg.tif,a_he.tif,train,1\n"),
        ),
        "calibration": (
            "calibration.json",
            lambda path: read_calibration(search.register, path),
            lambda path: path.write_bytes(without_seal(PACKAGED.read_bytes())),
        ),
    }


def _of_models() -> dict[str, Reader]:
    import torch

    from equicomir import representations as r
    from equicomir.images.intensities import Scaling
    from equicomir.training.checkpoints import LAST, read_checkpoint, write_checkpoint
    from equicomir.training.settings import TrainingSettings
    from equicomir.training.settings_file import read_settings, write_settings

    scalings = {"T1": Scaling((0.0,), (1.0,)), "T2": Scaling((0.0,), (2.0,), "log")}
    settings = r.EncoderSettings(group="C2", widths=(1, 1), kernel_size=1, layers=("laplacian",))

    def saved(path: Path, of: r.EncoderSettings = settings) -> None:
        rng = torch.Generator().manual_seed(0)
        model = r.Representations(scalings, of, high_pass=("gaussian", 0.1), generator=rng)
        r.save(model, path.parent)
        told = path.parent / "settings.json"
        told.write_bytes(without_seal(told.read_bytes()))

    def loaded(path: Path) -> None:
        if not (path.parent / "weights.safetensors").exists():
            content = path.read_bytes()
            saved(path)
            path.write_bytes(content)
        r.load(path.parent)

    def small(path: Path) -> None:
        saved(path, replace(settings, family="plain", layers=()))  # which is built sooner

    def loaded_small(path: Path) -> None:
        if not (path.parent / "settings.json").exists():
            content = path.read_bytes()
            small(path)
            path.write_bytes(content)
        r.load(path.parent)

    def of_a_run(path: Path) -> None:
        write_settings(path, TrainingSettings(), r.EncoderSettings())
        path.write_bytes(without_seal(path.read_bytes()))

    def checkpoint(path: Path) -> None:
        write_checkpoint(path.parent, {"x": torch.arange(3.0), "n": torch.tensor(3)}, {"step": 1})

    return {
        "settings": ("run.json", read_settings, of_a_run),
        "model": ("model/settings.json", loaded, saved),
        "weights": ("weights/weights.safetensors", loaded_small, small),
        "checkpoint": (f"run/{LAST}", lambda path: read_checkpoint(path.parent), checkpoint),
    }


def _of_images() -> dict[str, Reader]:
    import gzip
    import struct

    import numpy as np
    import tifffile
    from PIL import Image

    from equicomir.images.files import open_image
    from equicomir.images.nifti import read_nifti

    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3)).astype(np.uint8)

    def window(path: Path) -> None:
        image = open_image(path)
        height, width = image.shape[1:]
        image.read_masked(rows=(0, min(height, 64)), columns=(0, min(width, 64)))

    def tiff(path: Path) -> None:
        options: dict[str, Any] = {"tile": (16, 16), "compression": "zlib"}
        tifffile.imwrite(path, pixels[..., 0], ome=True, **options)

    def picture(path: Path) -> None:
        Image.fromarray(pixels).save(path)

    def nifti(path: Path) -> None:
        header = bytearray(352)
        struct.pack_into("<i", header, 0, 348)
        struct.pack_into("<8h", header, 40, 3, 2, 3, 1, 1, 1, 1, 1)
        struct.pack_into("<2h", header, 70, 2, 8)
        struct.pack_into("<4f", header, 76, 1, 1, 1, 1)
        struct.pack_into("<3f", header, 108, 352, 0.5, 0)
        header[344:347] = b"n+1"
        path.write_bytes(header + bytes(range(6)))

    def packed_nifti(path: Path) -> None:
        nifti(path)
        path.write_bytes(gzip.compress(path.read_bytes()))

    return {
        "tiff": ("a.tif", window, tiff),
        "png": ("a.png", window, picture),
        "jpeg": ("a.jpg", window, picture),
        "npy": ("a.npy", window, lambda path: np.save(path, pixels)),
        "nifti": ("a.nii", read_nifti, nifti),
        "nifti_packed": (
            "a.nii.gz",
            read_nifti,
            packed_nifti,
        ),
    }


def text(content: str) -> Callable[[Path], object]:
    """What writes it."""
    return lambda path: path.write_text(content)


def without_seal(content: bytes, end: bytes = b"") -> bytes:
    """JSON as a person may write it: what is changed in it is not refused for its seal alone."""
    from equicomir.sealed import unsealed

    plain = unsealed(content)
    plain.pop("weights_sha256", None)
    return json.dumps(plain).encode() + end


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reader", nargs="+", metavar="NAME", help="all if not said")
    parser.add_argument("--seconds", type=float, default=60.0, help="a reader")
    parser.add_argument("--memory", type=int, default=4096, help="MiB above the library's own")
    parser.add_argument("--keep", type=Path, help="folder for the inputs behind findings")
    parser.add_argument("--input", type=Path, help="give a reader this file alone")
    chosen = parser.parse_args()
    names = chosen.reader or NAMES
    if unknown := sorted(set(names) - set(NAMES)):
        parser.error(f"--reader: expected some of {', '.join(NAMES)}, got {unknown[0]}.")
    if chosen.input is not None:
        known, content = readers(), chosen.input.read_bytes()
        with tempfile.TemporaryDirectory() as place:
            for name in names:
                found = given(known[name], content, Path(place))
                print(f"{name}: {found or 'nothing found'}")
        return
    if importlib.util.find_spec("atheris") is None:
        parser.exit(2, "fuzz.py: expected Atheris, found none; pip install 'equicomir[fuzz]'.\n")
    import atheris

    quiet = contextlib.redirect_stderr(io.StringIO())  # it names every module
    with quiet, atheris.instrument_imports(include=["equicomir"]):
        known = readers()
    table, wrong = Table("reader", "executions", "a second", "findings"), 0
    for name in names:
        count, said = fuzzed(name, known[name], chosen.seconds, chosen.memory, chosen.keep)
        table.add_row(name, str(count), f"{count / chosen.seconds:.0f}", said or "none")
        wrong += bool(said)
    Console().print(table)
    sys.exit(bool(wrong))


def fuzzed(
    name: str, reader: Reader, seconds: float, memory: int, keep: Path | None
) -> tuple[int, str]:
    """One reader in a process of its own: how many inputs, and what was found, if anything."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        process = FORK.Process(target=inside, args=(reader, place, seconds, memory))
        process.start()
        process.join()
        said = (place / "said").read_text(errors="replace")
        counts = re.findall(r"^#(\d+)\s", said, re.MULTILINE)
        done = re.search(r"Done (\d+) runs", said)
        finding = re.search(r"^FINDING: (.*)$", said, re.MULTILINE)
        found = finding[1] if finding else ""
        if not found and process.exitcode:
            told = [line for line in said.splitlines() if "ERROR" in line or "Error" in line]
            found = told[0][:120] if told else f"exit status {process.exitcode}"
        if found and keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            for path in place.glob("*-*"):  # crash-, oom-, timeout-
                (keep / f"{name}.{path.name}").write_bytes(path.read_bytes())
    return int(done[1] if done else counts[-1] if counts else 0), found


def inside(reader: Reader, place: Path, seconds: float, memory: int) -> None:
    """What Atheris is given, in a process that it ends; what it says is left in a file."""
    import atheris

    os.chdir(place)
    said = os.open("said", os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(said, stream)
    Path("whole").mkdir()
    whole = whole_file(reader)
    (place / "whole" / "file").write_bytes(whole)
    words = ("".join(f"\\x{ord(letter):02x}" for letter in word) for word in WORDS)
    Path("words").write_text("".join(f'"{word}"\n' for word in words))
    options = [sys.argv[0], "whole", "-dict=words", f"-max_total_time={max(1, round(seconds))}"]
    options += [f"-timeout={6 * LONGEST}", f"-max_len={GREATEST}", "-rss_limit_mb=0", "-seed=1"]
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    limit = used + memory * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    def one(content: bytes) -> None:
        if found := given(reader, content, place / "given"):
            print(f"\nFINDING: {found}", file=sys.stderr, flush=True)
            raise RuntimeError(found)

    one(whole)
    atheris.Setup(options, one)
    atheris.Fuzz()


def whole_file(reader: Reader) -> bytes:
    """What the reader is made for."""
    name, _, make = reader
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / name
        path.parent.mkdir(exist_ok=True)
        make(path)
        return path.read_bytes()


def given(reader: Reader, content: bytes, folder: Path) -> str:
    """What is wrong with what a reader does of a file; empty if nothing is."""
    name, read, _ = reader
    begun, path = time.perf_counter(), folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read(path)
    except (ValueError, OSError) as error:
        said = str(error)
        if "\n" in said.strip() or str(path.parent) not in said:
            return f"not one sentence that names the file: {type(error).__name__}: {said[:200]!r}"
    except UserWarning as said:  # of records: a line that was half written
        if str(path) not in str(said):
            return f"a warning without the file's name: {said}"
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        at = f"{Path(where.filename).name}:{where.lineno}"
        return f"{type(error).__name__} at {at}: {str(error)[:200]!r}"
    seconds = time.perf_counter() - begun
    return f"{seconds:.0f} seconds" if seconds > LONGEST else ""


if __name__ == "__main__":
    main()
