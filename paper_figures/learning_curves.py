"""Success by amount of data and by minutes of training, as the records of both benchmarks hold it.

A point is a mean over seeds and pairs of runs that were given the same, so what is read together
is checked here, and a run that is missing is named with the command that makes it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from equicomir.evaluation import records, units
from equicomir.evaluation.records import Record, successes
from equicomir.evaluation.statistics import rate
from equicomir.experiment import sets as experiment_sets
from equicomir.experiment.rows import pair_of

#: set: (what is independent in its test part, in words, amounts of data that are to be there)
SETS: dict[str, tuple[units.Units, str, tuple[float, ...]]] = {
    "brain_mri": (units.runs, "runs of neighbouring slices of one patient", (3, 6, 12, 24, 48)),
    "motor_neurons": (units.blocks, "blocks of one field", (1 / 8, 1 / 4, 1 / 2, 1)),
}
FAMILIES = ("steerable", "plain")
#: Encoders of the curves, as the benchmark calls them: the first is to be there, the others are
#: drawn where they are; what is not named is not drawn.
CURVES = ("C8", "plain", "tiramisu")
_TAKEN = {
    "slices": "slices evenly spaced over one patient, each amount within the next",
    "region": "leading rows of one image, each amount within the next",
}
#: Command that makes curves, with room for set, modalities and width.
_CURVE = "python benchmarks/training_curves.py --set DATA/{} --modalities {} --width {}"


@dataclass(frozen=True)
class Line:
    """What is drawn of one method: success in %, with its interval or the lines of its seeds.

    Attributes:
        look: key of :data:`style.LOOKS`.
        x: in the panel's unit.
        success: mean over seeds (and pairs).
        interval: lower and upper ends at 95 %; empty where seeds are drawn.
        seeds: (x, success) of each.
    """

    look: tuple[str, int | None]
    x: list[float]
    success: list[float]
    interval: list[tuple[float, float]] = field(default_factory=list)
    seeds: list[tuple[list[float], list[float]]] = field(default_factory=list)


@dataclass(frozen=True)
class Panel:
    """One pair of axes, and the sentence of the caption that belongs to it."""

    title: str
    of: str
    lines: list[Line]
    caption: str


def efficiency(path: Path, name: str) -> Panel:
    """Success against the amount of training data of one set.

    Args:
        path: of its records.
        name: of :data:`SETS`.

    Raises:
        ValueError: a run is missing, or the records hold several budgets.
    """
    unit_of, in_words, amounts = SETS[name]
    command = f"python benchmarks/data_efficiency.py --data DATA --set {name}"
    where = f"--records {path.parent}"
    lines = records.read(path)
    if not lines:
        raise ValueError(f"{path}: expected records, found none; run {command} {where}.")
    one_budget(path, lines)
    first = lines[0]["settings"]
    pairs = f"--pairs {first['pairs_a_direction']}"
    cells = {(_family(line), line["settings"]["amount"], _seed(line)): line for line in lines}
    seeds = sorted({seed for _, _, seed in cells})
    for family, amount, seed in (
        (f, a, s) for f in FAMILIES for a in amounts for s in seeds if (f, a, s) not in cells
    ):
        raise ValueError(
            f"{path}: expected a run of {family} on {amount:g} {first['of']} with seed {seed}, "
            f"found none; run {command} --seeds {seed} {_option(first)} {pairs} {where}."
        )
    unit = unit_of([pair_of(pair) for pair in lines[0]["pairs"]])
    drawn = [
        amounts_line(family, [[cells[family, a, s] for s in seeds] for a in amounts], unit)
        for family in FAMILIES
    ]
    caption = (
        f"{' and '.join(first['modalities'])}, {_TAKEN[first['of']]}; "
        f"encoders trained for {_spent(first)} each; mean over {_seeds(seeds)} and {len(unit)} "
        f"test pairs each ({first['pairs_a_direction']} a direction), level {first['level']}; "
        + f"bars: 95 % intervals over {'seeds and ' if len(seeds) > 1 else ''}"
        + f"{len(set(unit))} units ({in_words}); {_machines(lines)}."
    )
    return Panel(_title(first), first["of"], drawn, caption)


def amounts_line(family: str, runs: Sequence[Sequence[Record]], unit: Sequence[str]) -> Line:
    """Success of one encoder after each amount of data.

    Args:
        family: of the encoder.
        runs: those of all seeds, an amount at a time, ascending.
        unit: that each pair belongs to.
    """
    found = [rate(successes(of), unit) for of in runs]
    if runs[0][0]["settings"]["of"] == "slices":
        x = [float(of[0]["settings"]["amount"]) for of in runs]
    else:  # what was really taken, which whole patches may have made a little more
        x = [100 * of[0]["training_pixels"] / runs[-1][0]["training_pixels"] for of in runs]
    return Line(
        (family, runs[0][0]["settings"]["training"]["turns"]),
        x,
        [100 * of.estimate for of in found],
        [(100 * of.low, 100 * of.high) for of in found],
    )


def curves(folder: Path) -> list[Panel]:
    """Success against the minutes of training: a panel a file.

    Args:
        folder: of the records.

    Raises:
        ValueError: there are none, a curve is missing, or a file holds several budgets.
    """
    paths = sorted(folder.glob("*.jsonl"))
    if not paths:
        example = _CURVE.format("brain_mri", "T1 T2", 64)
        raise ValueError(
            f"{folder}: expected records of training curves, found none; run {example} "
            f"--minutes 5 --out {folder / 'brain_mri.jsonl'}."
        )
    return [curves_panel(path) for path in paths]


def curves_panel(path: Path) -> Panel:
    """The curves of one file of records."""
    lines = records.read(path)
    if not lines:
        raise ValueError(f"{path}: expected records of training curves, found none; remove it.")
    one_budget(path, lines)
    first = lines[0]["settings"]
    cells = {(line["settings"]["name"], _seed(line)): line for line in lines}
    seeds = sorted({seed for _, seed in cells})
    there = {name for name, _ in cells} | {CURVES[0]}
    drawn_names = [name for name in CURVES if name in there]
    for name, seed in ((n, s) for n in drawn_names for s in seeds if (n, s) not in cells):
        raise ValueError(
            f"{path}: expected a curve of {name} with seed {seed}, found none; run {_again(first)} "
            f"{_option(first)} --encoders {name} --seed {seed} --out {path}."
        )
    drawn = [curve_line([cells[name, seed] for seed in seeds]) for name in drawn_names]
    shown = "thin lines: each seed; " if len(seeds) > 1 else ""
    caption = (
        f"{' and '.join(first['modalities'])}, success on {2 * first['pairs_a_direction']} "
        f"validation pairs, level {first['level']}, after each share of {_spent(first)} of "
        "training, validating left out; "
        f"mean over {_seeds(seeds)}; {shown}{_machines(lines)}."
    )
    title = f"{first['set']}, {_validated(first)} px"
    return Panel(title, "minutes", drawn, caption)


def curve_line(runs: Sequence[Record]) -> Line:
    """The mean curve of one encoder, and those of its seeds where there are several."""
    each = np.array([run["curve"] for run in runs]) * (1, 100)  # seeds, validations, (x, y)
    minutes, success = each.mean(axis=0).T.tolist()
    seeds = [(x.tolist(), y.tolist()) for x, y in each.transpose(0, 2, 1)]
    look = (_family(runs[0]), runs[0]["settings"]["training"]["turns"])
    return Line(look, minutes, success, seeds=seeds if len(runs) > 1 else [])


def one_budget(path: Path, lines: Sequence[Record]) -> None:
    """Refuse to draw together what was not given the same.

    Raises:
        ValueError: another set, width, list, budget or kernel within a file.
    """
    found = set()
    for line in lines:
        s, training = line["settings"], line["settings"]["training"]
        names = ("set", "modalities", "width", "level", "pairs_a_direction")
        spent = (training["steps"], training.get("minutes"), training["validations"])
        found.add(json.dumps([*(s[name] for name in names), _validated(s), *spent]))
    if len(found) > 1:
        raise ValueError(
            f"{path}: expected runs of one budget and list, found {len(found)}: "
            f"{', '.join(sorted(found))}; move all but one into another folder."
        )


def _seed(line: Record) -> int:
    return int(line["settings"]["training"]["seed"])


def _family(line: Record) -> str:
    return str(line["settings"]["encoder"]["family"])


def _title(s: Record) -> str:
    return f"{s['set']}, {s['width']} px"


def _validated(s: Record) -> int:
    """The width of the pairs that a curve is about: that of the test pairs, if not said."""
    return int(s.get("validation_width") or s["width"])


def _again(s: Record) -> str:
    """What makes a curve of the same set."""
    command = _CURVE.format(s["set"], " ".join(s["modalities"]), s["width"])
    masks = next((one.masks for one in experiment_sets.SETS if one.name == s["set"]), None)
    command += f" --masks {masks}" if masks else ""
    other = _validated(s) != s["width"]
    return command + (f" --validation-width {_validated(s)}" if other else "")


def _spent(s: Record) -> str:
    t = s["training"]
    return f"{t['steps']} steps" if t["steps"] else f"{t['minutes']:g} minutes"


def _option(s: Record) -> str:
    t = s["training"]
    if t["steps"]:
        return f"--steps {t['steps']}"
    return f"--minutes {t['minutes']:g}"


def _seeds(seeds: Sequence[int]) -> str:
    return f"{len(seeds)} training seed{'s' if len(seeds) > 1 else ''}"


def _machines(lines: Sequence[Record]) -> str:
    """On what the runs were made, in words."""
    found = (line["machine"] for line in lines)
    return "trained on " + " and ".join(
        dict.fromkeys(f"{m['gpu'] or m['processor']}, threads: {m['torch_threads']}" for m in found)
    )
