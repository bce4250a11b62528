"""What figures are drawn from: committed models and crops of images, and what names them for good.

A figure made of anything else than the files it names could not be drawn again. So every figure
reads through here, learns in one sentence which command makes what is missing, and puts the
fingerprint of each file into its own.
"""

import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from equicomir.evaluation.records import Record
from equicomir.images.pairs import Scene, read_scenes
from equicomir.provenance import commit
from equicomir.representations import Representations, load

#: set: its fixed and moving modality.
MODALITIES = {"brain_mri": ("T1", "T2"), "motor_neurons": ("phase_contrast", "nfh")}
FAMILIES = ("steerable", "plain")

_CROPS = "python benchmarks/crops.py --data DATA --out {}"
_MODELS = "python experiments/h0_baselines.py --set DATA/{} --modalities {} --out {}"


def crop(records: Path, name: str) -> Scene:
    """The pair of one set that pictures show.

    Args:
        records: folder of all records.
        name: of :data:`MODALITIES`.

    Raises:
        ValueError: it is not there, or there are several.
    """
    folder = records / "crops"
    try:
        scenes = read_scenes([folder / name / modality for modality in MODALITIES[name]])
        if len(scenes) > 1:
            raise ValueError(f"{len(scenes)} scenes")
    except (ValueError, OSError) as error:
        raise ValueError(
            f"{folder / name}: expected one pair of images, found: {str(error).rstrip('.')}; "
            f"run {_CROPS.format(folder)}."
        ) from error
    return scenes[0]


def model_folder(records: Path, name: str, family: str) -> Path:
    """Where the model of one set and family lies."""
    return records / f"h0_{name}" / family


def models(records: Path, name: str) -> dict[str, Representations]:
    """The trained models of one set, by :data:`FAMILIES`.

    Args:
        records: folder of all records.
        name: of :data:`MODALITIES`.

    Raises:
        ValueError: a model is missing or damaged, or knows other modalities.
    """
    found = {}
    for family in FAMILIES:
        folder = model_folder(records, name, family)
        try:
            found[family] = load(folder)
            if tuple(found[family].scalings) != MODALITIES[name]:
                raise ValueError(f"one of {' and '.join(found[family].scalings)}")
        except ValueError as error:
            made = _MODELS.format(name, " ".join(MODALITIES[name]), folder.parent)
            raise ValueError(
                f"{folder}: expected a model of {' and '.join(MODALITIES[name])}, found: "
                f"{str(error).rstrip('.')}; run {made}, with the options that records/README.md "
                "names."
            ) from error
    return found


def of_pairs_and_models(records: Path) -> list[Path]:
    """All files behind :func:`crop` and :func:`models`, of every set."""
    files: list[Path] = []
    for name, modalities in MODALITIES.items():
        for modality in modalities:
            files += (records / "crops" / name / modality).iterdir()
        for family in FAMILIES:
            files += model_folder(records, name, family).iterdir()
    return files


def trained(folder: Path) -> Record:
    """How a saved model was trained: the settings that its file holds."""
    settings: Record = json.loads((folder / "settings.json").read_text())["training"]
    return settings


def digest(path: Path) -> str:
    """16 hexadecimal digits that name the content of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def named(records: Path, files: Sequence[Path]) -> list[str]:
    """What a figure was drawn from, for its metadata.

    Args:
        records: folder of all records; files are named from there on, and no folder of a machine.
        files: all that were read.

    Returns:
        The commit of the checkout, then one line a file, sorted: its name and SHA-256.
    """
    lines = (f"{p.relative_to(records).as_posix()} sha256:{digest(p)}" for p in sorted(set(files)))
    return [f"equicomir commit {_commit() or 'unknown'}", *lines]


@functools.cache
def _commit() -> str | None:
    """Asked for once: git may be slow to answer, and all files of one run are of one commit."""
    return commit()
