"""Errors of every encoder at every angle, as the records hold them, and how each looks.

What figure 2 draws and the table of encoders prints is read here, so that an encoder has one name
and a missing record one sentence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sources
import style
from style import Look

from equicomir.evaluation import records
from equicomir.evaluation.records import Record

FLOOR = "floor (identity)"
_PLAIN, _TIRAMISU = style.LOOKS["plain", None], style.LOOKS["tiramisu", 4]
_FLOOR = Look("0.45", "", ":", False)
#: Panel of untrained encoders: (its title, label of each encoder and how it looks).
PANELS: list[tuple[str, dict[str, Look]]] = [
    (
        "finite groups",
        {
            "steerable C4": Look("#56B4E9", "v", "--", True),
            "steerable C8": style.LOOKS["steerable", None],
            "steerable C16": Look("#009E73", "D", "-", True),
            "steerable D8": Look("#CC79A7", "^", "-.", False),
            "roto-translation C8": Look("#D55E00", "X", ":", True),
            "plain": _PLAIN,
            "Tiramisu": _TIRAMISU,
            FLOOR: _FLOOR,
        },
    ),
    (
        "all rotations",
        {
            "steerable SO(2)": Look("#0072B2", "D", "-", True),
            "steerable SO(2), blur": Look("#56B4E9", "v", "--", True),
            "steerable SO(2), blur, 7 x 7 smooth": Look("#009E73", "P", "-", True),
            "steerable O(2)": Look("#CC79A7", "^", "-.", False),
            "plain": _PLAIN,
            "Tiramisu": _TIRAMISU,
            FLOOR: _FLOOR,
        },
    ),
]
#: Colour, mark and dashes of trained encoders; filled where first, open for another set.
TRAINED = {
    "steerable C8": style.LOOKS["steerable", None],
    "steerable SO(2), blur, 7 x 7 smooth": PANELS[1][1]["steerable SO(2), blur, 7 x 7 smooth"],
    "plain": _PLAIN,
    "plain, blur, 7 x 7": Look("#D55E00", "X", "-.", True),
}
_OTHER = Look("#CC79A7", "v", ":", True)  # of trained encoders that are not named above


@dataclass(frozen=True)
class Curve:
    """One encoder at all angles, means over seeds (and modalities).

    Attributes:
        label: as the legend names it.
        look: how it is drawn.
        angles: in degrees.
        errors: relative.
        decibels: NaN where the encoder is exact with every seed.
        seeds: so many.
        of_set: that it was trained on; empty for untrained encoders.
    """

    label: str
    look: Look
    angles: list[float]
    errors: list[float]
    decibels: list[float]
    seeds: int
    of_set: str = ""


def label_of(encoder: dict[str, Any] | None) -> str:
    """An encoder's name, from its settings.

    Example:
        >>> label_of({"family": "steerable", "group": "C8", "pooling": "blur", "kernel_size": 5})
        'steerable C8, blur'
    """
    if encoder is None:
        return FLOOR
    family = encoder["family"]
    words = "Tiramisu" if family == "tiramisu" else family.replace("_", "-")
    if family in ("steerable", "roto_translation"):
        words += f" {encoder['group']}"
    if encoder["pooling"] != "average":
        words += f", {encoder['pooling']}"
    if encoder["kernel_size"] != 5:
        words += f", {encoder['kernel_size']} x {encoder['kernel_size']}"
    return words + (" smooth" if encoder.get("smooth") else "")


def command(folder: Path) -> str:
    """What measures what is missing."""
    return f"python benchmarks/equivariance.py --records {folder}"


def untrained(folder: Path) -> list[list[Curve]]:
    """The curves of :data:`PANELS`.

    Args:
        folder: of all records.

    Raises:
        ValueError: an encoder is missing.
    """
    path = folder / "equivariance" / "untrained.jsonl"
    found = {label_of(line["settings"]["encoder"]): line for line in records.read(path)}
    for label in (label for _, looks in PANELS for label in looks if label not in found):
        raise ValueError(f"{path}: expected errors of {label}, found none; run {command(folder)}.")
    return [
        [curve(label, look, [found[label]]) for label, look in looks.items()] for _, looks in PANELS
    ]


def trained(folder: Path) -> list[Curve]:
    """The curves of the models among the records, as they are now, and the floor.

    Args:
        folder: of all records.

    Raises:
        ValueError: there is no model, or no errors of one, or only of its earlier weights.
    """
    path = folder / "equivariance" / "trained.jsonl"
    weights = model_weights(folder)
    lines = records.read(path)
    curves, sets = [], list(dict.fromkeys(set_of(model.parent.name) for model in weights))
    for model, file in weights.items():
        name = f"{model.parent.name}/{model.name}"
        of_model = [line for line in lines if line["settings"]["model"] == name]
        now = [
            line for line in of_model if line["settings"]["weights_sha256"] == sources.digest(file)
        ]
        if not now:
            came = "only those of earlier weights" if of_model else "none"
            raise ValueError(
                f"{path}: expected errors of {model}, found {came}; run {command(folder)}."
            )
        label, of_set = label_of(now[0]["settings"]["encoder"]), set_of(model.parent.name)
        look, first = TRAINED.get(label, _OTHER), of_set == sets[0]
        look = Look(look.colour, look.marker, look.dashes if first else ":", first)
        curves.append(curve(label, look, now, of_set))
    return [*curves, untrained(folder)[0][-1]]


def model_weights(folder: Path) -> dict[Path, Path]:
    """Every model among the records, with its file of weights.

    Raises:
        ValueError: there is none.
    """
    files = sorted(folder.glob("h0_*/*/weights.safetensors"))
    if not files:
        raise ValueError(
            f"{folder}: expected models, h0_SET/{{steerable,plain}}, found none; run the commands "
            "that records/README.md names, with --out "
            f"{folder / 'h0_SET'}."
        )
    return {file.parent: file for file in files}


def set_of(name: str) -> str:
    """The set of a folder of models, ``h0_brain_mri_so2``: one that is known, or the rest."""
    rest = name.removeprefix("h0_")
    return next((known for known in sources.MODALITIES if rest.startswith(known)), rest)


def curve(label: str, look: Look, lines: Sequence[Record], of_set: str = "") -> Curve:
    """Means over the seeds of one line an input, and over inputs.

    Args:
        label: for the legend.
        look: of the line.
        lines: one, or one a modality, at the same angles.
        of_set: that the encoder was trained on, if it was.
    """
    errors, decibels = (
        np.concatenate([np.array(line[name], dtype=float) for line in lines])
        for name in ("errors", "decibels")
    )
    exact = np.isnan(decibels)
    mean = np.where(exact, 0, decibels).sum(0) / np.maximum(1, (~exact).sum(0))
    return Curve(
        label,
        look,
        list(lines[0]["settings"]["angles_degrees"]),
        errors.mean(0).tolist(),
        np.where(exact.all(0), np.nan, mean).tolist(),
        len(lines[0]["settings"]["seeds"]),
        of_set,
    )
