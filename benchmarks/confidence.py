"""Fit the confidence of the methods on validation parts, and test it once on test parts.

    python benchmarks/confidence.py --data DATA_FOLDER [--pairs 60] [--fit]
        [--high-pass 0.05] [--methods search ...] [--evidence FILE.jsonl]

For each method and set, at a width where the method succeeds in some of the pairs only: pairs of
one place at any angle, and as many without an answer, whose images come from different scenes or
from places that do not overlap. Without ``--fit`` the packaged calibration is tested on the test
parts: the committed list of pairs where there is one, else pairs drawn from a fixed seed. With it
a new one is fitted on the validation parts first and written over the packaged one. Prints

- success: among pairs of one place;
- AUROC: of the confidence, between success and failure among pairs of one place, and, as "all",
  with the pairs without an answer among the failures;
- trusted: of the successes, of the failures at one place, and of the pairs without an answer;
- Brier: mean squared error of the confidence, over all pairs; then reliability, by bins;
- seconds a pair of the bare method, and by what factor the verdict takes longer.

What was gathered is kept in ``--evidence``, if given, and not gathered again.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from equicomir.evaluation.alignment import SUCCESS_FRACTION, corner_error
from equicomir.evaluation.displacements import TestPair, cut_pair, draw_pairs, read_pairs
from equicomir.filters import high_pass
from equicomir.images.pairs import Scene
from equicomir.images.sources import Parts, read_parts
from equicomir.registration import features, information, search
from equicomir.registration.evidence import Evidence, Register, gather
from equicomir.registration.verdict import (
    PACKAGED,
    Calibration,
    confidence,
    fit,
    method_name,
    read_calibration,
    write_calibrations,
)
from equicomir.representations import Representations, load
from equicomir.shapes import Array, ArrayMask

ROOT = Path(__file__).parent.parent
_DISTINCT_SCENES = 8  # scenes further apart than this in the order of names: 16 mm of a brain
_DISTINCT_WIDTHS = 1.7  # patches further apart than this do not overlap, however they are turned
_TIMED = 8  # the bare method is timed at every so many pairs


@dataclass(frozen=True)
class Cell:
    """One method on one set: a line of the table.

    Attributes:
        method: that registers.
        images: ``"raw"``, or which encoder of ``records/h0_SET`` makes the representations.
        set: name of the folder of the set.
        modalities: two of its modalities.
        width: of the patches, in pixels.
        content: least fraction of a patch that is not background.
        share: of the pairs asked for; fewer where they are costly.
        high_pass: cut-off, in cycles per pixel, of a filter of the representations; None for none.
    """

    method: Register
    images: str
    set: str
    modalities: tuple[str, str]
    width: int
    content: float
    share: float = 1.0
    high_pass: float | None = None

    @property
    def name(self) -> str:
        """As the table and the file of evidence call it."""
        method = self.method.__module__.split(".")[-1]
        name = f"{method}, {self.images}, {self.set} {'/'.join(self.modalities)} {self.width} px"
        return name if self.high_pass is None else f"{name}, high-pass {self.high_pass:g}"


MRI, NEURONS = ("T1", "T2"), ("phase_contrast", "nfh")
#: Where each method succeeds in some of the pairs, and not in all.
CELLS = [
    Cell(features.register, "steerable", "brain_mri", MRI, 64, 0.9, 2.5),
    Cell(features.register, "plain", "brain_mri", MRI, 64, 0.9, 2.5),
    Cell(features.register, "steerable", "brain_mri", MRI, 48, 0.9, 1.5),
    Cell(search.register, "raw", "brain_mri", ("T1", "FLAIR"), 48, 0.9, 0.6),
    Cell(search.register, "plain", "brain_mri", MRI, 48, 0.9, 0.25),
    Cell(search.register, "steerable", "motor_neurons", NEURONS, 112, 0.0, 0.4),
    Cell(search.register, "steerable", "motor_neurons", NEURONS, 128, 0.0, 0.3),
    Cell(information.register, "raw", "brain_mri", MRI, 28, 0.9, 0.25),
    Cell(information.register, "raw", "fly_cells", ("channel_d", "channel_r"), 96, 0.0, 0.4),
]


@dataclass(frozen=True)
class Looked:
    """What was found at one pair.

    Attributes:
        answerable: whether both images show one place.
        right: whether it is a success.
        evidence: None where the method failed.
        seconds: of the bare method; NaN where it was not run beside.
        seconds_judged: of all that the evidence takes.
    """

    answerable: bool
    right: bool
    evidence: Evidence | None
    seconds: float
    seconds_judged: float


def related(cell: Cell, parts: Parts, part: str, count: int) -> list[TestPair]:
    """Pairs of one place at any angle, as many in each direction."""
    path = ROOT / "benchmarks" / "pairs"
    path /= f"{cell.set}_{'_'.join(cell.modalities)}_{cell.width}.csv"
    if part == "test" and path.exists():
        pairs = [pair for pair in read_pairs(path) if pair.level == "any"]
        each_way = [[p for p in pairs if p.fixed == fixed] for fixed in cell.modalities]
        return [pair for way in each_way for pair in way[: count // 2]]
    return draw_pairs(
        getattr(parts, part),
        cell.modalities,
        cell.width,
        count // 2,
        levels=["any"],
        least_content=cell.content,
        generator=np.random.default_rng(cell.width + (part == "test")),
    )


def unrelated(
    pairs: Sequence[TestPair], scenes: Sequence[Scene], *, generator: np.random.Generator
) -> Iterator[tuple[TestPair, TestPair]]:
    """For each pair another one whose place is in another scene, or does not overlap with it."""
    order = {name: i for i, name in enumerate(sorted(scene.name for scene in scenes))}

    def apart(one: TestPair, other: TestPair) -> bool:
        if one.fixed != other.fixed:
            return False
        if one.scene != other.scene:
            return abs(order[one.scene] - order[other.scene]) > _DISTINCT_SCENES
        gaps = (abs(one.row - other.row), abs(one.column - other.column))
        return max(gaps) >= _DISTINCT_WIDTHS * one.width

    for pair in pairs:
        others = [other for other in pairs if apart(pair, other)]
        if others:
            yield pair, others[generator.integers(len(others))]


def looked(cell: Cell, parts: Parts, part: str, count: int) -> list[Looked]:
    """Gather the evidence of all pairs of one cell."""
    scenes: list[Scene] = getattr(parts, part)
    by_name = {scene.name: scene for scene in scenes}
    model = None
    if cell.images != "raw":
        model = load(ROOT / "records" / f"h0_{cell.set}" / cell.images)
    pairs = related(cell, parts, part, count)
    both = [(pair, pair) for pair in pairs]
    both += list(unrelated(pairs, scenes, generator=np.random.default_rng(cell.width)))
    results = []
    for number, (first, second) in enumerate(both):
        fixed, _, _ = cut_pair(first, by_name)
        _, moving, mask = cut_pair(second, by_name)
        if model is not None:
            fixed = encoded(model, first.fixed, fixed, cell.high_pass)
            moving = encoded(model, first.moving, moving, cell.high_pass)
        begun = time.perf_counter()
        found, evidence = gather(cell.method, fixed, moving, moving_mask=mask)
        seconds, bare = time.perf_counter() - begun, math.nan
        if number % _TIMED == 0:
            cell.method(fixed, moving, moving_mask=mask)
            bare = time.perf_counter() - begun - seconds
        error = corner_error(first.moving_to_fixed(), found.moving_to_fixed, cell.width)
        one_place = first == second
        right = one_place and not found.failure and error <= SUCCESS_FRACTION * cell.width
        results.append(Looked(one_place, right, evidence, bare, seconds))
    return results


def encoded(model: Representations, modality: str, image: Array, cutoff: float | None) -> Array:
    """What is compared of the representation of one image, as a plain array."""
    batch = model.comparable(modality, torch.from_numpy(image).float()[None])
    return np.asarray((batch if cutoff is None else high_pass(batch, cutoff))[0].double().numpy())


def gathered(
    cells: Sequence[Cell], data: Path, part: str, count: int, kept: Path | None
) -> dict[Cell, list[Looked]]:
    """The evidence of all cells, as far as it is kept from there."""
    lines = kept.read_text().splitlines() if kept and kept.exists() else []
    known: dict[tuple[str, str, int], list[Looked]] = {}
    for line in lines:
        entry = json.loads(line)
        known[entry["cell"], entry["part"], entry["count"]] = [
            Looked(**{**p, "evidence": Evidence(**p["evidence"]) if p["evidence"] else None})
            for p in entry["pairs"]
        ]
    found = {}
    for cell in cells:
        number = max(2, round(count * cell.share))
        key = (cell.name, part, number)
        if key not in known:
            print(f"{part}: {cell.name}", flush=True)
            parts = read_parts(data / cell.set, cell.modalities)
            known[key] = looked(cell, parts, part, number)
            if kept:
                entry = {"cell": cell.name, "part": part, "count": number}
                with kept.open("a") as file:
                    pairs = [asdict(p) for p in known[key]]
                    file.write(json.dumps({**entry, "pairs": pairs}) + "\n")
        found[cell] = known[key]
    return found


def fitted(found: Mapping[Cell, Sequence[Looked]]) -> list[Calibration]:
    """One calibration a method, over all its cells."""
    calibrations = []
    for method in dict.fromkeys(cell.method for cell in found):
        own = {cell: pairs for cell, pairs in found.items() if cell.method is method}
        pairs = [p for some in own.values() for p in some]
        about = {
            "part": "validation",
            "pairs": {
                cell.name: {
                    "one place": sum(p.answerable for p in some),
                    "of these right": sum(p.right for p in some),
                    "without an answer": sum(not p.answerable for p in some),
                }
                for cell, some in own.items()
            },
        }
        calibrations.append(
            fit(
                method,
                [p.evidence for p in pairs],
                [p.right for p in pairs],
                [p.answerable for p in pairs],
                fitted_on=about,
            )
        )
    return calibrations


def auroc(values: Array, right: ArrayMask) -> float:
    """The probability that a success has more confidence than a failure; NaN without either."""
    good, bad = values[right][:, None], values[~right][None]
    if good.size == 0 or bad.size == 0:
        return math.nan
    return float(((good > bad) + 0.5 * (good == bad)).mean())


def line(name: str, pairs: Sequence[Looked], calibration: Calibration) -> list[str]:
    """One line of the table."""
    values, right = confidences(pairs, calibration), np.array([p.right for p in pairs])
    one_place = np.array([p.answerable for p in pairs])
    trusted = values >= calibration.threshold
    bare = [p.seconds for p in pairs]
    return [
        name,
        f"{right.sum()} of {one_place.sum()}",
        f"{auroc(values[one_place], right[one_place]):.3f}",
        f"{auroc(values, right):.3f}",
        *(
            f"{trusted[chosen].sum()} of {chosen.sum()}"
            for chosen in (right, one_place & ~right, ~one_place)
        ),
        f"{((values - right) ** 2).mean():.3f}",
        f"{np.nanmedian(bare):.2f}",
        f"{np.nanmedian([p.seconds_judged for p in pairs] / np.array(bare)):.1f}",
    ]


def confidences(pairs: Sequence[Looked], calibration: Calibration) -> Array:
    """Of each pair; 0 where the method failed."""
    return np.array([confidence(p.evidence, calibration) if p.evidence else 0.0 for p in pairs])


def show(
    title: str, found: Mapping[Cell, Sequence[Looked]], calibrations: Sequence[Calibration]
) -> None:
    """The table of all cells and of all cells of a method, and the reliability of each method."""
    console = Console(width=150)
    headings = ["method, images, set", "success", "AUROC", "all", "trusted: successes"]
    headings += ["failures", "no answer", "Brier", "s", "factor"]
    table, reliability = (
        Table(*headings, title=title),
        Table("method", "bin", "pairs", "mean", "right"),
    )
    for calibration in calibrations:
        own = {
            cell: pairs
            for cell, pairs in found.items()
            if method_name(cell.method) == calibration.method
        }
        for cell, pairs in own.items():
            table.add_row(*line(cell.name, pairs, calibration))
        method, together = calibration.method.split(".")[-2], list(chain(*own.values()))
        table.add_row(*line(f"{method}, all", together, calibration))
        table.add_section()
        values, right = confidences(together, calibration), np.array([p.right for p in together])
        for low in np.arange(0, 1, 0.2):
            inside = (values >= low) & (values < low + 0.2 + (low > 0.7))
            if inside.any():
                means = f"{values[inside].mean():.2f}", f"{right[inside].mean():.2f}"
                reliability.add_row(
                    method, f"{low:.1f} to {low + 0.2:.1f}", f"{inside.sum()}", *means
                )
    console.print(table, reliability)


def main() -> None:
    """Fit where asked to, test, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=60, help="of one place, a cell")
    parser.add_argument(
        "--high-pass", type=float, help="of representations, for models without their own"
    )
    parser.add_argument("--fit", action="store_true", help="on validation, over the packaged one")
    parser.add_argument("--evidence", type=Path, default=None, help="where it is kept")
    parser.add_argument("--part", choices=["validation", "test"], default="test")
    methods = list(dict.fromkeys(cell.method for cell in CELLS))
    known = {method.__module__.split(".")[-1]: method for method in methods}
    parser.add_argument("--methods", nargs="+", default=list(known), choices=known)
    chosen = parser.parse_args()
    methods = [known[name] for name in chosen.methods]
    cells = [
        replace(cell, high_pass=None if cell.images == "raw" else chosen.high_pass)
        for cell in CELLS
        if cell.method in methods
    ]
    if chosen.fit:
        found = gathered(cells, chosen.data, "validation", chosen.pairs, chosen.evidence)
        calibrations = fitted(found)
        kept = [read_calibration(method) for method in known.values() if method not in methods]
        write_calibrations(PACKAGED, [*kept, *calibrations])
        show("validation, on which it was fitted", found, calibrations)
    calibrations = [read_calibration(method) for method in methods]
    if chosen.part == "test":
        found = gathered(cells, chosen.data, "test", chosen.pairs, chosen.evidence)
        show("test", found, calibrations)


if __name__ == "__main__":
    main()
