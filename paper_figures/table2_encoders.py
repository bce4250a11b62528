"""Table 2: encoders with their parameters, their cost and their equivariance error.

    python paper_figures/table2_encoders.py [--records records] [--out figures]

Reads ``RECORDS/equivariance/untrained.jsonl``, written by ``benchmarks/equivariance.py``, and, for
the time of a training step and the errors after training, what stands of
``RECORDS/{h0_orderings,h6}/records.jsonl``. Parameters and multiply-adds are counted in the
encoders themselves. Writes ``table2_encoders.tex`` and ``.md``. Where the first record is missing
it writes nothing and says the command that makes it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import script
import sources
import tables
import torch
from equivariance_curves import FLOOR, command, label_of
from runs import Standing, seeds_in_words, standing
from torch.utils.flop_counter import FlopCounterMode

from equicomir.encoders.export import Ordinary
from equicomir.evaluation import records
from equicomir.evaluation.records import Record
from equicomir.experiment.work import ANGLES
from equicomir.representations import EncoderSettings

PIXELS = 128
EXPERIMENTS = ("h0_orderings", "h6")


@dataclass(frozen=True)
class Trained:
    """What the first variant of an encoder says of it, over its seeds.

    Attributes:
        variant: its name, after that of its experiment.
        errors: relative, at each of :data:`ANGLES`, means over seeds and modalities.
        seconds: of a training step, both modalities, mean over seeds.
        seeds: so many.
    """

    variant: str
    errors: list[float]
    seconds: float
    seeds: int


@dataclass(frozen=True)
class Line:
    """One encoder.

    Attributes:
        settings: what it is.
        parameters: of one modality's encoder, with one input channel.
        multiply_adds: of a forward pass of :data:`PIXELS` squared, once exported.
        untrained: relative errors at :data:`ANGLES`, mean over seeds; empty if not measured.
        trained: None where no experiment that stands has it.
    """

    settings: EncoderSettings
    parameters: int
    multiply_adds: float
    untrained: list[float]
    trained: Trained | None


def size(settings: EncoderSettings) -> tuple[int, float]:
    """Parameters, and multiply-adds of a pass, of an encoder as it begins.

    Example:
        >>> parameters, multiply_adds = size(EncoderSettings(family="plain", widths=(1, 1)))
        >>> parameters > 1000, multiply_adds > parameters
        (True, True)
    """
    encoder = settings.make(1, generator=torch.Generator().manual_seed(0))
    ordinary = Ordinary(encoder)
    height, width = encoder.valid_size_around(PIXELS, PIXELS)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        ordinary(torch.zeros(1, 1, height, width))
    return sum(p.numel() for p in encoder.parameters()), counter.get_total_flops() / 2


def untrained(of_records: Path) -> tuple[dict[EncoderSettings, list[float]], int]:
    """Errors at :data:`ANGLES` by encoder, in the order of the record, and how many seeds.

    Raises:
        ValueError: none stands.
    """
    path = of_records / "equivariance" / "untrained.jsonl"
    found, seeds = {}, 0
    for line in records.read(path):
        if label_of(line["settings"]["encoder"]) == FLOOR:
            continue
        at = [line["settings"]["angles_degrees"].index(angle) for angle in ANGLES]
        errors = np.array(line["errors"], dtype=float).mean(0)[at]
        found[settings_of(line)] = errors.tolist()
        seeds = len(line["settings"]["seeds"])
    if not found:
        raise ValueError(
            f"{path}: expected errors of encoders, found none; run {command(of_records)}."
        )
    return found, seeds


def settings_of(line: Record) -> EncoderSettings:
    """The encoder that a record is about."""
    encoder = line["settings"]["encoder"]
    of: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in encoder.items()}
    return EncoderSettings(**of)


def trained(stands: Sequence[Standing]) -> dict[EncoderSettings, Trained]:
    """The first variant of each encoder, of those that were trained for so many steps."""
    found: dict[EncoderSettings, Trained] = {}
    for one in stands:
        for (_, _, variant), runs in one.runs.items():
            settings = runs[0]["settings"]
            if settings["encoder"] is None or not settings["training"]["steps"]:
                continue
            errors = [list(run["equivariance_error"].values()) for run in runs]
            name = f"{one.experiment.name}, {variant}"
            seconds = [run["training_seconds"] / run["steps"] for run in runs]
            of = Trained(
                name, np.mean(errors, axis=(0, 1)).tolist(), float(np.mean(seconds)), len(runs)
            )
            found.setdefault(settings_of(runs[0]), of)
    return found


def lines(of_records: Path, stands: Sequence[Standing]) -> list[Line]:
    """Every encoder once: those that were measured as they begin, then others of experiments."""
    measured, _ = untrained(of_records)
    of_trained = trained(stands)
    every = [*measured, *(of for of in of_trained if of not in measured and not of.layers)]
    return [Line(of, *size(of), measured.get(of, []), of_trained.get(of)) for of in every]


def table(found: Sequence[Line], seeds: int, stands: Sequence[Standing]) -> tables.Table:
    """A line an encoder."""
    headings = [
        *("encoder", "widths", "parameters", "10^6 multiply-adds", "s a step"),
        *(f"{kind}, {angle:g} deg" for kind in ("begun", "trained") for angle in ANGLES),
    ]
    rows = [
        [
            label_of(asdict(of.settings)),
            "" if of.settings.family == "tiramisu" else ", ".join(map(str, of.settings.widths)),
            f"{of.parameters}",
            f"{of.multiply_adds / 1e6:.0f}",
            "" if of.trained is None else f"{of.trained.seconds:.2f}",
            *(f"{error:.3f}" for error in of.untrained or ()),
            *(("",) * (0 if of.untrained else len(ANGLES))),
            *(f"{error:.3f}" for error in (of.trained.errors if of.trained else ())),
            *(("",) * (0 if of.trained else len(ANGLES))),
        ]
        for of in found
    ]
    there = [n for n in range(len(headings)) if any(row[n] for row in rows)]  # no empty column
    shown = [[row[n] for n in there] for row in rows]
    named = [headings[n] for n in there]
    return tables.Table(named, shown, caption(found, seeds, stands), words=2)


def caption(found: Sequence[Line], seeds: int, stands: Sequence[Standing]) -> str:
    """What stands with the table; its numbers are counted, or those of the records."""
    said = (
        "Encoders, one channel in and one out: fields at each resolution, parameters of one "
        f"modality's encoder, multiply-adds of a forward pass of {PIXELS} x {PIXELS} px once "
        "exported to ordinary layers, and relative equivariance error as they begin (mean over "
        f"{seeds} seed{'s' if seeds != 1 else ''} of weights and of plane waves; no scene)"
    )
    of = [line.trained for line in found if line.trained]
    if not of:
        return said + "."
    where = "; ".join(
        f"{one.experiment.name} on {one.data_set.name}, {one.spent}" for one in stands
    )
    machines = dict.fromkeys(
        f"{run['machine']['gpu'] or run['machine']['processor']}, threads: "
        f"{run['machine']['torch_threads']}"
        for one in stands
        for runs in one.runs.values()
        for run in runs
    )
    return (
        f"{said}, and after training; seconds of a training step of both modalities. Trained in "
        f"{where}, as the first variant that has the encoder: "
        f"{seeds_in_words(each.seeds for each in of)}, on {' and '.join(machines)}."
    )


def main() -> None:
    """Read, count, write."""
    chosen = script.options(__doc__).parse_args()
    _, seeds = untrained(chosen.records)
    stands: list[Standing] = []
    if any(records.read(chosen.records / name / "records.jsonl") for name in EXPERIMENTS):
        stands = standing(chosen.records, EXPERIMENTS)
    files = [chosen.records / "equivariance" / "untrained.jsonl", *(one.path for one in stands)]
    found = table(lines(chosen.records, stands), seeds, stands)
    tables.save(found, chosen.out / "table2_encoders", sources.named(chosen.records, files))
    print(f"Table: {chosen.out / 'table2_encoders.tex'} and .md")


if __name__ == "__main__":
    script.run("table2_encoders", main)
